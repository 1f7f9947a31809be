//! `holdall ls`: lists entries.

use clap::Args;
use holdall::ListOptions;
use serde_json::json;

use super::shape::{EntryShape, long_line};
use crate::app::App;
use crate::failure::{Done, Failure, Result};
use crate::output::shown;

const PAGE: usize = 1000;

/// Lists the entries whose names begin with PREFIX, like a folder's contents.
#[derive(Args, Debug)]
pub(crate) struct Ls {
    /// What the names begin with.
    #[arg(default_value = "")]
    prefix: String,
    /// Shows modes, sizes and times.
    #[arg(long, short)]
    long: bool,
    /// Lists everything below as well.
    #[arg(long, short)]
    recursive: bool,
    /// As the volume was then: a time, `2h ago`, `commit:123` or `snapshot:NAME`.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

impl Ls {
    pub(crate) async fn run(self, app: &App) -> Result {
        let volume = app.volume().await?;
        let view = app.view(&volume, self.at.as_deref()).await?;
        let mut options = ListOptions::prefix(&self.prefix).limit(PAGE);
        if !self.recursive {
            options = options.delimiter("/");
        }
        let mut seen = 0;
        loop {
            let page = view.list(options.clone()).await?;
            let mut prefixes = page.prefixes.iter().peekable();
            for (name, entry) in &page.entries {
                while let Some(prefix) = prefixes.next_if(|prefix| prefix.as_str() < name.as_str())
                {
                    self.show_prefix(app, prefix)?;
                }
                let line = || {
                    if self.long {
                        long_line(name.as_str(), entry)
                    } else {
                        shown(name.as_str()).into_owned()
                    }
                };
                app.output.row(&EntryShape::new(name.as_str(), entry), line)?;
            }
            for prefix in prefixes {
                self.show_prefix(app, prefix)?;
            }
            seen += page.entries.len() + page.prefixes.len();
            match page.next {
                Some(next) => options.after = Some(next),
                None => break,
            }
        }
        if seen == 0 && !self.prefix.is_empty() {
            let message = format!(
                "no entry begins with `{}` in volume `{}`; `holdall ls` shows what there is",
                self.prefix, app.global.volume
            );
            return Err(Failure::NotFound(message));
        }
        Ok(Done::Whole)
    }

    fn show_prefix(&self, app: &App, prefix: &str) -> Result<()> {
        app.output.row(&json!({ "prefix": prefix }), || match self.long {
            true => format!("{:<10} {:>10}  {:<20}  {}", "prefix", "", "", shown(prefix)),
            false => shown(prefix).into_owned(),
        })
    }
}

//! `holdall find`: entries by what is known of them.

use clap::Args;
use holdall::units::parse_size;
use holdall::{Query, Result as StoreResult, Timestamp};

use super::shape::{EntryShape, long_line};
use crate::app::App;
use crate::failure::{Done, Failure, Result};
use crate::output::shown;
use crate::times;

/// Finds entries for which everything holds that is asked for.
#[derive(Args, Debug)]
pub(crate) struct Find {
    /// What the names begin with.
    #[arg(default_value = "")]
    prefix: String,
    /// The whole name is like this: `*` stands for any characters, `?` for one.
    #[arg(long, value_name = "PATTERN")]
    name: Option<String>,
    /// The size: +1MiB for at least, -1MiB for at most, 1MiB for exactly; may be given twice.
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    size: Vec<String>,
    /// Written at this time or later: a time, or how long ago, such as 2h.
    #[arg(long, value_name = "TIME")]
    newer: Option<String>,
    /// Written before this time: a time, or how long ago, such as 30d.
    #[arg(long, value_name = "TIME")]
    older: Option<String>,
    /// The content type, such as image/png or image/*.
    #[arg(long = "type", value_name = "TYPE")]
    content_type: Option<String>,
    /// Has this attribute with this value; may be given several times.
    #[arg(long = "attr", value_name = "KEY=VALUE")]
    attributes: Vec<String>,
    /// At most so many.
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
    /// Shows modes, sizes and times.
    #[arg(long, short)]
    long: bool,
    /// As the volume was then: a time, `2h ago`, `commit:123` or `snapshot:NAME`.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

impl Find {
    pub(crate) async fn run(self, app: &App) -> Result {
        let mut query = self.query(app)?;
        let volume = app.volume().await?;
        let view = app.view(&volume, self.at.as_deref()).await?;
        let mut left = self.limit.unwrap_or(usize::MAX);
        while left > 0 {
            let page = view.find(query.clone()).await?;
            for (name, entry) in page.entries.iter().take(left) {
                let line = || {
                    if self.long {
                        long_line(name.as_str(), entry)
                    } else {
                        shown(name.as_str()).into_owned()
                    }
                };
                app.output.row(&EntryShape::new(name.as_str(), entry), line)?;
            }
            left = left.saturating_sub(page.entries.len());
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        Ok(Done::Whole)
    }

    fn query(&self, app: &App) -> Result<Query> {
        let time = |text: &Option<String>| -> StoreResult<Option<Timestamp>> {
            text.as_deref().map(|text| times::parse(text, app.now())).transpose()
        };
        let mut query = Query {
            prefix: self.prefix.clone(),
            name: self.name.clone(),
            written_after: time(&self.newer)?,
            written_before: time(&self.older)?,
            content_type: self.content_type.clone(),
            attributes: super::put::attributes(&self.attributes)?,
            ..Query::default()
        };
        for size in &self.size {
            let (min, max) = match (size.strip_prefix('+'), size.strip_prefix('-')) {
                (Some(size), _) => (Some(parse_size(size)?), None),
                (_, Some(size)) => (None, Some(parse_size(size)?)),
                _ => (Some(parse_size(size)?), Some(parse_size(size)?)),
            };
            query.size_min = min.or(query.size_min);
            query.size_max = max.or(query.size_max);
        }
        if self.limit == Some(0) {
            return Err(Failure::Usage("--limit is 0; ask for at least 1 entry".to_owned()));
        }
        Ok(query)
    }
}

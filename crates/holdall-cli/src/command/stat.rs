//! `holdall stat`: what is known of one entry.

use clap::Args;
use holdall::Version;
use holdall::units::format_size;

use super::shape::EntryShape;
use crate::app::App;
use crate::failure::{Done, Result};
use crate::output::{Table, shown};
use crate::times;

/// Shows what is known of one entry: size, digest, version, times, attributes.
#[derive(Args, Debug)]
pub(crate) struct Stat {
    /// The entry's name.
    name: String,
    /// This version instead of the present one.
    #[arg(long, conflicts_with = "at")]
    version: Option<Version>,
    /// As the volume was then: a time, `2h ago`, `commit:123` or `snapshot:NAME`.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

impl Stat {
    pub(crate) async fn run(self, app: &App) -> Result {
        let volume = app.volume().await?;
        let at = self.at.as_deref();
        let reading = super::get::find(app, &volume, &self.name, self.version, at).await?;
        let entry = reading.entry();
        if app.output.is_json() {
            app.output.object(&EntryShape::new(&self.name, entry))?;
            return Ok(Done::Whole);
        }
        let mut table = Table::default();
        let mut add = |name: &str, value: String| table.add([name.to_owned(), value]);
        add("name", shown(&self.name).into_owned());
        add("size", format!("{} ({} bytes)", format_size(entry.size), entry.size));
        add("digest", format!("blake3 {}", entry.digest));
        add("version", entry.version.to_string());
        add("written", times::exact(entry.written));
        if let Some(content_type) = &entry.content_type {
            add("content type", shown(content_type).into_owned());
        }
        if let Some(expires) = entry.expires {
            add("expires", times::exact(expires));
        }
        for (key, value) in &entry.attributes {
            add(&shown(key), shown(value).into_owned());
        }
        table.lines().try_for_each(|line| app.output.line(&line))?;
        Ok(Done::Whole)
    }
}

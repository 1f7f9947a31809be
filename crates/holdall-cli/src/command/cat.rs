//! `holdall cat`: writes one entry to standard output.

use std::ops::Range;

use clap::Args;
use futures::TryStreamExt;
use holdall::units::parse_size;
use holdall::{Reading, Version};
use serde_json::json;

use crate::app::App;
use crate::failure::{Done, Failure, Result};

/// The most bytes that are written as JSON.
const JSON_BYTES_MAX: u64 = 16 << 20;

/// Writes one entry to standard output.
///
/// With --json the bytes are in `text` if they are UTF-8, and in `hex` otherwise.
#[derive(Args, Debug)]
pub(crate) struct Cat {
    /// The entry's name.
    name: String,
    /// Only these bytes: from the first up to but without the last, such as 0-1KiB or 4096-.
    #[arg(long, value_name = "FROM-TO")]
    range: Option<String>,
    /// This version instead of the present one; `holdall history` shows which there are.
    #[arg(long, conflicts_with = "at")]
    version: Option<Version>,
    /// As the volume was then: a time, `2h ago`, `commit:123` or `snapshot:NAME`.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

impl Cat {
    pub(crate) async fn run(self, app: &App) -> Result {
        let range = self.range.as_deref().map(parse_range).transpose()?;
        let volume = app.volume().await?;
        let at = self.at.as_deref();
        let reading = super::get::find(app, &volume, &self.name, self.version, at).await?;
        if app.output.is_json() {
            write_json(app, &self.name, &reading, range).await?;
        } else {
            pour(app, &reading, range).await?;
        }
        Ok(Done::Whole)
    }
}

/// Writes an entry's bytes to standard output.
pub(super) async fn pour(app: &App, reading: &Reading, range: Option<Range<u64>>) -> Result<()> {
    let mut stream = Box::pin(reading.stream_range(range.unwrap_or(0..u64::MAX)));
    while let Some(piece) = stream.try_next().await? {
        app.output.bytes(&piece)?;
    }
    Ok(())
}

async fn write_json(
    app: &App,
    name: &str,
    reading: &Reading,
    range: Option<Range<u64>>,
) -> Result<()> {
    let entry = reading.entry();
    let range = range.unwrap_or(0..entry.size);
    let range = range.start.min(entry.size)..range.end.min(entry.size);
    if range.end - range.start > JSON_BYTES_MAX {
        let message = "the entry is too large for JSON; leave out --json, or give a --range";
        return Err(Failure::Usage(message.to_owned()));
    }
    let bytes = reading.range(range).await?;
    let mut object = json!({ "name": name, "version": entry.version, "size": entry.size });
    match std::str::from_utf8(&bytes) {
        Ok(text) => object["text"] = text.into(),
        Err(_) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            object["hex"] = hex.into();
        }
    }
    app.output.object(&object)
}

/// Reads `FROM-TO`, `FROM-` or `-TO`.
fn parse_range(text: &str) -> Result<Range<u64>> {
    let wrong = || {
        let message = format!("`{text}` is no range; write for example 0-1KiB, 4096- or -512");
        Failure::Usage(message)
    };
    let (from, to) = text.split_once('-').ok_or_else(wrong)?;
    let number = |text: &str, default: u64| match text {
        "" => Ok(default),
        text => parse_size(text).map_err(|_| wrong()),
    };
    let range = number(from, 0)?..number(to, u64::MAX)?;
    if range.start > range.end || text == "-" { Err(wrong()) } else { Ok(range) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        assert_eq!(parse_range("0-1KiB").unwrap(), 0..1024);
        assert_eq!(parse_range("4096-").unwrap(), 4096..u64::MAX);
        assert_eq!(parse_range("-512").unwrap(), 0..512);
        for text in ["", "-", "5", "9-5", "a-b", "1-2-3"] {
            assert!(parse_range(text).is_err(), "{text}");
        }
    }
}

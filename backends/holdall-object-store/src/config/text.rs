//! Options between text and values, and locations with a bucket.

use std::time::Duration;

use holdall_core::{Error, Location, Operation, Result};

/// Reads the options of one location.
#[derive(Debug)]
pub(super) struct Reader<'a>(pub(super) &'a Location);

impl Reader<'_> {
    /// The bucket and the prefix.
    pub(super) fn place(&self) -> Result<(String, String)> {
        let bucket = self.0.authority();
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._$".contains(c);
        if bucket.is_empty() || !bucket.chars().all(allowed) {
            let scheme = self.0.scheme();
            return Err(self.invalid(format!(
                "the location names no bucket, or more than a bucket; write \
                 {scheme}://bucket/prefix, with credentials as options"
            )));
        }
        let prefix = self.0.path().trim_start_matches('/').trim_end_matches('/');
        Ok((bucket.to_owned(), prefix.to_owned()))
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.0.option(name).map(str::to_owned)
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>> {
        self.parse(name, "true or false", |text| match text {
            "true" | "on" => Some(true),
            "false" | "off" => Some(false),
            _ => None,
        })
    }

    /// One option, by a function from its text.
    pub(super) fn parse<T>(
        &self,
        name: &str,
        wanted: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(text) = self.0.option(name) else { return Ok(None) };
        match parse(text) {
            Some(value) => Ok(Some(value)),
            None => Err(self.invalid(format!("{name} must be {wanted}"))),
        }
    }

    pub(super) fn invalid(&self, message: impl Into<String>) -> Error {
        Error::invalid(Operation::Open, message).with_location(self.0)
    }
}

/// The location of a bucket and a prefix, without options.
pub(super) fn location(scheme: &str, bucket: &str, prefix: &str) -> Location {
    let path = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
    let without = Location::from_path(scheme, &path);
    let text = without.expose().replacen("://", &format!("://{bucket}"), 1);
    // A bucket that is no part of a location is shown as a path.
    Location::parse(&text).unwrap_or(without)
}

/// The location with those of these options that are there.
pub(super) fn with_texts(mut location: Location, texts: &[(&str, &Option<String>)]) -> Location {
    for (name, text) in texts {
        if let Some(text) = text {
            location = location.with_option(name, text);
        }
    }
    location
}

/// Bytes from a number with or without a unit: `4096`, `8MiB`, `8MB`.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let factor: u64 = match unit {
        "" | "B" => 1,
        "KB" => 1000,
        "MB" => 1000 * 1000,
        "GB" => 1000 * 1000 * 1000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// A length of time: `500ms`, `30s`, `5m`, `1h`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        _ => return None,
    };
    number.checked_mul(millis).filter(|millis| *millis > 0).map(Duration::from_millis)
}

pub(super) fn show_duration(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn sizes_and_times_are_written_as_people_write_them() {
        for (text, wanted) in [
            ("4096", Some(4096)),
            ("12B", Some(12)),
            ("8MiB", Some(8 << 20)),
            ("5MB", Some(5_000_000)),
            ("1 GiB", Some(1 << 30)),
            ("", None),
            ("MiB", None),
            ("-1", None),
            ("1.5GiB", None),
            ("99999999999GiB", None),
        ] {
            assert_eq!(size(text), wanted, "{text}");
        }
        for (text, wanted) in [
            ("500ms", Some(500)),
            ("30s", Some(30_000)),
            ("5m", Some(300_000)),
            ("1h", Some(3_600_000)),
            ("0s", None),
            ("30", None),
            ("1d", None),
        ] {
            assert_eq!(duration(text), wanted.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn a_location_holds_its_bucket_and_prefix() {
        for prefix in ["", "a", "a/b c/ü%?"] {
            let text = location("s3", "bucket.x", prefix).expose();
            let place = Reader(&Location::parse(&text).unwrap()).place().unwrap();
            assert_eq!(place, ("bucket.x".to_owned(), prefix.to_owned()));
        }
        for text in ["s3://", "s3:///x", "s3://user:pw@bucket/x", "s3://host:9000/x"] {
            assert!(Reader(&Location::parse(text).unwrap()).place().is_err(), "{text}");
        }
    }
}

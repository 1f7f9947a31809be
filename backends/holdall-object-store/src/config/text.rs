//! Locations with a bucket, and options that are text.

use holdall_core::{Location, Result};

/// The bucket and the prefix.
pub(super) fn place(location: &Location) -> Result<(String, String)> {
    let bucket = location.authority();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._$".contains(c);
    if bucket.is_empty() || !bucket.chars().all(allowed) {
        let scheme = location.scheme();
        return Err(location.refuse(format!(
            "the location names no bucket, or more than a bucket; write \
             {scheme}://bucket/prefix, with credentials as options"
        )));
    }
    let prefix = location.path().trim_start_matches('/').trim_end_matches('/');
    Ok((bucket.to_owned(), prefix.to_owned()))
}

pub(super) fn text(location: &Location, name: &str) -> Option<String> {
    location.option(name).map(str::to_owned)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_location_holds_its_bucket_and_prefix() {
        for prefix in ["", "a", "a/b c/ü%?"] {
            let text = location("s3", "bucket.x", prefix).expose();
            let found = place(&Location::parse(&text).unwrap()).unwrap();
            assert_eq!(found, ("bucket.x".to_owned(), prefix.to_owned()));
        }
        for text in ["s3://", "s3:///x", "s3://user:pw@bucket/x", "s3://host:9000/x"] {
            assert!(place(&Location::parse(text).unwrap()).is_err(), "{text}");
        }
    }
}

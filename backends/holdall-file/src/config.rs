//! Which folder to use: plain data, read from a location.

use std::path::PathBuf;

use holdall_core::{Error, Location, Operation, Result};

/// What a [`File`](crate::File) backend is opened with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The folder that holds the values, created if it is missing. Absolute.
    pub path: PathBuf,
}

impl Config {
    /// Values in this folder.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Reads `file:///path`. There are no options.
    ///
    /// # Errors
    /// `Invalid` for another scheme, a host, a relative path or any option.
    pub fn from_location(location: &Location) -> Result<Self> {
        let invalid =
            |message: &str| Err(Error::invalid(Operation::Open, message).with_location(location));
        if location.scheme() != "file" {
            return invalid("this is not a file location; write file:///path");
        }
        if !location.authority().is_empty() {
            return invalid("a file location names no host; write three slashes: file:///path");
        }
        if !location.path().starts_with('/') || location.path().contains('\0') {
            return invalid("a file location needs an absolute path; write file:///path");
        }
        location.allow_options(&[])?;
        Ok(Self::new(location.path()))
    }

    /// The location that gives this configuration again. A path that is not UTF-8 is shown with
    /// replacement characters.
    pub fn location(&self) -> Location {
        Location::from_path("file", &self.path.to_string_lossy())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use holdall_core::ErrorKind;

    use super::*;

    #[test]
    fn a_config_survives_a_round_trip() {
        let config = Config::new("/srv/a b/ü%?");
        let text = config.location().expose();
        let parsed = Config::from_location(&Location::parse(&text).unwrap()).unwrap();
        assert_eq!(parsed, config);
    }

    #[test]
    fn wrong_locations_are_refused_with_a_hint() {
        for (text, hint) in [
            ("file://srv/a", "three slashes"),
            ("file://", "absolute"),
            ("lmdb:///srv", "file:///path"),
            ("file:///srv/%00", "absolute"),
            ("file:///srv?sync=no", "no option `sync`"),
        ] {
            let error = Config::from_location(&Location::parse(text).unwrap()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
            assert!(error.message().contains(hint), "{text}: {error}");
        }
    }
}

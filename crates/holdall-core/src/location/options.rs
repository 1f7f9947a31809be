//! Reading the options of a location: one way to say each kind of value, and one kind of answer
//! to a wrong one.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::Location;
use crate::units::{parse_duration, parse_size, write_duration, write_size};
use crate::{Error, Operation, Result};

impl Location {
    /// An option that is a size, such as `64MiB`; nothing if it is not given.
    ///
    /// # Errors
    /// `Invalid` if it is no size or not within these bounds.
    pub fn size(&self, name: &str, allowed: RangeInclusive<u64>) -> Result<Option<u64>> {
        let found = self.option(name).map(|text| parse_size(text).ok());
        self.within(name, "a size", found, &allowed, |size| write_size(*size))
    }

    /// An option that is a duration, such as `30s`; nothing if it is not given.
    ///
    /// # Errors
    /// `Invalid` if it is no duration or not within these bounds.
    pub fn duration(
        &self,
        name: &str,
        allowed: RangeInclusive<Duration>,
    ) -> Result<Option<Duration>> {
        let found = self.option(name).map(|text| parse_duration(text).ok());
        self.within(name, "a time", found, &allowed, |time| write_duration(*time))
    }

    /// An option that is a whole number; nothing if it is not given.
    ///
    /// # Errors
    /// `Invalid` if it is no number or not within these bounds.
    pub fn number<T>(&self, name: &str, allowed: RangeInclusive<T>) -> Result<Option<T>>
    where
        T: FromStr + PartialOrd + Display,
    {
        let found = self.option(name).map(|text| text.parse().ok());
        self.within(name, "a whole number", found, &allowed, T::to_string)
    }

    /// An option that is `true` or `false`; nothing if it is not given.
    ///
    /// # Errors
    /// `Invalid` if it is neither.
    pub fn flag(&self, name: &str) -> Result<Option<bool>> {
        self.choice(name, &[("true", true), ("false", false)])
    }

    /// An option that is one of these words, in small or capital letters, and what it stands for;
    /// nothing if it is not given.
    ///
    /// # Errors
    /// `Invalid`, with the words.
    pub fn choice<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Result<Option<T>> {
        let Some(text) = self.option(name) else { return Ok(None) };
        let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
        if let Some((_, meaning)) = found {
            return Ok(Some(*meaning));
        }
        let (last, first) = words.split_last().map_or(("nothing", words), |((l, _), f)| (*l, f));
        let first: Vec<&str> = first.iter().map(|(word, _)| *word).collect();
        Err(self.refuse(format!("{name} must be {} or {last}", first.join(", "))))
    }

    /// An error about this location.
    pub fn refuse(&self, message: impl Into<String>) -> Error {
        Error::invalid(Operation::Open, message).with_location(self)
    }

    fn within<T: PartialOrd>(
        &self,
        name: &str,
        kind: &str,
        found: Option<Option<T>>,
        allowed: &RangeInclusive<T>,
        shown: impl Fn(&T) -> String,
    ) -> Result<Option<T>> {
        match found {
            None => Ok(None),
            Some(Some(value)) if allowed.contains(&value) => Ok(Some(value)),
            Some(_) => {
                let (from, to) = (shown(allowed.start()), shown(allowed.end()));
                Err(self.refuse(format!("{name} must be {kind} from {from} to {to}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_people_write_them_and_kept_within_bounds() {
        let text = "x:///?size=64MiB&time=1m30s&count=7&on=TRUE&mode=fast&bad=-1";
        let location = Location::parse(text).unwrap();
        assert_eq!(location.size("size", 0..=1 << 30).unwrap(), Some(64 << 20));
        let hour = Duration::ZERO..=Duration::from_secs(3600);
        assert_eq!(location.duration("time", hour).unwrap(), Some(Duration::from_secs(90)));
        assert_eq!(location.number("count", 7..=7).unwrap(), Some(7));
        assert_eq!(location.flag("on").unwrap(), Some(true));
        let words = [("safe", 1), ("fast", 2), ("off", 3)];
        assert_eq!(location.choice("mode", &words).unwrap(), Some(2));
        assert_eq!(location.size("none", 0..=1).unwrap(), None);
        assert_eq!(location.flag("none").unwrap(), None);
        let refused = |error: Error| error.message().to_owned();
        for (message, expected) in [
            (
                refused(location.size("size", 0..=1 << 20).unwrap_err()),
                "size must be a size from 0B to 1MiB",
            ),
            (
                refused(location.number("bad", 0..=9_u16).unwrap_err()),
                "bad must be a whole number from 0 to 9",
            ),
            (
                refused(
                    location
                        .duration("mode", Duration::ZERO..=Duration::from_millis(1500))
                        .unwrap_err(),
                ),
                "mode must be a time from 0s to 1500ms",
            ),
            (refused(location.flag("mode").unwrap_err()), "mode must be true or false"),
            (refused(location.choice("bad", &words).unwrap_err()), "bad must be safe, fast or off"),
        ] {
            assert_eq!(message, expected);
        }
    }
}

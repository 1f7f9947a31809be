//! Points in time as people write them: RFC 3339, a day, or how long ago.

use holdall::units::parse_duration;
use holdall::{At, Error, Name, Operation, Timestamp};

/// A time for people, to the second, in UTC.
pub(crate) fn short(time: Timestamp) -> String {
    match moment(time) {
        Some(time) => time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        None => time.to_string(),
    }
}

/// A time for programs: RFC 3339 with all its digits, in UTC.
pub(crate) fn exact(time: Timestamp) -> String {
    moment(time).map_or_else(|| time.to_string(), |time| time.to_string())
}

fn moment(time: Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_microsecond(i64::try_from(time.as_micros()).ok()?).ok()
}

/// Reads `2026-11-20T10:00:00Z`, `2026-11-20` (midnight in UTC), `2h` or `2h ago`.
pub(crate) fn parse(text: &str, now: Timestamp) -> holdall::Result<Timestamp> {
    let wrong = || {
        let message = format!(
            "`{text}` is no time; write for example 2026-11-20T10:00:00Z, 2026-11-20 or `2h ago`"
        );
        Error::invalid(Operation::Configure, message)
    };
    let trimmed = text.trim();
    if trimmed == "now" {
        return Ok(now);
    }
    let ago = trimmed.strip_suffix("ago").unwrap_or(trimmed).trim();
    if let Ok(duration) = parse_duration(ago)
        && ago.ends_with(|c: char| c.is_ascii_alphabetic())
    {
        return Ok(now.minus(duration));
    }
    let time: jiff::Timestamp = match trimmed.parse::<jiff::Timestamp>() {
        Ok(time) => time,
        Err(_) => {
            let day: jiff::civil::Date = trimmed.parse().map_err(|_| wrong())?;
            // A date's parser takes a time of day behind it as well, and would drop it.
            if trimmed.len() > "2026-11-20".len() {
                return Err(wrong());
            }
            day.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| wrong())?.timestamp()
        }
    };
    u64::try_from(time.as_microsecond()).map(Timestamp::from_micros).map_err(|_| wrong())
}

/// Reads what `--at` takes: a time, `commit:123` or `snapshot:NAME`.
pub(crate) fn parse_at(text: &str, now: Timestamp) -> holdall::Result<At> {
    if let Some(number) = text.strip_prefix("commit:") {
        let number = number.parse().map_err(|_| {
            let message =
                format!("`{number}` is no number of a commit; `holdall history` has them");
            Error::invalid(Operation::Configure, message)
        })?;
        return Ok(At::Commit(number));
    }
    if let Some(name) = text.strip_prefix("snapshot:") {
        return Ok(At::Snapshot(Name::parse(name)?));
    }
    parse(text, now).map(At::Time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let now = Timestamp::from_micros(1_800_000_000_000_000);
        for (text, seconds) in [
            ("2h ago", 1_800_000_000 - 7200),
            ("90m", 1_800_000_000 - 5400),
            ("now", 1_800_000_000),
            ("1970-01-02", 86_400),
            ("1970-01-01T00:00:10Z", 10),
            ("1970-01-01T02:00:00+01:00", 3600),
        ] {
            let time = parse(text, now).unwrap();
            assert_eq!(time.as_micros(), seconds * 1_000_000, "{text}");
        }
        for text in ["", "yesterday", "2026-13-01", "12", "2026-11-20T10", "1960-01-01", "-1h"] {
            assert!(parse(text, now).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_shown_in_utc() {
        let time = Timestamp::from_micros(1_709_210_096_123_456);
        assert_eq!(short(time), "2024-02-29T12:34:56Z");
        assert_eq!(exact(time), "2024-02-29T12:34:56.123456Z");
        assert_eq!(parse(&exact(time), time).unwrap(), time);
    }

    #[test]
    fn moments_may_be_commits_and_snapshots() {
        let now = Timestamp::from_micros(1_800_000_000_000_000);
        assert!(matches!(parse_at("commit:7", now), Ok(At::Commit(7))));
        assert!(matches!(parse_at("snapshot:a", now), Ok(At::Snapshot(_))));
        assert!(parse_at("commit:x", now).is_err());
    }
}

//! Sizes and durations as people write them: `64MiB`, `30d`.

use std::time::Duration;

use crate::{Error, Operation, Result};

const SIZES: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

const DURATIONS: [(&str, u64); 9] = [
    ("ms", 1_000),
    ("us", 1),
    ("y", 365 * DAY),
    ("w", 7 * DAY),
    ("d", DAY),
    ("h", 3600 * SECOND),
    ("m", 60 * SECOND),
    ("s", SECOND),
    ("", SECOND),
];
/// The units in which durations are shown, from the largest.
const UNITS: [(&str, u64); 6] =
    [("d", DAY), ("h", 3600 * SECOND), ("m", 60 * SECOND), ("s", SECOND), ("ms", 1000), ("us", 1)];
const SECOND: u64 = 1_000_000;
const DAY: u64 = 86_400 * SECOND;

/// Bytes from a number with or without a unit: `4096`, `64MiB`, `1.5GiB`. The units are `B`,
/// `KiB`, `MiB`, `GiB` and `TiB`, and `K`, `M`, `G`, `T` for short.
///
/// # Errors
/// `Invalid`, with examples.
pub fn parse_size(text: &str) -> Result<u64> {
    let wrong = || {
        let message = format!("`{text}` is no size; write for example 4096, 64MiB or 1.5GiB");
        Error::invalid(Operation::Configure, message)
    };
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let unit = unit.trim();
    let factor = if unit.is_empty() {
        1
    } else {
        let known = SIZES.iter().find(|(name, _)| {
            name.eq_ignore_ascii_case(unit)
                || (name.len() == 3 && name[..1].eq_ignore_ascii_case(unit))
        });
        known.ok_or_else(wrong)?.1
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).unwrap_or(u32::MAX));
    let scale = scale.filter(|_| fraction.len() <= 18).ok_or_else(wrong)?;
    let fraction: u128 = fraction.parse().map_err(|_| wrong())?;
    let part = u64::try_from(fraction * u128::from(factor) / scale).map_err(|_| wrong())?;
    whole.checked_mul(factor).and_then(|bytes| bytes.checked_add(part)).ok_or_else(wrong)
}

/// Bytes for a person, in three or four digits: `512 B`, `1.50 GiB`.
pub fn format_size(bytes: u64) -> String {
    let found = SIZES.iter().find(|(_, factor)| bytes >= *factor && *factor > 1);
    let Some((unit, factor)) = found else {
        return format!("{bytes} B");
    };
    let value = bytes as f64 / *factor as f64;
    match value {
        value if value >= 100.0 => format!("{value:.0} {unit}"),
        value if value >= 10.0 => format!("{value:.1} {unit}"),
        value => format!("{value:.2} {unit}"),
    }
}

/// Bytes in the largest unit that shows them exactly, as [`parse_size`] reads them: `64MiB`.
pub fn write_size(bytes: u64) -> String {
    let exact = SIZES.iter().find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor));
    exact.map_or_else(|| format!("{bytes}B"), |(unit, factor)| format!("{}{unit}", bytes / factor))
}

/// A duration from numbers with units: `30d`, `90s`, `1h30m`, `250ms`. The units are `us`, `ms`,
/// `s`, `m`, `h`, `d`, `w` and `y` (365 days); a number alone is seconds.
///
/// # Errors
/// `Invalid`, with examples.
pub fn parse_duration(text: &str) -> Result<Duration> {
    let wrong = || {
        let message = format!("`{text}` is no duration; write for example 90s, 1h30m or 30d");
        Error::invalid(Operation::Configure, message)
    };
    let mut rest = text.trim();
    let mut micros = 0_u64;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit = &rest[..letters];
        let (_, factor) = DURATIONS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let more = number.checked_mul(*factor).ok_or_else(wrong)?;
        micros = micros.checked_add(more).ok_or_else(wrong)?;
        rest = rest[letters..].trim_start();
    }
    Ok(Duration::from_micros(micros))
}

/// A duration in the largest unit from days down that shows it exactly, as [`parse_duration`]
/// reads it: `90s`. Parts of a microsecond are cut off.
pub fn write_duration(duration: Duration) -> String {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    if micros == 0 {
        return "0s".to_owned();
    }
    let exact = UNITS.iter().find(|(_, factor)| micros.is_multiple_of(*factor));
    exact.map_or_else(
        || format!("{micros}us"),
        |(unit, factor)| format!("{}{unit}", micros / factor),
    )
}

/// A duration for a person, in at most two units that [`parse_duration`] reads: `30d`, `1h30m`.
pub fn format_duration(duration: Duration) -> String {
    let mut micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let mut text = String::new();
    let mut parts = 0;
    for (unit, factor) in UNITS {
        let count = micros / factor;
        micros %= factor;
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
            parts += 1;
        }
        // A second unit is the one right behind the first, or none.
        if parts == 2 || (parts == 1 && count == 0) {
            break;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// The name among these that was most likely meant, if one is near enough to be worth naming.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distances = known.into_iter().map(|name| (edit_distance(name, word), name));
    let (distance, name) = distances.min()?;
    (distance <= 2.max(word.chars().count() / 2)).then_some(name)
}

/// The number of single-letter changes between two words (Levenshtein).
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (at, a) in left.chars().enumerate() {
        let mut diagonal = at;
        let mut before = at + 1;
        for (slot, b) in row.iter_mut().skip(1).zip(&right) {
            let cost = diagonal + usize::from(a != *b);
            diagonal = *slot;
            before = cost.min(diagonal + 1).min(before + 1);
            *slot = before;
        }
        row[0] = at + 1;
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("12B", 12),
            ("64MiB", 64 << 20),
            ("64 mib", 64 << 20),
            ("10G", 10 << 30),
            ("1.5GiB", 3 << 29),
            ("0.5K", 512),
        ] {
            assert_eq!(parse_size(text).unwrap(), bytes, "{text}");
        }
        for text in ["", "MiB", "64MB", "-1", "1.2.3G", "99999999TiB", "1,5G", "ten", "."] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("1h30m", 5400), ("30d", 2_592_000)] {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_secs(seconds), "{text}");
        }
        assert_eq!(parse_duration("250ms").unwrap(), Duration::from_millis(250));
        for text in ["", "d", "1x", "-1h", "1.5h", "99999999999999y"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_reads_well() {
        assert_eq!(format_size(0), "0 B");
        assert_eq!(format_size(1023), "1023 B");
        assert_eq!(format_size(1536), "1.50 KiB");
        assert_eq!(format_size(100 << 30), "100 GiB");
        for (text, shown) in [("0s", "0s"), ("30d", "30d"), ("90m", "1h30m"), ("3601s", "1h")] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), shown, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        for (bytes, text) in [(0, "0B"), (1, "1B"), (1 << 20, "1MiB"), (1536, "1536B")] {
            assert_eq!(write_size(bytes), text);
            assert_eq!(parse_size(text).unwrap(), bytes);
        }
        for (micros, text) in [(0, "0s"), (1_500_000, "1500ms"), (7, "7us"), (90_000_000, "90s")] {
            assert_eq!(write_duration(Duration::from_micros(micros)), text);
            assert_eq!(parse_duration(text).unwrap(), Duration::from_micros(micros));
        }
    }

    #[test]
    fn the_nearest_name_is_found_and_far_ones_are_not() {
        assert_eq!(nearest("defualt", ["default", "photos"]), Some("default"));
        assert_eq!(nearest("xyzzy", ["default", "photos"]), None);
    }
}

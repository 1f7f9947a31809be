//! What all object stores have in common.

use std::ops::RangeInclusive;
use std::time::Duration;

use holdall_core::units::{write_duration, write_size};
use holdall_core::{Conditions, Location, Result};

use super::text::text;
use crate::names::NAME_BYTES_MAX;

/// How a bucket is used, whatever store it is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What every object's name begins with, before a slash. Empty is the whole bucket.
    pub prefix: String,
    /// Values of more bytes are uploaded in parts of this size, from 5 MiB to 5 GiB.
    pub part_size: u64,
    /// How many parts, or values of one call, are on their way at the same time.
    pub concurrency: usize,
    /// How many parts an upload may have, at most 10,000.
    pub max_parts: usize,
    /// How long the upload of a value of more than `part_size` may take.
    pub upload_timeout: Duration,
    /// How long the answer to any other request may take. Where a client brings its own time
    /// limits for reading, those hold.
    pub timeout: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How often reading and listing are asked again. Writes are sent once.
    pub retries: usize,
    /// The storage class (S3, Google) or access tier (Azure) of values.
    pub storage_class: Option<String>,
    /// Whether every key is written in hexadecimal: for servers that keep objects as files, on
    /// which `a` and `a/b` cannot both be.
    pub flat: bool,
    /// The longest name of an object that the store takes, with the prefix, in bytes: 256 to
    /// 1,024.
    pub name_bytes_max: usize,
    /// Whether opening tries out what the store really does.
    pub probe: bool,
    /// The conditions that the profile says. With the probe: no more than these, and opening
    /// fails if the store keeps less. Without: taken on trust, and it must be said.
    pub conditional: Option<Conditions>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            prefix: String::new(),
            part_size: 8 << 20,
            concurrency: 5,
            max_parts: 10_000,
            upload_timeout: Duration::from_secs(60 * 60),
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            retries: 3,
            storage_class: None,
            flat: false,
            name_bytes_max: NAME_BYTES_MAX,
            probe: true,
            conditional: None,
        }
    }
}

/// The names of these options in a location.
pub(super) const NAMES: [&str; 12] = [
    "part_size",
    "concurrency",
    "max_parts",
    "upload_timeout",
    "timeout",
    "connect_timeout",
    "retries",
    "storage_class",
    "names",
    "name_bytes_max",
    "probe",
    "conditional",
];

const PART_SIZE: RangeInclusive<u64> = 5 << 20..=5 << 30;
const TIMES: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(7 * 24 * 60 * 60);
const CONDITIONS: [(&str, Conditions); 3] = [
    ("none", Conditions::None),
    ("absent", Conditions::Absent),
    ("revision", Conditions::Revision),
];

impl Options {
    pub(super) fn read(location: &Location, prefix: String) -> Result<Self> {
        let some = Self::default();
        let number = |name, allowed, usual| Ok(location.number(name, allowed)?.unwrap_or(usual));
        let time = |name, usual| Ok(location.duration(name, TIMES)?.unwrap_or(usual));
        let part_size = match location.option("part_size") {
            // The documents of S3 call 5 MiB "5MB".
            Some("5MB") => Some(*PART_SIZE.start()),
            _ => location.size("part_size", PART_SIZE)?,
        };
        let flat = location.choice("names", &[("plain", false), ("flat", true)])?;
        let words = [("true", true), ("false", false), ("on", true), ("off", false)];
        let options = Self {
            prefix,
            part_size: part_size.unwrap_or(some.part_size),
            concurrency: number("concurrency", 1..=1000, some.concurrency)?,
            max_parts: number("max_parts", 1..=10_000, some.max_parts)?,
            upload_timeout: time("upload_timeout", some.upload_timeout)?,
            timeout: time("timeout", some.timeout)?,
            connect_timeout: time("connect_timeout", some.connect_timeout)?,
            retries: number("retries", 0..=100, some.retries)?,
            storage_class: text(location, "storage_class"),
            flat: flat.unwrap_or(some.flat),
            name_bytes_max: number("name_bytes_max", 256..=NAME_BYTES_MAX, some.name_bytes_max)?,
            probe: location.choice("probe", &words)?.unwrap_or(some.probe),
            conditional: location.choice("conditional", &CONDITIONS)?,
        };
        if !options.probe && options.conditional.is_none() {
            let message = "with probe=off nothing is known about the store; say \
                           conditional=none, absent or revision, or leave the probe on";
            return Err(location.refuse(message));
        }
        Ok(options)
    }

    pub(super) fn write(&self, mut location: Location) -> Location {
        let some = Self::default();
        let mut set = |name: &str, is_default: bool, text: String| {
            if !is_default {
                location = location.clone().with_option(name, &text);
            }
        };
        let flag = |on: bool| if on { "on" } else { "off" }.to_owned();
        set("part_size", self.part_size == some.part_size, write_size(self.part_size));
        set("concurrency", self.concurrency == some.concurrency, self.concurrency.to_string());
        set("max_parts", self.max_parts == some.max_parts, self.max_parts.to_string());
        let times = [
            ("upload_timeout", self.upload_timeout, some.upload_timeout),
            ("timeout", self.timeout, some.timeout),
            ("connect_timeout", self.connect_timeout, some.connect_timeout),
        ];
        for (name, time, default) in times {
            set(name, time == default, write_duration(time));
        }
        set("retries", self.retries == some.retries, self.retries.to_string());
        let class = self.storage_class.clone();
        set("storage_class", class.is_none(), class.unwrap_or_default());
        let names = if self.flat { "flat" } else { "plain" };
        set("names", self.flat == some.flat, names.to_owned());
        let longest = self.name_bytes_max;
        set("name_bytes_max", longest == some.name_bytes_max, longest.to_string());
        set("probe", self.probe == some.probe, flag(self.probe));
        let conditional = self.conditional.map(show_conditions).unwrap_or_default();
        set("conditional", self.conditional.is_none(), conditional.to_owned());
        location
    }

    /// The largest value: what the parts hold, and no more than is sensible to hold in memory.
    pub(crate) fn value_bytes_max(&self) -> u64 {
        let parts = u64::try_from(self.max_parts).unwrap_or(u64::MAX);
        self.part_size.saturating_mul(parts).min(512 << 20)
    }
}

/// Conditions as they are written in a location.
pub(crate) fn show_conditions(conditions: Conditions) -> &'static str {
    let found = CONDITIONS.iter().find(|(_, meaning)| *meaning == conditions);
    found.map_or("", |(word, _)| word)
}

//! What an engine is opened with: plain data that could stand in a text file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use holdall_core::{Error, Location, Operation, Result};
use holdall_volume::format::policy::{Compression, Policy, Tier};

use crate::config::{BackendConfig, parse_jobs, parse_lifecycle};
use crate::units::{nearest, parse_duration, parse_size};

const FIELDS: [&str; 7] = ["catalog", "data", "holder", "calls_max", "deadline", "stats", "zone"];
const POLICY_FIELDS: [&str; 11] = [
    "quota",
    "history",
    "compression",
    "inline",
    "segment",
    "grace",
    "lease",
    "indexed",
    "jobs",
    "lifecycle",
    "alert",
];

/// What an engine is opened with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where the catalogs of all volumes are: a backend that applies batches all or nothing.
    pub catalog: BackendConfig,
    /// Where segments, logs and checkpoints are: the first place, if there are several.
    pub data: BackendConfig,
    /// All places of the data by name, `data` included, if there are several.
    pub places: Vec<(String, BackendConfig)>,
    /// How many copies of the data there are, and where, if something was said of it.
    pub tiers: Vec<Tier>,
    /// The zone that this runs in: its places are nearest.
    pub zone: Option<String>,
    /// Who this is, for the message that another process gets which wants the same catalog: the
    /// program's name and what it does, without secrets.
    pub holder: String,
    /// How many calls may be under way on a backend at once.
    pub calls_max: usize,
    /// How long a call of a backend may take; none is for ever.
    pub deadline: Option<Duration>,
    /// The folder in which the figures of backends are kept beyond the process, made if the
    /// folder that it is in is there; none keeps none.
    pub stats: Option<PathBuf>,
}

impl Settings {
    /// A folder on this machine: the catalog in `catalog`, the data in `data`, and in `stats` the
    /// figures of backends.
    ///
    /// # Errors
    /// `Invalid` if the path is empty, or not UTF-8, which locations are.
    pub fn home(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let absolute = std::path::absolute(path).map_err(|source| {
            let message = "the home folder's path cannot be used; give another";
            Error::invalid(Operation::Configure, message).with_source(source)
        })?;
        let text = absolute.to_str().ok_or_else(|| {
            let message = "the home folder's path is not UTF-8; give another";
            Error::invalid(Operation::Configure, message)
        })?;
        let text = text.trim_end_matches('/');
        let settings = Self::new(
            Location::from_path("journal+lmdb", &format!("{text}/catalog")),
            Location::from_path("file", &format!("{text}/data")),
        );
        Ok(Self { stats: Some(Path::new(text).join("stats")), ..settings })
    }

    /// In memory, gone with the process: for tests and trying out.
    pub fn memory() -> Self {
        Self::new(Location::from_path("memory", ""), Location::from_path("memory", ""))
    }

    /// These two locations, and defaults for the rest.
    pub fn new(catalog: impl Into<BackendConfig>, data: impl Into<BackendConfig>) -> Self {
        Self {
            catalog: catalog.into(),
            data: data.into(),
            places: Vec::new(),
            tiers: Vec::new(),
            zone: None,
            holder: "holdall".to_owned(),
            calls_max: 1024,
            deadline: Some(Duration::from_secs(120)),
            stats: None,
        }
    }

    /// Sets a field from text, as it would stand in a file.
    ///
    /// # Errors
    /// `Invalid` if there is no such field, naming the nearest, or the text does not fit it.
    pub fn set(&mut self, field: &str, text: &str) -> Result<()> {
        match field {
            "catalog" => self.catalog = parse_location(text)?.into(),
            "data" => {
                self.data = parse_location(text)?.into();
                self.places.clear();
                self.tiers.clear();
            }
            "zone" => self.zone = unless_none(text, |text| Ok(text.to_owned()))?,
            "holder" => text.clone_into(&mut self.holder),
            "calls_max" => {
                self.calls_max = text.parse().map_err(|_| {
                    let message = "calls_max must be a whole number, such as 1024";
                    Error::invalid(Operation::Configure, message)
                })?;
            }
            "deadline" => self.deadline = unless_none(text, parse_duration)?,
            "stats" => self.stats = unless_none(text, |text| Ok(PathBuf::from(text)))?,
            _ => return Err(unknown_field("settings have", field, &FIELDS)),
        }
        Ok(())
    }
}

/// Parses a location; `memory:` may be written without slashes.
///
/// # Errors
/// As [`Location::parse`].
pub fn parse_location(text: &str) -> Result<Location> {
    Location::parse(if text == "memory:" { "memory://" } else { text })
}

/// Sets a field of a policy from text: `quota`, `history`, `compression`, `inline`, `segment`,
/// `grace`, `lease`, `indexed` (attributes with commas between them), `jobs`,
/// `lifecycle` (both YAML, as in a configuration) or `alert`.
///
/// # Errors
/// `Invalid` if there is no such field, naming the nearest, or the text does not fit it.
pub fn set_policy_field(policy: &mut Policy, field: &str, text: &str) -> Result<()> {
    let bytes = |text: &str| {
        u32::try_from(parse_size(text)?).map_err(|_| {
            let message = format!("{field} is too large; give less than 4GiB");
            Error::invalid(Operation::Configure, message)
        })
    };
    match field {
        "quota" => policy.quota_bytes = unless_none(text, parse_size)?,
        "history" => policy.history = unless_none(text, parse_duration)?.unwrap_or_default(),
        "compression" => policy.compression = parse_compression(text)?,
        "inline" => policy.inline_bytes_max = bytes(text)?,
        "segment" => policy.segment_bytes = bytes(text)?,
        "grace" => policy.grace = parse_duration(text)?,
        "lease" => policy.lease = parse_duration(text)?,
        "indexed" => {
            let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
            policy.indexed = names.map(str::to_owned).collect();
        }
        "jobs" => policy.jobs = parse_jobs(text)?,
        "lifecycle" => policy.lifecycle = parse_lifecycle(text)?,
        "alert" => policy.alert_percent = unless_none(text, parse_percent)?,
        _ => return Err(unknown_field("a policy has", field, &POLICY_FIELDS)),
    }
    policy.check()
}

/// Parses `none`, `lz4`, `zstd` or `zstd:3`.
///
/// # Errors
/// `Invalid`, with what is allowed.
pub fn parse_compression(text: &str) -> Result<Compression> {
    let wrong = || {
        let message = format!("`{text}` is no compression; write none, lz4, zstd or zstd:1 to 19");
        Error::invalid(Operation::Configure, message)
    };
    match text.split_once(':') {
        None if text == "none" => Ok(Compression::None),
        None if text == "lz4" => Ok(Compression::Lz4),
        None if text == "zstd" => Ok(Compression::Zstd { level: 1 }),
        Some(("zstd", level)) => {
            let level = level.parse().ok().filter(|level| (1..=19).contains(level));
            Ok(Compression::Zstd { level: level.ok_or_else(wrong)? })
        }
        _ => Err(wrong()),
    }
}

/// A compression as [`parse_compression`] reads it.
pub fn format_compression(compression: Compression) -> String {
    match compression {
        Compression::None => "none".to_owned(),
        Compression::Lz4 => "lz4".to_owned(),
        Compression::Zstd { level } => format!("zstd:{level}"),
    }
}

fn parse_percent(text: &str) -> Result<u8> {
    text.trim_end_matches('%').trim().parse().map_err(|_| {
        let message = format!("`{text}` is no part of a quota; write for example 80%");
        Error::invalid(Operation::Configure, message)
    })
}

fn unless_none<T>(text: &str, parse: impl Fn(&str) -> Result<T>) -> Result<Option<T>> {
    if text == "none" { Ok(None) } else { parse(text).map(Some) }
}

fn unknown_field(owner: &str, field: &str, known: &[&str]) -> Error {
    let hint = nearest(field, known.iter().copied()).map_or_else(
        || format!("the fields are {}", known.join(", ")),
        |nearest| format!("did you mean `{nearest}`?"),
    );
    let message = format!("{owner} no field `{field}`; {hint}");
    Error::invalid(Operation::Configure, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn fields_are_set_from_text_and_unknown_ones_name_the_nearest() {
        let mut settings = Settings::memory();
        settings.set("data", "file:///srv/data").unwrap();
        settings.set("deadline", "none").unwrap();
        assert_eq!(settings.data.location, Location::from_path("file", "/srv/data"));
        assert_eq!(settings.deadline, None);
        let error = settings.set("cataloge", "memory:").unwrap_err();
        assert!(error.message().contains("did you mean `catalog`"), "{error}");

        let mut policy = Policy::default();
        for (field, text) in
            [("quota", "10GiB"), ("history", "7d"), ("compression", "zstd:3"), ("indexed", "a, b")]
        {
            set_policy_field(&mut policy, field, text).unwrap();
        }
        assert_eq!(policy.quota_bytes, Some(10 << 30));
        assert_eq!(policy.compression, Compression::Zstd { level: 3 });
        assert_eq!(policy.indexed.len(), 2);
        set_policy_field(&mut policy, "quota", "none").unwrap();
        assert_eq!(policy.quota_bytes, None);
        let error = set_policy_field(&mut policy, "quotta", "1").unwrap_err();
        assert!(error.message().contains("did you mean `quota`"), "{error}");
        for text in ["zstd:0", "zstd:20", "gzip", "lz4:1", ""] {
            assert!(set_policy_field(&mut policy, "compression", text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_home_is_two_locations() {
        let settings = Settings::home("/srv/holdall/").unwrap();
        assert_eq!(settings.catalog.location.to_string(), "journal+lmdb:///srv/holdall/catalog");
        assert_eq!(settings.data.location.to_string(), "file:///srv/holdall/data");
        assert!(Settings::home("").is_err());
    }
}

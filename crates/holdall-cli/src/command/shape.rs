//! How entries and other things look that several commands show.

use std::collections::BTreeMap;

use holdall::units::format_size;
use holdall::{Entry, JobPolicy, LifecycleRule, Policy, Version, units};
use serde::Serialize;

use crate::output::shown;
use crate::times;

/// An entry as an object.
#[derive(Debug, Serialize)]
pub(crate) struct EntryShape<'a> {
    name: &'a str,
    version: Version,
    size: u64,
    written: String,
    digest: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    attributes: &'a BTreeMap<String, String>,
}

impl<'a> EntryShape<'a> {
    /// As an object.
    pub(crate) fn new(name: &'a str, entry: &'a Entry) -> Self {
        Self {
            name,
            version: entry.version,
            size: entry.size,
            written: times::exact(entry.written),
            digest: entry.digest.to_string(),
            content_type: entry.content_type.as_deref(),
            expires: entry.expires.map(times::exact),
            attributes: &entry.attributes,
        }
    }
}

/// An entry as a long line: mode, size, time, name.
pub(crate) fn long_line(name: &str, entry: &Entry) -> String {
    let get = |key: &str| entry.attributes.get(key).map_or("", String::as_str);
    let kind = match get("unix.kind") {
        "directory" => 'd',
        "symlink" => 'l',
        _ => '-',
    };
    let mode = match u32::from_str_radix(get("unix.mode"), 8) {
        Ok(mode) => letters(mode),
        Err(_) => "---------".to_owned(),
    };
    let target = match get("unix.target") {
        "" => String::new(),
        target => format!(" -> {}", shown(target)),
    };
    let (size, time) = (format_size(entry.size), times::short(entry.written));
    format!("{kind}{mode} {size:>10}  {time}  {}{target}", shown(name))
}

fn letters(mode: u32) -> String {
    let bits = "rwxrwxrwx".chars().enumerate();
    bits.map(|(at, letter)| if mode >> (8 - at) & 1 == 1 { letter } else { '-' }).collect()
}

/// What a volume is told to do, as an object.
#[derive(Debug, Serialize)]
pub(crate) struct PolicyShape {
    quota_bytes: Option<u64>,
    pub(super) history: String,
    pub(super) compression: String,
    inline_bytes_max: u32,
    segment_bytes: u32,
    grace: String,
    lease: String,
    indexed: Vec<String>,
    jobs: BTreeMap<String, serde_json::Value>,
    lifecycle: Vec<serde_json::Value>,
    alert: String,
}

impl From<&Policy> for PolicyShape {
    fn from(policy: &Policy) -> Self {
        Self {
            quota_bytes: policy.quota_bytes,
            history: units::format_duration(policy.history),
            compression: holdall::format_compression(policy.compression),
            inline_bytes_max: policy.inline_bytes_max,
            segment_bytes: policy.segment_bytes,
            grace: units::format_duration(policy.grace),
            lease: units::format_duration(policy.lease),
            indexed: policy.indexed.iter().cloned().collect(),
            lifecycle: policy.lifecycle.iter().map(rule_shape).collect(),
            alert: policy.alert_percent.map_or_else(|| "none".to_owned(), |p| format!("{p}%")),
            jobs: policy.jobs.iter().map(|(name, job)| (name.clone(), job_shape(job))).collect(),
        }
    }
}

/// What a volume is told of a job, as it would stand in a configuration.
fn job_shape(job: &JobPolicy) -> serde_json::Value {
    if job.off {
        return "off".into();
    }
    let every = job.every.map(units::write_duration);
    let rate = job.rate_bytes.map(units::write_size);
    let fields =
        [("schedule", &job.schedule), ("zone", &job.zone), ("every", &every), ("rate", &rate)];
    let said = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value.clone()?.into())));
    serde_json::Value::Object(said.collect())
}

/// A lifecycle rule, as it would stand in a configuration.
fn rule_shape(rule: &LifecycleRule) -> serde_json::Value {
    let mut shape = serde_json::Map::new();
    let mut say = |name: &str, value: Option<serde_json::Value>| {
        shape.extend(value.map(|value| (name.to_owned(), value)));
    };
    say("prefix", (!rule.prefix.is_empty()).then(|| rule.prefix.as_str().into()));
    say("attributes", (!rule.attributes.is_empty()).then(|| serde_json::json!(rule.attributes)));
    say("larger", rule.larger.map(|bytes| units::write_size(bytes).into()));
    say("smaller", rule.smaller.map(|bytes| units::write_size(bytes).into()));
    say("expire", rule.expire.map(|expire| units::write_duration(expire).into()));
    shape.into()
}

/// How much of a quota is used, as a bar of twenty places.
pub(crate) fn bar(used: u64, of: u64) -> String {
    let places = 20;
    let part = if of == 0 { 1.0 } else { (used as f64 / of as f64).clamp(0.0, 1.0) };
    let full = (part * f64::from(places)).round() as usize;
    let percent = part * 100.0;
    format!("[{}{}] {percent:.1} %", "#".repeat(full), "-".repeat(places as usize - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_and_modes_are_drawn() {
        assert_eq!(bar(0, 10), "[--------------------] 0.0 %");
        assert_eq!(bar(5, 10), "[##########----------] 50.0 %");
        assert_eq!(bar(20, 10), "[####################] 100.0 %");
        assert_eq!(letters(0o754), "rwxr-xr--");
    }
}

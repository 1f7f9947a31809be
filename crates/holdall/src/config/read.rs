//! From the tree of texts to a configuration. What is wrong is noted, and reading goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use holdall_core::{Error, Location, Operation, Result};
use holdall_layers::{CacheSettings, Writes};
use holdall_volume::format::policy::{
    Acknowledge, PlaceRow, PlaceState, Policy, Tier, check_places,
};

use super::tree::{Fields, Node};
use super::{
    BackendConfig, CacheConfig, Config, Examined, FrontConfig, FrontPolicy, VolumeConfig,
    environment, wrong,
};
use crate::health::HealthPolicy;
use crate::secrets::refuse_literal;
use crate::settings::{parse_location, set_policy_field};
use crate::units::{nearest, parse_duration, parse_size};

/// What a configuration may have, and what its parts may have.
const PARTS: [&str; 2] = ["backends", "volumes"];
const BACKEND_FIELDS: [&str; 7] = ["url", "zone", "weight", "health", "deadline", "cache", "front"];
const HEALTH_FIELDS: [&str; 3] = ["interval", "timeout", "failures"];
const CACHE_FIELDS: [&str; 3] = ["memory", "disk", "policy"];
const DISK_FIELDS: [&str; 2] = ["path", "size"];
const FRONT_FIELDS: [&str; 3] = ["url", "size", "policy"];
const VOLUME_FIELDS: [&str; 13] = [
    "catalog",
    "tiers",
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
const DEADLINES: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 60 * 60);
/// Fields of a policy that are more than values: they are handed on as YAML.
const STRUCTURED: [&str; 2] = ["jobs", "lifecycle"];
const TIERS: [&str; 1] = ["hot"];
const TIER_FIELDS: [&str; 5] = ["backends", "replicas", "min_zones", "prefer_local", "ack"];

/// The places of a volume's data, and the tier that they are.
type Hot = (Vec<(String, BackendConfig)>, Tier);

/// A configuration that is being read.
#[derive(Debug, Default)]
struct Reader {
    config: Config,
    /// The names of all backends, also of those that were not understood.
    names: BTreeSet<String>,
    problems: Vec<Error>,
}

pub(super) fn examine(
    text: &str,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Examined {
    let mut reader = Reader::default();
    let mut tree = Node::parse(text).unwrap_or_else(|error| {
        reader.problems.push(error);
        Node::Map(BTreeMap::new())
    });
    environment::overlay(&mut tree, variables, &mut reader.problems);
    let mut parts = tree.map("", &PARTS, &mut reader.problems);
    let backends = parts.take_all("backends", &mut reader.problems);
    reader.names = backends.keys().cloned().collect();
    for (name, node) in backends {
        if let Some(backend) = reader.backend(node, &format!("backends.{name}")) {
            reader.config.backends.insert(name, backend);
        }
    }
    for (name, node) in parts.take_all("volumes", &mut reader.problems) {
        if let Some(volume) = reader.volume(node, &format!("volumes.{name}")) {
            reader.config.volumes.insert(name, volume);
        }
    }
    Examined { config: reader.config, problems: reader.problems }
}

impl Reader {
    fn wrong(&mut self, at: &str, what: &str) {
        self.problems.push(wrong(at, what));
    }

    fn backend(&mut self, node: Node, at: &str) -> Option<BackendConfig> {
        let mut fields = node.map(at, &BACKEND_FIELDS, &mut self.problems);
        let zone = fields.take_text("zone", &mut self.problems);
        let weight = self.value(&mut fields, "weight", parse_weight).unwrap_or(1);
        let health = fields.take("health").map(|node| self.health(node, &format!("{at}.health")));
        let deadline = self.value(&mut fields, "deadline", parse_deadline);
        let cache = fields.take("cache").map(|node| self.cache(node, &format!("{at}.cache")));
        let front = fields.take("front").map(|node| self.front(node, &format!("{at}.front")));
        let location = self.needed_url(&mut fields, at)?;
        // Without a front that is to be there, the backend would not be what was asked for.
        let front = match front {
            Some(None) => return None,
            front => front.flatten(),
        };
        let copies = front.as_ref().is_some_and(|front| front.policy != FrontPolicy::Behind);
        if copies && cache.as_ref().is_some_and(|cache| cache.disk.is_some()) {
            self.wrong(at, "copies go either to the cache's `disk` or to `front`; choose one");
            return None;
        }
        let health = health.unwrap_or_default();
        Some(BackendConfig { location, zone, weight, health, deadline, cache, front })
    }

    fn cache(&mut self, node: Node, at: &str) -> CacheConfig {
        let mut fields = node.map(at, &CACHE_FIELDS, &mut self.problems);
        let memory_bytes = self.value(&mut fields, "memory", parse_size);
        let memory_bytes = memory_bytes.unwrap_or(CacheSettings::default().memory_bytes);
        let writes = self.value(&mut fields, "policy", |text| {
            one_of(text, &[("write-through", Writes::Through), ("write-around", Writes::Around)])
        });
        let disk = fields.take("disk").and_then(|node| self.disk(node, &format!("{at}.disk")));
        CacheConfig { memory_bytes, disk, writes: writes.unwrap_or_default() }
    }

    fn disk(&mut self, node: Node, at: &str) -> Option<(PathBuf, u64)> {
        let mut fields = node.map(at, &DISK_FIELDS, &mut self.problems);
        let path = fields.take_text("path", &mut self.problems).filter(|path| !path.is_empty());
        let size = self.value(&mut fields, "size", parse_size);
        if path.is_none() || size.is_none() {
            self.wrong(at, "it needs a `path` and a `size`");
        }
        Some((PathBuf::from(path?), size?))
    }

    fn front(&mut self, node: Node, at: &str) -> Option<FrontConfig> {
        let mut fields = node.map(at, &FRONT_FIELDS, &mut self.problems);
        let bytes = self.value(&mut fields, "size", parse_size);
        let policy = self.value(&mut fields, "policy", |text| {
            let (through, around) = (FrontPolicy::Through, FrontPolicy::Around);
            let behind = ("write-behind", FrontPolicy::Behind);
            one_of(text, &[("write-through", through), ("write-around", around), behind])
        });
        let location = self.needed_url(&mut fields, at)?;
        let bytes = bytes.unwrap_or(CacheSettings::default().front_bytes);
        Some(FrontConfig { location, bytes, policy: policy.unwrap_or_default() })
    }

    fn needed_url(&mut self, fields: &mut Fields<'_>, at: &str) -> Option<Location> {
        let Some(url) = fields.take_text("url", &mut self.problems) else {
            self.wrong(at, "it has no `url`");
            return None;
        };
        self.url(&url, &format!("{at}.url"))
    }

    fn health(&mut self, node: Node, at: &str) -> HealthPolicy {
        let mut fields = node.map(at, &HEALTH_FIELDS, &mut self.problems);
        let mut health = HealthPolicy::default();
        if let Some(interval) = self.value(&mut fields, "interval", parse_duration) {
            health.interval = interval;
        }
        if let Some(timeout) = self.value(&mut fields, "timeout", parse_duration) {
            health.timeout = timeout;
        }
        if let Some(failures) = self.value(&mut fields, "failures", parse_count) {
            health.failures = failures;
        }
        if let Err(error) = health.check() {
            self.wrong(at, error.message());
        }
        health
    }

    /// A volume, unless it is not known where it is to be.
    fn volume(&mut self, node: Node, at: &str) -> Option<VolumeConfig> {
        let mut fields = node.map(at, &VOLUME_FIELDS, &mut self.problems);
        let catalog = fields.take_text("catalog", &mut self.problems);
        let catalog = catalog.map(|text| self.named(&text, &format!("{at}.catalog")));
        let tiers = fields.take("tiers");
        let data = tiers.and_then(|tiers| self.data(tiers, &format!("{at}.tiers")));
        let mut policy = BTreeMap::new();
        let mut checked = Policy::default();
        let structured: Vec<_> = STRUCTURED
            .into_iter()
            .filter_map(|field| Some((field.to_owned(), fields.take(field)?.to_yaml())))
            .collect();
        for (field, text) in structured.into_iter().chain(fields.rest(&mut self.problems)) {
            match set_policy_field(&mut checked, &field, &text) {
                Ok(()) => {
                    policy.insert(field, text);
                }
                Err(error) => self.wrong(&format!("{at}.{field}"), error.message()),
            }
        }
        match (catalog, data) {
            (Some(None), _) | (_, Some(None)) => None,
            (catalog, data) => {
                let (catalog, (places, tiers)) = (catalog.flatten(), data.flatten().unzip());
                let places: Vec<(String, BackendConfig)> = places.unwrap_or_default();
                let data = places.first().map(|(_, backend)| backend.clone());
                let places = if places.len() > 1 { places } else { Vec::new() };
                let tiers = tiers.into_iter().filter(|tier| *tier != Tier::default()).collect();
                Some(VolumeConfig { catalog, data, places, tiers, policy })
            }
        }
    }

    /// Where the data is, if that is said, and in how many copies: one tier so far.
    fn data(&mut self, tiers: Node, at: &str) -> Option<Option<Hot>> {
        let mut tiers = tiers.map(at, &TIERS, &mut self.problems);
        let hot = tiers.take("hot")?;
        let at = format!("{at}.hot");
        let mut hot = hot.map(&at, &TIER_FIELDS, &mut self.problems);
        let names = hot.take_list("backends", &mut self.problems);
        let tier = self.tier(&mut hot);
        let backends = format!("{at}.backends");
        if names.is_empty() {
            self.wrong(&backends, "there is none; name one backend, or several");
            return Some(None);
        }
        let named = names.iter().map(|name| Some((name.clone(), self.named(name, &backends)?)));
        let named: Vec<_> = named.collect();
        // One that was not understood was noted.
        let Some(places) = named.into_iter().collect::<Option<Vec<(String, _)>>>() else {
            return Some(None);
        };
        if places.len() > 1 && names.iter().any(|name| name.contains(':')) {
            let what = "places of one volume need names; list them under `backends`";
            self.wrong(&backends, what);
            return Some(None);
        }
        if let Err(error) =
            tier.check().and_then(|()| check_places(&rows(&places), std::slice::from_ref(&tier)))
        {
            self.wrong(&at, error.message());
            return Some(None);
        }
        Some(Some((places, tier)))
    }

    fn tier(&mut self, fields: &mut Fields<'_>) -> Tier {
        let tier = Tier::default();
        let replicas = self.value(fields, "replicas", parse_small);
        let min_zones = self.value(fields, "min_zones", parse_small);
        let prefer_local = self.value(fields, "prefer_local", |text| {
            one_of(text, &[("true", true), ("false", false)])
        });
        let (one, quorum) = (Acknowledge::One, Acknowledge::Quorum);
        let ack = self.value(fields, "ack", |text| {
            one_of(text, &[("one", one), ("quorum", quorum), ("all", Acknowledge::All)])
        });
        Tier {
            replicas: replicas.unwrap_or(tier.replicas),
            min_zones: min_zones.unwrap_or(tier.min_zones),
            prefer_local: prefer_local.unwrap_or(tier.prefer_local),
            ack: ack.unwrap_or(tier.ack),
            ..tier
        }
    }

    /// What a name or a URL stands for.
    fn named(&mut self, text: &str, at: &str) -> Option<BackendConfig> {
        if text.contains(':') {
            return self.url(text, at).map(BackendConfig::new);
        }
        // One that was not understood was noted where it stands.
        if self.names.contains(text) {
            return self.config.backends.get(text).cloned();
        }
        let hint = match nearest(text, self.names.iter().map(String::as_str)) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => "name one of `backends`, or write a URL".to_owned(),
        };
        self.wrong(at, &format!("there is no backend `{text}`; {hint}"));
        None
    }

    fn url(&mut self, text: &str, at: &str) -> Option<Location> {
        let parse = || {
            let location = parse_location(text)?;
            refuse_literal(&location)?;
            Ok(location)
        };
        parse().map_err(|error: Error| self.wrong(at, error.message())).ok()
    }

    /// A value that must be understood, if it is there.
    fn value<T>(
        &mut self,
        fields: &mut Fields<'_>,
        name: &str,
        parse: impl Fn(&str) -> Result<T>,
    ) -> Option<T> {
        let text = fields.take_text(name, &mut self.problems)?;
        parse(&text).map_err(|error| self.wrong(&fields.at(name), error.message())).ok()
    }
}

/// Every field of a backend and of a volume, as paths below its name.
#[cfg(test)]
pub(super) fn field_paths() -> (BTreeSet<String>, BTreeSet<String>) {
    let paths = |fields: &[&str], nested: &[(&str, &[&str])]| {
        let is_nested = |field: &str| nested.iter().any(|(name, _)| *name == field);
        let plain = fields.iter().filter(|field| !is_nested(field)).map(|field| (*field).into());
        let below = nested
            .iter()
            .flat_map(|(name, inner)| inner.iter().map(move |field| format!("{name}.{field}")));
        plain.chain(below).collect::<BTreeSet<String>>()
    };
    let backend = paths(
        &BACKEND_FIELDS,
        &[
            ("health", &HEALTH_FIELDS),
            ("cache", &["memory", "policy", "disk.path", "disk.size"]),
            ("front", &FRONT_FIELDS),
        ],
    );
    assert_eq!((CACHE_FIELDS, DISK_FIELDS), (["memory", "disk", "policy"], ["path", "size"]));
    assert_eq!(TIERS, ["hot"]);
    let mut volume = paths(&VOLUME_FIELDS, &[("tiers", &[])]);
    volume.extend(TIER_FIELDS.map(|field| format!("tiers.hot.{field}")));
    (backend, volume)
}

fn parse_deadline(text: &str) -> Result<Duration> {
    let deadline = parse_duration(text)?;
    if DEADLINES.contains(&deadline) {
        return Ok(deadline);
    }
    Err(Error::invalid(Operation::Configure, format!("`{text}` is not from 1s to 7d")))
}

fn one_of<T: Copy>(text: &str, known: &[(&str, T)]) -> Result<T> {
    let found = known.iter().find(|(name, _)| *name == text);
    let names = || known.iter().map(|(name, _)| *name);
    let wrong = || {
        let hint = match nearest(text, names()) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
        };
        wrong("", &format!("there is no `{text}`; {hint}"))
    };
    found.map(|(_, value)| *value).ok_or_else(wrong)
}

/// The rows of places as a volume has them that is made with these.
fn rows(places: &[(String, BackendConfig)]) -> Vec<PlaceRow> {
    let row = |(number, (name, backend)): (usize, &(String, BackendConfig))| PlaceRow {
        number: number as u16,
        name: name.clone(),
        zone: backend.zone.clone().unwrap_or_default(),
        weight: backend.weight,
        state: PlaceState::Active,
    };
    places.iter().enumerate().map(row).collect()
}

fn parse_small(text: &str) -> Result<u8> {
    text.parse().map_err(|_| wrong("", &format!("`{text}` is no small number, such as 2")))
}

fn parse_weight(text: &str) -> Result<u32> {
    match parse_count(text)? {
        0 => Err(wrong("", "a weight is at least 1")),
        weight => Ok(weight),
    }
}

fn parse_count(text: &str) -> Result<u32> {
    text.parse().map_err(|_| wrong("", &format!("`{text}` is no whole number, such as 3")))
}

//! From the tree of texts to a configuration. What is wrong is noted, and reading goes on.

use std::collections::{BTreeMap, BTreeSet};

use holdall_core::{Error, Location, Result};
use holdall_volume::format::policy::Policy;

use super::tree::{Fields, Node};
use super::{BackendConfig, Config, Examined, VolumeConfig, environment, wrong};
use crate::health::HealthPolicy;
use crate::secrets::refuse_literal;
use crate::settings::{parse_location, set_policy_field};
use crate::units::{nearest, parse_duration};

/// What a configuration may have, and what its parts may have.
const PARTS: [&str; 2] = ["backends", "volumes"];
const BACKEND_FIELDS: [&str; 3] = ["url", "zone", "health"];
const HEALTH_FIELDS: [&str; 3] = ["interval", "timeout", "failures"];
const VOLUME_FIELDS: [&str; 10] = [
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
];
const TIERS: [&str; 1] = ["hot"];
const TIER_FIELDS: [&str; 1] = ["backends"];

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
        let health = fields.take("health").map(|node| self.health(node, &format!("{at}.health")));
        let Some(url) = fields.take_text("url", &mut self.problems) else {
            self.wrong(at, "it has no `url`");
            return None;
        };
        let location = self.url(&url, &format!("{at}.url"))?;
        Some(BackendConfig { location, zone, health: health.unwrap_or_default() })
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
        for (field, text) in fields.rest(&mut self.problems) {
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
                Some(VolumeConfig { catalog: catalog.flatten(), data: data.flatten(), policy })
            }
        }
    }

    /// Where the data is, if that is said: one backend in one tier so far.
    fn data(&mut self, tiers: Node, at: &str) -> Option<Option<BackendConfig>> {
        let mut tiers = tiers.map(at, &TIERS, &mut self.problems);
        let hot = tiers.take("hot")?;
        let at = format!("{at}.hot");
        let mut hot = hot.map(&at, &TIER_FIELDS, &mut self.problems);
        let backends = hot.take_list("backends", &mut self.problems);
        let at = format!("{at}.backends");
        match backends.as_slice() {
            [one] => return Some(self.named(one, &at)),
            [] => self.wrong(&at, "there is none; name one backend"),
            _ => self.wrong(&at, "this version keeps one copy; name one backend"),
        }
        Some(None)
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
    let all = |fields: &[&str], nested: &str, inner: &[&str]| {
        let plain = fields.iter().filter(|field| **field != nested);
        let below = inner.iter().map(|field| format!("{nested}.{field}"));
        plain.map(|field| (*field).to_owned()).chain(below).collect()
    };
    let tiers: Vec<String> =
        TIERS.iter().flat_map(|tier| TIER_FIELDS.map(|field| format!("{tier}.{field}"))).collect();
    let tiers: Vec<&str> = tiers.iter().map(String::as_str).collect();
    (all(&BACKEND_FIELDS, "health", &HEALTH_FIELDS), all(&VOLUME_FIELDS, "tiers", &tiers))
}

fn parse_count(text: &str) -> Result<u32> {
    text.parse().map_err(|_| wrong("", &format!("`{text}` is no whole number, such as 3")))
}

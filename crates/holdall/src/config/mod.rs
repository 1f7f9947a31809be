//! `holdall.yaml`: backends by name, and volumes on them.
//!
//! ```yaml
//! backends:
//!   bucket: { url: "s3://archive/holdall?region=eu-west-1", zone: aws }
//! volumes:
//!   photos:
//!     catalog: "postgres://holdall@db/holdall?password=env:PGPASSWORD"
//!     tiers: { hot: { backends: [bucket] } }
//!     quota: 100GiB
//!     history: 7d
//! ```
//!
//! Every value can also come from the environment, and that wins: `HOLDALL__` and the path with
//! two underscores between its parts, such as `HOLDALL__VOLUMES__PHOTOS__QUOTA=200GiB`; a `-` in a
//! name is written `_`. What is not known is refused and the nearest known name is given: nothing
//! is ignored in silence.

mod environment;
mod tree;

use std::collections::BTreeMap;
use std::path::Path;

use holdall_core::{Error, Location, Operation, Result};
use holdall_volume::format::policy::Policy;

use self::tree::Node;
use crate::secrets::refuse_literal;
use crate::settings::{Settings, parse_location, set_policy_field};
use crate::units::nearest;

/// What a configuration may have, and what its parts may have.
const PARTS: [&str; 2] = ["backends", "volumes"];
const BACKEND_FIELDS: [&str; 2] = ["url", "zone"];
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

/// A configuration that was read and understood; nothing is opened yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The backends that have a name.
    pub backends: BTreeMap<String, NamedBackend>,
    /// The volumes.
    pub volumes: BTreeMap<String, VolumeConfig>,
}

/// A backend that has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedBackend {
    /// Where it is.
    pub location: Location,
    /// Which failure domain it is in.
    pub zone: Option<String>,
}

/// What a volume is to be like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeConfig {
    /// Where its catalog is; beside all others, if nothing is said.
    pub catalog: Option<Location>,
    /// Where its data is; beside all others, if nothing is said.
    pub data: Option<Location>,
    /// Fields of its policy, checked, as they were written.
    pub policy: BTreeMap<String, String>,
}

impl Config {
    /// Reads a file, and what the environment says beside it.
    ///
    /// # Errors
    /// `Invalid` if there is no such file, it is no YAML, or something in it is not known or does
    /// not fit, saying where.
    pub fn read(
        path: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|source| {
            let message = format!("the configuration {} cannot be read", path.display());
            Error::invalid(Operation::Configure, message).with_source(source)
        })?;
        let prefix = |error: Error| {
            let message = format!("{}: {}", path.display(), error.message());
            Error::invalid(Operation::Configure, message)
        };
        Self::parse(&text, environment).map_err(prefix)
    }

    /// Reads a configuration from text.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self> {
        let mut tree = Node::parse(text)?;
        environment::overlay(&mut tree, environment)?;
        let mut parts = tree.map("", &PARTS)?;
        let mut config = Self::default();
        for (name, node) in parts.take_all("backends")? {
            let backend = backend(node, &format!("backends.{name}"))?;
            config.backends.insert(name, backend);
        }
        for (name, node) in parts.take_all("volumes")? {
            let volume = config.volume(node, &format!("volumes.{name}"))?;
            config.volumes.insert(name, volume);
        }
        Ok(config)
    }

    /// The settings for an engine with this volume: what the configuration says, and the home
    /// folder's for what it leaves open.
    ///
    /// # Errors
    /// Those of [`Settings::home`].
    pub fn settings(&self, volume: &str, home: &Path) -> Result<Settings> {
        let mut settings = Settings::home(home)?;
        if let Some(volume) = self.volumes.get(volume) {
            settings.catalog = volume.catalog.clone().unwrap_or(settings.catalog);
            settings.data = volume.data.clone().unwrap_or(settings.data);
        }
        Ok(settings)
    }

    fn volume(&self, node: Node, at: &str) -> Result<VolumeConfig> {
        let mut fields = node.map(at, &VOLUME_FIELDS)?;
        let mut volume = VolumeConfig::default();
        if let Some(text) = fields.take_text("catalog")? {
            volume.catalog = Some(self.location(&text, &format!("{at}.catalog"))?);
        }
        if let Some(tiers) = fields.take("tiers") {
            volume.data = self.data(tiers, &format!("{at}.tiers"))?;
        }
        let mut checked = Policy::default();
        for (field, text) in fields.rest()? {
            set_policy_field(&mut checked, &field, &text)
                .map_err(|error| wrong(&format!("{at}.{field}"), error.message()))?;
            volume.policy.insert(field, text);
        }
        Ok(volume)
    }

    /// Where the data is: one backend in one tier so far.
    fn data(&self, tiers: Node, at: &str) -> Result<Option<Location>> {
        let mut tiers = tiers.map(at, &TIERS)?;
        let Some(hot) = tiers.take("hot") else { return Ok(None) };
        let at = format!("{at}.hot");
        let backends = hot.map(&at, &TIER_FIELDS)?.take_list("backends")?;
        let at = format!("{at}.backends");
        match backends.as_slice() {
            [one] => self.location(one, &at).map(Some),
            [] => Err(wrong(&at, "there is none; name one backend")),
            _ => Err(wrong(&at, "this version keeps one copy; name one backend")),
        }
    }

    /// What a name or a URL stands for.
    fn location(&self, text: &str, at: &str) -> Result<Location> {
        if text.contains(':') {
            return location(text, at);
        }
        if let Some(backend) = self.backends.get(text) {
            return Ok(backend.location.clone());
        }
        let hint = match nearest(text, self.backends.keys().map(String::as_str)) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => "name one of `backends`, or write a URL".to_owned(),
        };
        Err(wrong(at, &format!("there is no backend `{text}`; {hint}")))
    }
}

impl VolumeConfig {
    /// A policy with what the configuration says of it.
    ///
    /// # Errors
    /// `Invalid` if that does not fit together.
    pub fn apply_to(&self, mut policy: Policy) -> Result<Policy> {
        for (field, text) in &self.policy {
            set_policy_field(&mut policy, field, text)?;
        }
        Ok(policy)
    }
}

fn backend(node: Node, at: &str) -> Result<NamedBackend> {
    let mut fields = node.map(at, &BACKEND_FIELDS)?;
    let url = fields.take_text("url")?.ok_or_else(|| wrong(at, "it has no `url`"))?;
    let location = location(&url, &format!("{at}.url"))?;
    Ok(NamedBackend { location, zone: fields.take_text("zone")? })
}

fn location(text: &str, at: &str) -> Result<Location> {
    let parse = || {
        let location = parse_location(text)?;
        refuse_literal(&location)?;
        Ok(location)
    };
    parse().map_err(|error: Error| wrong(at, error.message()))
}

/// What is wrong, and where.
fn wrong(at: &str, what: &str) -> Error {
    let message = if at.is_empty() { what.to_owned() } else { format!("{at}: {what}") };
    Error::invalid(Operation::Configure, message)
}

#[cfg(test)]
mod tests;

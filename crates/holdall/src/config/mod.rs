//! `holdall.yaml`: backends by name, and volumes on them.
//!
//! ```yaml
//! backends:
//!   bucket:
//!     url: "s3://archive/holdall?region=eu-west-1"
//!     zone: aws
//!     health: { interval: 30s, timeout: 10s, failures: 3 }
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
mod jobs;
mod lifecycle;
mod read;
mod tree;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdall_core::{Error, Location, Operation, Result};
use holdall_layers::{Limits, Writes};
use holdall_volume::format::policy::{Policy, Tier};

pub(crate) use jobs::parse_jobs;
pub(crate) use lifecycle::parse_lifecycle;

use crate::health::HealthPolicy;
use crate::settings::{Settings, set_policy_field};

/// A configuration that was read and understood; nothing is opened yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The backends that have a name.
    pub backends: BTreeMap<String, BackendConfig>,
    /// The volumes.
    pub volumes: BTreeMap<String, VolumeConfig>,
}

/// A backend, and how it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendConfig {
    /// Where it is.
    pub location: Location,
    /// Which failure domain it is in.
    pub zone: Option<String>,
    /// Its share of the data beside other places', such as its capacity in GiB.
    pub weight: u32,
    /// When it counts as healthy.
    pub health: HealthPolicy,
    /// The longest time a call may take with all its attempts, if not that of the settings.
    pub deadline: Option<Duration>,
    /// The copies of its values that are nearer, if there are to be some.
    pub cache: Option<CacheConfig>,
    /// The backend in front of it, if there is to be one.
    pub front: Option<FrontConfig>,
}

/// Copies of a backend's values in memory and on a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// How many bytes of them are in memory.
    pub memory_bytes: u64,
    /// In which folder they are too, and how many bytes.
    pub disk: Option<(PathBuf, u64)>,
    /// What happens to values that are written.
    pub writes: Writes,
}

/// A backend in front of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontConfig {
    /// Where it is.
    pub location: Location,
    /// How many bytes of copies it holds, or of writes that wait for the other.
    pub bytes: u64,
    /// What it is for.
    pub policy: FrontPolicy,
}

/// What a front does with values that are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FrontPolicy {
    /// Keeps a copy of what the backend behind it has taken.
    #[default]
    Through,
    /// Keeps copies only of what is read.
    Around,
    /// Takes them, and brings them to the backend behind it later.
    Behind,
}

/// What a volume is to be like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeConfig {
    /// Where its catalog is; beside all others, if nothing is said.
    pub catalog: Option<BackendConfig>,
    /// Where its data is; beside all others, if nothing is said. The first of several places.
    pub data: Option<BackendConfig>,
    /// The places of its data by name, if it has several.
    pub places: Vec<(String, BackendConfig)>,
    /// How many copies of it there are, and where, if something is said of it.
    pub tiers: Vec<Tier>,
    /// Fields of its policy, checked, as they were written.
    pub policy: BTreeMap<String, String>,
}

/// A configuration as far as it was understood, and everything that is wrong with it.
#[derive(Clone, Debug, Default)]
pub struct Examined {
    /// What was understood.
    pub config: Config,
    /// What is wrong, each with its place.
    pub problems: Vec<Error>,
}

impl Examined {
    /// The configuration, if nothing is wrong with it.
    ///
    /// # Errors
    /// `Invalid` with the first problem, and how many more there are.
    pub fn whole(self) -> Result<Config> {
        let more = self.problems.len().saturating_sub(1);
        match self.problems.into_iter().next() {
            None => Ok(self.config),
            Some(first) if more == 0 => Err(first),
            Some(first) => {
                let message =
                    format!("{}; `holdall config check` shows {more} more", first.message());
                Err(Error::invalid(Operation::Configure, message))
            }
        }
    }
}

impl Config {
    /// What the names of variables begin with that are values of a configuration.
    pub const VARIABLES: &str = "HOLDALL__";

    /// Reads a file, and what the environment says beside it.
    ///
    /// # Errors
    /// `Invalid` if there is no such file, it is no YAML, or something in it is not known or does
    /// not fit, saying where.
    pub fn read(
        path: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self> {
        Self::examine_file(path, environment)?.whole()
    }

    /// Reads a configuration from text.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self> {
        Self::examine(text, environment).whole()
    }

    /// Reads a file and what the environment says beside it, and goes on where something is wrong.
    ///
    /// # Errors
    /// `Invalid` if the file cannot be read.
    pub fn examine_file(
        path: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Examined> {
        let text = std::fs::read_to_string(path).map_err(|source| {
            let message = format!("the configuration {} cannot be read", path.display());
            Error::invalid(Operation::Configure, message).with_source(source)
        })?;
        let mut examined = Self::examine(&text, environment);
        for problem in &mut examined.problems {
            let message = format!("{}: {}", path.display(), problem.message());
            *problem = Error::invalid(Operation::Configure, message);
        }
        Ok(examined)
    }

    /// Reads a configuration from text, and goes on where something is wrong.
    pub fn examine(
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Examined {
        read::examine(text, environment)
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
            settings.places.clone_from(&volume.places);
            settings.tiers.clone_from(&volume.tiers);
        }
        Ok(settings)
    }
}

impl BackendConfig {
    /// A backend of which nothing but its location is said.
    pub fn new(location: Location) -> Self {
        let health = HealthPolicy::default();
        let (deadline, cache, front) = (None, None, None);
        Self { location, zone: None, weight: 1, health, deadline, cache, front }
    }

    /// What calls of this backend are limited to, if those of all others are limited to this.
    pub(crate) fn limits(&self, usual: Limits) -> Limits {
        Limits { deadline: self.deadline.or(usual.deadline), ..usual }
    }

    /// Whether nothing is in front of it.
    pub(crate) fn is_alone(&self) -> bool {
        self.cache.is_none() && self.front.is_none()
    }
}

impl From<Location> for BackendConfig {
    fn from(location: Location) -> Self {
        Self::new(location)
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

/// What is wrong, and where.
fn wrong(at: &str, what: &str) -> Error {
    let message = if at.is_empty() { what.to_owned() } else { format!("{at}: {what}") };
    Error::invalid(Operation::Configure, message)
}

#[cfg(test)]
mod tests;

//! The engine: two opened backends and the volumes on them.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::lock::{MappedMutexGuard, Mutex, MutexGuard};
use holdall_core::{Backend, Bytes, Env, Error, Operation, Result};
use holdall_layers::{CallMetrics, Limits, Stacked};
use holdall_volume::format::entry::{Name, Version};
use holdall_volume::format::keys::VolumeId;
use holdall_volume::rebuild::{RebuildOptions, RebuildReport};
use holdall_volume::{At, Committed, Condition, EntryPage, ListOptions, PutOptions, Reading};
use holdall_volume::{Place, PlaceHealth, Places, Resources, Volume};

use crate::config::BackendConfig;
use crate::health::{HealthPolicy, Watch, Watches};
use crate::registry::{self, Later};
use crate::settings::Settings;
use crate::stats::{Keeper, Source};
use crate::volumes;

/// Volumes on two backends: one for their catalogs, one for their data. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    env: Env,
    settings: Settings,
    catalog: Stacked,
    data: Stacked,
    /// The other places of the data, with their names; the first is `data`.
    more: Vec<(String, Stacked)>,
    places: Places,
    /// What stands in front of them.
    fronts: Vec<Stacked>,
    pub(crate) watches: Watches,
    stats: Option<Arc<Keeper>>,
    /// The volumes that are open, so that each is open once; nothing once the engine is closed.
    open: Mutex<Option<HashMap<String, Volume>>>,
}

/// The volumes that are open, by name.
pub(crate) type OpenVolumes<'a> =
    MappedMutexGuard<'a, Option<HashMap<String, Volume>>, HashMap<String, Volume>>;

/// Says where an engine keeps its volumes.
#[derive(Debug)]
#[must_use]
pub struct EngineBuilder {
    settings: Result<Settings>,
    catalog: Option<Arc<dyn Backend>>,
    data: Option<Arc<dyn Backend>>,
    catalog_health: Option<HealthPolicy>,
    data_health: Option<HealthPolicy>,
    env: Option<Env>,
}

impl EngineBuilder {
    /// A folder on this machine for both.
    pub fn home(mut self, path: impl AsRef<Path>) -> Self {
        let home = Settings::home(path);
        self.settings = self.settings.and_then(|old| {
            let home = home?;
            Ok(Settings { catalog: home.catalog, data: home.data, stats: home.stats, ..old })
        });
        self
    }

    /// Where catalogs are, such as `journal+lmdb:///srv/catalog`.
    pub fn catalog(self, location: &str) -> Self {
        self.set("catalog", location)
    }

    /// Where data is, such as `file:///srv/data`.
    pub fn data(self, location: &str) -> Self {
        self.set("data", location)
    }

    /// Who this is, for the message that another process gets which wants the same catalog.
    pub fn holder(self, holder: &str) -> Self {
        self.set("holder", holder)
    }

    /// Sets any field of [`Settings`] from text.
    pub fn set(mut self, field: &str, text: &str) -> Self {
        self.settings = self.settings.and_then(|mut settings| {
            settings.set(field, text)?;
            Ok(settings)
        });
        self
    }

    /// Catalogs on a backend of one's own, which must be atomic.
    pub fn catalog_backend(mut self, backend: Arc<dyn Backend>) -> Self {
        self.catalog = Some(backend);
        self
    }

    /// Data on a backend of one's own.
    pub fn data_backend(mut self, backend: Arc<dyn Backend>) -> Self {
        self.data = Some(backend);
        self
    }

    /// When the catalog's backend counts as healthy.
    pub fn catalog_health(mut self, policy: HealthPolicy) -> Self {
        self.catalog_health = Some(policy);
        self
    }

    /// When the data's backend counts as healthy.
    pub fn data_health(mut self, policy: HealthPolicy) -> Self {
        self.data_health = Some(policy);
        self
    }

    /// Time, chance and threads from elsewhere: for simulations.
    pub fn env(mut self, env: Env) -> Self {
        self.env = Some(env);
        self
    }

    /// Opens both backends. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// `Invalid` for a setting that was wrong; otherwise as [`Engine::open`].
    pub async fn open(self) -> Result<Engine> {
        let mut settings = self.settings?;
        settings.catalog.health = self.catalog_health.unwrap_or(settings.catalog.health);
        settings.data.health = self.data_health.unwrap_or(settings.data.health);
        settings.catalog.health.check()?;
        settings.data.health.check()?;
        let env = self.env.unwrap_or_else(holdall_runtime::env);
        let limits = Limits { calls_max: settings.calls_max, deadline: settings.deadline };
        let (mut sources, mut fronts) = (Vec::new(), Vec::new());
        let mut open =
            async |own: Option<Arc<dyn Backend>>, config: &BackendConfig, once: &[String], role| {
                if let Some(backend) = own {
                    return registry::wrap(backend, limits, &env).await;
                }
                let holder = &settings.holder;
                let opened = registry::open_configured(config, once, holder, limits, &env).await?;
                if let Some(metrics) = &opened.stacked.metrics {
                    let (location, metrics) = (config.location.clone(), metrics.clone());
                    sources.push(Source { location, role, metrics });
                }
                fronts.extend(opened.front);
                Ok(opened.stacked)
            };
        let catalog = open(self.catalog, &settings.catalog, &[], "catalog").await?;
        if !catalog.backend.profile().atomic {
            let engine = catalog.backend.profile().engine;
            let message = format!(
                "{engine} cannot hold a catalog, because it has no batches; use journal+lmdb"
            );
            return Err(Error::unsupported(Operation::Open, message)
                .with_location(&settings.catalog.location));
        }
        let once = match settings.data.is_alone() {
            true => Vec::new(),
            false => volumes::written_once(catalog.backend.as_ref()).await?,
        };
        let data = match open(self.data, &settings.data, &once, "data").await {
            Err(error) if settings.places.len() > 1 => {
                later(&settings.data, &settings.holder, limits, &env, error).await?
            }
            opened => opened?,
        };
        let mut more = Vec::new();
        for (name, config) in settings.places.iter().skip(1) {
            let stacked = match open(None, config, &[], "data").await {
                Ok(stacked) => stacked,
                // It may come back at any time, and the others can do without.
                Err(error) => later(config, &settings.holder, limits, &env, error).await?,
            };
            more.push((name.clone(), stacked));
        }
        let places = places(&settings, &data, &more);
        let stats = settings.stats.clone();
        let stats = stats.map(|folder| Keeper::start(folder, &settings.holder, sources, &env));
        let watch = |stacked: &Stacked, config: &BackendConfig| {
            Watch::new(Arc::clone(&stacked.backend), config.health, &env)
        };
        let watches =
            Watches::new(watch(&catalog, &settings.catalog), watch(&data, &settings.data));
        let open = Mutex::new(Some(HashMap::new()));
        let shared =
            Shared { env, settings, catalog, data, more, places, fronts, watches, stats, open };
        Ok(Engine { shared: Arc::new(shared) })
    }
}

/// A place that could not be opened, with layers of its own round it.
async fn later(
    config: &BackendConfig,
    holder: &str,
    limits: Limits,
    env: &Env,
    why: Error,
) -> Result<Stacked> {
    let later = Later::new(config, holder, limits, env, why);
    registry::wrap(Arc::new(later), config.limits(limits), env).await
}

/// The places as a volume knows them.
fn places(settings: &Settings, data: &Stacked, more: &[(String, Stacked)]) -> Places {
    let first = settings.places.first().map_or("", |(name, _)| name.as_str());
    let opened = more.iter().map(|(name, stacked)| (name.as_str(), stacked));
    let place = |(name, stacked): (&str, &Stacked)| {
        let config = settings.places.iter().find(|(known, _)| known == name);
        let config = config.map_or(&settings.data, |(_, config)| config);
        let HealthPolicy { interval, timeout, failures } = config.health;
        Place {
            name: name.to_owned(),
            zone: config.zone.clone().unwrap_or_default(),
            weight: config.weight,
            health: PlaceHealth { interval, timeout, failures },
            backend: Arc::clone(&stacked.backend),
        }
    };
    let places = Places::new(std::iter::once((first, data)).chain(opened).map(place));
    match &settings.zone {
        Some(zone) => places.in_zone(zone.as_str()),
        None => places,
    }
}

/// How an entry is written by [`Engine::write`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// What must be there before.
    pub condition: Condition,
    /// After which time the entry ends by itself.
    pub ttl: Option<Duration>,
    /// Its media type.
    pub content_type: Option<String>,
    /// What is to be remembered of it.
    pub attributes: BTreeMap<String, String>,
}

/// What [`Engine::read`] reads.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadOptions {
    /// Only these bytes, clipped to the entry.
    pub range: Option<Range<u64>>,
    /// This version instead of the present one.
    pub version: Option<Version>,
    /// As the volume was then.
    pub at: Option<At>,
}

/// What went through the backends of an engine, call by call.
#[derive(Clone, Debug)]
pub struct EngineMetrics {
    /// Calls of the catalog's backend.
    pub catalog: Vec<CallMetrics>,
    /// Calls of the data's backend.
    pub data: Vec<CallMetrics>,
}

impl Engine {
    /// Begins with an engine in memory; say where it is to be instead.
    pub fn builder() -> EngineBuilder {
        EngineBuilder {
            settings: Ok(Settings::memory()),
            catalog: None,
            data: None,
            catalog_health: None,
            data_health: None,
            env: None,
        }
    }

    /// Opens both backends. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// `Unavailable` while another process has the catalog, naming it; `Unsupported` if the
    /// catalog's backend has no batches; otherwise what opening the backends returns.
    pub async fn open(settings: Settings) -> Result<Self> {
        EngineBuilder { settings: Ok(settings), ..Self::builder() }.open().await
    }

    /// What it was opened with.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Its clock, chance and threads.
    pub fn env(&self) -> &Env {
        &self.shared.env
    }

    /// The backend of the catalogs, with its layers.
    pub fn catalog(&self) -> Arc<dyn Backend> {
        Arc::clone(&self.shared.catalog.backend)
    }

    /// The backend of the data, with its layers.
    pub fn data(&self) -> Arc<dyn Backend> {
        Arc::clone(&self.shared.data.backend)
    }

    /// The places of the data, with their layers.
    pub fn places(&self) -> Places {
        self.shared.places.clone()
    }

    /// The volumes that are open, until this is dropped for nobody else.
    pub(crate) async fn open_volumes(&self) -> Result<OpenVolumes<'_>> {
        let guard = self.shared.open.lock().await;
        if guard.is_none() {
            let message = "this engine was closed; open another";
            return Err(Error::closed(Operation::Open, message));
        }
        Ok(MutexGuard::map(guard, |open| open.get_or_insert_default()))
    }

    pub(crate) fn resources(&self) -> Resources {
        Resources {
            env: self.shared.env.clone(),
            catalog: self.catalog(),
            data: self.places(),
            holder: self.shared.settings.holder.clone(),
        }
    }

    /// Writes an entry.
    ///
    /// # Errors
    /// `Invalid` if there is no such volume; otherwise as [`Volume::put`].
    pub async fn write(
        &self,
        volume: &str,
        key: &str,
        bytes: impl Into<Bytes> + Send,
        options: WriteOptions,
    ) -> Result<Committed> {
        let name = Name::parse(key)?;
        let volume = self.volume(volume).await?;
        let options = PutOptions {
            condition: options.condition,
            content_type: options.content_type,
            attributes: options.attributes,
            expires: options.ttl.map(|ttl| self.shared.env.now().plus(ttl)),
        };
        volume.put(&name, bytes.into(), options).await
    }

    /// Reads an entry, or a part of it; none if there is none.
    ///
    /// # Errors
    /// `Invalid` if there is no such volume, or for both a version and a time.
    pub async fn read(
        &self,
        volume: &str,
        key: &str,
        options: ReadOptions,
    ) -> Result<Option<Bytes>> {
        let name = Name::parse(key)?;
        let volume = self.volume(volume).await?;
        let reading = match (options.version, options.at) {
            (None, None) => volume.get(&name).await?,
            (Some(version), None) => volume.get_version(&name, version).await?,
            (None, Some(at)) => volume.as_of(at).await?.get(&name).await?,
            (Some(_), Some(_)) => {
                let message = "both a version and a time were asked for; ask for one of them";
                return Err(Error::invalid(Operation::Get, message));
            }
        };
        match (reading, options.range) {
            (None, _) => Ok(None),
            (Some(reading), None) => reading.bytes().await.map(Some),
            (Some(reading), Some(range)) => read_range(&reading, range).await.map(Some),
        }
    }

    /// Deletes an entry; whether there was one.
    ///
    /// # Errors
    /// `Invalid` if there is no such volume.
    pub async fn delete(&self, volume: &str, key: &str) -> Result<bool> {
        let name = Name::parse(key)?;
        self.volume(volume).await?.delete(&name, Condition::Always).await
    }

    /// One page of a volume's entries.
    ///
    /// # Errors
    /// `Invalid` if there is no such volume.
    pub async fn list(&self, volume: &str, options: ListOptions) -> Result<EntryPage> {
        self.volume(volume).await?.list(options).await
    }

    /// Makes a volume's catalog again from what is on the data backend: see
    /// [`find_volumes`](Self::find_volumes) for which there are.
    ///
    /// # Errors
    /// `Invalid` for a wrong id; `Conflict` if the name means another volume.
    pub async fn rebuild(
        &self,
        id: &str,
        options: RebuildOptions,
    ) -> Result<(Volume, RebuildReport)> {
        let id = VolumeId::parse(id).ok_or_else(|| {
            let message = "this is no volume's id; `holdall rebuild` lists those that there are";
            Error::invalid(Operation::Maintain, message)
        })?;
        let mut open = self.open_volumes().await?;
        open.retain(|_, volume| volume.id() != id);
        let (volume, report) = Volume::rebuild(self.resources(), id, options).await?;
        let name = volume.name();
        if self.volume_id(&name).await?.is_some_and(|other| other != id) {
            let message = format!(
                "the volume {id} was rebuilt, but another volume is called `{name}` now; delete \
                 that one, and rebuild again"
            );
            return Err(Error::conflict(Operation::Maintain, message));
        }
        self.register(&name, id).await?;
        open.insert(name, volume.clone());
        Ok((volume, report))
    }

    /// What went through the backends so far.
    pub fn metrics(&self) -> EngineMetrics {
        let counts = |stacked: &Stacked| {
            stacked.metrics.as_ref().map(holdall_layers::Metrics::snapshot).unwrap_or_default()
        };
        EngineMetrics { catalog: counts(&self.shared.catalog), data: counts(&self.shared.data) }
    }

    /// An orderly end: writes what is left of every volume's log to the data backend, and empties
    /// the journal. Not needed for safety, but until then the data backend alone does not have
    /// the newest commits.
    ///
    /// # Errors
    /// The first error; everything is closed that can be.
    pub async fn close(&self) -> Result<()> {
        self.shared.watches.close();
        let mut done = Ok(());
        for (_, volume) in self.shared.open.lock().await.take().into_iter().flatten() {
            done = done.and(volume.close().await);
        }
        let Shared { data, catalog, fronts, more, .. } = &*self.shared;
        let more = more.iter().map(|(_, stacked)| stacked);
        for stacked in [data, catalog].into_iter().chain(fronts).chain(more) {
            if let Some(cache) = &stacked.cache {
                done = done.and(cache.close().await);
            }
            if let Some(behind) = &stacked.behind {
                behind.close().await;
            }
            if let Some(journal) = &stacked.journal {
                done = done.and(journal.close().await);
            }
        }
        if let Some(stats) = &self.shared.stats {
            stats.keep(true).await;
        }
        done
    }
}

/// Clips a range to what there is.
async fn read_range(reading: &Reading, range: Range<u64>) -> Result<Bytes> {
    let size = reading.entry().size;
    if range.end < range.start {
        let message = format!("the range ends at {}, before its start {}", range.end, range.start);
        return Err(Error::invalid(Operation::Get, message));
    }
    reading.range(range.start.min(size)..range.end.min(size)).await
}

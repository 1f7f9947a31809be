//! The volumes of an engine: which there are, making them, and removing them for good.
//!
//! ```text
//!   catalog   volumes/<name>     the volume's id
//!             removed/<id>       a volume whose rows and objects are being deleted
//!   data      <id>/volume        who the volume is: rebuilding begins there
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use holdall_core::{
    Backend, BackendExt, Batch, ByteRange, Error, Expect, Key, List, Operation, Result, Timestamp,
};
use holdall_volume::Volume;
use holdall_volume::format::keys::{CatalogKeys, DataKeys, VolumeId};
use holdall_volume::format::policy::{PlaceRow, PlaceState, Policy, Tier, VolumeRow};
use holdall_volume::format::row;
use serde::Serialize;

use crate::engine::Engine;
use crate::units::nearest;

const NAMES: &str = "volumes/";
const REMOVED: &str = "removed/";
const NAME_BYTES_MAX: usize = 64;
/// How many rows or objects are removed at once.
const REMOVE_PAGE: usize = 1000;

/// A volume to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeSpec {
    /// 1 to 64 of `a` to `z`, `0` to `9`, `-`, `_` and `.`.
    pub name: String,
    /// What it is told to do.
    pub policy: Policy,
}

impl VolumeSpec {
    /// A volume with the default policy.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), policy: Policy::default() }
    }

    /// The most logical bytes of all entries.
    #[must_use]
    pub fn quota(mut self, bytes: u64) -> Self {
        self.policy.quota_bytes = Some(bytes);
        self
    }

    /// How long superseded versions are kept.
    #[must_use]
    pub fn history(mut self, history: std::time::Duration) -> Self {
        self.policy.history = history;
        self
    }

    /// How chunks are compressed.
    #[must_use]
    pub fn compression(mut self, compression: crate::Compression) -> Self {
        self.policy.compression = compression;
        self
    }

    /// Attributes that `find` looks up in an index.
    #[must_use]
    pub fn indexed(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.policy.indexed = names.into_iter().map(Into::into).collect();
        self
    }
}

impl From<&str> for VolumeSpec {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<(&str, Policy)> for VolumeSpec {
    fn from((name, policy): (&str, Policy)) -> Self {
        Self { name: name.to_owned(), policy }
    }
}

/// What is known of a volume without looking into it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VolumeInfo {
    /// The name people use.
    pub name: String,
    /// What its rows and objects begin with.
    pub id: String,
    /// When it was created.
    pub created: Timestamp,
    /// What it is told to do.
    pub policy: Policy,
}

impl VolumeInfo {
    fn new(name: &str, id: VolumeId, row: VolumeRow) -> Self {
        let (created, policy) = (row.created, row.policy);
        Self { name: name.to_owned(), id: id.to_string(), created, policy }
    }
}

/// A volume whose objects are on the data backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FoundVolume {
    /// What its objects begin with.
    pub id: String,
    /// Its name, created and policy; none if its own object is missing or damaged.
    pub volume: Option<VolumeInfo>,
    /// Whether the catalog has a volume of this id.
    pub in_catalog: bool,
}

fn name_key(name: &str) -> Result<Key> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(allowed) {
        let message = format!(
            "`{name}` is no name for a volume; use 1 to {NAME_BYTES_MAX} of a-z, 0-9, - _ and ."
        );
        return Err(Error::invalid(Operation::Configure, message));
    }
    Key::parse(format!("{NAMES}{name}"))
}

impl Engine {
    /// Makes a volume.
    ///
    /// # Errors
    /// `Conflict` if there is one of this name, in the catalog or, because the catalog was lost,
    /// only on the data backend; `Invalid` for a wrong name or policy.
    pub async fn create_volume(&self, spec: impl Into<VolumeSpec> + Send) -> Result<Volume> {
        let VolumeSpec { name, mut policy } = spec.into();
        let key = name_key(&name)?;
        if policy.tiers == Policy::default().tiers && !self.settings().tiers.is_empty() {
            policy.tiers.clone_from(&self.settings().tiers);
        }
        policy.check()?;
        let mut open = self.open_volumes().await?;
        self.finish_removals().await?;
        if self.volume_id(&name).await?.is_some() {
            return Err(exists(&name));
        }
        self.refuse_lost(&name).await?;
        let volume = Volume::create(self.resources(), &name, policy).await?;
        let row = row::encode(&key, &volume.id().to_string());
        match self.catalog().put(&key, row, Expect::Absent).await {
            Ok(_) => {}
            Err(error) if error.kind() == holdall_core::ErrorKind::Conflict => {
                // Another process was quicker, and nobody has seen this one.
                self.remove(volume.id()).await?;
                return Err(exists(&name));
            }
            Err(error) => return Err(error),
        }
        open.insert(name, volume.clone());
        Ok(volume)
    }

    /// Opens a volume; none if there is none of this name. Opening it again gives the same one.
    ///
    /// # Errors
    /// What reading the catalog returns.
    pub async fn get_volume(&self, name: &str) -> Result<Option<Volume>> {
        let mut open = self.open_volumes().await?;
        if let Some(volume) = open.get(name) {
            return Ok(Some(volume.clone()));
        }
        let Some(id) = self.volume_id(name).await? else {
            return Ok(None);
        };
        let volume = Volume::open(self.resources(), id).await?;
        open.insert(name.to_owned(), volume.clone());
        Ok(Some(volume))
    }

    /// Opens a volume, or makes it with the default policy.
    ///
    /// # Errors
    /// As [`create_volume`](Self::create_volume).
    pub async fn get_or_create_volume(&self, name: &str) -> Result<Volume> {
        match self.get_volume(name).await? {
            Some(volume) => Ok(volume),
            None => self.create_volume(name).await,
        }
    }

    /// Opens a volume that must be there.
    ///
    /// # Errors
    /// `Invalid` if there is none of this name, naming those that there are.
    pub async fn volume(&self, name: &str) -> Result<Volume> {
        match self.get_volume(name).await? {
            Some(volume) => Ok(volume),
            None => Err(self.no_volume(name).await?),
        }
    }

    /// All volumes, ordered by name.
    ///
    /// # Errors
    /// What reading the catalog returns.
    pub async fn list_volumes(&self) -> Result<Vec<VolumeInfo>> {
        let mut volumes = Vec::new();
        for (name, id) in self.names().await? {
            let key = CatalogKeys::new(id).volume();
            let row = self.catalog().get_all(&key).await?.ok_or_else(|| {
                let message = format!("the volume `{name}` has lost its own row; rebuild it");
                Error::corrupt(Operation::Open, message).with_key(&key)
            })?;
            volumes.push(VolumeInfo::new(&name, id, row::decode(&key, &row.value)?));
        }
        Ok(volumes)
    }

    /// Changes how many logical bytes a volume may hold; none is no limit. A quota below what is
    /// there refuses writes until enough was deleted.
    ///
    /// # Errors
    /// `Invalid` if there is no volume of this name.
    pub async fn resize_volume(&self, name: &str, quota_bytes: Option<u64>) -> Result<Volume> {
        let volume = self.volume(name).await?;
        volume.set_policy(Policy { quota_bytes, ..volume.policy() }).await?;
        Ok(volume)
    }

    /// Removes a volume with everything in it, for good. Returns whether there was one. If it is
    /// interrupted, the rest is removed when a volume is next made or removed.
    ///
    /// # Errors
    /// What the backends return.
    pub async fn delete_volume(&self, name: &str) -> Result<bool> {
        let key = name_key(name)?;
        let mut open = self.open_volumes().await?;
        self.finish_removals().await?;
        let Some(object) = self.catalog().get_all(&key).await? else {
            return Ok(false);
        };
        let id = decode_id(&key, &object.value)?;
        if let Some(volume) = open.remove(name) {
            // Its log is about to go, so whether it can be sealed does not matter.
            drop(volume.close().await);
        }
        let removed = removed_key(id);
        let mut batch = Batch::new();
        batch.delete(key, Expect::Revision(object.revision));
        batch.put(removed.clone(), row::encode(&removed, &name), Expect::Any);
        self.catalog().apply(batch).await?;
        self.remove(id).await?;
        Ok(true)
    }

    /// The volumes whose objects are on the data backend: what can be rebuilt.
    ///
    /// # Errors
    /// What listing and reading the data backend return.
    pub async fn find_volumes(&self) -> Result<Vec<FoundVolume>> {
        let known: Vec<VolumeId> = self.names().await?.into_iter().map(|(_, id)| id).collect();
        let mut newest: BTreeMap<VolumeId, Option<VolumeRow>> = BTreeMap::new();
        let places = self.places();
        let (mut answered, mut failed) = (false, None);
        for place in places.list() {
            match find_in(place.backend.as_ref(), &mut newest).await {
                Ok(()) => answered = true,
                // As long as one place answers, there is something to go by.
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed.filter(|_| !answered) {
            return Err(error);
        }
        let found = |(id, row): (VolumeId, Option<VolumeRow>)| {
            let volume = row.map(|row| VolumeInfo::new(&row.name.clone(), id, row));
            FoundVolume { id: id.to_string(), volume, in_catalog: known.contains(&id) }
        };
        Ok(newest.into_iter().map(found).collect())
    }

    /// What a volume's places and tiers would be if they were as configured; nothing if they are.
    pub fn configured_places(&self, volume: &Volume) -> Option<(Vec<PlaceRow>, Vec<Tier>)> {
        let settings = self.settings();
        if settings.places.is_empty() && settings.tiers.is_empty() {
            return None;
        }
        let (mut rows, tiers) = (volume.places(), settings.tiers.clone());
        let tiers = if tiers.is_empty() { Policy::default().tiers } else { tiers };
        for (position, (name, config)) in settings.places.iter().enumerate() {
            let zone = config.zone.clone().unwrap_or_default();
            let unnamed = rows.len() == 1 && rows[0].name.is_empty() && position == 0;
            match rows.iter_mut().find(|row| row.name == *name || unnamed) {
                Some(row) => {
                    (row.name, row.zone, row.weight) = (name.clone(), zone, config.weight);
                }
                None => {
                    let number = rows.iter().map(|row| row.number + 1).max().unwrap_or(0);
                    let (name, weight) = (name.clone(), config.weight);
                    let state = PlaceState::Active;
                    rows.push(PlaceRow { number, name, zone, weight, state });
                }
            }
        }
        (rows != volume.places() || tiers != volume.policy().tiers).then_some((rows, tiers))
    }

    /// Notes which volume a name means, once its catalog was rebuilt.
    pub(crate) async fn register(&self, name: &str, id: VolumeId) -> Result<()> {
        let key = name_key(name)?;
        let row = row::encode(&key, &id.to_string());
        self.catalog().put(&key, row, Expect::Any).await.map(drop)
    }

    /// The volume of this name, or none.
    pub(crate) async fn volume_id(&self, name: &str) -> Result<Option<VolumeId>> {
        let key = name_key(name)?;
        let object = self.catalog().get_all(&key).await?;
        object.map(|object| decode_id(&key, &object.value)).transpose()
    }

    pub(crate) async fn no_volume(&self, name: &str) -> Result<Error> {
        let names: Vec<String> = self.names().await?.into_iter().map(|(name, _)| name).collect();
        let hint = match nearest(name, names.iter().map(String::as_str)) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None if names.is_empty() && !self.find_volumes().await?.is_empty() => {
                "the catalog is empty but the data backend is not: run `holdall rebuild`".to_owned()
            }
            None if names.is_empty() => "there is none yet: create one".to_owned(),
            None => format!("there are {}", names.join(", ")),
        };
        let message = format!("there is no volume `{name}`; {hint}");
        Ok(Error::invalid(Operation::Open, message))
    }

    async fn names(&self) -> Result<Vec<(String, VolumeId)>> {
        names(self.catalog().as_ref()).await
    }

    /// A new volume must not hide one whose catalog was lost.
    async fn refuse_lost(&self, name: &str) -> Result<()> {
        let found = self.find_volumes().await?;
        let lost = found.iter().find(|found| {
            !found.in_catalog && found.volume.as_ref().is_some_and(|volume| volume.name == name)
        });
        let Some(lost) = lost else {
            return Ok(());
        };
        let message = format!(
            "the data backend holds a volume `{name}` ({}) that the catalog does not know: the \
             catalog was lost; run `holdall rebuild {name}`, or choose another name",
            lost.id
        );
        Err(Error::conflict(Operation::Open, message))
    }

    async fn finish_removals(&self) -> Result<()> {
        for row in self.catalog().list_all(REMOVED, false).await? {
            let id = row.key.as_str().strip_prefix(REMOVED).and_then(VolumeId::parse);
            if let Some(id) = id {
                self.remove(id).await?;
            }
        }
        Ok(())
    }

    /// Removes the rows and objects of a volume that no name means any more. Its own object goes
    /// first, so that nobody finds a volume to rebuild in what is left.
    async fn remove(&self, id: VolumeId) -> Result<()> {
        for place in self.places().list() {
            place.backend.delete(&DataKeys::new(id).volume(), Expect::Any).await?;
        }
        for place in self.places().list() {
            remove_all(&place.backend, &DataKeys::new(id).root(), false).await?;
        }
        remove_all(&self.catalog(), CatalogKeys::new(id).root(), true).await?;
        self.catalog().delete(&removed_key(id), Expect::Any).await
    }
}

/// Adds the volumes that a backend holds, with what it says of them if that is the newest.
async fn find_in(
    data: &dyn Backend,
    newest: &mut BTreeMap<VolumeId, Option<VolumeRow>>,
) -> Result<()> {
    let mut list = List::prefix("").limit(1);
    while let Some(first) = data.list(&list).await?.rows.into_iter().next() {
        let folder = first.key.as_str().split('/').next().unwrap_or_default();
        // `0` is the character behind `/`, so this skips everything of the volume.
        list = List::prefix("").limit(1).at(format!("{folder}0"));
        let Some(id) = VolumeId::parse(folder) else {
            list = List::prefix("").limit(1).after(first.key.as_str());
            continue;
        };
        let object = data.get(&DataKeys::new(id).volume(), ByteRange::ALL).await?;
        let row = object.and_then(|object| VolumeRow::decode_object(id, &object.value).ok());
        let known = newest.entry(id).or_default();
        let changes = |row: &Option<VolumeRow>| row.as_ref().map(|row| row.changes);
        if changes(&row) > changes(known) {
            *known = row;
        }
    }
    Ok(())
}

async fn names(catalog: &dyn Backend) -> Result<Vec<(String, VolumeId)>> {
    let rows = catalog.list_all(NAMES, true).await?;
    let mut names = Vec::with_capacity(rows.len());
    for row in rows {
        let name = row.key.as_str().strip_prefix(NAMES).unwrap_or_default().to_owned();
        let value = row.object.map(|object| object.value).unwrap_or_default();
        names.push((name, decode_id(&row.key, &value)?));
    }
    Ok(names)
}

/// What the keys of all segments of a catalog's volumes begin with: no segment's name is ever
/// given again, so a copy of one is true for ever.
pub(crate) async fn written_once(catalog: &dyn Backend) -> Result<Vec<String>> {
    let names = names(catalog).await?;
    Ok(names.into_iter().map(|(_, id)| DataKeys::new(id).segments()).collect())
}

async fn remove_all(backend: &Arc<dyn Backend>, prefix: &str, atomic: bool) -> Result<()> {
    let list = List::prefix(prefix).limit(REMOVE_PAGE);
    loop {
        let page = backend.list(&list).await?;
        if page.rows.is_empty() {
            return Ok(());
        }
        if atomic {
            let mut batch = Batch::new();
            for row in page.rows {
                batch.delete(row.key, Expect::Any);
            }
            backend.apply(batch).await?;
        } else {
            let deletes = page.rows.iter().map(|row| backend.delete(&row.key, Expect::Any));
            futures::future::try_join_all(deletes).await?;
        }
    }
}

fn removed_key(id: VolumeId) -> Key {
    Key::parse(format!("{REMOVED}{id}")).expect("an id is a short word")
}

fn decode_id(key: &Key, bytes: &holdall_core::Bytes) -> Result<VolumeId> {
    let text: String = row::decode(key, bytes)?;
    VolumeId::parse(&text).ok_or_else(|| {
        let message = "a volume's name leads to no volume; run `holdall rebuild`";
        Error::corrupt(Operation::Decode, message).with_key(key)
    })
}

fn exists(name: &str) -> Error {
    let message = format!("there is a volume `{name}` already; choose another name");
    Error::conflict(Operation::Open, message)
}

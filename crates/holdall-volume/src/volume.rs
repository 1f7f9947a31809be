//! An open volume: created, opened, told what to do, closed.

mod background;
mod describing;
mod jobs;
mod lost;
mod throttled;
mod verifying;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use holdall_core::{
    Backend, BackendExt, Batch, Conditions, Env, Error, ErrorKind, Expect, Operation, Result,
    Timestamp, units::format_size,
};
use serde::Serialize;

pub use lost::Lost;

use crate::checkpoint::checkpoint;
use crate::commit::{CommitContext, Committer, Request, Write};
use crate::data::{DataContext, PackSettings, Packer, ReadSettings, Reader};
use crate::format::checkpoint::CheckpointId;
use crate::format::chunk::ChunkSecret;
use crate::format::entry::Version;
use crate::format::head::{Head, Sealed};
use crate::format::keys::{CatalogKeys, DataKeys, VolumeId};
use crate::format::policy::{PlaceRow, Policy, Tier, VolumeRow, check_places};
use crate::format::row;
use crate::format::segment::SegmentId;
use crate::placement::{Places, Spread, VolumeRowSource};
use crate::read::{ReadContext, Recent};
use crate::seal::SealContext;

pub(crate) use describing::describing;
pub(crate) use throttled::throttled;

/// The least value that a data backend must take: a frame of the longest chunk, with room.
const DATA_VALUE_BYTES_MIN: u64 = 5 << 20;

/// After how many committed bytes the log is sealed in the background.
const SEAL_BYTES: u64 = 8 << 20;

/// Where a volume lives and who opens it.
#[derive(Clone, Debug)]
pub struct Resources {
    /// Time, chance and threads.
    pub env: Env,
    /// Holds the catalog; must be atomic.
    pub catalog: Arc<dyn Backend>,
    /// Hold segments, log and checkpoints.
    pub data: Places,
    /// Who opens it, for people: program and command, without secrets.
    pub holder: String,
}

/// A named store with a policy: a catalog and its segments. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Volume {
    pub(crate) shared: Arc<Shared>,
}

/// What all handles of an open volume share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) resources: Resources,
    pub(crate) id: VolumeId,
    pub(crate) read: Arc<ReadContext>,
    pub(crate) committer: Committer,
    /// Where the data is: one backend, or all places as one.
    pub(crate) data: Arc<dyn Backend>,
    pub(crate) spread: Arc<Spread>,
    writer: futures::lock::Mutex<Option<Arc<Writer>>>,
    sealing: futures::lock::Mutex<()>,
    /// Whether this handle has seen, or made, the volume's object on the data backend to be as the
    /// row.
    object_is_current: AtomicBool,
    /// What was read lately, for reads that may be older.
    pub(crate) recent: Recent,
    /// What the catalog was found to have lost, once that could be looked for.
    lost: OnceLock<Option<Lost>>,
}

/// The segments that this handle writes, under its epoch.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) packer: Arc<Packer>,
}

/// How much a volume holds, and how safe it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// How many entries there are now.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The most bytes allowed.
    pub quota_bytes: Option<u64>,
    /// How many superseded versions are kept.
    pub history_entries: u64,
    /// Their bytes.
    pub history_bytes: u64,
    /// Bytes of parts that are not yet an entry.
    pub upload_bytes: u64,
    /// How many segments there are.
    pub segments: u64,
    /// Their bytes, dead ones included.
    pub segment_bytes: u64,
    /// Stored bytes that something names.
    pub live_bytes: u64,
    /// The newest commit.
    pub sequence: Version,
    /// Its time.
    pub time: Timestamp,
    /// Every commit up to this one can be rebuilt from the data backend alone.
    pub recoverable_upto: Version,
    /// The newest verified checkpoint; 0 if there is none.
    pub checkpoint: Version,
    /// From how many hundredths of the quota on its owner is told.
    pub alert_percent: Option<u8>,
    /// What the catalog has lost.
    pub lost: Option<Lost>,
}

impl Usage {
    /// What the volume's owner should be told of its quota, if so much is in use.
    pub fn alert(&self) -> Option<String> {
        let (quota, percent) = (self.quota_bytes?, self.alert_percent?);
        let used = self.bytes.saturating_add(self.upload_bytes);
        let is_over = u128::from(used) * 100 >= u128::from(quota) * u128::from(percent);
        is_over.then(|| {
            let part = u128::from(used) * 100 / u128::from(quota.max(1));
            let (used, quota) = (format_size(used), format_size(quota));
            format!(
                "{part} % of the quota are in use, {used} of {quota}; delete something, or raise \
                 it with `holdall volume resize`"
            )
        })
    }
}

impl Volume {
    /// Makes a new, empty volume.
    ///
    /// # Errors
    /// `Invalid` if the policy cannot work; `Unsupported` if the backends cannot hold a volume;
    /// those of the backends.
    pub async fn create(resources: Resources, name: &str, policy: Policy) -> Result<Self> {
        policy.check()?;
        check_backends(&resources)?;
        let env = &resources.env;
        let id = VolumeId::from_random(env.random());
        let secret = ChunkSecret(env.random());
        let row = {
            let row = VolumeRow::new(name, env.now(), secret, policy);
            VolumeRow { places: resources.data.rows(), ..row }
        };
        check_places(&row.places, &row.policy.tiers)?;
        let data_keys = DataKeys::new(id);
        // First where it can be found again if the catalog is lost.
        let object = row.encode_object(id)?;
        let source = VolumeRowSource::Fixed(Arc::new(row.clone()));
        let catalog = Arc::clone(&resources.catalog);
        let spread = Spread::new(env.clone(), catalog, id, &resources.data, source);
        let (data, _) = spread.as_data();
        // The id is drawn at random, so that nobody else writes there.
        let expect = match data.profile().conditions {
            Conditions::None => Expect::Any,
            Conditions::Absent | Conditions::Revision => Expect::Absent,
        };
        data.put(&data_keys.volume(), object, expect).await?;
        let keys = CatalogKeys::new(id);
        let mut batch = Batch::new();
        let head = Head { next_epoch: 1, time: row.created, ..Head::default() };
        let sealed = Sealed { time: row.created, ..Sealed::default() };
        batch.put(keys.volume(), row::encode(&keys.volume(), &row), Expect::Absent);
        batch.put(keys.head(), row::encode(&keys.head(), &head), Expect::Absent);
        batch.put(keys.sealed(), row::encode(&keys.sealed(), &sealed), Expect::Absent);
        resources.catalog.apply(batch).await?;
        Ok(Self::assemble(resources, id, row))
    }

    /// Opens a volume. This reads only; a writer's epoch is taken with the first write.
    ///
    /// A catalog across a network is compared with the data, because its engine may have lost what
    /// it had acknowledged: see [`lost`](Self::lost).
    ///
    /// # Errors
    /// `Invalid` if the catalog has no such volume; those of the backends.
    pub async fn open(resources: Resources, id: VolumeId) -> Result<Self> {
        let volume = Self::open_as_it_is(resources, id).await?;
        // Where the data cannot be asked now, the first write will.
        let _ = volume.shared.look_for_lost().await;
        Ok(volume)
    }

    /// Opens a volume whatever its catalog has lost.
    pub(crate) async fn open_as_it_is(resources: Resources, id: VolumeId) -> Result<Self> {
        check_backends(&resources)?;
        let key = CatalogKeys::new(id).volume();
        let Some(found) = resources.catalog.get_all(&key).await? else {
            let message = format!("the catalog has no volume {id}; list volumes, or rebuild it");
            return Err(Error::invalid(Operation::Open, message));
        };
        let row = row::decode(&key, &found.value)?;
        Ok(Self::assemble(resources, id, row))
    }

    fn assemble(mut resources: Resources, id: VolumeId, row: VolumeRow) -> Self {
        resources.catalog = describing(resources.catalog, id);
        let keys = CatalogKeys::new(id);
        let context = CommitContext {
            env: resources.env.clone(),
            catalog: Arc::clone(&resources.catalog),
            keys: keys.clone(),
            holder: resources.holder.clone(),
        };
        let secret = row.secret;
        let committer = Committer::new(context, row);
        let source = VolumeRowSource::Committer(committer.clone());
        let (env, catalog) = (resources.env.clone(), Arc::clone(&resources.catalog));
        let spread = Spread::new(env.clone(), Arc::clone(&catalog), id, &resources.data, source);
        let (data, many) = spread.as_data();
        let (data_keys, backend) = (DataKeys::new(id), Arc::clone(&data));
        let context =
            DataContext { env, catalog, data: backend, spread: many, keys, data_keys, secret };
        let reader = Reader::new(context, ReadSettings::default());
        let read = ReadContext::new(&resources, Arc::clone(&data), id, reader, &committer);
        let shared = Shared {
            resources,
            id,
            read: Arc::new(read),
            committer,
            data,
            spread,
            writer: futures::lock::Mutex::new(None),
            sealing: futures::lock::Mutex::new(()),
            object_is_current: AtomicBool::new(false),
            recent: Recent::default(),
            lost: OnceLock::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The volume's identity.
    pub fn id(&self) -> VolumeId {
        self.shared.id
    }

    /// The volume's name.
    pub fn name(&self) -> String {
        self.shared.committer.volume().name.clone()
    }

    /// What the volume is told to do.
    pub fn policy(&self) -> Policy {
        self.shared.committer.volume().policy.clone()
    }

    /// When the volume was created.
    pub fn created(&self) -> Timestamp {
        self.shared.committer.volume().created
    }

    /// Tells the volume to do something else from now on.
    ///
    /// # Errors
    /// `Invalid` if the policy cannot work; `Unsupported` if it indexes other attributes than
    /// before, which an existing volume cannot change; `Unknown` if it was changed, but not yet
    /// what a rebuild would read; those of the backends.
    pub async fn set_policy(&self, policy: Policy) -> Result<()> {
        policy.check()?;
        self.change(Write::SetPolicy(Box::new(policy))).await
    }

    /// Where the volume's data lies.
    pub fn places(&self) -> Vec<PlaceRow> {
        self.shared.committer.volume().places.clone()
    }

    /// Says where the volume's data lies from now on, and what goes there. Every place that there
    /// was must stay, with its number; one that is no longer wanted is drained, or lost. What lies
    /// where it should not is brought elsewhere by a [`repair`](Self::repair).
    ///
    /// # Errors
    /// `Invalid` if places and tiers do not fit together; otherwise as
    /// [`set_policy`](Self::set_policy).
    pub async fn set_places(&self, places: Vec<PlaceRow>, tiers: Vec<Tier>) -> Result<()> {
        tiers.iter().try_for_each(Tier::check)?;
        self.change(Write::SetPlaces(places, tiers)).await
    }

    /// Gives the volume another name.
    ///
    /// # Errors
    /// As [`set_policy`](Self::set_policy).
    pub async fn set_name(&self, name: &str) -> Result<()> {
        self.change(Write::SetName(name.to_owned())).await
    }

    /// Changes the volume's row, and then its copy on the data backend.
    async fn change(&self, write: Write) -> Result<()> {
        let shared = &self.shared;
        shared.object_is_current.store(false, Ordering::SeqCst);
        shared.commit(Request::one(write)).await?;
        shared.write_object().await.map_err(|error| {
            // The next seal mends it, which comes by itself.
            shared.object_is_current.store(false, Ordering::SeqCst);
            shared.committer.keep_unsealed();
            let message = "the volume was changed, but not yet its copy on the data backend, which \
                           a rebuild reads; that follows by itself, or with `seal`";
            Error::unknown(Operation::Configure, message).with_source(error)
        })
    }

    /// What the catalog was found to have lost when this was opened. Until a rebuild has brought
    /// it back, the volume can be read, and every write is `Corrupt`.
    pub fn lost(&self) -> Option<Lost> {
        self.shared.lost.get().copied().flatten()
    }

    /// How much the volume holds, and how safe it is.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn usage(&self) -> Result<Usage> {
        let keys = CatalogKeys::new(self.shared.id);
        let wanted = [keys.head(), keys.sealed(), keys.volume()];
        let rows = self.shared.resources.catalog.get_many(&wanted).await?;
        let [Some(head), Some(sealed), Some(volume)] = rows.as_slice() else {
            let message = "the volume's catalog has no head; run `holdall rebuild`";
            return Err(Error::corrupt(Operation::Get, message).with_key(&wanted[0]));
        };
        let head: Head = row::decode(&wanted[0], &head.value)?;
        let sealed: Sealed = row::decode(&wanted[1], &sealed.value)?;
        // Another handle may have changed it since this one last saw it.
        let VolumeRow { policy, .. } = row::decode(&wanted[2], &volume.value)?;
        Ok(Usage {
            entries: head.entries,
            bytes: head.bytes,
            quota_bytes: policy.quota_bytes,
            alert_percent: policy.alert_percent,
            history_entries: head.history_entries,
            history_bytes: head.history_bytes,
            upload_bytes: head.upload_bytes,
            segments: head.segments,
            segment_bytes: head.segment_bytes,
            live_bytes: head.live_bytes,
            sequence: head.sequence,
            time: head.time,
            recoverable_upto: sealed.upto,
            checkpoint: sealed.checkpoint,
            lost: self.lost(),
        })
    }

    /// Writes every commit so far into the log on the data backend.
    ///
    /// # Errors
    /// What reading the catalog and writing to the data backend return.
    pub async fn seal(&self) -> Result<Sealed> {
        self.shared.seal().await
    }

    /// Copies the catalog to the data backend, so that a rebuild need not read the whole log.
    /// Nothing if there was nothing new.
    ///
    /// # Errors
    /// As [`seal`](Self::seal).
    pub async fn checkpoint(&self) -> Result<Option<CheckpointId>> {
        let _one_at_a_time = self.shared.sealing.lock().await;
        checkpoint(&self.shared.seal_context().await?).await
    }

    /// Seals the log and ends this handle's writer. Everything acknowledged is safe without this;
    /// it makes the next opening and a rebuild shorter. Later writes are refused.
    ///
    /// A handle that has written seals what others have left unsealed too. One that has only read
    /// writes nothing here either: it may not be allowed to, and what it would seal may be another
    /// writer's work of this moment. Only copies that it has found to be damaged are noted.
    ///
    /// # Errors
    /// Those of the backends. If sealing has failed, the writer goes on; close it again.
    pub async fn close(&self) -> Result<()> {
        // Copies that no write waited for, and what was found out about others.
        self.shared.spread.settle().await;
        let _ = self.shared.flush_reports().await;
        if self.shared.committer.epoch_taken().await.is_some() {
            self.shared.seal().await?;
            self.shared.spread.settle().await;
        }
        self.shared.committer.close().await
    }
}

impl Shared {
    /// The writer of this handle, which takes an epoch the first time.
    pub(crate) async fn writer(self: &Arc<Self>) -> Result<Arc<Writer>> {
        let mut slot = self.writer.lock().await;
        if let Some(writer) = &*slot {
            return Ok(Arc::clone(writer));
        }
        self.check_nothing_lost().await?;
        let epoch = self.committer.epoch().await?;
        let settings = PackSettings::from(&self.committer.volume().policy);
        let packer = Packer::new(self.data_context(), epoch, settings);
        let writer = Arc::new(Writer { packer });
        *slot = Some(Arc::clone(&writer));
        let (weak, env) = (Arc::downgrade(self), self.resources.env.clone());
        self.resources.env.spawn(background::heartbeat(weak, env));
        Ok(writer)
    }

    pub(crate) fn data_context(&self) -> DataContext {
        DataContext {
            env: self.resources.env.clone(),
            catalog: Arc::clone(&self.resources.catalog),
            data: Arc::clone(&self.data),
            spread: self.spread.as_data().1,
            keys: CatalogKeys::new(self.id),
            data_keys: DataKeys::new(self.id),
            secret: self.committer.volume().secret,
        }
    }

    pub(crate) async fn seal_context(self: &Arc<Self>) -> Result<SealContext> {
        self.check_nothing_lost().await?;
        Ok(SealContext {
            env: self.resources.env.clone(),
            catalog: Arc::clone(&self.resources.catalog),
            data: Arc::clone(&self.data),
            catalog_keys: CatalogKeys::new(self.id),
            data_keys: DataKeys::new(self.id),
            epoch: self.committer.epoch().await?,
            compression: self.committer.volume().policy.compression,
        })
    }

    /// Commits, and sees to it that the log follows.
    pub(crate) async fn commit(
        self: &Arc<Self>,
        request: Request,
    ) -> Result<crate::commit::Committed> {
        // The writer's heartbeat keeps its lease, so it must be there before the first commit.
        let writer = self.writer().await?;
        let segments: Vec<SegmentId> = request.segments.iter().map(|s| s.id).collect();
        let committed = self.committer.submit(request).await.inspect_err(|error| {
            if error.kind() == ErrorKind::Unavailable {
                // Perhaps collected: whoever tries again must not rely on them.
                segments.iter().for_each(|segment| writer.packer.forget(*segment));
            }
        })?;
        if self.committer.take_unsealed(SEAL_BYTES) {
            self.seal_in_background();
        }
        Ok(committed)
    }
}

fn check_backends(resources: &Resources) -> Result<()> {
    let catalog = resources.catalog.profile();
    if !catalog.atomic {
        let message =
            format!("{} cannot hold a catalog: its batches are not atomic", catalog.engine);
        return Err(Error::unsupported(Operation::Open, message));
    }
    let places = resources.data.list().iter();
    let profiles = places.map(|place| place.backend.profile());
    if let Some(data) =
        profiles.into_iter().find(|data| data.value_bytes_max < DATA_VALUE_BYTES_MIN)
    {
        let message = format!(
            "{} cannot hold segments: its values have at most {} bytes, {DATA_VALUE_BYTES_MIN} \
             are needed",
            data.engine, data.value_bytes_max
        );
        return Err(Error::unsupported(Operation::Open, message));
    }
    Ok(())
}

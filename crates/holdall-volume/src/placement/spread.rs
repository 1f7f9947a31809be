//! All places of a volume as one backend: segments lie in some of them, all else in every one.
//!
//! What is written counts as done once enough places have it. Reads and listings join what the
//! places have. Where so many places do not answer that they may hold what no other does, the
//! answer is `Unavailable` and not a guess.

mod copies;
pub(crate) mod get;
mod list;
mod locate;
mod put;
pub(crate) mod reports;
mod whole;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use holdall_core::{
    Backend, BackendExt, Batch, ByteRange, Conditions, Durability, Env, Error, ErrorKind, Expect,
    Find, Health, Key, List, Object, Operation, Page, Profile, Reach, Result, Revision,
    async_trait,
};

use crate::placement::Places;
use crate::placement::member::Member;
use crate::placement::spread::locate::Located;
use crate::placement::spread::reports::{CopyId, Reports};
use crate::placement::table::{Seat, Table};
pub(crate) use copies::Copies;
pub(crate) use whole::Whole;

use crate::commit::Committer;
use crate::format::keys::{CatalogKeys, DataKeys, VolumeId};
use crate::format::policy::VolumeRow;
use crate::format::row;
use crate::format::segment::{Replica, ReplicaState, SegmentId, SegmentRow};

/// How often to look whether copies are still under way, and how long to wait in between.
const SETTLE_LOOKS: usize = 250;
const SETTLE_PAUSE: Duration = Duration::from_millis(20);

/// From where the volume's row is known.
#[derive(Clone, Debug)]
pub(crate) enum VolumeRowSource {
    /// From its object on the data backend.
    Fixed(Arc<VolumeRow>),
    /// From the commits of an open volume.
    Committer(Committer),
}

impl VolumeRowSource {
    fn row(&self) -> Arc<VolumeRow> {
        match self {
            Self::Fixed(row) => Arc::clone(row),
            Self::Committer(committer) => committer.volume(),
        }
    }
}

/// All places of a volume.
#[derive(Debug)]
pub(crate) struct Spread {
    pub(crate) env: Env,
    pub(crate) catalog: Arc<dyn Backend>,
    pub(crate) keys: CatalogKeys,
    pub(crate) data_keys: DataKeys,
    members: Vec<Member>,
    places: Places,
    row: VolumeRowSource,
    table: Mutex<Option<(Arc<VolumeRow>, Arc<Table>)>>,
    pub(crate) located: Located,
    pub(crate) reports: Reports,
    profile: Profile,
}

impl Spread {
    pub(crate) fn new(
        env: Env,
        catalog: Arc<dyn Backend>,
        id: VolumeId,
        places: &Places,
        row: VolumeRowSource,
    ) -> Arc<Self> {
        let member = |place| Member::new(env.clone(), place);
        let members = places.list().iter().cloned().map(member).collect();
        let (keys, data_keys) = (CatalogKeys::new(id), DataKeys::new(id));
        let (table, located, reports) = (Mutex::new(None), Located::default(), Reports::default());
        let (profile, places) = (profile(places), places.clone());
        let spread = Self {
            env,
            catalog,
            keys,
            data_keys,
            members,
            places,
            row,
            table,
            located,
            reports,
            profile,
        };
        Arc::new(spread)
    }

    /// The newest of the volume's objects on these places: a rebuild begins there.
    ///
    /// # Errors
    /// `Corrupt` if no place has one that can be read; those of the backends.
    pub(crate) async fn discover(env: &Env, places: &Places, id: VolumeId) -> Result<VolumeRow> {
        let key = DataKeys::new(id).volume();
        let members = places.list().iter().map(|place| Member::new(env.clone(), place.clone()));
        let members: Vec<Member> = members.collect();
        let found = members.iter().map(|member| member.get(&key, ByteRange::ALL));
        let (newest, error) = newest(id, join_all(found).await);
        match (newest, error) {
            (Some((row, _)), _) => Ok(row),
            (None, Some(error)) => Err(error.with_key(&key)),
            (None, None) => {
                let message = "the data backend has no such volume; give the backend that has it";
                Err(Error::corrupt(Operation::Maintain, message).with_key(&key))
            }
        }
    }

    /// The backend that the rest of the volume uses, and the places, if they are several.
    pub(crate) fn as_data(self: &Arc<Self>) -> (Arc<dyn Backend>, Option<Arc<Self>>) {
        match &self.members[..] {
            [only] if !self.is_many() => (Arc::clone(only.backend()), None),
            _ => (Arc::clone(self) as Arc<dyn Backend>, Some(Arc::clone(self))),
        }
    }

    /// Whether data lies, or may lie, in more than one place.
    pub(crate) fn is_many(&self) -> bool {
        self.members.len() > 1 || self.row.row().places.len() > 1
    }

    /// Waits for copies that are under way, but not long: a repair makes those that do not come.
    pub(crate) async fn settle(&self) {
        let is_writing = |member: &Member| member.vitals().writing() > 0;
        for _ in 0..SETTLE_LOOKS {
            if !self.members.iter().any(is_writing) {
                return;
            }
            self.env.sleep(SETTLE_PAUSE).await;
        }
    }

    /// What was found out about copies and is not yet in their rows.
    pub(crate) fn take_reports(&self) -> Vec<(CopyId, ReplicaState)> {
        self.reports.take()
    }

    /// The places as they are now.
    pub(crate) fn table(&self) -> Arc<Table> {
        let row = self.row.row();
        let mut slot = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, table)) = &*slot
            && Arc::ptr_eq(known, &row)
        {
            return Arc::clone(table);
        }
        let table = Arc::new(Table::new(&row, &self.members, self.places.own_zone()));
        *slot = Some((row, Arc::clone(&table)));
        table
    }

    /// The copies that the catalog says a segment has; none if it does not say.
    pub(crate) async fn replicas(&self, id: SegmentId) -> Result<Vec<Replica>> {
        if let Some(known) = self.located.get(id) {
            return Ok(known);
        }
        let key = self.keys.segment(id);
        let Some(found) = self.catalog.get_all(&key).await? else { return Ok(Vec::new()) };
        let row: SegmentRow = row::decode(&key, &found.value)?;
        self.located.insert(id, row.replicas.clone());
        Ok(row.replicas)
    }

    /// The places that have an object, asking each.
    ///
    /// # Errors
    /// `Unavailable` if none that answers has it, and others may.
    pub(crate) async fn holders(&self, id: SegmentId) -> Result<Vec<u16>> {
        let (table, key) = (self.table(), self.data_keys.segment(id));
        let seats = table.readable();
        let asked = seats.iter().map(|seat| ask(seat, &key, ByteRange::new(0, 0)));
        let mut failed = Failed::default();
        let mut holders = Vec::new();
        for (seat, answer) in seats.iter().zip(join_all(asked).await) {
            match answer {
                Ok(found) => holders.extend(found.map(|_| seat.row.number)),
                Err(error) => failed.note(error),
            }
        }
        holders.sort_unstable();
        if holders.is_empty() {
            failed.judge(&table)?;
        }
        Ok(holders)
    }

    async fn volume_object(&self, range: ByteRange) -> Result<Option<Object>> {
        let (table, key) = (self.table(), self.data_keys.volume());
        let seats = table.readable();
        let asked = seats.iter().map(|seat| ask(seat, &key, ByteRange::ALL));
        let found = join_all(asked).await;
        let mut failed = Failed::default();
        let unreachable = found.iter().filter_map(|found| found.as_ref().err());
        unreachable.cloned().for_each(|error| failed.note(error));
        let (newest, damage) = newest(self.data_keys.volume_id(), found);
        let Some((_, object)) = newest else {
            failed.judge(&table)?;
            return damage.map_or(Ok(None), Err);
        };
        let wanted = range.clip(object.size)?;
        let value = object.value.slice(wanted.start as usize..wanted.end as usize);
        Ok(Some(Object { value, ..object }))
    }

    /// Whether every place that takes part has the volume's object as this row is.
    pub(crate) async fn object_is_everywhere(&self, row: &VolumeRow) -> bool {
        if !self.is_many() {
            return true;
        }
        let (table, key) = (self.table(), self.data_keys.volume());
        let id = self.data_keys.volume_id();
        let seats: Vec<&Seat> = table.active().collect();
        let asked = seats.iter().map(|seat| ask(seat, &key, ByteRange::ALL));
        let same = |found: Result<Option<Object>>| {
            let decoded = found.ok().flatten();
            let decoded = decoded.map(|found| VolumeRow::decode_object(id, &found.value));
            decoded.is_some_and(|decoded| decoded.is_ok_and(|found| found == *row))
        };
        join_all(asked).await.into_iter().all(same)
    }
}

/// The volume's object with the most changes, and what was wrong with others.
fn newest(
    id: VolumeId,
    found: Vec<Result<Option<Object>>>,
) -> (Option<(VolumeRow, Object)>, Option<Error>) {
    let (mut newest, mut wrong): (Option<(VolumeRow, Object)>, _) = (None, None);
    for object in found {
        let decoded = object.and_then(|object| {
            let decode = |object: Object| {
                VolumeRow::decode_object(id, &object.value).map(|row| (row, object))
            };
            object.map(decode).transpose()
        });
        match decoded {
            Ok(Some(next)) => {
                let newer = newest.as_ref().is_none_or(|(row, _)| next.0.changes > row.changes);
                if newer {
                    newest = Some(next);
                }
            }
            Ok(None) => {}
            Err(error) => wrong = Some(error),
        }
    }
    (newest, wrong)
}

async fn ask(seat: &Seat, key: &Key, range: ByteRange) -> Result<Option<Object>> {
    seat.reachable()?.get(key, range).await
}

async fn remove(seat: &Seat, key: &Key) -> Result<()> {
    seat.reachable()?.delete(key).await
}

/// What no place need be asked for twice: how many have failed, and how.
#[derive(Debug, Default)]
pub(crate) struct Failed {
    count: usize,
    last: Option<Error>,
}

impl Failed {
    pub(crate) fn note(&mut self, error: Error) {
        // Damage is no silence: the place has said what it has.
        if error.kind() != ErrorKind::Corrupt {
            self.count += 1;
            self.last = Some(error);
        }
    }

    /// Whether a place that does not answer may have what others have damaged.
    ///
    /// # Errors
    /// `Unavailable` if so.
    pub(crate) fn judge_hard(self) -> Result<()> {
        match self.last {
            Some(error) if self.count > 0 => {
                let message = format!(
                    "a place that may have a whole copy does not answer ({}); bring it back",
                    error.message()
                );
                Err(Error::unavailable(Operation::Get, message).with_source(error))
            }
            _ => Ok(()),
        }
    }

    /// Whether what the others have said is all there is: every object was written to as many
    /// places as a write needs, so that fewer silent ones cannot hide one.
    ///
    /// # Errors
    /// `Unavailable` if they can.
    pub(crate) fn judge(self, table: &Table) -> Result<()> {
        match self.last {
            Some(error) if self.count >= table.needed().0 => {
                let count = self.count;
                let message = format!(
                    "{count} places do not answer, and may hold what no other does ({}); bring \
                     them back, or say that they are lost",
                    error.message()
                );
                Err(Error::unavailable(Operation::Get, message).with_source(error))
            }
            _ => Ok(()),
        }
    }
}

fn profile(places: &Places) -> Profile {
    let all = || places.list().iter().map(|place| place.backend.profile());
    Profile {
        engine: "places",
        key_bytes_max: all().map(|one| one.key_bytes_max).min().unwrap_or(0),
        value_bytes_max: all().map(|one| one.value_bytes_max).min().unwrap_or(0),
        batch_ops_max: 0,
        batch_bytes_max: 0,
        atomic: false,
        metadata: false,
        conditions: Conditions::Absent,
        reach: all().map(|one| one.reach).max().unwrap_or(Reach::Process),
        // Whoever looks whether a write has happened must not take one copy for enough.
        durability: Durability::Machine,
    }
}

#[async_trait]
impl Backend for Spread {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        if let Some(id) = self.data_keys.segment_id(key) {
            let found = self.get_segment(id, range, &[]).await?;
            return Ok(found.map(|(object, _)| object));
        }
        if *key == self.data_keys.volume() {
            return self.volume_object(range).await;
        }
        self.get_object(key, range).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        let found = join_all(keys.iter().map(|key| self.get(key, ByteRange::ALL))).await;
        found.into_iter().collect()
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        self.put_object(key, value, expect).await
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        if matches!(expect, Expect::Revision(_)) {
            let message = "places have no revision in common; delete whatever is there";
            return Err(Error::unsupported(Operation::Delete, message).with_key(key));
        }
        let table = self.table();
        let seats = table.readable();
        let deleted = join_all(seats.iter().map(|seat| remove(seat, key))).await;
        let mut failed = Failed::default();
        deleted.into_iter().filter_map(Result::err).for_each(|error| failed.note(error));
        // What stays where nobody answers is garbage, which the sweep finds.
        failed.judge(&table)
    }

    async fn list(&self, list: &List) -> Result<Page> {
        self.list_all_places(list).await
    }

    async fn find(&self, _find: &Find) -> Result<Page> {
        let message = "places find nothing by description; ask the catalog";
        Err(Error::unsupported(Operation::Find, message))
    }

    async fn apply(&self, _batch: Batch) -> Result<Revision> {
        let message = "places have no batches; a catalog needs a backend of its own";
        Err(Error::unsupported(Operation::Apply, message))
    }

    async fn health(&self) -> Result<Health> {
        let found = self.members.iter().map(|member| member.backend().health());
        let mut health = Health::default();
        for one in join_all(found).await {
            let one = one?;
            let add = |sum: Option<u64>, more: Option<u64>| Some(sum.unwrap_or(0) + more?);
            health.bytes_free = add(health.bytes_free, one.bytes_free).or(health.bytes_free);
            health.bytes_used = add(health.bytes_used, one.bytes_used).or(health.bytes_used);
            health.notes.extend(one.notes);
        }
        Ok(health)
    }
}

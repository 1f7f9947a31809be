//! A volume in a simulation, with work to do, and what must hold of it at any time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdall_core::{Backend, BackendExt, Env, Expect, Memory};
use holdall_testkit::{Chance, Fault, Faulty, Plan};

use crate::format::entry::{Name, Version};
use crate::format::keys::{CatalogKeys, DataKeys, VolumeId};
use crate::format::policy::{Compression, Policy};
use crate::gc::{GcOptions, GcReport};
use crate::verify::{VerifyContext, VerifyOptions, verify};
use crate::volume::{Resources, Volume};
use crate::write::PutOptions;
use crate::{At, Condition};

pub(crate) const GRACE: Duration = Duration::from_secs(3600);

pub(crate) fn name(text: impl Into<String>) -> Name {
    Name::parse(text).unwrap()
}

/// Bytes that do not compress and hold nothing twice.
pub(crate) fn noise(seed: u64, bytes: usize) -> Bytes {
    let mut out = vec![0; bytes];
    Chance::new(seed).fill(&mut out);
    Bytes::from(out)
}

pub(crate) fn policy() -> Policy {
    Policy {
        segment_bytes: 64 << 10,
        inline_bytes_max: 64,
        compression: Compression::None,
        grace: GRACE,
        indexed: ["colour".to_owned()].into(),
        ..Policy::default()
    }
}

/// Collects at once what nothing names, however young it is.
pub(crate) fn at_once() -> GcOptions {
    GcOptions { unsafe_grace: Some(Duration::ZERO), ..GcOptions::default() }
}

/// What a volume shows: entries with their bytes, and versions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    pub entries: BTreeMap<String, (Version, Bytes)>,
    pub versions: BTreeMap<(String, Version), Bytes>,
    pub snapshots: BTreeMap<String, Version>,
}

/// Where a volume lives.
#[derive(Clone, Debug)]
pub(crate) struct Bed {
    pub env: Env,
    pub catalog: Arc<dyn Backend>,
    pub data: Arc<dyn Backend>,
    pub id: VolumeId,
}

impl Bed {
    pub(crate) async fn create(env: Env, policy: Policy) -> (Self, Volume) {
        let catalog: Arc<dyn Backend> = Arc::new(Memory::new());
        let data: Arc<dyn Backend> = Arc::new(Memory::new());
        let resources = Resources {
            env: env.clone(),
            catalog: Arc::clone(&catalog),
            data: Arc::clone(&data).into(),
            holder: "test".to_owned(),
        };
        let volume = Volume::create(resources, "test", policy).await.unwrap();
        (Self { env, catalog, data, id: volume.id() }, volume)
    }

    /// The same volume, on copies of its backends.
    pub(crate) async fn copy(&self) -> Self {
        let (catalog, data) = (copy(&self.catalog).await, copy(&self.data).await);
        Self { env: self.env.clone(), catalog, data, id: self.id }
    }

    pub(crate) fn resources(&self) -> Resources {
        Resources {
            env: self.env.clone(),
            catalog: Arc::clone(&self.catalog),
            data: Arc::clone(&self.data).into(),
            holder: "test".to_owned(),
        }
    }

    pub(crate) async fn open(&self) -> Volume {
        Volume::open(self.resources(), self.id).await.unwrap()
    }

    /// The same volume, on backends that take their time, so that others get in between.
    pub(crate) fn slow(&self, plan: Plan) -> Self {
        let mut plan = plan;
        for micros in [10, 200, 3000] {
            plan = plan.everywhere(Fault::Slow(Duration::from_micros(micros)), 200);
        }
        let wrap = |inner: &Arc<dyn Backend>| -> Arc<dyn Backend> {
            Arc::new(Faulty::new(Arc::clone(inner), self.env.clone(), plan.clone()))
        };
        Self { catalog: wrap(&self.catalog), data: wrap(&self.data), ..self.clone() }
    }

    pub(crate) fn keys(&self) -> CatalogKeys {
        CatalogKeys::new(self.id)
    }

    /// Everything is whole, and every counter is what counting gives.
    pub(crate) async fn verify(&self) {
        let context = VerifyContext {
            env: self.env.clone(),
            catalog: Arc::clone(&self.catalog),
            data: Arc::clone(&self.data),
            catalog_keys: CatalogKeys::new(self.id),
            data_keys: DataKeys::new(self.id),
        };
        let report = verify(&context, VerifyOptions::default()).await.unwrap();
        assert!(report.is_clean(), "{report:#?}");
    }

    /// The rows of a class.
    pub(crate) async fn rows(&self, class: char) -> BTreeMap<String, Bytes> {
        let prefix = self.keys().class(class);
        let rows = self.catalog.list_all(&prefix, true).await.unwrap();
        rows.into_iter()
            .map(|row| (row.key.as_str().to_owned(), row.object.unwrap().value))
            .collect()
    }

    /// How many segments there are on the data backend.
    pub(crate) async fn objects(&self) -> usize {
        let prefix = DataKeys::new(self.id).segments();
        self.data.list_all(&prefix, false).await.unwrap().len()
    }

    pub(crate) async fn gc(&self, volume: &Volume, options: GcOptions) -> GcReport {
        let report = volume.gc(options).await.unwrap();
        assert!(report.complete);
        report
    }

    pub(crate) async fn show(&self, volume: &Volume) -> Shown {
        let mut shown = Shown::default();
        for key in self.rows('e').await.into_keys() {
            let name = name(key.split_once("/e/").unwrap().1);
            // One that has ended may still have its row.
            let Some(reading) = volume.get(&name).await.unwrap() else { continue };
            let (version, bytes) = (reading.entry().version, reading.bytes().await.unwrap());
            shown.entries.insert(name.to_string(), (version, bytes));
        }
        for key in self.rows('h').await.into_keys() {
            let (text, version) = key.split_once("/h/").unwrap().1.rsplit_once('\0').unwrap();
            let version = u64::from_str_radix(version, 16).unwrap();
            let reading = volume.get_version(&name(text), version).await.unwrap().unwrap();
            let bytes = reading.bytes().await.unwrap();
            shown.versions.insert((text.to_owned(), version), bytes);
        }
        for snapshot in volume.snapshots().await.unwrap() {
            shown.snapshots.insert(snapshot.name.to_string(), snapshot.version);
        }
        shown
    }
}

async fn copy(backend: &Arc<dyn Backend>) -> Arc<dyn Backend> {
    let copy = Memory::new();
    for row in backend.list_all("", true).await.unwrap() {
        let value = row.object.unwrap().value;
        copy.put(&row.key, value, Expect::Absent).await.unwrap();
    }
    Arc::new(copy)
}

/// Does something to a volume, by chance. Contents are few, so that many share chunks.
pub(crate) async fn work(volume: &Volume, chance: &mut Chance) {
    let one = name(format!("name-{}", chance.below(12)));
    let other = name(format!("name-{}", chance.below(12)));
    let (seed, size) = (chance.below(8), [0, 20, 300, 5000, 40_000][chance.index(5)]);
    let options = PutOptions::default().attribute("colour", format!("{seed}"));
    match chance.below(12) {
        0..5 => drop(volume.put(&one, noise(seed, size), options).await.unwrap()),
        5 => {
            volume.delete(&one, Condition::Always).await.unwrap();
        }
        // There may be nothing to copy.
        6 => drop(volume.copy(&one, &other, Condition::Always).await),
        7 if one != other => drop(volume.rename(&one, &other, Condition::Always).await),
        8 => {
            let commit = || {
                let transaction = volume.transaction();
                let transaction = transaction.put(&one, noise(seed, size), options.clone());
                let deleted = name("name-0");
                if one == deleted {
                    transaction.commit()
                } else {
                    transaction.delete(&deleted, Condition::Always).commit()
                }
            };
            if commit().await.is_err() {
                commit().await.unwrap();
            }
        }
        9 => upload(volume, &one, seed, chance.happens(700)).await,
        10 => drop(volume.snapshot(&name(format!("snap-{}", chance.below(3)))).await),
        _ => {
            let snapshot = name(format!("snap-{}", chance.below(3)));
            volume.delete_snapshot(&snapshot).await.unwrap();
        }
    }
}

/// Uploads so many parts that their list is a chunk of its own.
pub(crate) async fn upload(volume: &Volume, name: &Name, seed: u64, complete: bool) {
    let upload = volume.begin_upload(name, PutOptions::default()).await.unwrap();
    let parts = if complete { 66 } else { 3 };
    for number in 1..=parts {
        let bytes = noise(seed * 1000 + u64::from(number), 200);
        // Without a grace what it relies on may have gone; trying again helps.
        if upload.put_part(number, bytes.clone()).await.is_err() {
            upload.put_part(number, bytes).await.unwrap();
        }
    }
    if complete {
        complete_upload(&upload).await;
    }
}

async fn complete_upload(upload: &crate::Upload) {
    if upload.complete(None, Condition::Always).await.is_err() {
        upload.complete(None, Condition::Always).await.unwrap();
    }
}

/// What a snapshot shows of a name.
pub(crate) async fn pinned(volume: &Volume, snapshot: &str, of: &str) -> Bytes {
    let view = volume.as_of(At::Snapshot(name(snapshot))).await.unwrap();
    view.get(&name(of)).await.unwrap().unwrap().bytes().await.unwrap()
}

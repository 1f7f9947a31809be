//! A volume in any order of events, with any faults, at any time of day: what was acknowledged is
//! there, what failed is not, nothing is torn, and what is counted is right.
//!
//! `HOLDALL_SEED=17 cargo test -p holdall-volume --test simulation` replays a seed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "support/world.rs"]
mod world;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::join_all;
use holdall_core::{Backend, Bytes, Env, Error, ErrorKind, Result};
use holdall_testkit::{Chance, Fault, Faulty, Method, Plan, Strict, sim};
use holdall_volume::format::keys::VolumeId;
use holdall_volume::format::policy::{Compression, Policy};
use holdall_volume::gc::GcOptions;
use holdall_volume::{At, Condition, PutItem, PutOptions, Usage, Volume};
use world::{Oracle, Stores, assert_clean, kept, name, noise, pieces, present, read, rebuild};

/// Writes of each writer.
const WRITES: usize = 25;

fn strict() -> Arc<Strict> {
    let strict = Strict::new().with_value_bytes_max(8 << 20).with_batch_limits(3000, 16 << 20);
    Arc::new(strict)
}

/// A handle that its users open anew when it was closed.
#[derive(Debug)]
struct Handle {
    stores: Stores,
    id: VolumeId,
    open: Mutex<Volume>,
}

impl Handle {
    async fn new(stores: &Stores, id: VolumeId) -> Arc<Self> {
        let volume = retry(&stores.env, || stores.open(id)).await;
        Arc::new(Self { stores: stores.clone(), id, open: Mutex::new(volume) })
    }

    fn get(&self) -> Volume {
        self.open.lock().unwrap().clone()
    }

    async fn reopen(&self) {
        let volume = retry(&self.stores.env, || self.stores.open(self.id)).await;
        *self.open.lock().unwrap() = volume;
    }
}

/// Tries again what cannot have harmed.
async fn retry<T, F: Future<Output = Result<T>>>(env: &Env, call: impl Fn() -> F) -> T {
    loop {
        match call().await {
            Ok(value) => return value,
            Err(error) => {
                let kind = error.kind();
                assert!(is_weather(kind), "{error:?}");
                env.sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

/// Whether a storm explains this error.
fn is_weather(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Unavailable | ErrorKind::Unknown | ErrorKind::Full)
}

#[derive(Debug)]
struct World {
    env: Env,
    oracle: Oracle,
    handles: Vec<Arc<Handle>>,
    /// Commits that were acknowledged, with what they wrote.
    acknowledged: Mutex<Vec<(u64, String, Option<Bytes>)>>,
    history: bool,
    writers_left: AtomicUsize,
    counted: AtomicUsize,
    perhaps_counted: AtomicUsize,
    ended: AtomicBool,
}

impl World {
    /// Notes what became of a write, and opens the handle anew if it was closed.
    async fn after<T>(&self, handle: &Handle, result: &Result<T>) {
        let Err(error) = result else { return };
        match error.kind() {
            ErrorKind::Closed => handle.reopen().await,
            kind => assert!(is_weather(kind) || kind == ErrorKind::Conflict, "{error:?}"),
        }
    }

    async fn write<T>(
        &self,
        handle: &Handle,
        changes: &[(&str, Option<Bytes>)],
        version: impl Fn(&T) -> Option<u64>,
        write: impl Future<Output = Result<T>>,
    ) {
        let ticket = self.oracle.begin(changes);
        let result = write.await;
        self.oracle.end(ticket, &result);
        if let Some(version) = result.as_ref().ok().and_then(version) {
            let noted = changes.iter().map(|(n, b)| (version, (*n).to_owned(), b.clone()));
            self.acknowledged.lock().unwrap().extend(noted);
        }
        self.after(handle, &result).await;
    }
}

/// Bytes from a small pool, so that many are equal.
fn value(chance: &mut Chance) -> Bytes {
    let seed = chance.below(12);
    let size = match seed % 6 {
        0 => 0,
        1 | 2 => 100,
        3 => 3_000,
        4 => 20_000,
        _ => 50_000,
    };
    noise(seed, size + seed as usize)
}

async fn writer(world: Arc<World>, handle: Arc<Handle>, who: usize, mut chance: Chance) {
    for _ in 0..WRITES {
        let own = |n: u64| format!("w{who}/{n}");
        let (one, two) = (own(chance.below(5)), own(5 + chance.below(5)));
        let (bytes, volume) = (value(&mut chance), handle.get());
        step(&world, &handle, &volume, &mut chance, (&one, &two, bytes)).await;
        if chance.happens(300) {
            let floor = world.oracle.floor(&one);
            match read(&volume, &name(&one)).await {
                Ok(found) => world.oracle.check(&one, floor, found.as_ref()),
                Err(error) => assert_readable(&error),
            }
        }
        world.env.sleep(Duration::from_millis(chance.below(3000))).await;
    }
    world.writers_left.fetch_sub(1, Ordering::Relaxed);
}

/// A reading that relied on what was collected meanwhile may say so.
fn assert_readable(error: &Error) {
    assert!(is_weather(error.kind()) || error.kind() == ErrorKind::Closed, "{error:?}");
}

async fn step(
    world: &World,
    handle: &Handle,
    volume: &Volume,
    chance: &mut Chance,
    (one, two, bytes): (&str, &str, Bytes),
) {
    let options = PutOptions::default;
    let (first, second) = (name(one), name(two));
    let put = [(one, Some(bytes.clone()))];
    let version = |committed: &holdall_volume::Committed| Some(committed.version);
    match chance.below(9) {
        0..=2 => {
            let put_it = volume.put(&first, bytes, options());
            world.write(handle, &put, version, put_it).await;
        }
        3 => {
            let delete = volume.delete(&first, Condition::Always);
            world.write(handle, &[(one, None)], |_| None, delete).await;
        }
        4 => {
            let both = [put[0].clone(), (two, Some(bytes.clone()))];
            let transaction = volume.transaction().put(&first, bytes.clone(), options()).put(
                &second,
                bytes,
                options(),
            );
            world.write(handle, &both, version, transaction.commit()).await;
        }
        5 => {
            let item = |name, bytes| PutItem { name, bytes, options: options() };
            let other = value(chance);
            let tickets =
                [world.oracle.begin(&put), world.oracle.begin(&[(two, Some(other.clone()))])];
            let results = volume.put_many(vec![item(first, bytes), item(second, other)]).await;
            let results = match results {
                Ok(results) => results,
                Err(error) => vec![Err(error.clone()), Err(error)],
            };
            for (ticket, result) in tickets.into_iter().zip(&results) {
                world.oracle.end(ticket, result);
                world.after(handle, result).await;
            }
        }
        6 => {
            let stream = volume.put_stream(&first, pieces(bytes), options());
            world.write(handle, &put, version, stream).await;
        }
        7 => upload(world, handle, volume, (one, bytes)).await,
        _ => {
            let absent = options().condition(Condition::Absent);
            let create = volume.put(&first, bytes, absent);
            world.write(handle, &put, version, create).await;
        }
    }
}

async fn upload(world: &World, handle: &Handle, volume: &Volume, (one, bytes): (&str, Bytes)) {
    let half = bytes.len() / 2;
    let begun = volume.begin_upload(&name(one), PutOptions::default()).await;
    world.after(handle, &begun).await;
    let Ok(upload) = begun else { return };
    for (number, part) in [(2, bytes.slice(half..)), (1, bytes.slice(..half))] {
        let put = upload.put_part(number, part).await;
        world.after(handle, &put).await;
        if put.is_err() {
            return;
        }
    }
    let complete = upload.complete(None, Condition::Always);
    let put = [(one, Some(bytes))];
    world.write(handle, &put, |committed| Some(committed.version), complete).await;
}

/// Adds one to a shared number again and again: no addition may be lost.
async fn counter(world: Arc<World>, handle: Arc<Handle>, mut chance: Chance) {
    let shared = name("shared/number");
    for _ in 0..10 {
        let volume = handle.get();
        let Ok(found) = volume.get(&shared).await else { continue };
        let (number, condition) = match found {
            Some(reading) => {
                let Ok(bytes) = reading.bytes().await else { continue };
                let number: usize = std::str::from_utf8(&bytes).unwrap().parse().unwrap();
                (number, Condition::Version(reading.entry().version))
            }
            None => (0, Condition::Absent),
        };
        let options = PutOptions::default().condition(condition);
        let result = volume.put(&shared, (number + 1).to_string(), options).await;
        match &result {
            Ok(_) => world.counted.fetch_add(1, Ordering::Relaxed),
            Err(error) if error.kind() == ErrorKind::Unknown => {
                world.perhaps_counted.fetch_add(1, Ordering::Relaxed)
            }
            Err(_) => 0,
        };
        world.after(&handle, &result).await;
        world.env.sleep(Duration::from_millis(chance.below(2000))).await;
    }
    world.writers_left.fetch_sub(1, Ordering::Relaxed);
}

async fn reader(world: Arc<World>, handle: Arc<Handle>, mut chance: Chance) {
    while !world.ended.load(Ordering::Relaxed) {
        world.env.sleep(Duration::from_millis(chance.below(2000))).await;
        let volume = handle.get();
        let names = world.oracle.names();
        let Some(text) = chance.pick(&names) else { continue };
        let floor = world.oracle.floor(text);
        match read(&volume, &name(text)).await {
            Ok(found) => world.oracle.check(text, floor, found.as_ref()),
            Err(error) => assert_readable(&error),
        }
        let past = chance.pick(&world.acknowledged.lock().unwrap()).cloned();
        if let Some((version, text, bytes)) = past.filter(|_| world.history) {
            let view = match volume.as_of(At::Commit(version)).await {
                Ok(view) => view,
                Err(error) => {
                    assert_readable(&error);
                    continue;
                }
            };
            let found = match view.get(&name(&text)).await {
                Ok(Some(reading)) => reading.bytes().await.map(Some),
                Ok(None) => Ok(None),
                Err(error) => Err(error),
            };
            match found {
                Ok(found) => assert_eq!(found, bytes, "{text} as of {version}"),
                Err(error) => assert_readable(&error),
            }
        }
        if chance.happens(100)
            && let Err(error) = present(&volume).await
        {
            assert_readable(&error);
        }
    }
}

/// Seals, makes checkpoints, collects garbage, and opens handles anew, in no particular order.
async fn caretaker(world: Arc<World>, handle: Arc<Handle>, mut chance: Chance) {
    while !world.ended.load(Ordering::Relaxed) {
        world.env.sleep(Duration::from_millis(chance.below(10_000))).await;
        let volume = handle.get();
        let result = match chance.below(10) {
            0..=1 => volume.seal().await.map(drop),
            2 => volume.checkpoint().await.map(drop),
            3..=7 => {
                let grace = Duration::from_secs(chance.below(90));
                let options = GcOptions { unsafe_grace: Some(grace), ..GcOptions::default() };
                volume.gc(options).await.map(drop)
            }
            8 => {
                let closed = volume.close().await;
                handle.reopen().await;
                closed
            }
            // Dropped without an end, as by a crash.
            _ => {
                handle.reopen().await;
                Ok(())
            }
        };
        world.after(&handle, &result).await;
    }
}

fn policy(chance: &mut Chance, history: bool) -> Policy {
    let kinds = [Compression::None, Compression::Lz4, Compression::Zstd { level: 1 }];
    Policy {
        inline_bytes_max: 256,
        segment_bytes: 64 << 10,
        compression: *chance.pick(&kinds).unwrap(),
        history: Duration::from_secs(if history { 1_000_000 } else { 0 }),
        ..Policy::default()
    }
}

/// Starts a task and returns what ends with it.
fn start(env: &Env, task: impl Future<Output = ()> + Send + 'static) -> oneshot::Receiver<()> {
    let (done, ended) = oneshot::channel();
    env.spawn(async move {
        task.await;
        let _ = done.send(());
    });
    ended
}

async fn run(env: Env, seed: u64) {
    let mut chance = Chance::new(seed);
    let history = chance.happens(500);
    let (catalog, data) = (strict(), strict());
    let calm = Stores {
        env: env.clone(),
        catalog: Arc::<Strict>::clone(&catalog),
        data: Arc::<Strict>::clone(&data),
    };
    let policy = policy(&mut chance, history);
    let made = Volume::create(calm.resources(), "v", policy).await.unwrap();
    let id = made.id();
    drop(made);
    let storm = |inner: &Arc<Strict>, seed| {
        let inner: Arc<dyn Backend> = Arc::<Strict>::clone(inner);
        Faulty::new(inner, env.clone(), Plan::stormy(seed))
    };
    let (faulty_catalog, faulty_data) =
        (storm(&catalog, chance.number()), storm(&data, chance.number()));
    let stores = Stores {
        env: env.clone(),
        catalog: Arc::new(faulty_catalog.clone()),
        data: Arc::new(faulty_data.clone()),
    };
    let handles = vec![Handle::new(&stores, id).await, Handle::new(&stores, id).await];
    let world = Arc::new(World {
        env: env.clone(),
        oracle: Oracle::default(),
        handles,
        acknowledged: Mutex::default(),
        history,
        writers_left: AtomicUsize::new(7),
        counted: AtomicUsize::new(0),
        perhaps_counted: AtomicUsize::new(0),
        ended: AtomicBool::new(false),
    });
    let mut tasks = Vec::new();
    for who in 0..5 {
        let handle = Arc::clone(&world.handles[who % 2]);
        tasks.push(start(&env, writer(Arc::clone(&world), handle, who, chance.fork())));
    }
    for handle in &world.handles {
        let (world, handle) = (&world, || Arc::clone(handle));
        tasks.push(start(&env, counter(Arc::clone(world), handle(), chance.fork())));
        tasks.push(start(&env, reader(Arc::clone(world), handle(), chance.fork())));
        tasks.push(start(&env, caretaker(Arc::clone(world), handle(), chance.fork())));
    }
    while world.writers_left.load(Ordering::Relaxed) > 0 {
        env.sleep(Duration::from_secs(1)).await;
    }
    world.ended.store(true, Ordering::Relaxed);
    join_all(tasks).await;
    for faulty in [&faulty_catalog, &faulty_data] {
        faulty.pause();
        faulty.land().await;
    }
    for handle in &world.handles {
        if let Err(error) = handle.get().close().await {
            assert_eq!(error.kind(), ErrorKind::Closed, "{error:?}");
        }
    }
    aftermath(&world, &calm, id).await;
}

/// What must hold when the storm is over.
async fn aftermath(world: &World, calm: &Stores, id: VolumeId) {
    let volume = calm.open(id).await.unwrap();
    world.oracle_with_counter(&volume).await;
    assert_clean(&volume).await;
    for _ in 0..3 {
        let grace = Some(Duration::ZERO);
        volume.gc(GcOptions { unsafe_grace: grace, ..GcOptions::default() }).await.unwrap();
        world.env.sleep(Duration::from_secs(60)).await;
    }
    assert_clean(&volume).await;
    volume.seal().await.unwrap();
    let names = world.oracle.names();
    let before = (present(&volume).await.unwrap(), kept(&volume, &names).await.unwrap());
    let usage = volume.usage().await.unwrap();
    let (rebuilt, report) = rebuild(calm, strict(), id).await.unwrap();
    assert!(report.is_whole(), "{report:#?}");
    let after = (present(&rebuilt).await.unwrap(), kept(&rebuilt, &names).await.unwrap());
    assert_eq!(after, before);
    assert_clean(&rebuilt).await;
    let again = rebuilt.usage().await.unwrap();
    let counts =
        |usage: &Usage| (usage.entries, usage.bytes, usage.history_entries, usage.history_bytes);
    assert_eq!(counts(&again), counts(&usage));
}

impl World {
    async fn oracle_with_counter(&self, volume: &Volume) {
        let mut present = present(volume).await.unwrap();
        let number = present.remove("shared/number");
        let number = number.map_or(0, |b| std::str::from_utf8(&b).unwrap().parse().unwrap());
        let counted = self.counted.load(Ordering::Relaxed);
        let perhaps = self.perhaps_counted.load(Ordering::Relaxed);
        assert!((counted..=counted + perhaps).contains(&number), "{counted}+{perhaps}: {number}");
        for name in self.oracle.names() {
            self.oracle.check(&name, self.oracle.floor(&name), present.remove(&name).as_ref());
        }
        assert!(present.is_empty(), "{:?}", present.keys());
    }
}

#[test]
fn a_volume_weathers_every_storm() {
    sim::seeds(60, |seed| sim::simulate(seed, |env| run(env, seed)));
}

/// Two commits of one writer plan under the same number when the first is left in doubt. When it
/// lands late, the second must not take it for its own.
#[test]
fn a_commit_that_lands_late_is_not_taken_for_the_next() {
    sim::simulate(1, |env| async move {
        let mut unknown = 0;
        for lands in 0..40 {
            unknown += late(env.clone(), lands).await;
        }
        assert!(unknown > 10, "the first was in doubt only {unknown} times");
    });
}

/// The first commit lands so many calls later. How often a commit was left in doubt.
async fn late(env: Env, lands: u32) -> usize {
    let inner: Arc<dyn Backend> = strict();
    let stores = Stores { env: env.clone(), catalog: Arc::clone(&inner), data: strict() };
    let made = Volume::create(stores.resources(), "v", world::small_policy()).await.unwrap();
    // The epoch is the first batch, and each commit is one. Nobody can look what became of the
    // second commit until it is given up; then the third is lost, and found out about.
    let mut plan = Plan::new(1).at(Method::Apply, 3, Fault::LandsLate(lands));
    for nth in 3..=22 {
        plan = plan.at(Method::GetMany, nth, Fault::FailBefore);
    }
    let plan = plan.at(Method::Apply, 4, Fault::RequestLost);
    let catalog = Faulty::new(inner, env.clone(), plan);
    let stores = Stores { catalog: Arc::new(catalog.clone()), ..stores };
    let volume = stores.open(made.id()).await.unwrap();
    let oracle = Oracle::default();
    let mut unknown = 0;
    for (text, bytes) in [("a", "1"), ("b", "2"), ("c", "3"), ("b", "4")] {
        let bytes = Bytes::from_static(bytes.as_bytes());
        let ticket = oracle.begin(&[(text, Some(bytes.clone()))]);
        let result = volume.put(&name(text), bytes, PutOptions::default()).await;
        oracle.end(ticket, &result);
        unknown += usize::from(result.is_err());
    }
    oracle.check_all(&volume).await;
    catalog.pause();
    catalog.land().await;
    oracle.check_all(&volume).await;
    assert_clean(&volume).await;
    unknown
}

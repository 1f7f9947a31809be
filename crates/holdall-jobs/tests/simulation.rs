//! Many workers share jobs in any order of events, with any faults, at any time of day: no two do
//! the same at once, none is forgotten, and each goes on where it was left.
//!
//! `HOLDALL_SEED=17 cargo test -p holdall-jobs --test simulation` replays a seed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "../../holdall-volume/tests/support/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{Either, join_all, select};
use holdall_core::{Backend, Env, ErrorKind, Result, async_trait};
use holdall_jobs::{Event, Job, Next, Ran, Runner, Step};
use holdall_testkit::sim::{self, Simulation};
use holdall_testkit::{Chance, Fault, Faulty, Plan, Strict};
use holdall_volume::format::keys::VolumeId;
use holdall_volume::format::policy::{JobPolicy, LifecycleRule, Policy};
use holdall_volume::{PutOptions, Volume};
use world::{Oracle, Stores, assert_clean, name, noise, present, small_policy};

/// Steps of one pass of a counting job.
const STEPS: u64 = 5;

fn strict() -> Arc<dyn Backend> {
    Arc::new(Strict::new().with_value_bytes_max(8 << 20).with_batch_limits(3000, 16 << 20))
}

/// What all workers see of one counting job.
#[derive(Debug, Default)]
struct Counted {
    inside: AtomicBool,
    /// The steps that were done, in order.
    steps: Mutex<Vec<u64>>,
    passes: AtomicUsize,
}

/// A job that counts, and cannot bear to be done by two at once.
#[derive(Debug)]
struct Counting {
    name: &'static str,
    env: Env,
    counted: Arc<Counted>,
    step_ms: u64,
}

/// Notes that nobody is inside any more, also when the step is dropped.
struct Inside<'a>(&'a AtomicBool);

impl<'a> Inside<'a> {
    fn enter(inside: &'a AtomicBool) -> Self {
        assert!(!inside.swap(true, Ordering::SeqCst), "two do the same job at once");
        Self(inside)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

#[async_trait]
impl Job for Counting {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        "counts"
    }

    fn every(&self) -> Duration {
        Duration::from_secs(60)
    }

    async fn step(&self, step: &Step) -> Result<Next> {
        let _inside = Inside::enter(&self.counted.inside);
        let number: u64 = step.cursor.as_deref().map_or(0, |text| text.parse().unwrap());
        let pause = self.env.random_below(self.step_ms);
        self.env.sleep(Duration::from_millis(pause)).await;
        let sum = step.memory.as_deref().map_or(0, |text| text.parse::<u64>().unwrap());
        self.counted.steps.lock().unwrap().push(number);
        step.tell("counting", number, Some(STEPS));
        let memory = Some((sum + 1).to_string());
        if number + 1 < STEPS {
            return Ok(Next::More { cursor: Some((number + 1).to_string()), memory });
        }
        self.counted.passes.fetch_add(1, Ordering::SeqCst);
        Ok(Next::Done { summary: "counted".to_owned(), findings: false, memory })
    }
}

fn start(env: &Env, task: impl Future<Output = ()> + Send + 'static) -> oneshot::Receiver<()> {
    let (done, ended) = oneshot::channel();
    env.spawn(async move {
        task.await;
        let _ = done.send(());
    });
    ended
}

/// Opens a volume, whatever the weather.
async fn open(stores: &Stores, id: VolumeId) -> Volume {
    loop {
        if let Ok(volume) = stores.open(id).await {
            return volume;
        }
        stores.env.sleep(Duration::from_millis(50)).await;
    }
}

/// A process that serves until it is told to stop, and is killed now and then.
async fn worker(
    stores: Stores,
    id: VolumeId,
    who: usize,
    jobs: Vec<Arc<dyn Job>>,
    (end, mut chance): (Arc<AtomicBool>, Chance),
) {
    while !end.load(Ordering::Relaxed) {
        let volume = open(&stores, id).await;
        let stop = Arc::new(AtomicBool::new(false));
        let runner = Runner::new(volume, stores.env.clone(), format!("worker {who}"), jobs.clone())
            .with_cancel(Arc::clone(&stop));
        let tell = |event: Event| {
            if let Event::Ended(job, Ran::Done(run)) = event {
                assert!(!run.findings, "{job}: {}", run.summary);
            }
        };
        let serving = Box::pin(runner.serve(&tell));
        let life = stores.env.sleep(Duration::from_millis(chance.below(300_000)));
        if let Either::Right(((), serving)) = select(serving, life).await
            && chance.happens(500)
        {
            // Told to stop; else it is killed.
            stop.store(true, Ordering::Relaxed);
            let second = stores.env.sleep(Duration::from_secs(1));
            let stopped = select(serving, second).await;
            assert!(matches!(stopped, Either::Left(_)), "it did not stop within a second");
        }
        stores.env.sleep(Duration::from_millis(chance.below(5000))).await;
    }
}

/// Each step follows the one before, or repeats steps that were not yet noted.
fn assert_in_order(steps: &[u64]) {
    assert_eq!(steps.first(), Some(&0));
    for two in steps.windows(2) {
        let next = (two[0] + 1) % STEPS;
        assert!(two[1] == next || two[1] <= two[0], "step {} came after {}", two[1], two[0]);
    }
}

async fn share(env: Env, seed: u64) {
    let mut chance = Chance::new(seed);
    let (catalog, data) = (strict(), strict());
    let calm = Stores { env: env.clone(), catalog: Arc::clone(&catalog), data };
    let id = Volume::create(calm.resources(), "v", small_policy()).await.unwrap().id();
    let faulty = Faulty::new(catalog, env.clone(), Plan::stormy(chance.number()));
    let stores = Stores { catalog: Arc::new(faulty.clone()), ..calm.clone() };
    let names = ["one", "two"];
    let counted: Vec<Arc<Counted>> = names.iter().map(|_| Arc::default()).collect();
    let jobs = |step_ms| -> Vec<Arc<dyn Job>> {
        let both = names.iter().zip(&counted);
        let job = |(name, counted): (&&'static str, &Arc<Counted>)| {
            let (env, counted) = (env.clone(), Arc::clone(counted));
            Arc::new(Counting { name, env, counted, step_ms }) as Arc<dyn Job>
        };
        both.map(job).collect()
    };
    let end = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..3)
        .map(|who| {
            let how = (Arc::clone(&end), chance.fork());
            start(&env, worker(stores.clone(), id, who, jobs(20_000), how))
        })
        .collect();
    env.sleep(Duration::from_secs(1800)).await;
    end.store(true, Ordering::Relaxed);
    join_all(tasks).await.into_iter().for_each(|ended| ended.unwrap());
    faulty.pause();
    faulty.land().await;
    // In calm weather everything comes to its end, however it was left.
    let volume = open(&calm, id).await;
    let runner = Runner::new(volume.clone(), env.clone(), "calm", jobs(10));
    for (name, counted) in names.iter().zip(&counted) {
        assert!(matches!(runner.run(name).await.unwrap(), Ran::Done(_)), "{name}");
        let (row, _) = volume.job(name).await.unwrap().unwrap();
        assert!(row.lease.is_none() && row.cursor.is_none() && row.runs >= 1);
        let steps = counted.steps.lock().unwrap().clone();
        assert_in_order(&steps);
        assert!(counted.passes.load(Ordering::SeqCst) as u64 >= row.runs);
        // Every step that was noted was done.
        let memory: usize = row.memory.unwrap().parse().unwrap();
        assert!(memory <= steps.len() && memory as u64 >= row.runs * STEPS);
    }
}

#[test]
fn no_two_do_the_same_and_none_is_forgotten() {
    sim::seeds(12, |seed| sim::simulate(seed, |env| share(env, seed)));
}

#[test]
fn a_killed_holders_job_is_taken_over_once_its_lease_is_over_and_not_before() {
    sim::seeds(20, |seed| {
        sim::simulate(seed, |env| async move {
            let stores = Stores { env: env.clone(), catalog: strict(), data: strict() };
            let volume = Volume::create(stores.resources(), "v", small_policy()).await.unwrap();
            let counted: Arc<Counted> = Arc::default();
            let job = |step_ms| -> Vec<Arc<dyn Job>> {
                let counted = Arc::clone(&counted);
                vec![Arc::new(Counting { name: "one", env: env.clone(), counted, step_ms })]
            };
            let lease = Duration::from_secs(9);
            let first = Runner::new(volume.clone(), env.clone(), "first", job(40_000));
            let first = first.with_lease(lease);
            let second = Runner::new(volume.clone(), env.clone(), "second", job(10));
            let running = Box::pin(first.run("one"));
            let Either::Right(((), running)) = select(running, env.sleep(lease)).await else {
                return; // It was done by then.
            };
            // While the first is alive, the second leaves the job alone.
            let trying = Box::pin(second.run("one"));
            let running = match select(running, trying).await {
                Either::Right((ran, running)) => {
                    let Ran::Busy(lease) = ran.unwrap() else { panic!("both are at it") };
                    assert_eq!(lease.holder, "first");
                    running
                }
                Either::Left(_) => return,
            };
            let (before, _) = volume.job("one").await.unwrap().unwrap();
            drop(running);
            let killed = env.stopwatch();
            let done = counted.steps.lock().unwrap().len();
            let ran = second.run("one").await.unwrap();
            assert!(matches!(ran, Ran::Done(_)), "{ran:?}");
            // The last renewal was before it was killed, by no more than the time between two.
            assert!(killed.elapsed() >= lease - lease / 3, "{:?}", killed.elapsed());
            // It went on where the first had noted to be.
            let noted = before.cursor.map_or(0, |text| text.parse().unwrap());
            let steps = counted.steps.lock().unwrap().clone();
            assert!(steps[done] >= noted, "{steps:?} after {noted}");
            assert_in_order(&steps);
        });
    });
}

/// How long entries below `tmp/` live.
const TMP: Duration = Duration::from_secs(1800);

/// A writer beside the jobs, with what it has written; what is below `tmp/` ends by a rule.
async fn writer(stores: Stores, id: VolumeId, oracle: Arc<Oracle>, mut chance: Chance) {
    let mut volume = open(&stores, id).await;
    for n in 0..40_u64 {
        let text = format!("entry/{}", chance.below(8));
        let bytes = (!chance.happens(250)).then(|| noise(chance.below(9), 200 + 900 * n as usize));
        let ticket = oracle.begin(&[(&text, bytes.clone())]);
        let done = match bytes {
            Some(bytes) => volume.put(&name(&text), bytes, PutOptions::default()).await.map(drop),
            None => volume.delete(&name(&text), Default::default()).await.map(drop),
        };
        oracle.end(ticket, &done);
        let tmp = name(&format!("tmp/{}", chance.below(20)));
        let put = volume.put(&tmp, noise(n, 700), PutOptions::default()).await.map(drop);
        for error in [done, put].into_iter().filter_map(Result::err) {
            assert_ne!(error.kind(), ErrorKind::Corrupt, "{error:?}");
            if error.kind() == ErrorKind::Closed {
                volume = open(&stores, id).await;
            }
        }
        stores.env.sleep(Duration::from_millis(chance.below(60_000))).await;
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Weather {
    Calm,
    /// A fault now and then: some passes come to their end.
    Rain,
    /// Hardly any long pass comes to its end.
    Storm,
}

fn plan(weather: Weather, seed: u64) -> Plan {
    match weather {
        Weather::Calm => Plan::new(seed),
        Weather::Rain => Plan::new(seed)
            .everywhere(Fault::FailBefore, 1)
            .everywhere(Fault::FailAfter, 1)
            .everywhere(Fault::RequestLost, 1)
            .everywhere(Fault::ReplyLost, 2)
            .everywhere(Fault::LandsLate(3), 2)
            .everywhere(Fault::ShortList, 200),
        Weather::Storm => Plan::stormy(seed),
    }
}

/// All real jobs, often and by several, beside a writer, until everything is at rest.
async fn looked_after(env: Env, seed: u64, weather: Weather) {
    let mut chance = Chance::new(seed);
    let calm = Stores { env: env.clone(), catalog: strict(), data: strict() };
    let often = |name: &str| {
        let every = Some(Duration::from_secs(600));
        (name.to_owned(), JobPolicy { every, ..JobPolicy::default() })
    };
    let jobs: BTreeMap<_, _> = holdall_jobs::all().iter().map(|job| often(job.name())).collect();
    let tmp =
        LifecycleRule { prefix: "tmp/".to_owned(), expire: Some(TMP), ..LifecycleRule::default() };
    let grace = Duration::from_secs(5 * 3600);
    let policy = Policy { jobs, lifecycle: vec![tmp], grace, ..small_policy() };
    let id = Volume::create(calm.resources(), "v", policy).await.unwrap().id();
    let mut faulty = |backend: &Arc<dyn Backend>| {
        Faulty::new(Arc::clone(backend), env.clone(), plan(weather, chance.number()))
    };
    let (catalog, data) = (faulty(&calm.catalog), faulty(&calm.data));
    let stores = Stores {
        env: env.clone(),
        catalog: Arc::new(catalog.clone()),
        data: Arc::new(data.clone()),
    };
    let oracle = Arc::new(Oracle::default());
    let write = writer(stores.clone(), id, Arc::clone(&oracle), chance.fork());
    let writing = start(&env, write);
    let end = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..2)
        .map(|who| {
            let how = (Arc::clone(&end), chance.fork());
            start(&env, worker(stores.clone(), id, who, holdall_jobs::all(), how))
        })
        .collect();
    writing.await.unwrap();
    env.sleep(Duration::from_secs(4 * 3600)).await;
    end.store(true, Ordering::Relaxed);
    join_all(workers).await.into_iter().for_each(|ended| ended.unwrap());
    for faulty in [catalog, data] {
        faulty.pause();
        faulty.land().await;
    }
    let volume = open(&calm, id).await;
    if weather == Weather::Calm {
        for (name, row, _) in volume.jobs().await.unwrap() {
            assert!(row.runs >= 3, "{name}: {row:?}");
        }
    }
    at_rest(&volume, &env, &oracle).await;
}

/// In calm weather every job comes to its end, and everything is as it should be.
async fn at_rest(volume: &Volume, env: &Env, oracle: &Oracle) {
    let runner = Runner::new(volume.clone(), env.clone(), "calm", holdall_jobs::all());
    // What was written by a clock that was ahead ends later, but it ends.
    for _ in 0..50 {
        for job in holdall_jobs::all() {
            let ran = runner.run(job.name()).await.unwrap();
            let Ran::Done(run) = ran else { panic!("{}: {ran:?}", job.name()) };
            assert!(!run.findings, "{}: {}", job.name(), run.summary);
        }
        if present(volume).await.unwrap().keys().all(|name| !name.starts_with("tmp/")) {
            break;
        }
        env.sleep(TMP * 20).await;
    }
    for (name, row, _) in volume.jobs().await.unwrap() {
        assert!(row.failures == 0 && row.lease.is_none(), "{name}: {row:?}");
    }
    oracle.check_all(volume).await;
    assert_clean(volume).await;
}

#[test]
fn a_clock_that_jumps_changes_when_a_job_runs_and_nothing_else() {
    sim::seeds(4, |seed| {
        let simulation = Simulation::new(seed).with_clock_jumps(1);
        let ran = simulation.run(|env| looked_after(env, seed, Weather::Calm));
        ran.unwrap_or_else(|stuck| panic!("{stuck}"));
    });
}

#[test]
fn jobs_lose_nothing_whatever_fails() {
    sim::seeds(6, |seed| {
        let weather = if seed % 2 == 0 { Weather::Rain } else { Weather::Storm };
        let simulation = Simulation::new(seed).with_clock_jumps(0);
        let ran = simulation.run(|env| looked_after(env, seed, weather));
        ran.unwrap_or_else(|stuck| panic!("{stuck}"));
    });
}

/// A job that never says where it is.
#[derive(Debug)]
struct Deaf(Env);

#[async_trait]
impl Job for Deaf {
    fn name(&self) -> &'static str {
        "deaf"
    }

    fn about(&self) -> &'static str {
        "does not listen"
    }

    fn every(&self) -> Duration {
        Duration::from_secs(60)
    }

    async fn step(&self, step: &Step) -> Result<Next> {
        if step.cursor.is_none() {
            return Ok(Next::more(Some("far".to_owned())));
        }
        step.throttle.take(1 << 30).await;
        step.throttle.take(1 << 30).await;
        self.0.sleep(Duration::from_secs(100_000)).await;
        Ok(Next::done("too late"))
    }
}

#[test]
fn a_job_stops_within_a_second_and_another_goes_on_there() {
    sim::seeds(10, |seed| {
        let simulation = Simulation::new(seed).with_clock_jumps(0);
        let ran = simulation.run(|env| async move {
            let stores = Stores { env: env.clone(), catalog: strict(), data: strict() };
            let slow = JobPolicy { rate_bytes: Some(1000), ..JobPolicy::default() };
            let jobs = BTreeMap::from([("deaf".to_owned(), slow)]);
            let policy = Policy { jobs, ..small_policy() };
            let volume = Volume::create(stores.resources(), "v", policy).await.unwrap();
            let cancel = Arc::new(AtomicBool::new(false));
            let deaf: Vec<Arc<dyn Job>> = vec![Arc::new(Deaf(env.clone()))];
            let runner = Runner::new(volume.clone(), env.clone(), "first", deaf.clone())
                .with_cancel(Arc::clone(&cancel));
            let flag = Arc::clone(&cancel);
            let (clock, at) = (env.clone(), Arc::new(Mutex::new(None)));
            let noted = Arc::clone(&at);
            env.spawn(async move {
                clock.sleep(Duration::from_millis(7777)).await;
                *noted.lock().unwrap() = Some(clock.stopwatch());
                flag.store(true, Ordering::Relaxed);
            });
            assert!(matches!(runner.run("deaf").await.unwrap(), Ran::Stopped));
            let took = at.lock().unwrap().take().unwrap().elapsed();
            assert!(took <= Duration::from_secs(1), "{took:?}");
            let (row, _) = volume.job("deaf").await.unwrap().unwrap();
            assert_eq!((row.lease, row.cursor.as_deref()), (None, Some("far")));
            // Due at once for whoever comes.
            let other = Runner::new(volume, env, "second", deaf);
            assert_eq!(other.due().await.unwrap(), ["deaf"]);
        });
        ran.unwrap_or_else(|stuck| panic!("{stuck}"));
    });
}

/// Moves bytes as fast as it may.
#[derive(Debug)]
struct Moving;

#[async_trait]
impl Job for Moving {
    fn name(&self) -> &'static str {
        "moving"
    }

    fn about(&self) -> &'static str {
        "moves bytes"
    }

    fn every(&self) -> Duration {
        Duration::from_secs(60)
    }

    async fn step(&self, step: &Step) -> Result<Next> {
        for _ in 0..100 {
            step.throttle.take(1 << 20).await;
        }
        Ok(Next::done("moved"))
    }
}

#[test]
fn no_more_bytes_a_second_are_moved_than_allowed() {
    sim::simulate(1, |env| async move {
        let stores = Stores { env: env.clone(), catalog: strict(), data: strict() };
        let slow = JobPolicy { rate_bytes: Some(10 << 20), ..JobPolicy::default() };
        let jobs = BTreeMap::from([("moving".to_owned(), slow)]);
        let policy = Policy { jobs, ..small_policy() };
        let volume = Volume::create(stores.resources(), "v", policy).await.unwrap();
        let watch = env.stopwatch();
        let runner = Runner::new(volume, env, "test", vec![Arc::new(Moving)]);
        let Ran::Done(run) = runner.run("moving").await.unwrap() else { panic!("it was not done") };
        assert_eq!(run.bytes, 100 << 20);
        let took = watch.elapsed();
        assert!(took >= Duration::from_millis(9800) && took < Duration::from_secs(11), "{took:?}");
    });
}

/// A volume with something to do for every job, each of which moves so many bytes a second.
async fn filled(env: &Env, rate_bytes: u64) -> Volume {
    let slow = |job: &Arc<dyn Job>| {
        let policy = JobPolicy { rate_bytes: Some(rate_bytes), ..JobPolicy::default() };
        (job.name().to_owned(), policy)
    };
    let jobs = holdall_jobs::all().iter().map(slow).collect();
    let stores = Stores { env: env.clone(), catalog: strict(), data: strict() };
    let policy = Policy { jobs, ..small_policy() };
    let volume = Volume::create(stores.resources(), "v", policy).await.unwrap();
    for n in 0..12 {
        let options = PutOptions::default();
        volume.put(&name(&format!("many/{n}")), noise(2 * n, 9_000), options).await.unwrap();
    }
    for n in (0..12).filter(|n| n % 4 != 0) {
        volume.delete(&name(&format!("many/{n}")), Default::default()).await.unwrap();
    }
    env.sleep(world::GRACE * 3).await;
    volume.put(&name("last"), noise(1, 100), PutOptions::default()).await.unwrap();
    volume
}

#[test]
fn every_job_keeps_to_its_limit_and_stops_within_a_second_of_being_told() {
    sim::seeds(6, |seed| {
        let simulation = Simulation::new(seed).with_clock_jumps(0);
        let ran = simulation.run(|env| async move {
            let volume = filled(&env, 20_000).await;
            let mut moved = 0;
            for job in holdall_jobs::all() {
                let watch = env.stopwatch();
                let runner = Runner::new(volume.clone(), env.clone(), "test", holdall_jobs::all());
                let Ran::Done(run) = runner.run(job.name()).await.unwrap() else { panic!() };
                // What is taken last is lent.
                let least = run.bytes.saturating_sub(100_000) as f64 / 20_000.0;
                let took = watch.elapsed().as_secs_f64();
                assert!(took >= least, "{}: {took} s for {} bytes", job.name(), run.bytes);
                moved += run.bytes;
            }
            assert!(moved > 100_000, "{moved} bytes were moved");
            let volume = filled(&env, 1_000).await;
            for job in holdall_jobs::all() {
                let cancel = Arc::new(AtomicBool::new(false));
                let runner = Runner::new(volume.clone(), env.clone(), "test", holdall_jobs::all())
                    .with_cancel(Arc::clone(&cancel));
                let pause = env.sleep(Duration::from_millis(env.random_below(3_000)));
                let running = Box::pin(runner.run(job.name()));
                if let Either::Right(((), running)) = select(running, pause).await {
                    cancel.store(true, Ordering::Relaxed);
                    let stopped = select(running, env.sleep(Duration::from_secs(1))).await;
                    assert!(matches!(stopped, Either::Left(_)), "{} did not stop", job.name());
                }
            }
        });
        ran.unwrap_or_else(|stuck| panic!("{stuck}"));
    });
}

#[test]
fn a_job_that_fails_is_tried_again_later_and_begins_anew_in_the_end() {
    #[derive(Debug)]
    struct Failing;
    #[async_trait]
    impl Job for Failing {
        fn name(&self) -> &'static str {
            "failing"
        }
        fn about(&self) -> &'static str {
            "fails"
        }
        fn every(&self) -> Duration {
            Duration::from_secs(60)
        }
        async fn step(&self, step: &Step) -> Result<Next> {
            let message = "the store is full of bees; call a beekeeper";
            let failed = holdall_core::Error::unavailable(holdall_core::Operation::Get, message);
            match step.cursor {
                None => Ok(Next::more(Some("bees".to_owned()))),
                Some(_) => Err(failed),
            }
        }
    }
    let simulation = Simulation::new(1).with_clock_jumps(0);
    let ran = simulation.run(|env| async move {
        let stores = Stores { env: env.clone(), catalog: strict(), data: strict() };
        let volume = Volume::create(stores.resources(), "v", small_policy()).await.unwrap();
        let runner = Runner::new(volume.clone(), env.clone(), "test", vec![Arc::new(Failing)]);
        for failures in 1..=3 {
            assert!(matches!(runner.run("failing").await.unwrap(), Ran::Failed(_)));
            let (row, _) = volume.job("failing").await.unwrap().unwrap();
            assert_eq!((row.failures, row.lease.is_none()), (failures, true));
            assert_eq!(row.cursor.is_some(), failures < 3);
            assert!(row.error.unwrap().message.contains("bees"));
            assert!(row.retry.unwrap() > env.now() && runner.due().await.unwrap().is_empty());
        }
        env.sleep(Duration::from_secs(3600)).await;
        assert_eq!(runner.due().await.unwrap(), ["failing"]);
    });
    ran.unwrap_or_else(|stuck| panic!("{stuck}"));
}

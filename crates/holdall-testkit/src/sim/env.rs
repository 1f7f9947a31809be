//! The simulated environment: a virtual clock, seeded chance, and queues of tasks and jobs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::future::BoxFuture;
use holdall_core::{Environment, Timestamp};

use crate::Chance;

/// Where every simulation's wall clock begins: 2026-01-01T00:00:00Z.
const WALL_START: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

pub(super) type Job = Box<dyn FnOnce() + Send + 'static>;

/// What the executor does next.
pub(super) enum Step {
    Task(u64),
    Job(Job),
    Idle,
}

/// What the tasks and their executor share.
pub(super) struct World {
    elapsed: Duration,
    /// The wall clock less the virtual one, in microseconds: it jumps.
    skew: i64,
    schedule: Chance,
    random: Chance,
    spawned: Vec<BoxFuture<'static, ()>>,
    jobs: Vec<Job>,
    timers: BTreeMap<(Duration, u64), Waker>,
    timers_made: u64,
    jumps_per_mille: u32,
}

/// The simulated [`Environment`]. Its clones are one world.
#[derive(Clone)]
pub struct SimEnv {
    world: Arc<Mutex<World>>,
    ready: Arc<Mutex<BTreeSet<u64>>>,
}

impl fmt::Debug for SimEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimEnv").finish_non_exhaustive()
    }
}

// A panic in the middle of a step ends the simulation; what is behind the locks stays readable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SimEnv {
    pub(super) fn new(seed: u64, jumps_per_mille: u32) -> Self {
        let mut chance = Chance::new(seed);
        let world = World {
            elapsed: Duration::ZERO,
            skew: 0,
            schedule: chance.fork(),
            random: chance.fork(),
            spawned: Vec::new(),
            jobs: Vec::new(),
            timers: BTreeMap::new(),
            timers_made: 0,
            jumps_per_mille,
        };
        Self { world: Arc::new(Mutex::new(world)), ready: Arc::default() }
    }

    /// A waker that makes the task of this number ready.
    pub(super) fn waker(&self, task: u64) -> Waker {
        Waker::from(Arc::new(TaskWaker { task, ready: Arc::clone(&self.ready) }))
    }

    pub(super) fn make_ready(&self, task: u64) {
        lock(&self.ready).insert(task);
    }

    pub(super) fn take_spawned(&self) -> Vec<BoxFuture<'static, ()>> {
        std::mem::take(&mut lock(&self.world).spawned)
    }

    /// Chooses among everything that could happen now.
    pub(super) fn next_step(&self) -> Step {
        let mut world = lock(&self.world);
        let mut ready = lock(&self.ready);
        let (tasks, jobs) = (ready.len(), world.jobs.len());
        if tasks + jobs == 0 {
            return Step::Idle;
        }
        let chosen = world.schedule.index(tasks + jobs);
        if chosen >= tasks {
            return Step::Job(world.jobs.swap_remove(chosen - tasks));
        }
        let task = *ready.iter().nth(chosen).expect("the choice is below the number of tasks");
        ready.remove(&task);
        Step::Task(task)
    }

    /// Lets a step take a few microseconds, and fires the timers that this reaches.
    pub(super) fn pass_a_moment(&self) {
        let mut world = lock(&self.world);
        let moment = world.schedule.below(20);
        world.elapsed += Duration::from_micros(moment);
        let due = world.take_due();
        drop(world);
        due.into_iter().for_each(Waker::wake);
    }

    /// Advances the clock to the next timer; false if there is none.
    pub(super) fn pass_to_next_timer(&self) -> bool {
        let mut world = lock(&self.world);
        let Some(((deadline, _), _)) = world.timers.first_key_value() else {
            return false;
        };
        world.elapsed = world.elapsed.max(*deadline);
        let per_mille = world.jumps_per_mille;
        if world.schedule.happens(per_mille) {
            let hours = 3_600_000_000;
            world.skew += world.schedule.below(4 * hours) as i64 - 2 * hours as i64;
        }
        let due = world.take_due();
        drop(world);
        due.into_iter().for_each(Waker::wake);
        true
    }

    pub(super) fn virtual_time(&self) -> Duration {
        lock(&self.world).elapsed
    }

    /// Drops everything that was queued, outside of the lock: dropping may call back.
    pub(super) fn clear(&self) {
        let (spawned, jobs, timers) = {
            let mut world = lock(&self.world);
            (
                std::mem::take(&mut world.spawned),
                std::mem::take(&mut world.jobs),
                std::mem::take(&mut world.timers),
            )
        };
        drop((spawned, jobs, timers));
    }
}

impl World {
    fn take_due(&mut self) -> Vec<Waker> {
        let mut due = Vec::new();
        while let Some(first) = self.timers.first_entry() {
            if first.key().0 > self.elapsed {
                break;
            }
            due.push(first.remove());
        }
        due
    }
}

struct TaskWaker {
    task: u64,
    ready: Arc<Mutex<BTreeSet<u64>>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        lock(&self.ready).insert(self.task);
    }
}

impl Environment for SimEnv {
    fn now(&self) -> Timestamp {
        let world = lock(&self.world);
        let wall = WALL_START.plus(world.elapsed);
        let skew = Duration::from_micros(world.skew.unsigned_abs());
        if world.skew < 0 { wall.minus(skew) } else { wall.plus(skew) }
    }

    fn elapsed(&self) -> Duration {
        lock(&self.world).elapsed
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let deadline = self.elapsed().saturating_add(duration);
        Box::pin(Sleep { world: Arc::clone(&self.world), deadline, timer: None })
    }

    fn random(&self, bytes: &mut [u8]) {
        lock(&self.world).random.fill(bytes);
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        lock(&self.world).spawned.push(task);
    }

    fn blocking(&self, job: Job) {
        lock(&self.world).jobs.push(job);
    }
}

/// Waits for a moment of virtual time.
struct Sleep {
    world: Arc<Mutex<World>>,
    deadline: Duration,
    timer: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let world = Arc::clone(&self.world);
        let mut world = lock(&world);
        if world.elapsed >= self.deadline {
            return Poll::Ready(());
        }
        let timer = *self.timer.get_or_insert_with(|| {
            world.timers_made += 1;
            world.timers_made
        });
        world.timers.insert((self.deadline, timer), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            let waker = lock(&self.world).timers.remove(&(self.deadline, timer));
            drop(waker);
        }
    }
}

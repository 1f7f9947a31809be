//! The executor of a simulation: one thread, one seed, no real time.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use holdall_core::Env;

use super::SEED_VARIABLE;
use super::env::{SimEnv, Step};

/// The number of the future that the simulation was asked to run.
const MAIN: u64 = 0;

/// How one seed went: two runs are the same exactly if their traces are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// How many steps were made.
    pub steps: u64,
    /// How much virtual time passed.
    pub elapsed: Duration,
    /// A digest of which task ran when, step by step.
    pub digest: u64,
}

/// A simulation that cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// The seed that replays it.
    pub seed: u64,
    /// What happened.
    pub reason: String,
    /// How far it had come.
    pub trace: Trace,
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} after {} steps and {:?} of virtual time; replay with {SEED_VARIABLE}={}",
            self.reason, self.trace.steps, self.trace.elapsed, self.seed
        )
    }
}

impl std::error::Error for Stuck {}

/// How to simulate.
#[derive(Clone, Debug)]
pub struct Simulation {
    seed: u64,
    jumps_per_mille: u32,
    steps_max: u64,
}

impl Simulation {
    /// A simulation of this seed, with jumps of the wall clock now and then.
    pub fn new(seed: u64) -> Self {
        Self { seed, jumps_per_mille: 10, steps_max: 20_000_000 }
    }

    /// In how many of a thousand waits the wall clock jumps, by up to two hours either way.
    #[must_use]
    pub fn with_clock_jumps(mut self, per_mille: u32) -> Self {
        self.jumps_per_mille = per_mille;
        self
    }

    /// After how many steps the simulation counts as going in circles.
    #[must_use]
    pub fn with_steps_max(mut self, steps: u64) -> Self {
        self.steps_max = steps;
        self
    }

    /// Runs the future until it is ready; what it spawned and did not wait for is dropped then, as
    /// at the end of a process.
    ///
    /// # Errors
    /// [`Stuck`] if nothing is ready and nobody waits for time (a deadlock), or after too many
    /// steps.
    pub fn run<T, F>(&self, start: impl FnOnce(Env) -> F) -> Result<(T, Trace), Stuck>
    where
        F: Future<Output = T>,
    {
        let _notice = Notice { seed: self.seed };
        let env = SimEnv::new(self.seed, self.jumps_per_mille);
        let mut executor = Executor::new(self, env.clone());
        let answer = {
            let main = pin!(start(Env::new(env.clone())));
            executor.drive(main)
        };
        executor.tasks.clear();
        env.clear();
        answer.map(|answer| (answer, executor.trace))
    }
}

/// Runs one seed, panicking where it gets stuck. See [`Simulation`] for more.
///
/// # Panics
/// Panics with the seed if the simulation deadlocks or goes in circles.
#[allow(clippy::panic, reason = "this is the assertion of a test")]
pub fn simulate<T, F: Future<Output = T>>(seed: u64, start: impl FnOnce(Env) -> F) -> T {
    match Simulation::new(seed).run(start) {
        Ok((answer, _)) => answer,
        Err(stuck) => panic!("{stuck}"),
    }
}

struct Executor<'a> {
    simulation: &'a Simulation,
    env: SimEnv,
    tasks: BTreeMap<u64, BoxFuture<'static, ()>>,
    tasks_made: u64,
    trace: Trace,
}

impl<'a> Executor<'a> {
    fn new(simulation: &'a Simulation, env: SimEnv) -> Self {
        let trace = Trace { steps: 0, elapsed: Duration::ZERO, digest: 0xcbf2_9ce4_8422_2325 };
        Self { simulation, env, tasks: BTreeMap::new(), tasks_made: MAIN, trace }
    }

    fn drive<T>(&mut self, mut main: Pin<&mut impl Future<Output = T>>) -> Result<T, Stuck> {
        self.env.make_ready(MAIN);
        loop {
            for task in self.env.take_spawned() {
                self.tasks_made += 1;
                self.tasks.insert(self.tasks_made, task);
                self.env.make_ready(self.tasks_made);
            }
            match self.env.next_step() {
                Step::Task(MAIN) => {
                    self.note(MAIN);
                    let waker = self.env.waker(MAIN);
                    if let Poll::Ready(answer) =
                        main.as_mut().poll(&mut Context::from_waker(&waker))
                    {
                        return Ok(answer);
                    }
                }
                Step::Task(task) => self.poll(task),
                Step::Job(job) => {
                    self.note(u64::MAX);
                    job();
                }
                Step::Idle => {
                    if !self.env.pass_to_next_timer() {
                        return Err(self.stuck("a deadlock: no task is ready and none waits"));
                    }
                    continue;
                }
            }
            if self.trace.steps >= self.simulation.steps_max {
                return Err(self.stuck("it goes in circles"));
            }
            self.env.pass_a_moment();
        }
    }

    fn poll(&mut self, task: u64) {
        // A task that has ended may still be woken.
        let Some(mut future) = self.tasks.remove(&task) else {
            return;
        };
        self.note(task);
        let waker = self.env.waker(task);
        if future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            self.tasks.insert(task, future);
        }
    }

    /// Adds a step to the trace: FNV-1a over who ran and when.
    fn note(&mut self, task: u64) {
        self.trace.steps += 1;
        self.trace.elapsed = self.env.virtual_time();
        for part in [task, self.trace.elapsed.as_nanos() as u64] {
            for byte in part.to_le_bytes() {
                self.trace.digest =
                    (self.trace.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }

    fn stuck(&self, reason: &str) -> Stuck {
        Stuck { seed: self.simulation.seed, reason: reason.to_owned(), trace: self.trace }
    }
}

/// Tells the seed if the simulated code panics.
struct Notice {
    seed: u64,
}

impl Drop for Notice {
    #[allow(clippy::print_stderr, reason = "a failed test must show how to replay it")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the simulation failed; replay it with {SEED_VARIABLE}={}", self.seed);
        }
    }
}

//! Whether a backend can serve: asked, remembered, and told.
//!
//! ```text
//!              a failure                failures in a row
//!   healthy ──────────────▶ suspect ──────────────────────▶ down
//!      ▲                     │   ▲                            │
//!      └─────────────────────┘   └────────────────────────────┘
//!              an answer                   an answer
//! ```
//!
//! Who comes back from `down` needs two answers in a row, so that a store that answers now and
//! then does not count as healthy in between; one failure before the second, and it is down again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{Either, join, select};
use holdall_core::{Backend, Env, Error, Health, Operation, Result, Timestamp};

use crate::engine::Engine;

/// When a backend counts as healthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthPolicy {
    /// How long to wait between two checks, where they are made in the background.
    pub interval: Duration,
    /// How long a check may take; one that takes longer has failed.
    pub timeout: Duration,
    /// After how many failures in a row the backend is down.
    pub failures: u32,
}

impl Default for HealthPolicy {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { interval: seconds(30), timeout: seconds(10), failures: 3 }
    }
}

impl HealthPolicy {
    /// Whether it makes sense.
    ///
    /// # Errors
    /// `Invalid` if something is zero.
    pub fn check(&self) -> Result<()> {
        let zero = match (self.interval.is_zero(), self.timeout.is_zero(), self.failures) {
            (true, _, _) => "interval",
            (_, true, _) => "timeout",
            (_, _, 0) => "failures",
            _ => return Ok(()),
        };
        let message = format!("`{zero}` of health is 0; give it a value above that");
        Err(Error::invalid(Operation::Configure, message))
    }
}

/// What is thought of a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HealthState {
    /// The last check was answered, or there was none yet.
    #[default]
    Healthy,
    /// It failed to answer and is not down yet, or was down and has answered once.
    Suspect,
    /// It failed too often in a row.
    Down,
}

impl HealthState {
    /// The state as one lower-case word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Suspect => "suspect",
            Self::Down => "down",
        }
    }
}

impl std::fmt::Display for HealthState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The state and what it depends on: a pure function of the answers so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Standing {
    state: HealthState,
    /// Failures that count towards `Down`.
    failures: u32,
}

impl Standing {
    /// After one more check.
    fn after(self, answered: bool, failures_max: u32) -> Self {
        if answered {
            return match self.state {
                // One more failure, and it is down again.
                HealthState::Down => {
                    let failures = failures_max.saturating_sub(1);
                    Self { state: HealthState::Suspect, failures }
                }
                HealthState::Healthy | HealthState::Suspect => Self::default(),
            };
        }
        let failures = self.failures.saturating_add(1);
        let down = self.state == HealthState::Down || failures >= failures_max;
        Self { state: if down { HealthState::Down } else { HealthState::Suspect }, failures }
    }
}

/// What is known of a backend's health.
#[derive(Clone, Debug, Default)]
pub struct BackendHealth {
    /// What is thought of it.
    pub state: HealthState,
    /// Since when; none before the first check.
    pub since: Option<Timestamp>,
    /// How many checks failed since the last that was answered.
    pub failures: u32,
    /// When the last check ended.
    pub checked: Option<Timestamp>,
    /// How long it took.
    pub took: Duration,
    /// What it answered, or why it did not.
    pub answer: Option<Result<Health>>,
}

impl BackendHealth {
    /// Why the last check failed, if it did.
    pub fn problem(&self) -> Option<&Error> {
        self.answer.as_ref()?.as_ref().err()
    }
}

/// Asks one backend for its health, and remembers. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    backend: Arc<dyn Backend>,
    policy: HealthPolicy,
    env: Env,
    known: Arc<Mutex<(Standing, BackendHealth)>>,
}

impl Watch {
    pub(crate) fn new(backend: Arc<dyn Backend>, policy: HealthPolicy, env: &Env) -> Self {
        Self { backend, policy, env: env.clone(), known: Arc::default() }
    }

    /// What is known without asking.
    pub(crate) fn known(&self) -> BackendHealth {
        self.lock().1.clone()
    }

    /// Asks now.
    pub(crate) async fn ask(&self) -> BackendHealth {
        let watch = self.env.stopwatch();
        let answer = ask(self.backend.as_ref(), self.policy.timeout, &self.env).await;
        let (took, now) = (watch.elapsed(), self.env.now());
        let mut known = self.lock();
        let (standing, health) = &mut *known;
        *standing = standing.after(answer.is_ok(), self.policy.failures);
        if health.state != standing.state || health.since.is_none() {
            health.since = Some(now);
        }
        health.failures = if answer.is_ok() { 0 } else { health.failures.saturating_add(1) };
        health.state = standing.state;
        health.checked = Some(now);
        health.took = took;
        health.answer = Some(answer);
        health.clone()
    }

    // Nothing panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, (Standing, BackendHealth)> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The watches of an engine.
#[derive(Debug)]
pub(crate) struct Watches {
    pub(crate) catalog: Watch,
    pub(crate) data: Watch,
    started: AtomicBool,
    closed: AtomicBool,
}

impl Watches {
    pub(crate) fn new(catalog: Watch, data: Watch) -> Self {
        Self { catalog, data, started: AtomicBool::new(false), closed: AtomicBool::new(false) }
    }

    /// Asks no more by itself.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}

/// What is known of the health of an engine's backends.
#[derive(Clone, Debug, Default)]
pub struct EngineHealth {
    /// Of the catalog's.
    pub catalog: BackendHealth,
    /// Of the data's.
    pub data: BackendHealth,
}

impl Engine {
    /// Asks both backends now whether they can serve; each may take as long as its policy says.
    pub async fn health(&self) -> EngineHealth {
        let Watches { catalog, data, .. } = &self.shared.watches;
        let (catalog, data) = join(catalog.ask(), data.ask()).await;
        EngineHealth { catalog, data }
    }

    /// What is known of both backends' health without asking them.
    pub fn known_health(&self) -> EngineHealth {
        let Watches { catalog, data, .. } = &self.shared.watches;
        EngineHealth { catalog: catalog.known(), data: data.known() }
    }

    /// From now on asks each backend in the background, in the interval of its policy, until the
    /// engine is closed or the last handle on it is dropped. Calling it again changes nothing.
    pub fn watch_health(&self) {
        if self.shared.watches.started.swap(true, Ordering::Relaxed) {
            return;
        }
        let catalog = |watches: &Watches| watches.catalog.clone();
        let data = |watches: &Watches| watches.data.clone();
        let which: [fn(&Watches) -> Watch; 2] = [catalog, data];
        for watch in which {
            let (engine, env) = (Arc::downgrade(&self.shared), self.env().clone());
            self.env().spawn(async move {
                // While it waits it holds nothing, so that a dropped engine's backends are closed.
                while let Some(watch) = engine.upgrade().and_then(|shared| {
                    (!shared.watches.is_closed()).then(|| watch(&shared.watches))
                }) {
                    let interval = watch.policy.interval;
                    watch.ask().await;
                    drop(watch);
                    env.sleep(interval).await;
                }
            });
        }
    }
}

/// Asks a backend whether it can serve, and waits for so long at most.
///
/// # Errors
/// What the backend returns; `Unavailable` if it does not answer in time.
pub async fn ask(backend: &dyn Backend, timeout: Duration, env: &Env) -> Result<Health> {
    match select(backend.health(), env.sleep(timeout)).await {
        Either::Left((answer, _)) => answer,
        Either::Right(_) => {
            let seconds = timeout.as_secs_f64();
            let message = format!("it did not say within {seconds} s whether it can serve");
            Err(Error::unavailable(Operation::Health, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::HealthState::{Down, Healthy, Suspect};
    use super::*;

    /// The states after each answer (`+`) or failure (`-`).
    fn states(answers: &str, failures_max: u32) -> Vec<HealthState> {
        let step = |standing: &mut Standing, answer: char| {
            *standing = standing.after(answer == '+', failures_max);
            Some(standing.state)
        };
        answers.chars().scan(Standing::default(), step).collect()
    }

    #[test]
    fn failures_lead_down_and_answers_lead_back() {
        assert_eq!(states("+-+--+", 3), [Healthy, Suspect, Healthy, Suspect, Suspect, Healthy]);
        assert_eq!(states("---", 3), [Suspect, Suspect, Down]);
        assert_eq!(states("-----++", 3)[3..], [Down, Down, Suspect, Healthy]);
        assert_eq!(states("---+-++", 3)[3..], [Suspect, Down, Suspect, Healthy]);
        assert_eq!(states("-+-++-", 1), [Down, Suspect, Down, Suspect, Healthy, Down]);
        assert_eq!(states("---+++---", 3)[5..], [Healthy, Suspect, Suspect, Down]);
    }

    #[test]
    fn a_policy_without_a_value_is_refused() {
        let policy = HealthPolicy::default();
        assert!(policy.check().is_ok());
        for (policy, word) in [
            (HealthPolicy { interval: Duration::ZERO, ..policy }, "interval"),
            (HealthPolicy { timeout: Duration::ZERO, ..policy }, "timeout"),
            (HealthPolicy { failures: 0, ..policy }, "failures"),
        ] {
            let error = policy.check().expect_err("zero");
            assert!(error.message().contains(word), "{error}");
        }
    }
}

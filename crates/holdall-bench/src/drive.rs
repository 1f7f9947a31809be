//! Runs a step again and again, alone or in many tasks, and says how often it was done.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use holdall_core::Env;

use crate::Result;

/// How often something was done, and in what time.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// How often.
    pub count: u64,
    /// In what time.
    pub time: Duration,
}

impl Done {
    /// How often a second.
    pub fn rate(self) -> f64 {
        self.count as f64 / self.time.as_secs_f64()
    }
}

/// Runs `step` in `tasks` tasks until `time` is over, giving it one number after another, each
/// once. What was begun is finished and counted, with the time it takes.
///
/// # Errors
/// The first of a step; the other tasks end then too.
pub async fn steps<F, Fut>(env: &Env, tasks: usize, time: Duration, step: F) -> Result<Done>
where
    F: Fn(u64) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<()>> + Send,
{
    let (next, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let watch = env.stopwatch();
    let mut running = tokio::task::JoinSet::<Result<()>>::new();
    for _ in 0..tasks {
        let (step, next, watch) = (step.clone(), Arc::clone(&next), watch.clone());
        let over = Arc::clone(&over);
        running.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let done = step(next.fetch_add(1, Ordering::Relaxed)).await;
                if done.is_err() || watch.elapsed() >= time {
                    // Steps that never wait can only be told, not aborted.
                    over.store(true, Ordering::Relaxed);
                    return done;
                }
            }
            Ok(())
        });
    }
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    Ok(Done { count: next.load(Ordering::Relaxed), time: watch.elapsed() })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn every_number_is_given_once_and_counted() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        let env = holdall_runtime::env();
        let done = steps(&env, 3, Duration::from_millis(2), move |number| {
            kept.lock().unwrap().push(number);
            async { Ok(()) }
        });
        let done = done.await.unwrap();
        let seen = seen.lock().unwrap().clone();
        let distinct: BTreeSet<u64> = seen.iter().copied().collect();
        assert_eq!(distinct, (0..done.count).collect());
        assert_eq!(seen.len() as u64, done.count);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_step_that_fails_ends_it() {
        let env = holdall_runtime::env();
        let failed = steps(&env, 2, Duration::from_secs(3600), |number| async move {
            if number == 7 { Err("seven".into()) } else { Ok(()) }
        });
        assert_eq!(failed.await.unwrap_err().to_string(), "seven");
    }
}

//! So many bytes a second, and not more: how work in the background leaves room for others.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Env;

/// How much may go at once after a pause, as time.
const BURST: Duration = Duration::from_millis(100);

/// How long a wait goes on at most without a look at the flag that ends it.
const LOOK: Duration = Duration::from_millis(100);

/// So many bytes a second, and not more: how work in the background leaves room for others. Clones
/// share a bucket of tokens, one for each byte, and a count of those taken.
///
/// It lends: what is taken first goes at once, however large, and whoever comes next waits until
/// it is paid for. So values need not be cut to fit, and on average the limit holds.
#[derive(Clone, Debug)]
pub struct Throttle {
    shared: Arc<Throttling>,
}

#[derive(Debug)]
struct Throttling {
    env: Env,
    bytes_a_second: Option<u64>,
    cancel: Arc<AtomicBool>,
    taken: AtomicU64,
    /// When all that was taken is paid for, in the time of [`Env::elapsed`].
    paid_at: Mutex<Duration>,
}

impl Throttle {
    /// Lets so many bytes a second through; all of them if there is no limit. Once `cancel` is
    /// set nobody waits any longer.
    pub fn new(env: Env, bytes_a_second: Option<u64>, cancel: Arc<AtomicBool>) -> Self {
        let paid_at = Mutex::new(env.elapsed());
        let taken = AtomicU64::new(0);
        Self { shared: Arc::new(Throttling { env, bytes_a_second, cancel, taken, paid_at }) }
    }

    /// Whether those who take were told to stop.
    pub fn is_cancelled(&self) -> bool {
        self.shared.cancel.load(Ordering::Relaxed)
    }

    /// The flag that ends all waiting.
    pub fn cancel_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.shared.cancel)
    }

    /// How many bytes were taken so far.
    pub fn taken(&self) -> u64 {
        self.shared.taken.load(Ordering::Relaxed)
    }

    /// Takes so many bytes, once those that were taken before are paid for; at once if cancelled.
    pub async fn take(&self, bytes: u64) {
        self.shared.taken.fetch_add(bytes, Ordering::Relaxed);
        let Some(rate) = self.shared.bytes_a_second else { return };
        let turn = self.turn(bytes, rate.max(1));
        loop {
            let now = self.shared.env.elapsed();
            if now >= turn || self.is_cancelled() {
                return;
            }
            self.shared.env.sleep((turn - now).min(LOOK)).await;
        }
    }

    /// When whoever takes so many bytes now may go on.
    fn turn(&self, bytes: u64, rate: u64) -> Duration {
        let now = self.shared.env.elapsed();
        let mut paid_at = self.shared.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = (*paid_at).max(now.saturating_sub(BURST));
        let micros = u128::from(bytes) * 1_000_000 / u128::from(rate);
        let cost = Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
        *paid_at = turn.saturating_add(cost);
        turn
    }
}

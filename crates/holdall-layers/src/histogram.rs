//! How long things take: counts in buckets that grow with the value, without a lock.
//!
//! Each power of two is cut into eight buckets, so a quantile is at most an eighth too high, from
//! a nanosecond to centuries, in 4 KiB.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Buckets in each power of two, as a power of two.
const FINE_BITS: u32 = 3;
const FINE: usize = 1 << FINE_BITS;
const BUCKETS: usize = (64 - FINE_BITS as usize + 1) * FINE;

/// Counts of durations.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    max: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; BUCKETS], max: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Counts one.
    pub(crate) fn add(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(nanos)].fetch_add(1, Relaxed);
        // Nearly all values are no new maximum, and a load is cheaper than an exchange.
        if nanos > self.max.load(Relaxed) {
            self.max.fetch_max(nanos, Relaxed);
        }
    }

    /// The figures at this moment. Counts that arrive meanwhile may be in some and not in others.
    pub(crate) fn snapshot(&self) -> Latency {
        let counts: Vec<u64> = self.buckets.iter().map(|count| count.load(Relaxed)).collect();
        let max = self.max.load(Relaxed);
        let total: u64 = counts.iter().sum();
        let quantile = |percent: u64| {
            let rank = (total * percent).div_ceil(100).max(1);
            let mut seen = 0;
            let found = counts.iter().position(|count| {
                seen += count;
                seen >= rank
            });
            Duration::from_nanos(found.map_or(0, highest).min(max))
        };
        Latency { p50: quantile(50), p99: quantile(99), max: Duration::from_nanos(max) }
    }
}

/// Quantiles of durations: at most an eighth too high. All zero if nothing was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// Half were at most this long.
    pub p50: Duration,
    /// 99 of 100 were at most this long.
    pub p99: Duration,
    /// The longest, exactly.
    pub max: Duration,
}

fn bucket(value: u64) -> usize {
    if value < FINE as u64 {
        return value as usize;
    }
    let power = u64::BITS - 1 - value.leading_zeros();
    let fine = (value >> (power - FINE_BITS)) as usize & (FINE - 1);
    (power - FINE_BITS + 1) as usize * FINE + fine
}

/// The highest value that a bucket counts.
fn highest(bucket: usize) -> u64 {
    if bucket < FINE {
        return bucket as u64;
    }
    let power = (bucket / FINE - 1) as u32;
    let base = ((FINE + bucket % FINE) as u64) << power;
    base + ((1 << power) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_cover_all_values_without_gap_or_overlap() {
        let mut next = 0_u64;
        for index in 0..BUCKETS {
            assert_eq!(bucket(next), index, "the first value of bucket {index}");
            assert_eq!(bucket(highest(index)), index, "the last value of bucket {index}");
            if index + 1 < BUCKETS {
                next = highest(index) + 1;
            }
        }
        assert_eq!(highest(BUCKETS - 1), u64::MAX);
    }

    #[test]
    fn quantiles_are_at_most_an_eighth_too_high() {
        let histogram = Histogram::default();
        assert_eq!(histogram.snapshot(), Latency::default());
        for micros in 1..=1000 {
            histogram.add(Duration::from_micros(micros));
        }
        let Latency { p50, p99, max } = histogram.snapshot();
        assert_eq!(max, Duration::from_millis(1));
        for (found, exact) in [(p50, 500), (p99, 990)] {
            let exact = Duration::from_micros(exact);
            assert!(found >= exact && found <= exact * 9 / 8, "{found:?} for {exact:?}");
        }
    }
}

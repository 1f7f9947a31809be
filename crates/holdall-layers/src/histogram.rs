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
    sum: AtomicU64,
    max: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
            sum: AtomicU64::new(0),
            max: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    /// Counts one.
    pub(crate) fn add(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(nanos)].fetch_add(1, Relaxed);
        self.sum.fetch_add(nanos, Relaxed);
        // Nearly all values are no new maximum, and a load is cheaper than an exchange.
        if nanos > self.max.load(Relaxed) {
            self.max.fetch_max(nanos, Relaxed);
        }
    }

    /// The counts at this moment. Some that arrive meanwhile may be in one and not in another.
    pub(crate) fn times(&self) -> Times {
        let counts = self.buckets.iter().enumerate();
        let counts = counts.map(|(bucket, count)| (bucket as u16, count.load(Relaxed)));
        Times {
            buckets: counts.filter(|(_, count)| *count > 0).collect(),
            nanos_sum: self.sum.load(Relaxed),
            nanos_max: self.max.load(Relaxed),
        }
    }
}

/// Counts of durations as data, which can be kept and put together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// How many durations there were of each length, by the number of a bucket. Each power of two
    /// of nanoseconds is cut into eight buckets; those that count nothing are left out.
    pub buckets: Vec<(u16, u64)>,
    /// All durations together, in nanoseconds.
    pub nanos_sum: u64,
    /// The longest, in nanoseconds.
    pub nanos_max: u64,
}

impl Times {
    /// The figures that people want to see. Buckets must be in the order of their numbers.
    pub fn latency(&self) -> Latency {
        let total: u64 = self.buckets.iter().map(|(_, count)| count).sum();
        let quantile = |percent: u64| {
            let rank = (total * percent).div_ceil(100).max(1);
            let mut seen = 0;
            let found = self.buckets.iter().find(|(_, count)| {
                seen += count;
                seen >= rank
            });
            let nanos = found.map_or(0, |(bucket, _)| highest(usize::from(*bucket)));
            Duration::from_nanos(nanos.min(self.nanos_max))
        };
        Latency {
            mean: Duration::from_nanos(self.nanos_sum.checked_div(total).unwrap_or(0)),
            p50: quantile(50),
            p99: quantile(99),
            max: Duration::from_nanos(self.nanos_max),
        }
    }
}

/// Mean and quantiles of durations; quantiles are at most an eighth too high. All zero if nothing
/// was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// All together, divided by their number.
    pub mean: Duration,
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
    // A number that is kept may have been damaged.
    let bucket = bucket.min(BUCKETS - 1);
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
        assert_eq!(histogram.times().latency(), Latency::default());
        for micros in 1..=1000 {
            histogram.add(Duration::from_micros(micros));
        }
        let Latency { mean, p50, p99, max } = histogram.times().latency();
        assert_eq!(max, Duration::from_millis(1));
        assert_eq!(mean, Duration::from_nanos(500_500));
        for (found, exact) in [(p50, 500), (p99, 990)] {
            let exact = Duration::from_micros(exact);
            assert!(found >= exact && found <= exact * 9 / 8, "{found:?} for {exact:?}");
        }
    }
}

//! Which seeds a test runs: a few by default, one to replay, many by hand or for a time.
#![allow(clippy::disallowed_methods, reason = "a test's budget is real time, given from outside")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Set to a number, this makes every simulation run that seed alone.
pub const SEED_VARIABLE: &str = "HOLDALL_SEED";

/// How many seeds (`2000`) or how long (`30s`, `5m`) each simulation runs.
pub const SEEDS_VARIABLE: &str = "HOLDALL_SIM_SEEDS";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Budget {
    /// Seeds from 0 on, the same in every run.
    Count(u64),
    /// New seeds in every run, until the time is over.
    Time(Duration),
}

impl Budget {
    fn parse(text: &str) -> Option<Self> {
        if let Some(seconds) = text.strip_suffix('s') {
            return seconds.parse().ok().map(|count| Self::Time(Duration::from_secs(count)));
        }
        if let Some(minutes) = text.strip_suffix('m') {
            let minutes: u64 = minutes.parse().ok()?;
            return Some(Self::Time(Duration::from_secs(minutes.checked_mul(60)?)));
        }
        text.parse().ok().map(Self::Count)
    }
}

fn variable<T>(name: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
    let text = std::env::var(name).ok()?;
    let value = parse(&text);
    assert!(
        value.is_some(),
        "{name} is {text:?}; give a number, or for budgets a time such as 30s"
    );
    value
}

/// Calls `run` with one seed after another: with the one that `HOLDALL_SEED` gives; else as many or
/// as long as `HOLDALL_SIM_SEEDS` says; else `default_count` of them.
///
/// # Panics
/// Panics if one of the variables cannot be read.
pub fn seeds(default_count: u64, mut run: impl FnMut(u64)) {
    if let Some(seed) = variable(SEED_VARIABLE, |text| text.parse().ok()) {
        return run(seed);
    }
    match variable(SEEDS_VARIABLE, Budget::parse).unwrap_or(Budget::Count(default_count)) {
        Budget::Count(count) => (0..count).for_each(run),
        Budget::Time(time) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let (started, first) = (Instant::now(), now.as_nanos() as u64);
            let mut seed = first;
            while seed == first || started.elapsed() < time {
                run(seed);
                seed = seed.wrapping_add(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_counts_or_times() {
        assert_eq!(Budget::parse("20"), Some(Budget::Count(20)));
        assert_eq!(Budget::parse("30s"), Some(Budget::Time(Duration::from_secs(30))));
        assert_eq!(Budget::parse("2m"), Some(Budget::Time(Duration::from_secs(120))));
        assert_eq!(Budget::parse("soon"), None);
        assert_eq!(Budget::parse("s"), None);
    }
}

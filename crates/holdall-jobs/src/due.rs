//! When a job is due: a pure function of its schedule, what is remembered of it, and the clock.

use std::time::Duration;

use holdall_core::Timestamp;
use holdall_volume::format::policy::JobRow;

use crate::schedule::Schedule;
use crate::status::JobState;

/// After the n-th failure in a row a job waits 2ⁿ minutes, of n no more than this: about an hour.
const FAILURES_COUNTED_MAX: u32 = 6;

/// How long a job waits that has failed so often in a row.
pub(crate) fn backoff(failures: u32) -> Duration {
    Duration::from_secs(60 << failures.min(FAILURES_COUNTED_MAX))
}

/// When a job runs next; nothing if not by itself. What was noted by a clock that was ahead does
/// not count.
pub(crate) fn next(
    schedule: &Schedule,
    row: &JobRow,
    created: Timestamp,
    now: Timestamp,
) -> Option<Timestamp> {
    let before = row.last.as_ref().map_or(created, |last| last.begun);
    let scheduled = schedule.next(before)?;
    // One that was interrupted goes on.
    let scheduled = if row.begun.is_some() || before > now { now } else { scheduled };
    let longest = now.plus(backoff(FAILURES_COUNTED_MAX));
    let retry = row.retry.filter(|retry| *retry <= longest);
    Some(retry.map_or(scheduled, |retry| scheduled.max(retry)))
}

/// What a job is about.
pub(crate) fn state(row: &JobRow, next: Option<Timestamp>, now: Timestamp) -> JobState {
    if let Some(lease) = &row.lease {
        // Only shown: whether it is over is found out by a clock that does not jump.
        let silent = now.since(lease.renewed) >= lease.lasts;
        return if silent { JobState::Interrupted } else { JobState::Running };
    }
    match next {
        None => JobState::Off,
        Some(_) if row.failures > 0 => JobState::Failing,
        Some(_) if row.begun.is_some() => JobState::Interrupted,
        Some(next) if next <= now => JobState::Due,
        Some(_) => JobState::Waiting,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use holdall_volume::format::policy::{JobPolicy, JobRun};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_clock_that_was_ahead_keeps_no_job_waiting() {
        let schedule = Schedule::new(&JobPolicy::default(), HOUR).unwrap();
        let created = Timestamp::from_micros(1 << 50);
        let now = created.plus(HOUR / 2);
        let row = JobRow::default();
        assert_eq!(next(&schedule, &row, created, now), Some(created.plus(HOUR)));
        let last = Some(JobRun { begun: now.plus(HOUR * 10_000), ..JobRun::default() });
        let ran = JobRow { last, ..JobRow::default() };
        assert_eq!(next(&schedule, &ran, created, now), Some(now));
        let retry = Some(now.plus(HOUR * 10_000));
        let failed = JobRow { retry, begun: Some(now), ..JobRow::default() };
        assert_eq!(next(&schedule, &failed, created, now), Some(now));
    }

    #[test]
    fn what_failed_waits_longer_and_longer_and_what_was_interrupted_goes_on() {
        let schedule = Schedule::new(&JobPolicy::default(), HOUR).unwrap();
        let created = Timestamp::from_micros(1 << 50);
        let interrupted = JobRow { begun: Some(created), ..JobRow::default() };
        assert_eq!(next(&schedule, &interrupted, created, created), Some(created));
        assert_eq!(state(&interrupted, Some(created), created), JobState::Interrupted);
        let retry = created.plus(backoff(1));
        let failed = JobRow { retry: Some(retry), failures: 1, ..interrupted };
        assert_eq!(next(&schedule, &failed, created, created), Some(retry));
        assert_eq!(state(&failed, Some(retry), created), JobState::Failing);
        assert!(backoff(2) > backoff(1) && backoff(100) == backoff(FAILURES_COUNTED_MAX));
        let off = Schedule::new(&JobPolicy { off: true, ..JobPolicy::default() }, HOUR).unwrap();
        assert_eq!(next(&off, &failed, created, created), None);
    }
}

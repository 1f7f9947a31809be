//! What a volume is told of its jobs, and what is remembered of each from one run to the next.

use std::time::Duration;

use bytes::Bytes;
use holdall_core::{Error, Key, Operation, Result, Timestamp};
use serde::{Deserialize, Serialize};

use crate::format::row;

/// When and how fast a job runs. What is not said is as the job itself has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobPolicy {
    /// A cron expression of five fields.
    pub schedule: Option<String>,
    /// The time zone of the expression, such as `Europe/Zurich`; UTC if none is given.
    pub zone: Option<String>,
    /// How long from the beginning of one pass to that of the next, instead of an expression.
    pub every: Option<Duration>,
    /// The most bytes a second that it may move.
    pub rate_bytes: Option<u64>,
    /// Whether it runs only when it is asked for by name.
    pub off: bool,
}

impl JobPolicy {
    /// Refuses what contradicts itself. Whether an expression can be read is for those to say who
    /// keep the schedule.
    pub(super) fn check(&self, name: &str) -> Result<()> {
        let wrong = if self.schedule.is_some() && self.every.is_some() {
            "has both `schedule` and `every`; give one of them"
        } else if self.zone.is_some() && self.schedule.is_none() {
            "has a `zone` without a `schedule`; give both"
        } else if self.every.is_some_and(|every| every.is_zero()) {
            "has `every: 0s`; give a longer time, or `off`"
        } else if self.rate_bytes == Some(0) {
            "has a `rate` of 0; give more, or `off`"
        } else {
            return Ok(());
        };
        let message = format!("the job `{name}` {wrong}");
        Err(Error::invalid(Operation::Configure, message))
    }
}

/// What is remembered of a job. It is no part of what a rebuild restores: without it the job
/// begins anew, which harms nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobRow {
    /// Who is at it now, or was when their process ended.
    pub lease: Option<JobLease>,
    /// When the pass began that is under way or was interrupted.
    pub begun: Option<Timestamp>,
    /// How far that pass is, in words of the job's own; nothing at its beginning.
    pub cursor: Option<String>,
    /// How far it is, for people.
    pub progress: JobProgress,
    /// What the job keeps from one pass to the next, in words of its own.
    pub memory: Option<String>,
    /// The last pass that came to its end.
    pub last: Option<JobRun>,
    /// How many passes have come to their end.
    pub runs: u64,
    /// How often it has failed since a pass came to its end.
    pub failures: u32,
    /// The last failure.
    pub error: Option<JobError>,
    /// Not to be tried again before.
    pub retry: Option<Timestamp>,
}

/// Who is at a job. Others leave it alone until they have seen this unchanged for as long as it
/// lasts, by a clock that does not jump.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobLease {
    /// Who it is, for people.
    pub holder: String,
    /// Drawn at random when it was taken, so that its holder knows its own.
    pub token: u64,
    /// Counts the renewals.
    pub beat: u64,
    /// How long a renewal lasts.
    pub lasts: Duration,
    /// When it was last renewed, for people.
    pub renewed: Timestamp,
}

/// How far a job is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobProgress {
    /// How much is done, in the job's own measure.
    pub done: u64,
    /// How much there is to do, if that is known.
    pub total: Option<u64>,
    /// Bytes that were moved in this pass.
    pub bytes: u64,
    /// How many of them a second, lately.
    pub bytes_a_second: u64,
    /// What it is at.
    pub stage: String,
}

/// A pass that came to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobRun {
    /// When it began.
    pub begun: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// What it did, in a line.
    pub summary: String,
    /// Whether it has found something that a person should look at.
    pub findings: bool,
    /// Bytes that it moved.
    pub bytes: u64,
}

/// Why a pass did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobError {
    /// When.
    pub at: Timestamp,
    /// Why, with what to do.
    pub message: String,
}

impl JobRow {
    /// Encodes the row.
    pub fn encode(&self, key: &Key) -> Bytes {
        let json = serde_json::to_string(self).expect("a job's row is plain data with text keys");
        row::encode(key, &json)
    }

    /// Decodes the row.
    ///
    /// # Errors
    /// `Corrupt` if these are not the bytes that were written; `Unsupported` if a newer program
    /// wrote them.
    pub fn decode(key: &Key, bytes: &Bytes) -> Result<Self> {
        let json: String = row::decode(key, bytes)?;
        serde_json::from_str(&json).map_err(|source| {
            // What its checksum has let pass is what was written.
            let message = "a job's row holds something that this program does not know; update \
                           holdall";
            Error::unsupported(Operation::Decode, message).with_key(key).with_source(source)
        })
    }
}

#[cfg(test)]
mod tests {
    use holdall_core::ErrorKind;

    use super::*;

    #[test]
    fn rows_come_back_and_unknown_fields_are_refused() {
        let key = Key::parse("some/row").unwrap();
        let lease = JobLease {
            holder: "me".to_owned(),
            token: 1,
            beat: 2,
            lasts: Duration::from_secs(3),
            renewed: Timestamp::from_micros(4),
        };
        let row = JobRow {
            lease: Some(lease),
            cursor: Some("here".to_owned()),
            last: Some(JobRun { summary: "done".to_owned(), ..JobRun::default() }),
            ..JobRow::default()
        };
        assert_eq!(JobRow::decode(&key, &row.encode(&key)).unwrap(), row);
        let older = row::encode(&key, &"{}");
        assert_eq!(JobRow::decode(&key, &older).unwrap(), JobRow::default());
        let newer = row::encode(&key, &r#"{"teleport":1}"#);
        assert_eq!(JobRow::decode(&key, &newer).unwrap_err().kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn settings_that_contradict_themselves_are_refused() {
        let every = Some(Duration::from_secs(60));
        let schedule = Some("0 3 * * *".to_owned());
        let zone = Some("UTC".to_owned());
        let good = [
            JobPolicy { every, ..JobPolicy::default() },
            JobPolicy { schedule: schedule.clone(), zone: zone.clone(), ..JobPolicy::default() },
        ];
        assert!(good.iter().all(|policy| policy.check("gc").is_ok()));
        let bad = [
            JobPolicy { every, schedule, ..JobPolicy::default() },
            JobPolicy { zone, ..JobPolicy::default() },
            JobPolicy { every: Some(Duration::ZERO), ..JobPolicy::default() },
            JobPolicy { rate_bytes: Some(0), ..JobPolicy::default() },
        ];
        for policy in bad {
            let error = policy.check("gc").unwrap_err();
            assert!(error.message().contains("`gc`"), "{error}");
        }
    }
}

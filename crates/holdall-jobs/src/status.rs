//! What a job looks like from outside.

use holdall_core::Timestamp;
use holdall_volume::format::policy::JobRow;

/// What a job is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Somebody is at it.
    Running,
    /// Whoever was at it has gone silent; another goes on with it.
    Interrupted,
    /// It is time.
    Due,
    /// Its time will come.
    Waiting,
    /// It has failed, and is tried again later.
    Failing,
    /// It runs only when it is asked for.
    Off,
    /// Its schedule cannot be read, so that it never runs.
    Wrong,
}

impl JobState {
    /// The state as one lower-case word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Interrupted => "interrupted",
            Self::Due => "due",
            Self::Waiting => "waiting",
            Self::Failing => "failing",
            Self::Off => "off",
            Self::Wrong => "wrong",
        }
    }
}

impl std::fmt::Display for JobState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A job, what it is about, and what is remembered of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobStatus {
    /// Its name.
    pub name: String,
    /// What it does, in a line.
    pub about: String,
    /// What it is about.
    pub state: JobState,
    /// When it runs, as it was written; or why that cannot be read.
    pub schedule: String,
    /// The most bytes a second that it may move.
    pub rate_bytes: Option<u64>,
    /// When it runs next, if by itself.
    pub next: Option<Timestamp>,
    /// What is remembered of it.
    pub row: JobRow,
}

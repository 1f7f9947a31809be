//! What looks after a volume by itself: jobs that survive a crash of whoever does them.
//!
//! ```text
//! schedule   when: at an interval, or as a cron expression says in a time zone
//! job        what: a name, and steps that may be interrupted and repeated
//! kinds/     the jobs that there are
//! hold       who: a lease on the job's row, renewed while it is done
//! pass       one run of a job that is held
//! runner     one pass of one job; of all that are due; all of them for ever
//! ```
//!
//! What is remembered of a job is a row of the volume's catalog, so that many processes share the
//! work and whoever comes next goes on where one was killed. Who does a job renews its lease by
//! comparing and swapping; the others leave it alone until they have seen it unchanged for as long
//! as it lasts. That is measured by a clock that does not jump. The clock on the wall says when a
//! job is due, and nothing else.

mod due;
mod hold;
mod job;
mod kinds;
mod pass;
mod runner;
mod schedule;
mod status;

pub use job::{Job, Next, Step};
pub use kinds::all;
pub use runner::{Event, Ran, Runner};
pub use schedule::Schedule;
pub use status::{JobState, JobStatus};

//! Committing: requests of many callers become one batch of the catalog.
//!
//! ```text
//! submit … submit     callers wait
//!     └──┬──┘
//!      queue          one task drives it while there is something in it
//!        │
//!   load → plan → apply, again on a conflict
//! ```
//!
//! Every batch expects the head row unchanged and writes it anew, so all commits of all writers
//! stand in one order and a plan that was made of old rows never happens. It also expects the
//! writer's own row unchanged: a writer that others have ended can commit nothing more.

mod committer;
mod plan;
mod plan_copies;
mod plan_maintain;
mod plan_upload;
mod request;
mod rows;
mod table;
mod writer;

pub(crate) use committer::{CommitContext, Committer};
pub use request::{Committed, Condition};
pub(crate) use request::{Draft, Maintain, NewCopies, Request, Write};

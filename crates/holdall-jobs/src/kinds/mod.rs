//! The jobs that there are, one file each.

mod checkpoint;
mod gc;
mod lifecycle;
mod repair;
mod scrub;
mod seal;
mod verify;

use std::sync::Arc;

use crate::job::Job;

/// All jobs, in the order in which one pass of them runs.
pub fn all() -> Vec<Arc<dyn Job>> {
    vec![
        Arc::new(seal::Seal),
        Arc::new(lifecycle::Lifecycle),
        Arc::new(gc::Gc),
        Arc::new(checkpoint::Checkpoint),
        Arc::new(scrub::Scrub),
        Arc::new(repair::Repair),
        Arc::new(verify::Verify),
    ]
}

/// `1 file`, `2 files`.
fn counted(count: u64, word: &str) -> String {
    match (count, word.strip_suffix('y')) {
        (1, _) => format!("1 {word}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        (_, None) => format!("{count} {word}s"),
    }
}

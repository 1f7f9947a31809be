//! What went wrong with single files while the rest went on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use crate::output::{complain, shown};
use crate::progress::Progress;

/// Reports problems as they come, and counts them.
#[derive(Clone, Debug)]
pub(crate) struct Problems {
    count: Arc<AtomicU64>,
    json: bool,
    progress: Progress,
}

impl Problems {
    /// Reports beside this progress line.
    pub(crate) fn new(json: bool, progress: &Progress) -> Self {
        Self { count: Arc::default(), json, progress: progress.clone() }
    }

    /// One problem with the file, or entry, of this name.
    pub(crate) fn add(&self, path: &str, message: &str) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let line = if self.json {
            json!({ "kind": "problem", "path": path, "message": message }).to_string()
        } else {
            format!("holdall: `{}` {}", shown(path), shown(message))
        };
        self.progress.aside(|| complain(&line));
    }

    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

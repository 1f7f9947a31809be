//! Every clause of the contract, on a file of its own: with a write-ahead log, with a journal,
//! where readers and writers wait for each other, and with the weaker promise.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use holdall_core::{Backend, Result, async_trait};
use holdall_sqlite::{Config, JournalMode, Sqlite, Synchronous};
use holdall_testkit::conformance::Fixture;

struct Folder(tempfile::TempDir, JournalMode, Synchronous);

impl Folder {
    fn new(journal_mode: JournalMode, synchronous: Synchronous) -> Self {
        Self(tempfile::tempdir().unwrap(), journal_mode, synchronous)
    }
}

#[async_trait]
impl Fixture for Folder {
    async fn open(&self) -> Result<Arc<dyn Backend>> {
        let path = self.0.path().join("made/on/demand.db");
        let config = Config { journal_mode: self.1, synchronous: self.2, ..Config::new(path) };
        Ok(Arc::new(Sqlite::open(config, &holdall_runtime::env()).await?))
    }
}

holdall_testkit::conformance!(Folder::new(JournalMode::Wal, Synchronous::Full));

mod journal {
    use super::*;
    holdall_testkit::conformance!(Folder::new(JournalMode::Truncate, Synchronous::Full));
}

mod weaker {
    use super::*;
    holdall_testkit::conformance!(Folder::new(JournalMode::Wal, Synchronous::Normal));
}

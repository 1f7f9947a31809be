//! The contract under each layer, and under all of them.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;

use holdall_core::{Backend, Memory, Result, async_trait};
use holdall_layers::{
    JournalSettings, Journaled, Limited, Limits, Metered, Prefixed, Retries, Retrying, Stack,
};
use holdall_testkit::conformance::Fixture;

/// A journal's folder and the memory behind it, both of which outlive the journal.
struct Kept {
    folder: tempfile::TempDir,
    inner: Arc<Memory>,
    settings: JournalSettings,
}

impl Kept {
    fn new(settings: JournalSettings) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), inner: Arc::new(Memory::new()), settings }
    }
}

#[async_trait]
impl Fixture for Kept {
    async fn open(&self) -> Result<Arc<dyn Backend>> {
        let journal =
            support::open_with(&self.inner, self.folder.path(), self.settings.clone()).await?;
        Ok(journal)
    }
}

/// A journal before LMDB, both in one folder.
struct OnLmdb(tempfile::TempDir);

#[async_trait]
impl Fixture for OnLmdb {
    async fn open(&self) -> Result<Arc<dyn Backend>> {
        let env = support::env();
        let config = holdall_lmdb::Config::new(self.0.path().join("engine"));
        let engine = Arc::new(holdall_lmdb::Lmdb::open(config, &env).await?);
        let folder = self.0.path().join("journal");
        Ok(Journaled::open(engine, &folder, support::tiny(), &env).await?)
    }
}

/// All layers over a journal with small files.
struct Whole(Kept);

#[async_trait]
impl Fixture for Whole {
    async fn open(&self) -> Result<Arc<dyn Backend>> {
        let inner: Arc<dyn Backend> = Arc::<Memory>::clone(&self.0.inner);
        let stack = Stack::new(inner)
            .with_journal(self.0.folder.path(), self.0.settings.clone())
            .with_retries(Retries::default())
            .with_prefix("part/")
            .with_limits(Limits { calls_max: 4, ..Limits::default() })
            .with_metrics();
        Ok(stack.open(&support::env()).await?.backend)
    }
}

mod metered {
    use super::*;

    holdall_testkit::conformance!(|| Metered::new(Arc::new(Memory::new()), &support::env()));
}

mod limited {
    use super::*;

    fn limited() -> Limited {
        let limits = Limits { calls_max: 3, ..Limits::default() };
        Limited::new(Arc::new(Memory::new()), limits, &support::env()).unwrap()
    }

    holdall_testkit::conformance!(limited);
}

mod prefixed {
    use super::*;

    holdall_testkit::conformance!(|| Prefixed::new(Arc::new(Memory::new()), "a/ü%/").unwrap());
}

mod retrying {
    use super::*;

    fn retrying() -> Retrying {
        Retrying::new(Arc::new(Memory::new()), Retries::default(), &support::env()).unwrap()
    }

    holdall_testkit::conformance!(retrying);
}

mod journaled {
    use super::*;

    holdall_testkit::conformance!(Kept::new(support::roomy()));
}

mod journaled_with_tiny_files {
    use super::*;

    holdall_testkit::conformance!(Kept::new(support::tiny()));
}

mod journaled_on_lmdb {
    use super::*;

    holdall_testkit::conformance!(OnLmdb(tempfile::tempdir().unwrap()));
}

mod whole_stack {
    use super::*;

    holdall_testkit::conformance!(Whole(Kept::new(support::tiny())));
}

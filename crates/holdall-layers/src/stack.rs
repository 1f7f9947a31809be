//! The order of the layers, known here and nowhere else.
//!
//! From the outside in, and why:
//! 1. [`Metered`]: what a caller feels, refusals and waiting included.
//! 2. [`Limited`]: its deadline covers the waiting for a group commit; its number of calls is far
//!    above the writers that a group needs, and below what would bury the engine.
//! 3. [`Readonly`]: what is refused needs no turn of the engine's.
//! 4. [`Prefixed`]: what is behind it sees whole keys, as the engine's own tools do.
//! 5. [`Cached`]: what is near needs nothing of all that is below.
//! 6. [`Behind`]: a write is acknowledged before the far engine hears of it, so whatever waits for
//!    that engine is below.
//! 7. [`Retrying`]: the deadline covers all attempts, and a call that waits for its next one still
//!    counts as under way, so that a store in trouble is not buried.
//! 8. [`Journaled`]: next to the engine, because it is half of it: nothing may see the engine's
//!    rows but through it.
//!
//! Only what is asked for is there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdall_core::{Backend, Env, Result};

use crate::{
    Behind, BehindSettings, CacheSettings, Cached, JournalSettings, Journaled, Limited, Limits,
    Metered, Metrics, Prefixed, Readonly, Retries, Retrying,
};

/// Builds a stack of layers round a backend.
#[derive(Debug)]
pub struct Stack {
    engine: Arc<dyn Backend>,
    journal: Option<(PathBuf, JournalSettings)>,
    retries: Option<Retries>,
    behind: Option<(Arc<dyn Backend>, BehindSettings)>,
    cache: Option<(Option<Arc<dyn Backend>>, CacheSettings)>,
    prefix: Option<String>,
    readonly: bool,
    limits: Option<Limits>,
    metered: bool,
}

/// A backend with its layers, and handles on those that have more to offer than a backend.
#[derive(Clone, Debug)]
pub struct Stacked {
    /// The outermost layer: what callers use.
    pub backend: Arc<dyn Backend>,
    /// The journal, if there is one: for an orderly end.
    pub journal: Option<Arc<Journaled>>,
    /// The queue of late writes, if there is one: for its backlog and an orderly end.
    pub behind: Option<Arc<Behind>>,
    /// The cache, if there is one: for its counts and an orderly end.
    pub cache: Option<Arc<Cached>>,
    /// The counts, if they are taken.
    pub metrics: Option<Metrics>,
}

impl Stack {
    /// Begins with the engine alone.
    pub fn new(engine: Arc<dyn Backend>) -> Self {
        Self {
            engine,
            journal: None,
            retries: None,
            behind: None,
            cache: None,
            prefix: None,
            readonly: false,
            limits: None,
            metered: false,
        }
    }

    /// Puts a journal in this folder in front of the engine.
    #[must_use]
    pub fn with_journal(mut self, folder: &Path, settings: JournalSettings) -> Self {
        self.journal = Some((folder.to_owned(), settings));
        self
    }

    /// Makes calls again where that is safe.
    #[must_use]
    pub fn with_retries(mut self, retries: Retries) -> Self {
        self.retries = Some(retries);
        self
    }

    /// Acknowledges writes when they are in `front`, and brings them to the engine afterwards.
    #[must_use]
    pub fn with_writes_behind(mut self, front: Arc<dyn Backend>, settings: BehindSettings) -> Self {
        self.behind = Some((front, settings));
        self
    }

    /// Keeps copies of values in memory, and on a disk if the settings name one.
    #[must_use]
    pub fn with_cache(mut self, settings: CacheSettings) -> Self {
        self.cache = Some((None, settings));
        self
    }

    /// Keeps copies of values in memory and in `front`.
    #[must_use]
    pub fn with_cache_in(mut self, front: Arc<dyn Backend>, settings: CacheSettings) -> Self {
        self.cache = Some((Some(front), settings));
        self
    }

    /// Shows only the keys under a prefix, without it.
    #[must_use]
    pub fn with_prefix(mut self, prefix: &str) -> Self {
        self.prefix = Some(prefix.to_owned());
        self
    }

    /// Refuses writes.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.readonly = true;
        self
    }

    /// Limits calls in number and time.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Counts calls, errors, bytes and times.
    #[must_use]
    pub fn with_metrics(mut self) -> Self {
        self.metered = true;
        self
    }

    /// Opens the layers, from the engine outwards.
    ///
    /// # Errors
    /// Those of [`Journaled::open`], [`Retrying::new`], [`Behind::open`], [`Cached::open`],
    /// [`Prefixed::new`] and [`Limited::new`].
    pub async fn open(self, env: &Env) -> Result<Stacked> {
        let mut backend = self.engine;
        let mut journal = None;
        if let Some((folder, settings)) = self.journal {
            let opened = Journaled::open(backend, &folder, settings, env).await?;
            backend = Arc::<Journaled>::clone(&opened);
            journal = Some(opened);
        }
        if let Some(retries) = self.retries {
            backend = Arc::new(Retrying::new(backend, retries, env)?);
        }
        let mut behind = None;
        if let Some((front, settings)) = self.behind {
            let opened = Behind::open(front, backend, settings, env).await?;
            backend = Arc::<Behind>::clone(&opened);
            behind = Some(opened);
        }
        let mut cache = None;
        if let Some((front, settings)) = self.cache {
            let opened = Cached::open(backend, front, settings, env).await?;
            backend = Arc::<Cached>::clone(&opened);
            cache = Some(opened);
        }
        if let Some(prefix) = self.prefix {
            backend = Arc::new(Prefixed::new(backend, &prefix)?);
        }
        if self.readonly {
            backend = Arc::new(Readonly::new(backend));
        }
        if let Some(limits) = self.limits {
            backend = Arc::new(Limited::new(backend, limits, env)?);
        }
        let mut metrics = None;
        if self.metered {
            let metered = Metered::new(backend, env);
            metrics = Some(metered.metrics());
            backend = Arc::new(metered);
        }
        Ok(Stacked { backend, journal, behind, cache, metrics })
    }
}

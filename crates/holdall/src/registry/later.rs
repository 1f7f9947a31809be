//! A backend that cannot be opened now: it answers `Unavailable`, and is opened as soon as it can
//! be. So a place that is down keeps no volume from opening.

use std::sync::Arc;
use std::time::Duration;

use futures::lock::Mutex;
use holdall_core::{
    Backend, Batch, ByteRange, Bytes, Conditions, Durability, Env, Error, Expect, Find, Health,
    KEY_BYTES_MAX, Key, List, Object, Operation, Page, Profile, Reach, Result, Revision,
    async_trait,
};
use holdall_layers::Limits;

use super::open_configured;
use crate::config::BackendConfig;

/// For how long a backend that could not be opened is left alone.
const PAUSE: Duration = Duration::from_secs(10);

/// The most bytes of a value. What the backend really takes, it says once it is open.
const VALUE_BYTES_MAX: u64 = 4 << 30;

/// A backend that is opened later.
#[derive(Debug)]
pub(crate) struct Later {
    config: BackendConfig,
    holder: String,
    limits: Limits,
    env: Env,
    profile: Profile,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Open(Arc<dyn Backend>),
    /// Why it could not be opened, and when that was.
    Failed(Error, Duration),
}

impl Later {
    /// Takes over a backend whose opening has just failed.
    pub(crate) fn new(
        config: &BackendConfig,
        holder: &str,
        limits: Limits,
        env: &Env,
        why: Error,
    ) -> Self {
        let profile = Profile {
            engine: "absent",
            key_bytes_max: KEY_BYTES_MAX,
            value_bytes_max: VALUE_BYTES_MAX,
            batch_ops_max: 0,
            batch_bytes_max: 0,
            atomic: false,
            metadata: false,
            conditions: Conditions::Absent,
            reach: Reach::Process,
            durability: Durability::Machine,
        };
        let (config, holder, env) = (config.clone(), holder.to_owned(), env.clone());
        let state = Mutex::new(State::Failed(why, env.elapsed()));
        Self { config, holder, limits, env, profile, state }
    }

    /// The backend, which is opened if it is time to try.
    async fn opened(&self, operation: Operation) -> Result<Arc<dyn Backend>> {
        let mut state = self.state.lock().await;
        let now = self.env.elapsed();
        let due = match &*state {
            State::Open(backend) => return Ok(Arc::clone(backend)),
            State::Failed(_, at) => now.saturating_sub(*at) >= PAUSE,
        };
        if due {
            let opening = open_configured(&self.config, &[], &self.holder, self.limits, &self.env);
            match opening.await {
                Ok(opened) => {
                    let backend = opened.stacked.backend;
                    *state = State::Open(Arc::clone(&backend));
                    return Ok(backend);
                }
                Err(error) => *state = State::Failed(error, self.env.elapsed()),
            }
        }
        let why = match &*state {
            State::Failed(error, _) => error.clone(),
            State::Open(backend) => return Ok(Arc::clone(backend)),
        };
        let message = format!("it cannot be opened now: {}", why.message());
        let error = Error::unavailable(operation, message).with_source(why);
        Err(error.with_location(&self.config.location))
    }
}

#[async_trait]
impl Backend for Later {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        self.opened(Operation::Get).await?.get(key, range).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        self.opened(Operation::Get).await?.get_many(keys).await
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        let backend = self.opened(Operation::Put).await?;
        // What it can check was not known when this was promised for it.
        let unchecked = backend.profile().conditions == Conditions::None;
        let expect = if unchecked && expect == Expect::Absent { Expect::Any } else { expect };
        backend.put(key, value, expect).await
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        self.opened(Operation::Delete).await?.delete(key, expect).await
    }

    async fn list(&self, list: &List) -> Result<Page> {
        self.opened(Operation::List).await?.list(list).await
    }

    async fn find(&self, find: &Find) -> Result<Page> {
        self.opened(Operation::Find).await?.find(find).await
    }

    async fn apply(&self, batch: Batch) -> Result<Revision> {
        self.opened(Operation::Apply).await?.apply(batch).await
    }

    async fn health(&self) -> Result<Health> {
        self.opened(Operation::Health).await?.health().await
    }
}

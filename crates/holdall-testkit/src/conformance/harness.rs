//! What a clause's check works with: an opened backend, a prefix of its own, and plain assertions.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use holdall_core::{
    Backend, BackendExt, Conditions, Env, Error, ErrorKind, Expect, Key, Object, Profile, Result,
    Revision,
};

/// Opens the backend under test. Implemented by a backend's `tests/conformance.rs`.
///
/// The first call gives a fresh backend. A later call, made after everything from the earlier one
/// was dropped, opens the same data again, unless the profile's durability is `Process`. What must
/// outlive the backend (a temporary folder, a server's handle) belongs into the fixture.
#[async_trait]
pub trait Fixture: Send + Sync + 'static {
    /// Opens, or reopens, the backend.
    async fn open(&self) -> Result<Arc<dyn Backend>>;
}

/// A fixture for backends that need nothing but to be made.
#[async_trait]
impl<F, B> Fixture for F
where
    F: Fn() -> B + Send + Sync + 'static,
    B: Backend,
{
    async fn open(&self) -> Result<Arc<dyn Backend>> {
        Ok(Arc::new(self()))
    }
}

/// How a clause was found, when it was not broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The clause holds.
    Kept,
    /// The profile says that the backend lacks this, and the backend refused it as it must.
    Refused(String),
    /// The clause could not be put to the test here, for this reason.
    Untested(String),
}

/// How a clause was broken: a sentence for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(String);

impl Failure {
    /// A failure, in a sentence.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(format!("an unexpected error: {error:?}"))
    }
}

/// What a check returns.
pub type Check<T = Verdict> = std::result::Result<T, Failure>;

/// Fails the check with a message unless the condition holds.
macro_rules! ensure {
    ($holds:expr, $($message:tt)+) => {
        if !$holds {
            return Err($crate::conformance::Failure::new(format!($($message)+)));
        }
    };
}
pub(super) use ensure;

/// What a check works with.
pub struct Harness {
    backend: Mutex<Option<Arc<dyn Backend>>>,
    fixture: Option<Arc<dyn Fixture>>,
    profile: Profile,
    env: Env,
    prefix: String,
    made: Mutex<BTreeSet<Key>>,
}

impl fmt::Debug for Harness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harness").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Harness {
    /// A harness on an open backend, which must hold nothing under `prefix`.
    pub fn new(backend: Arc<dyn Backend>, prefix: impl Into<String>, env: Env) -> Self {
        Self {
            profile: backend.profile().clone(),
            backend: Mutex::new(Some(backend)),
            fixture: None,
            env,
            prefix: prefix.into(),
            made: Mutex::default(),
        }
    }

    /// A harness that can open its backend again.
    ///
    /// # Errors
    /// What opening returns.
    pub async fn open(fixture: impl Fixture, env: Env) -> Result<Self> {
        let backend = fixture.open().await?;
        Ok(Self { fixture: Some(Arc::new(fixture)), ..Self::new(backend, "", env) })
    }

    /// The backend under test.
    pub fn backend(&self) -> Arc<dyn Backend> {
        let backend = self.backend.lock().unwrap_or_else(PoisonError::into_inner);
        backend.clone().expect("a harness is without a backend only while it reopens")
    }

    /// The profile it had when it was opened.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Where time and tasks come from.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// What every key of this check begins with; possibly empty.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Closes the backend and opens it again; false where nothing can do that.
    /// The caller must hold no clone of it.
    pub(super) async fn reopen(&self) -> Check<bool> {
        let Some(fixture) = &self.fixture else {
            return Ok(false);
        };
        let old = self.backend.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(old);
        let new = fixture.open().await?;
        *self.backend.lock().unwrap_or_else(PoisonError::into_inner) = Some(new);
        Ok(true)
    }

    /// The key of this name under the harness's prefix.
    pub(super) fn key(&self, name: impl AsRef<str>) -> Check<Key> {
        let key = Key::parse(format!("{}{}", self.prefix, name.as_ref()))?;
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        Ok(key)
    }

    /// Writes, expecting nothing.
    pub(super) async fn put(&self, key: &Key, value: impl Into<Bytes>) -> Check<Revision> {
        Ok(self.backend().put(key, value.into(), Expect::Any).await?)
    }

    /// Reads whole.
    pub(super) async fn get(&self, key: &Key) -> Check<Option<Object>> {
        Ok(self.backend().get_all(key).await?)
    }

    /// The value under the key, which must be there.
    pub(super) async fn must_get(&self, key: &Key) -> Check<Object> {
        let found = self.get(key).await?;
        found.ok_or_else(|| Failure::new(format!("{key:?} is missing, though it was written")))
    }

    /// Fails unless exactly these bytes are under the key.
    pub(super) async fn must_hold(&self, key: &Key, value: impl AsRef<[u8]>) -> Check<Object> {
        let (found, value) = (self.must_get(key).await?, value.as_ref());
        ensure!(
            found.value == value,
            "{key:?} holds {}, not {}",
            shown(&found.value),
            shown(value)
        );
        ensure!(
            found.size == value.len() as u64,
            "{key:?} says size {}, not {}",
            found.size,
            value.len()
        );
        Ok(found)
    }

    /// Fails unless nothing is under the key.
    pub(super) async fn must_miss(&self, key: &Key) -> Check<()> {
        match self.get(key).await? {
            None => Ok(()),
            Some(found) => Err(Failure::new(format!(
                "{key:?} must be missing but holds {}",
                shown(&found.value)
            ))),
        }
    }

    /// The names under the harness's prefix and `prefix`, by listing, without the harness's prefix.
    pub(super) async fn names(&self, prefix: &str) -> Check<Vec<String>> {
        let rows = self.backend().list_all(&format!("{}{prefix}", self.prefix), false).await?;
        let mut names = Vec::new();
        for row in rows {
            let name = row.key.as_str().strip_prefix(&self.prefix);
            let name = name.ok_or_else(|| {
                Failure::new(format!("the listing returned {:?}, outside its prefix", row.key))
            })?;
            names.push(name.to_owned());
        }
        Ok(names)
    }

    /// Whether the profile says that this expectation can be checked.
    pub(super) fn can(&self, expect: &Expect) -> bool {
        match expect {
            Expect::Any => true,
            Expect::Absent => self.profile.conditions >= Conditions::Absent,
            Expect::Revision(_) => self.profile.conditions >= Conditions::Revision,
        }
    }

    /// The largest value up to `wanted` bytes that the profile allows.
    pub(super) fn size(&self, wanted: usize) -> usize {
        usize::try_from(self.profile.value_bytes_max).map_or(wanted, |max| max.min(wanted))
    }

    /// Removes what the check wrote, and nothing else, whatever a broken listing says.
    ///
    /// # Errors
    /// The first error; the rest was still tried.
    pub async fn clean(&self) -> Result<()> {
        let backend = self.backend();
        let mut keys = self.made.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut first = Ok(());
        match backend.list_all(&self.prefix, false).await {
            Ok(rows) if !self.prefix.is_empty() => {
                let ours = rows.into_iter().map(|row| row.key);
                keys.extend(ours.filter(|key| key.as_str().starts_with(&self.prefix)));
            }
            Ok(_) => {}
            Err(error) => first = Err(error),
        }
        for key in keys {
            match backend.delete(&key, Expect::Any).await {
                // A key that the backend cannot hold was never written.
                Err(error) if error.kind() != ErrorKind::Invalid => first = first.and(Err(error)),
                _ => {}
            }
        }
        first
    }
}

/// Fails unless the call was refused with this kind.
pub(super) fn must_fail<T>(result: Result<T>, kind: ErrorKind, call: &str) -> Check<Error> {
    match result {
        Err(error) if error.kind() == kind => Ok(error),
        Err(error) => Err(Failure::new(format!("{call} must be {kind}, but was {error:?}"))),
        Ok(_) => Err(Failure::new(format!("{call} must be {kind}, but succeeded"))),
    }
}

/// Runs the tasks side by side and returns their answers in order.
pub(super) async fn together<T: Send + 'static>(
    env: &Env,
    tasks: Vec<BoxFuture<'static, T>>,
) -> Check<Vec<T>> {
    let mut receivers = Vec::new();
    for task in tasks {
        let (sender, receiver) = oneshot::channel();
        env.spawn(async move {
            // The receiver is gone only if the check has already failed.
            let _ = sender.send(task.await);
        });
        receivers.push(receiver);
    }
    let mut answers = Vec::new();
    for receiver in receivers {
        let lost = |_| Failure::new("a racing task panicked, or its environment ended");
        answers.push(receiver.await.map_err(lost)?);
    }
    Ok(answers)
}

/// Bytes as a person can read them in a message.
pub(super) fn shown(bytes: &[u8]) -> String {
    match bytes.len() {
        0..=48 => format!("{:?}", Bytes::copy_from_slice(bytes)),
        len => format!("{len} bytes beginning {:?}", Bytes::copy_from_slice(&bytes[..24])),
    }
}

/// Bytes of this length in which every position differs from its neighbours.
pub(super) fn pattern(len: usize, seed: u64) -> Bytes {
    let mix = |at: usize| (at as u64 ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0];
    (0..len).map(mix).collect()
}

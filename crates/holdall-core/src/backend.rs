//! The trait that every backend and every layer implements.

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    Batch, ByteRange, Expect, Find, Health, Key, List, Object, Page, Profile, Result, Revision,
};

/// Something that stores bytes under keys.
///
/// The numbered clauses of `docs/contract.md` say what each method promises; the suite in
/// `holdall-testkit` holds every implementation to them. There are no default methods: a layer
/// that forgets to forward one does not compile. Comfort for callers is in
/// [`BackendExt`](crate::BackendExt).
///
/// Dropping a future of a write leaves the write's outcome unknown: it has happened wholly or not
/// at all. Dropping a future of a read has no effect.
#[async_trait]
pub trait Backend: Send + Sync + std::fmt::Debug + 'static {
    /// The facts this opened backend states about itself. They do not change while it is open.
    fn profile(&self) -> &Profile;

    /// Reads one value, or a range of its bytes. A missing key is `None`, not an error.
    ///
    /// A range is clipped to the value; one that starts at or past the end gives no bytes.
    ///
    /// # Errors
    /// `Invalid` if the range ends before it starts; `Corrupt` if the stored bytes are damaged and
    /// the engine noticed.
    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>>;

    /// Reads many whole values. The answer has one place for each key, in the order asked.
    ///
    /// On a backend whose profile says [`atomic`](Profile::atomic) the answer is of one moment.
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>>;

    /// Writes one value whole, if what is there now is as `expect` says.
    ///
    /// Once this returns the value is as durable as the profile says, and every later read sees it.
    ///
    /// # Errors
    /// `Conflict` if the expectation does not hold; `Unsupported` if this backend cannot check it;
    /// `Invalid` if the value or key is over a limit; `Full` if there is no room. In all of these
    /// nothing was written. `Unknown` if the write may have happened.
    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision>;

    /// Removes one value, if what is there now is as `expect` says. Removing a missing key with
    /// [`Expect::Any`] or [`Expect::Absent`] succeeds.
    async fn delete(&self, key: &Key, expect: Expect) -> Result<()>;

    /// One page of keys in ascending byte order.
    ///
    /// A page may hold fewer rows than asked, but never none while `more` is true.
    async fn list(&self, list: &List) -> Result<Page>;

    /// One page of the rows whose description is as the filter says, in ascending byte order of
    /// their keys. Rows without a description are not found.
    ///
    /// A page may hold fewer rows than asked, but never none while `more` is true.
    ///
    /// # Errors
    /// `Unsupported` unless the profile says [`metadata`](Profile::metadata).
    async fn find(&self, find: &Find) -> Result<Page>;

    /// Applies every operation of the batch, or none of them. All rows that the batch puts get
    /// the revision that is returned.
    ///
    /// # Errors
    /// `Unsupported` unless the profile says [`atomic`](Profile::atomic). `Invalid` if a key
    /// appears twice or a limit is exceeded. `Conflict` names the first key whose expectation
    /// does not hold.
    async fn apply(&self, batch: Batch) -> Result<Revision>;

    /// Asks the engine itself whether it can serve, and how much room is left.
    async fn health(&self) -> Result<Health>;
}

//! The contenders, one file each, all driven through [`Store`] where they keep small values.

pub mod folders;
pub mod group;
pub mod lmdb;
pub mod log;
pub mod ours;
pub mod postgres;
pub mod redb;
pub mod sqlite;

use async_trait::async_trait;
use bytes::Bytes;

use crate::Result;
use crate::sample;

/// Something that keeps bytes under names.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Who it is, as the tables show it.
    fn name(&self) -> &'static str;

    /// What it does before it says that something is written.
    fn durability(&self) -> &'static str;

    /// Writes, and returns when it is durable as said.
    async fn put(&self, name: &str, bytes: Bytes) -> Result<()>;

    /// Reads into memory of the caller's own.
    async fn get(&self, name: &str) -> Result<Option<Bytes>>;

    /// Removes what is under a name.
    async fn remove(&self, name: &str) -> Result<()>;

    /// Waits until nothing goes on in the background, so that the next contender is alone.
    async fn settle(&self) -> Result<()>;
}

/// Sees that what was written is there: of the first `count` numbers, about a thousand.
///
/// # Errors
/// If one is missing or has other bytes.
pub async fn check(store: &dyn Store, values: &sample::Values, count: u64) -> Result<()> {
    let step = (count / 1000).max(1);
    for number in (0..count).step_by(step as usize) {
        let read = store.get(&sample::key(number)).await?;
        if read.as_ref() != Some(&values.get(number)) {
            let what = if read.is_some() { "has other bytes" } else { "is missing" };
            return Err(format!("{}: entry {number} of {count} {what}", store.name()).into());
        }
    }
    Ok(())
}

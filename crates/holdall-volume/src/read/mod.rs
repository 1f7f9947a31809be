//! Reading a volume: one entry, many, the past, and what has changed.
//!
//! ```text
//! view       the present, or the state that one commit left
//!   ├ get    one lookup; then Reading gives bytes, checked against their digest
//!   ├ list   scan → entries and common prefixes, in pages
//!   └ find   index, or scan and filter, in pages of bounded work
//! as_of      pin: which commit a view shows, and whether history still has all of it
//! versions, changes   the past of one name; of all, commit by commit
//! ```
//!
//! Nothing here writes, and nothing holds more than a few pages of rows.

mod feed;
mod find;
mod glob;
mod history;
mod level;
mod list;
mod merge;
mod moment;
mod pin;
mod reading;
mod scan;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeSet;
use std::sync::Arc;

use holdall_core::{Backend, BackendExt, Env, Error, Operation, Result};

pub use feed::ChangePage;
pub use find::Query;
pub use history::{VersionInfo, VersionPage};
pub use level::ReadLevel;
pub(crate) use level::Recent;
pub use list::{EntryPage, ListOptions};
pub use pin::At;
pub use reading::Reading;
pub use view::View;

use crate::commit::Committer;
use crate::data::Reader;
use crate::format::entry::{Entry, Name, Version};
use crate::format::head::Head;
use crate::format::keys::{CatalogKeys, DataKeys, VolumeId};
use crate::format::row;
use crate::volume::{Resources, Volume};

/// What reading needs of an open volume.
#[derive(Debug)]
pub(crate) struct ReadContext {
    env: Env,
    catalog: Arc<dyn Backend>,
    keys: CatalogKeys,
    data: Arc<dyn Backend>,
    data_keys: DataKeys,
    reader: Reader,
    /// The attributes that have an index: fixed when the volume is created.
    indexed: BTreeSet<String>,
}

impl ReadContext {
    pub(crate) fn new(
        resources: &Resources,
        data: Arc<dyn Backend>,
        id: VolumeId,
        reader: Reader,
        committer: &Committer,
    ) -> Self {
        Self {
            env: resources.env.clone(),
            catalog: Arc::clone(&resources.catalog),
            keys: CatalogKeys::new(id),
            data,
            data_keys: DataKeys::new(id),
            reader,
            indexed: committer.volume().policy.indexed.clone(),
        }
    }

    /// Reads the bytes under nodes.
    pub(crate) fn reader(&self) -> &Reader {
        &self.reader
    }

    async fn head(&self) -> Result<Head> {
        let key = self.keys.head();
        let Some(found) = self.catalog.get_all(&key).await? else {
            let message = "the volume's catalog has no head; run `holdall rebuild`";
            return Err(Error::corrupt(Operation::Get, message).with_key(&key));
        };
        row::decode(&key, &found.value)
    }
}

impl Volume {
    /// The present, which moves on with every commit.
    pub fn view(&self) -> View {
        View::present(Arc::clone(&self.shared.read))
    }

    /// A view of the volume as it was.
    ///
    /// A state can be seen if it is the newest, if it was replaced less than the policy's history
    /// ago, or if a snapshot pins its commit. A history that was made longer reaches back as far
    /// as it says only when that time has passed: what was forgotten before stays forgotten.
    ///
    /// # Errors
    /// `Invalid` if the state can no longer be seen, saying since when states can, or if there is
    /// no such snapshot; those of the backends.
    pub async fn as_of(&self, at: At) -> Result<View> {
        View::as_of(Arc::clone(&self.shared.read), at).await
    }

    /// Looks up an entry to read its bytes; nothing if there is none, or it has ended.
    ///
    /// # Errors
    /// As [`View::get`].
    pub async fn get(&self, name: &Name) -> Result<Option<Reading>> {
        self.view().get(name).await
    }

    /// What is known of an entry; nothing if there is none, or it has ended.
    ///
    /// # Errors
    /// As [`View::get`].
    pub async fn stat(&self, name: &Name) -> Result<Option<Entry>> {
        self.view().stat(name).await
    }

    /// One page of entries in the order of their names.
    ///
    /// # Errors
    /// As [`View::list`].
    pub async fn list(&self, options: ListOptions) -> Result<EntryPage> {
        self.view().list(options).await
    }

    /// One page of the entries that are as the query says.
    ///
    /// # Errors
    /// As [`View::find`].
    pub async fn find(&self, query: Query) -> Result<EntryPage> {
        self.view().find(query).await
    }

    /// One page of the versions of a name that are kept, newest first: those older than `after`,
    /// or all, and at most `limit` of them. Pass [`VersionPage::next`] as `after` to go on.
    ///
    /// The entries come without inline bytes: read them with [`get_version`](Self::get_version).
    /// Where one version's `superseded` is not the version of the next newer one, the name was
    /// deleted, or versions between the two are no longer kept. A page may hold fewer than `limit`
    /// although there are more, if some are forgotten while it is read.
    ///
    /// # Errors
    /// `Invalid` if the limit is 0; those of the catalog; `Corrupt` if a row is damaged.
    pub async fn versions(
        &self,
        name: &Name,
        after: Option<Version>,
        limit: usize,
    ) -> Result<VersionPage> {
        history::versions(&self.shared.read, name, after, limit).await
    }

    /// Looks up one version of an entry to read its bytes, current or superseded, ended or not.
    ///
    /// # Errors
    /// Those of the catalog; `Corrupt` if its row is damaged.
    pub async fn get_version(&self, name: &Name, version: Version) -> Result<Option<Reading>> {
        history::get_version(&self.shared.read, name, version).await
    }

    /// The commits behind `after`, in order and without a gap: at most `limit` of them, without
    /// inline bytes. Pass [`ChangePage::next`] as `after` to go on, now or days later.
    ///
    /// What the catalog no longer has is read from the log on the data backend.
    ///
    /// # Errors
    /// `Invalid` if the limit is 0, `after` lies behind the newest commit, or the next commit is
    /// kept nowhere; those of the backends.
    pub async fn changes(&self, after: Version, limit: usize) -> Result<ChangePage> {
        feed::changes(&self.shared.read, after, limit).await
    }
}

//! Putting, copying and deleting single entries and many.

use bytes::Bytes;
use futures::future::join_all;
use holdall_core::{Error, Operation, Result};

use super::{Again, PutOptions};
use crate::commit::{Committed, Condition, Draft, Request, Write};
use crate::data::{Stored, source_of};
use crate::format::chunk::Content;
use crate::format::entry::Name;
use crate::read::ListOptions;
use crate::volume::Volume;

/// Up to this size values of a bulk write stay in the catalog; a chunk's row would be larger.
const BULK_INLINE_BYTES_MAX: usize = 256;

/// How many entries are deleted at once.
const DELETE_PAGE: usize = 1000;

/// One value of [`Volume::put_many`].
#[derive(Clone, Debug)]
pub struct PutItem {
    /// The name.
    pub name: Name,
    /// The value.
    pub bytes: Bytes,
    /// What else there is to say.
    pub options: PutOptions,
}

impl Volume {
    /// Writes an entry. Once this returns it is durable, and every later read sees it.
    ///
    /// Small values go into the catalog itself; larger ones are cut, deduplicated and compressed.
    ///
    /// # Errors
    /// `Conflict` if the condition does not hold; `Full` over the quota or without room;
    /// `Invalid` for too many attributes. In all of these nothing was written. `Unknown` if the
    /// write may have happened.
    pub async fn put(
        &self,
        name: &Name,
        bytes: impl Into<Bytes>,
        options: PutOptions,
    ) -> Result<Committed> {
        options.check()?;
        let bytes = bytes.into();
        let policy = self.shared.committer.volume();
        if bytes.len() <= policy.policy.inline_bytes_max as usize {
            let request = put_request(name, options.condition, options.inline(bytes), None);
            return self.shared.commit(request).await;
        }
        self.check_quota(bytes.len() as u64)?;
        let compression = policy.policy.compression;
        let writer = self.shared.writer().await?;
        let mut again = Again::default();
        loop {
            let hint = Some(options.hint(name));
            let stored = writer.packer.store(source_of(bytes.clone()), compression, hint).await?;
            let draft = options.stored(&stored);
            let request = put_request(name, options.condition, draft, Some(stored));
            match self.shared.commit(request).await {
                Err(error) if again.helps(&error) => {}
                other => return other,
            }
        }
    }

    /// Writes many entries, packed together: the way to bring in thousands of small values.
    ///
    /// Each succeeds or fails by itself; the results are in the order of the items.
    ///
    /// # Errors
    /// If storing fails for all.
    pub async fn put_many(&self, items: Vec<PutItem>) -> Result<Vec<Result<Committed>>> {
        items.iter().try_for_each(|item| item.options.check())?;
        let policy = self.shared.committer.volume();
        let writer = self.shared.writer().await?;
        let inline_max = BULK_INLINE_BYTES_MAX.min(policy.policy.inline_bytes_max as usize);
        let is_stored = |item: &PutItem| item.bytes.len() > inline_max;
        let values: Vec<_> = items
            .iter()
            .filter(|item| is_stored(item))
            .map(|item| (Some(item.options.hint(&item.name)), item.bytes.clone()))
            .collect();
        let stored = if values.is_empty() {
            Vec::new()
        } else {
            writer.packer.store_many(values, policy.policy.compression).await?
        };
        let mut stored = stored.into_iter();
        let commits = items.iter().map(|item| {
            let PutItem { name, bytes, options } = item;
            let request = if is_stored(item) {
                let stored = stored.next().unwrap_or_else(Stored::empty);
                let draft = options.stored(&stored);
                put_request(name, options.condition, draft, Some(stored))
            } else {
                put_request(name, options.condition, options.inline(bytes.clone()), None)
            };
            async move {
                let result = self.shared.commit(request).await;
                let mut again = Again::default();
                match result {
                    Err(error) if is_stored(item) && again.helps(&error) => {
                        self.put(name, bytes.clone(), options.clone()).await
                    }
                    other => other,
                }
            }
        });
        Ok(join_all(commits).await)
    }

    /// Deletes an entry and says whether there was one. Deleting a missing one succeeds.
    ///
    /// # Errors
    /// `Conflict` if the condition does not hold; those of the catalog.
    pub async fn delete(&self, name: &Name, condition: Condition) -> Result<bool> {
        let write = Write::Delete { name: name.clone(), condition };
        let committed = self.shared.commit(Request::one(write)).await?;
        Ok(committed.before.first().is_some_and(Option::is_some))
    }

    /// Deletes these entries and says how many there were. After an error some may be deleted.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn delete_many(&self, names: Vec<Name>) -> Result<u64> {
        let mut deleted = 0;
        for names in names.chunks(DELETE_PAGE) {
            let deletes = names.iter().map(|name| self.delete(name, Condition::Always));
            for result in join_all(deletes).await {
                deleted += u64::from(result?);
            }
        }
        Ok(deleted)
    }

    /// Deletes every entry whose name begins so, page by page, and says how many there were.
    ///
    /// # Errors
    /// Those of the catalog. After an error some are deleted; the same call goes on.
    pub async fn delete_prefix(&self, prefix: &str) -> Result<u64> {
        let mut options = ListOptions::prefix(prefix).limit(DELETE_PAGE);
        let mut deleted = 0;
        loop {
            let page = self.list(options.clone()).await?;
            let names = page.entries.into_iter().map(|(name, _)| name).collect();
            deleted += self.delete_many(names).await?;
            match page.next {
                Some(next) => options = options.after(next),
                None => return Ok(deleted),
            }
        }
    }

    /// Gives the bytes and attributes of one entry to another name. No bytes move.
    ///
    /// # Errors
    /// `Conflict` if there is no such entry, or the condition on the target does not hold.
    pub async fn copy(&self, from: &Name, to: &Name, condition: Condition) -> Result<Committed> {
        let (from, to) = distinct(from, to)?;
        self.shared.commit(Request::one(Write::Copy { from, to, condition })).await
    }

    /// Gives an entry another name, in one step. No bytes move.
    ///
    /// # Errors
    /// As [`copy`](Self::copy).
    pub async fn rename(&self, from: &Name, to: &Name, condition: Condition) -> Result<Committed> {
        let (from, to) = distinct(from, to)?;
        self.shared.commit(Request::one(Write::Rename { from, to, condition })).await
    }

    /// Refuses early what the quota would refuse at the end. The commit decides.
    pub(super) fn check_quota(&self, bytes: u64) -> Result<()> {
        let volume = self.shared.committer.volume();
        match volume.policy.quota_bytes {
            Some(quota) if bytes > quota => {
                let name = &volume.name;
                let message = format!(
                    "{bytes} bytes are more than volume `{name}` may hold, which is {quota}; \
                     raise its quota with `holdall volume resize`"
                );
                Err(Error::full(Operation::Put, message))
            }
            _ => Ok(()),
        }
    }
}

fn distinct(from: &Name, to: &Name) -> Result<(Name, Name)> {
    if from == to {
        let message = format!("source and target are the same name, {from:?}");
        return Err(Error::invalid(Operation::Commit, message));
    }
    Ok((from.clone(), to.clone()))
}

/// A request that writes one entry.
pub(super) fn put_request(
    name: &Name,
    condition: Condition,
    draft: Draft,
    stored: Option<Stored>,
) -> Request {
    let draft = match &draft.content {
        // No bytes need no tree.
        Content::Tree(nodes) if nodes.is_empty() => Draft { content: Content::Inline, ..draft },
        _ => draft,
    };
    let write = Write::Put { name: name.clone(), condition, draft: Box::new(draft) };
    let (chunks, segments) = stored.map(|s| (s.chunks, s.segments)).unwrap_or_default();
    Request { writes: vec![write], chunks, segments }
}

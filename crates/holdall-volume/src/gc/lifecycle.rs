//! Ending entries by the rules of the policy.
//!
//! Nothing is walked to find what has ended: whoever follows the change feed notes the end of each
//! entry that was written, in an index by time, and looks only at its front. Where rules have
//! changed, all entries are looked at once, page by page.
//!
//! The index says when to look at an entry again, and no more: whether it has ended is decided by
//! its row and the rules of that moment. So a row too many or too early does nothing, and all of
//! this may be repeated, and done by several at once. It lies beside the order of the commits; a
//! rebuild leaves none of it, and the next pass makes it anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;
use holdall_core::{
    Backend, BackendExt, Batch, Error, ErrorKind, Expect, Key, List, Operation, Result, Timestamp,
};
use serde::{Deserialize, Serialize};

use super::{numbered, value};
use crate::commit::Condition;
use crate::format::entry::{Entry, Name, Version};
use crate::format::head::Head;
use crate::format::keys::CatalogKeys;
use crate::format::log::Change;
use crate::format::policy::{LifecycleRule, end_by};
use crate::format::row;
use crate::volume::Volume;

/// How many entries or commits one step looks at.
const PAGE: usize = if cfg!(test) { 3 } else { 500 };

/// How far following the rules has come: kept from one pass to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleState {
    /// A digest of the rules that the index was made by.
    rules: String,
    /// The last commit of the feed that was followed.
    feed: Version,
    /// The name behind which looking at all entries goes on, while it does.
    sweep: Option<String>,
}

/// What a step has done, or steps together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleReport {
    /// Entries that were ended.
    pub ended: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Entries whose end was noted.
    pub noted: u64,
    /// Entries that were looked at because the rules have changed.
    pub swept: u64,
}

impl LifecycleReport {
    /// Adds what another step has done.
    pub fn add(&mut self, other: Self) {
        self.ended += other.ended;
        self.bytes += other.bytes;
        self.noted += other.noted;
        self.swept += other.swept;
    }
}

impl Volume {
    /// Does one step of following the lifecycle rules, small enough to be begun again. Returns
    /// what was done, how far it has come, and whether there is more to do now.
    ///
    /// # Errors
    /// Those of the catalog; `Closed` if the volume was closed.
    pub async fn lifecycle_step(
        &self,
        state: Option<LifecycleState>,
    ) -> Result<(LifecycleReport, LifecycleState, bool)> {
        let rules = self.read_policy().await?.lifecycle;
        let mut step = Step {
            volume: self,
            catalog: Arc::clone(&self.shared.resources.catalog),
            keys: CatalogKeys::new(self.shared.id),
            digest: digest(&rules),
            rules,
            report: LifecycleReport::default(),
        };
        let mut state = state.unwrap_or_default();
        let more = step.run(&mut state).await?;
        Ok((step.report, state, more))
    }
}

fn digest(rules: &[LifecycleRule]) -> String {
    let json = serde_json::to_vec(rules).expect("rules are plain data with text keys");
    blake3::hash(&json).to_hex().as_str()[..32].to_owned()
}

struct Step<'a> {
    volume: &'a Volume,
    catalog: Arc<dyn Backend>,
    keys: CatalogKeys,
    rules: Vec<LifecycleRule>,
    digest: String,
    report: LifecycleReport,
}

impl Step<'_> {
    /// Whether there is more to do now.
    async fn run(&mut self, state: &mut LifecycleState) -> Result<bool> {
        if state.rules != self.digest {
            self.begin(state).await?;
        }
        if let Some(after) = state.sweep.take() {
            state.sweep = self.sweep(after).await?;
            return Ok(true);
        }
        if self.follow(state).await? {
            return Ok(true);
        }
        self.end().await
    }

    /// Looks at all entries, and follows the feed from where it is now.
    async fn begin(&self, state: &mut LifecycleState) -> Result<()> {
        let key = self.keys.head();
        let Some(found) = self.catalog.get_all(&key).await? else {
            let message = "the volume's catalog has no head; run `holdall rebuild`";
            return Err(Error::corrupt(Operation::Maintain, message).with_key(&key));
        };
        let head: Head = row::decode(&key, &found.value)?;
        let sweep = (!self.rules.is_empty()).then(String::new);
        *state = LifecycleState { rules: self.digest.clone(), feed: head.sequence, sweep };
        Ok(())
    }

    /// Notes the ends of one page of entries; where to go on.
    async fn sweep(&mut self, after: String) -> Result<Option<String>> {
        let prefix = self.keys.entries("");
        let mut list = List::prefix(prefix.as_str()).with_values().limit(PAGE);
        if !after.is_empty() {
            list = list.after(format!("{prefix}{after}"));
        }
        let page = self.catalog.list(&list).await?;
        let mut ends = BTreeMap::new();
        let mut last = None;
        for listed in &page.rows {
            let Some(name) = self.keys.entry_name(&listed.key) else { continue };
            let entry = Entry::decode(&listed.key, value(listed)?)?;
            self.report.swept += 1;
            self.note(&mut ends, name, &entry);
            last = Some(name.to_owned());
        }
        self.write(ends).await?;
        Ok(last.filter(|_| page.more))
    }

    /// Notes the ends of what was written since; whether there may be more.
    async fn follow(&mut self, state: &mut LifecycleState) -> Result<bool> {
        if self.rules.is_empty() {
            return Ok(false);
        }
        let page = match self.volume.changes(state.feed, PAGE).await {
            Ok(page) => page,
            // What was written meanwhile is in no log any more, or the catalog is another one.
            Err(error) if error.kind() == ErrorKind::Invalid => {
                self.begin(state).await?;
                return Ok(true);
            }
            Err(error) => return Err(error),
        };
        let mut ends = BTreeMap::new();
        for change in page.commits.iter().flat_map(|commit| &commit.changes) {
            if let Change::Put { name, entry } = change {
                self.note(&mut ends, name.as_str(), entry);
            }
        }
        self.write(ends).await?;
        state.feed = page.next;
        Ok(page.more)
    }

    fn note(&self, ends: &mut BTreeMap<Key, Version>, name: &str, entry: &Entry) {
        let end = end_by(&self.rules, name, entry);
        // One that ends earlier by itself needs no second note.
        let end = end.filter(|end| entry.expires.is_none_or(|expires| *end < expires));
        if let (Some(end), Ok(name)) = (end, Name::parse(name)) {
            ends.insert(self.keys.end(end, &name), entry.version);
        }
    }

    async fn write(&mut self, ends: BTreeMap<Key, Version>) -> Result<()> {
        self.report.noted += ends.len() as u64;
        let mut batch = Batch::new();
        for (key, version) in ends {
            let value = row::encode(&key, &version);
            batch.put(key, value, Expect::Any);
            self.apply_if_full(&mut batch, 1).await?;
        }
        self.apply_if_full(&mut batch, 0).await
    }

    /// Applies a batch that has no room for more; with 0, one that is not empty.
    async fn apply_if_full(&self, batch: &mut Batch, room: usize) -> Result<()> {
        let profile = self.catalog.profile();
        let full = batch.len() + room > profile.batch_ops_max.min(1000)
            || batch.bytes() as u64 + 4096 > profile.batch_bytes_max;
        if batch.is_empty() || (room > 0 && !full) {
            return Ok(());
        }
        self.catalog.apply(std::mem::take(batch)).await.map(drop)
    }

    /// Ends the entries whose time has come; whether there may be more of them.
    async fn end(&mut self) -> Result<bool> {
        let class = self.keys.class('t');
        let list = List::prefix(class.as_str()).with_values().limit(PAGE);
        let page = self.catalog.list(&list).await?;
        let now = self.volume.now();
        let mut due: Vec<(Key, Name, Version)> = Vec::new();
        for listed in &page.rows {
            let (end, name) = numbered(&listed.key, &class)?;
            if Timestamp::from_micros(end) > now {
                break;
            }
            // A damaged row counts for nothing, and goes.
            let version = row::decode(&listed.key, value(listed)?).unwrap_or(0);
            due.push((listed.key.clone(), Name::parse(name)?, version));
        }
        let keys: Vec<Key> = due.iter().map(|(_, name, _)| self.keys.entry(name)).collect();
        let entries = self.catalog.get_many(&keys).await?;
        let (mut later, mut over) = (BTreeMap::new(), Vec::new());
        for ((_, name, version), (key, object)) in due.iter().zip(keys.iter().zip(entries)) {
            let entry = object.map(|o| Entry::decode(key, &o.value)).transpose()?;
            // What was written since has a row of its own.
            let Some(entry) = entry.filter(|entry| entry.version == *version) else { continue };
            match end_by(&self.rules, name.as_str(), &entry) {
                Some(end) if end <= now => over.push((name, entry)),
                Some(end) => drop(later.insert(self.keys.end(end, name), entry.version)),
                None => {}
            }
        }
        self.delete(over).await?;
        self.write(later).await?;
        let whole = due.len() == page.rows.len();
        let mut batch = Batch::new();
        for (key, ..) in due {
            batch.delete(key, Expect::Any);
            self.apply_if_full(&mut batch, 1).await?;
        }
        self.apply_if_full(&mut batch, 0).await?;
        Ok(whole && page.more)
    }

    async fn delete(&mut self, over: Vec<(&Name, Entry)>) -> Result<()> {
        let deletes = over
            .iter()
            .map(|(name, entry)| self.volume.delete(name, Condition::Version(entry.version)));
        for (deleted, (_, entry)) in join_all(deletes).await.into_iter().zip(&over) {
            match deleted {
                Ok(_) => {
                    self.report.ended += 1;
                    self.report.bytes += entry.size;
                }
                // Written anew meanwhile, or ended by another.
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

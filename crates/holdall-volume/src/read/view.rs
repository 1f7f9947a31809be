//! A view: the present, or the state that one commit left.

use std::sync::Arc;

use holdall_core::{ByteRange, Key, Result};

use super::pin::{At, Pin};
use super::{EntryPage, ListOptions, Query, ReadContext, Reading, find, history, list};
use crate::format::entry::{Entry, Name, Version};

/// The present of a volume, or its state as of one commit. Cheap to clone.
///
/// A view of the past never mixes commits. If what it shows is no longer kept while it is in use,
/// its reads fail with `Invalid`; they never leave something out.
#[derive(Clone, Debug)]
pub struct View {
    context: Arc<ReadContext>,
    pin: Option<Arc<Pin>>,
}

impl View {
    pub(super) fn present(context: Arc<ReadContext>) -> Self {
        Self { context, pin: None }
    }

    pub(super) async fn as_of(context: Arc<ReadContext>, at: At) -> Result<Self> {
        let pin = Pin::new(&context, at).await?.map(Arc::new);
        Ok(Self { context, pin })
    }

    /// The commit that it shows; nothing if it shows the present.
    pub fn at(&self) -> Option<Version> {
        self.pin.as_ref().map(|pin| pin.commit)
    }

    /// Looks up an entry to read its bytes; nothing if there is none, or it has ended.
    ///
    /// # Errors
    /// Those of the catalog; `Corrupt` if its row is damaged; `Invalid` if what the view shows is
    /// no longer kept.
    pub async fn get(&self, name: &Name) -> Result<Option<Reading>> {
        let found = self.look_up(name).await?;
        Ok(found.map(|(key, entry)| Reading::new(Arc::clone(&self.context), key, entry)))
    }

    /// What is known of an entry; nothing if there is none, or it has ended.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn stat(&self, name: &Name) -> Result<Option<Entry>> {
        Ok(self.look_up(name).await?.map(|(_, entry)| entry))
    }

    /// Reads an entry that a listing has returned, without looking it up again.
    pub fn open(&self, name: &Name, entry: Entry) -> Reading {
        Reading::new(Arc::clone(&self.context), self.context.keys.entry(name), entry)
    }

    /// One page of entries in the order of their names, inline bytes included.
    ///
    /// # Errors
    /// As [`get`](Self::get); `Invalid` too if the options cannot work.
    pub async fn list(&self, options: ListOptions) -> Result<EntryPage> {
        let page = list::list(&self.context, self.pin.as_deref(), &options).await?;
        self.check().await?;
        Ok(page)
    }

    /// One page of the entries that are as the query says, in the order of their names.
    ///
    /// A page does a bounded amount of work: it may hold few entries or none, and still have a
    /// [`next`](EntryPage::next).
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub async fn find(&self, query: Query) -> Result<EntryPage> {
        let page = find::find(&self.context, self.pin.as_deref(), &query).await?;
        self.check().await?;
        Ok(page)
    }

    async fn look_up(&self, name: &Name) -> Result<Option<(Key, Entry)>> {
        let context = &*self.context;
        let key = context.keys.entry(name);
        let row = context.catalog.get(&key, ByteRange::ALL).await?;
        let entry = row.map(|row| Entry::decode(&key, &row.value)).transpose()?;
        let Some(pin) = &self.pin else {
            // Only entries that end have to look at the clock.
            let lives =
                |entry: &Entry| entry.expires.is_none() || !entry.is_expired(context.env.now());
            return Ok(entry.filter(lives).map(|entry| (key, entry)));
        };
        // History is read after the present: an entry that is superseded between the two is
        // found in one of them.
        let found = match entry.filter(|entry| entry.version <= pin.commit) {
            Some(entry) => Some((key, entry)),
            None => history::held_at(context, name, pin.commit).await?,
        };
        pin.check(context).await?;
        Ok(found.filter(|(_, entry)| !entry.is_expired(pin.time)))
    }

    /// Asks, after reading, whether everything that was to be read was there.
    async fn check(&self) -> Result<()> {
        match &self.pin {
            Some(pin) => pin.check(&self.context).await,
            None => Ok(()),
        }
    }
}

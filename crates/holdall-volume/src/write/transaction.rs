//! Several writes that happen together or not at all.

use bytes::Bytes;
use holdall_core::Result;

use super::{Again, PutOptions};
use crate::commit::{Committed, Condition, Request, Write};
use crate::data::source_of;
use crate::format::entry::Name;
use crate::volume::Volume;

/// Several writes that happen together or not at all. Made by [`Volume::transaction`]; nothing
/// happens before [`commit`](Self::commit).
#[derive(Debug)]
#[must_use = "a transaction does nothing until it is committed"]
pub struct Transaction {
    volume: Volume,
    steps: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Put(Name, Bytes, PutOptions),
    Write(Write),
}

impl Volume {
    /// Begins to collect writes that shall happen together or not at all.
    pub fn transaction(&self) -> Transaction {
        Transaction { volume: self.clone(), steps: Vec::new() }
    }
}

impl Transaction {
    /// Writes an entry.
    pub fn put(mut self, name: &Name, bytes: impl Into<Bytes>, options: PutOptions) -> Self {
        self.steps.push(Step::Put(name.clone(), bytes.into(), options));
        self
    }

    /// Deletes an entry.
    pub fn delete(mut self, name: &Name, condition: Condition) -> Self {
        self.steps.push(Step::Write(Write::Delete { name: name.clone(), condition }));
        self
    }

    /// Lets all happen only if this entry is as the condition says.
    pub fn check(mut self, name: &Name, condition: Condition) -> Self {
        self.steps.push(Step::Write(Write::Check { name: name.clone(), condition }));
        self
    }

    /// Does it all, or nothing.
    ///
    /// # Errors
    /// `Conflict` if a condition does not hold; `Invalid` if an entry is named twice; else as
    /// [`Volume::put`].
    pub async fn commit(self) -> Result<Committed> {
        let mut again = Again::default();
        loop {
            let request = self.store().await?;
            let stored = !request.chunks.is_empty();
            match self.volume.shared.commit(request).await {
                Err(error) if stored && again.helps(&error) => {}
                other => return other,
            }
        }
    }

    /// Stores the bytes of all puts that are not small.
    async fn store(&self) -> Result<Request> {
        let shared = &self.volume.shared;
        let policy = shared.committer.volume();
        let mut request = Request::default();
        for step in &self.steps {
            let (name, bytes, options) = match step {
                Step::Write(write) => {
                    request.writes.push(write.clone());
                    continue;
                }
                Step::Put(name, bytes, options) => (name, bytes.clone(), options),
            };
            options.check()?;
            let draft = if bytes.len() <= policy.policy.inline_bytes_max as usize {
                options.inline(bytes)
            } else {
                let packer = &shared.writer().await?.packer;
                let hint = Some(options.hint(name));
                let compression = policy.policy.compression;
                let stored = packer.store(source_of(bytes), compression, hint).await?;
                let draft = options.stored(&stored);
                request.chunks.extend(stored.chunks);
                request.segments.extend(stored.segments);
                draft
            };
            let (name, condition) = (name.clone(), options.condition);
            request.writes.push(Write::Put { name, condition, draft: Box::new(draft) });
        }
        Ok(request)
    }
}

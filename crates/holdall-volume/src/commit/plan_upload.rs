//! What uploads in parts make of the rows.

use std::time::Duration;

use holdall_core::{Error, Operation, Result, Timestamp};

use super::plan::{Plan, Step};
use super::request::{Condition, Draft};
use crate::format::entry::Version;
use crate::format::upload::{PartRow, UPLOAD_LEASE, UploadRow};

impl Plan {
    pub(super) fn begin_upload(&mut self, id: &str, row: &UploadRow) -> Result<Option<Version>> {
        // Ids are made by chance: one that is there already is this one, begun by a batch of
        // which it was not known whether it had happened.
        match self.uploads.get(&id.to_owned()) {
            Some(found) if found.name == row.name && found.begun == row.begun => {}
            Some(_) => {
                let message = format!("there is an upload `{id}` already; begin another");
                return Err(Error::conflict(Operation::Commit, message));
            }
            None => self.uploads.set(id.to_owned(), Some(row.clone())),
        }
        Ok(None)
    }

    fn upload(&mut self, id: &str) -> Result<UploadRow> {
        self.uploads.get(&id.to_owned()).cloned().ok_or_else(|| {
            let message = format!("there is no upload `{id}`: it was completed or aborted");
            Error::conflict(Operation::Commit, message)
        })
    }

    pub(super) fn put_part(
        &mut self,
        step: &Step<'_>,
        id: &str,
        number: u32,
        part: &PartRow,
    ) -> Result<Option<Version>> {
        let mut upload = self.upload(id)?;
        self.refer(step, part.content.nodes())?;
        self.drop_part(step, id, number)?;
        self.head.upload_bytes += part.size;
        let part = PartRow { written: step.time, ..part.clone() };
        self.parts.set((id.to_owned(), number), Some(part));
        // An upload that goes on is not abandoned, and whoever has listed its parts must see that
        // they are others now, also if no time has passed.
        let later = upload.lease_until.plus(Duration::from_micros(1));
        upload.lease_until = later.max(step.time.plus(UPLOAD_LEASE));
        self.uploads.set(id.to_owned(), Some(upload));
        Ok(None)
    }

    /// Removes a part; whether there was one.
    fn drop_part(&mut self, step: &Step<'_>, id: &str, number: u32) -> Result<()> {
        let key = (id.to_owned(), number);
        let Some(part) = self.parts.get(&key).cloned() else { return Ok(()) };
        self.head.upload_bytes = self.head.upload_bytes.saturating_sub(part.size);
        self.parts.set(key, None);
        self.release(step, part.content.nodes().iter().map(|node| node.id))
    }

    pub(super) fn complete_upload(
        &mut self,
        step: &mut Step<'_>,
        id: &str,
        (parts, lease_until): (&[u32], Timestamp),
        condition: Condition,
        draft: &Draft,
    ) -> Result<Option<Version>> {
        let upload = self.upload(id)?;
        let before = self.expect(step, &upload.name, condition)?;
        if upload.lease_until != lease_until {
            let message = format!(
                "a part of upload `{id}` was written while it was completed; look at its parts \
                 and complete it again"
            );
            return Err(Error::conflict(Operation::Commit, message));
        }
        // So that all rows that are not loaded are asked for at once.
        for number in parts {
            self.parts.get(&(id.to_owned(), *number));
        }
        self.put(step, &upload.name, draft.clone())?;
        for number in parts {
            self.drop_part(step, id, *number)?;
        }
        self.uploads.set(id.to_owned(), None);
        Ok(before)
    }

    pub(super) fn abort_upload(
        &mut self,
        step: &Step<'_>,
        id: &str,
        parts: &[u32],
    ) -> Result<Option<Version>> {
        self.uploads.get(&id.to_owned());
        for number in parts {
            self.drop_part(step, id, *number)?;
        }
        self.uploads.set(id.to_owned(), None);
        Ok(None)
    }
}

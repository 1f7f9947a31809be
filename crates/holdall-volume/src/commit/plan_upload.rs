//! What uploads in parts make of the rows.

use holdall_core::{Error, Operation, Result};

use super::plan::{Plan, Step};
use super::request::{Condition, Draft};
use crate::format::chunk::Digest;
use crate::format::entry::Version;
use crate::format::upload::{PartRow, UPLOAD_LEASE, UploadRow};

impl Plan {
    pub(super) fn begin_upload(&mut self, id: &str, row: &UploadRow) -> Result<Option<Version>> {
        if self.uploads.get(&id.to_owned()).is_some() {
            return Err(Error::conflict(Operation::Commit, "there is such an upload already"));
        }
        self.uploads.set(id.to_owned(), Some(row.clone()));
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
        // An upload that goes on is not abandoned.
        upload.lease_until = upload.lease_until.max(step.time.plus(UPLOAD_LEASE));
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
        parts: &[(u32, Digest)],
        condition: Condition,
        draft: &Draft,
    ) -> Result<Option<Version>> {
        let upload = self.upload(id)?;
        let before = self.expect(step, &upload.name, condition)?;
        // So that all rows that are not loaded are asked for at once.
        for (number, _) in parts {
            self.parts.get(&(id.to_owned(), *number));
        }
        for (number, digest) in parts {
            let found = self.parts.get(&(id.to_owned(), *number)).map(|part| part.digest);
            if found != Some(*digest) {
                let message = format!("part {number} of upload `{id}` has changed; look again");
                return Err(Error::conflict(Operation::Commit, message));
            }
        }
        self.put(step, &upload.name, draft.clone())?;
        for (number, _) in parts {
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

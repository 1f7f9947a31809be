//! What is remembered of a volume's jobs: rows that change by comparing and swapping, beside the
//! order of the commits.

use holdall_core::{
    BackendExt, Error, ErrorKind, Expect, Key, Operation, Result, Revision, Throttle, Timestamp,
};

use super::{Volume, throttled};
use crate::checkpoint::checkpoint;
use crate::format::checkpoint::CheckpointId;
use crate::format::head::Sealed;
use crate::format::keys::CatalogKeys;
use crate::format::policy::{JobRow, Policy};
use crate::seal::seal;

/// The longest name of a job.
const JOB_NAME_BYTES_MAX: usize = 64;

impl Volume {
    /// What the volume is told to do, as its catalog has it now: another handle may have changed
    /// it since this one last saw it.
    ///
    /// # Errors
    /// Those of the catalog; `Corrupt` if the volume has lost its own row.
    pub async fn read_policy(&self) -> Result<Policy> {
        Ok(self.shared.row().await?.policy)
    }

    /// What is remembered of a job, and the revision of it; nothing if it has never run. What is
    /// damaged counts as forgotten.
    ///
    /// # Errors
    /// Those of the catalog; `Unsupported` if a newer program wrote it.
    pub async fn job(&self, name: &str) -> Result<Option<(JobRow, Revision)>> {
        let key = self.job_key(name)?;
        let Some(found) = self.shared.resources.catalog.get_all(&key).await? else {
            return Ok(None);
        };
        Ok(Some((forgiving(JobRow::decode(&key, &found.value))?, found.revision)))
    }

    /// What is remembered of all jobs, by their names.
    ///
    /// # Errors
    /// As [`job`](Self::job).
    pub async fn jobs(&self) -> Result<Vec<(String, JobRow, Revision)>> {
        let class = CatalogKeys::new(self.shared.id).class('j');
        let mut jobs = Vec::new();
        for listed in self.shared.resources.catalog.list_all(&class, true).await? {
            let name = listed.key.as_str().strip_prefix(&class).unwrap_or_default().to_owned();
            let Some(object) = listed.object else { continue };
            jobs.push((
                name,
                forgiving(JobRow::decode(&listed.key, &object.value))?,
                object.revision,
            ));
        }
        Ok(jobs)
    }

    /// Remembers this of a job, if what was remembered before is as expected.
    ///
    /// # Errors
    /// `Conflict` if it was not; `Corrupt` if the catalog has lost commits; those of the catalog.
    pub async fn put_job(&self, name: &str, row: &JobRow, expect: Expect) -> Result<Revision> {
        self.shared.check_nothing_lost().await?;
        let key = self.job_key(name)?;
        let value = row.encode(&key);
        self.shared.resources.catalog.put(&key, value, expect).await
    }

    fn job_key(&self, name: &str) -> Result<Key> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > JOB_NAME_BYTES_MAX || !name.chars().all(allowed) {
            let message = format!("{name:?} is no name of a job; use a-z, 0-9 and -");
            return Err(Error::invalid(Operation::Maintain, message));
        }
        Ok(CatalogKeys::new(self.shared.id).job(name))
    }

    /// As [`seal`](Volume::seal), with only so many bytes a second written.
    ///
    /// # Errors
    /// As [`seal`](Volume::seal).
    pub async fn seal_throttled(&self, throttle: &Throttle) -> Result<Sealed> {
        let _one_at_a_time = self.shared.sealing.lock().await;
        let mut context = self.shared.seal_context().await?;
        context.data = throttled(context.data, Some(throttle));
        seal(&context).await
    }

    /// As [`checkpoint`](Volume::checkpoint), with only so many bytes a second moved.
    ///
    /// # Errors
    /// As [`checkpoint`](Volume::checkpoint).
    pub async fn checkpoint_throttled(&self, throttle: &Throttle) -> Result<Option<CheckpointId>> {
        let _one_at_a_time = self.shared.sealing.lock().await;
        let mut context = self.shared.seal_context().await?;
        context.data = throttled(context.data, Some(throttle));
        checkpoint(&context).await
    }

    /// The volume's clock.
    pub fn now(&self) -> Timestamp {
        self.shared.resources.env.now()
    }
}

/// What is remembered of a job is worth no error: without it, the job begins anew.
fn forgiving(decoded: Result<JobRow>) -> Result<JobRow> {
    match decoded {
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok(JobRow::default()),
        decoded => decoded,
    }
}

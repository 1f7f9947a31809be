//! Writing and removing values.
//!
//! Every request is sent once: when its answer is lost the outcome is `Unknown`, and a second try
//! would make that a conflict with itself, or undo what somebody wrote in between.

use std::time::Duration;

use futures::future::{Either, select};
use futures::{StreamExt, TryStreamExt, stream};
use holdall_core::{
    BackendExt, ByteRange, Bytes, Conditions, Error, Expect, Key, Operation, Result, Revision,
};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, Error as StoreError, MultipartUpload, ObjectStoreExt, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

use crate::ObjectBackend;
use crate::error::Reason;
use crate::revision::{is_mark, mark};

/// How often a write may find that others are faster, before the caller is told to try again.
const ATTEMPTS: usize = 4;

/// How a write failed.
#[derive(Debug)]
enum Failure {
    Store(StoreError),
    /// No answer within the time allowed.
    Late,
}

impl ObjectBackend {
    pub(crate) async fn write(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        self.check_limits(Operation::Put, key, value.len())?;
        self.check_expect(Operation::Put, &expect)?;
        if is_mark(&value) {
            let message = "the value is the one that marks removed keys here; change a byte of it";
            return Err(Error::invalid(Operation::Put, message));
        }
        let Some(path) = self.names.place(key) else {
            let message = "the key's characters make its object's name too long; shorten the key";
            return Err(Error::invalid(Operation::Put, message));
        };
        match expect {
            Expect::Any if value.len() as u64 > self.options.part_size => {
                self.put_parts(&path, value).await
            }
            Expect::Any => {
                let put = self.put_once(&path, value, PutMode::Overwrite).await;
                let put = put.map_err(|failure| self.lost(Operation::Put, failure))?;
                self.revision_of(&path, &put).await
            }
            Expect::Absent => self.create(&path, value).await,
            Expect::Revision(revision) => {
                self.update(Operation::Put, &path, value, &revision).await
            }
        }
    }

    pub(crate) async fn remove(&self, key: &Key, expect: Expect) -> Result<()> {
        self.check_expect(Operation::Delete, &expect)?;
        let Some(path) = self.names.place(key) else {
            // Nothing can be under such a key.
            return match expect {
                Expect::Revision(_) => Err(conflict(Operation::Delete)),
                Expect::Any | Expect::Absent => Ok(()),
            };
        };
        match expect {
            Expect::Any => self.erase(&path).await,
            // Nothing is to be done, so that looking is enough.
            Expect::Absent => match self.look(Operation::Delete, &path).await? {
                None => Ok(()),
                Some(_) => Err(conflict(Operation::Delete)),
            },
            Expect::Revision(revision) => {
                let value = mark(&self.env).into();
                self.update(Operation::Delete, &path, value, &revision).await.map(drop)
            }
        }
    }

    fn check_expect(&self, operation: Operation, expect: &Expect) -> Result<()> {
        let needed = match expect {
            Expect::Any => Conditions::None,
            Expect::Absent => Conditions::Absent,
            Expect::Revision(_) => Conditions::Revision,
        };
        if self.profile.conditions >= needed {
            return Ok(());
        }
        let message = "this store does not keep such a condition; write without one, or use \
                       another store";
        Err(Error::unsupported(operation, message))
    }

    /// Deletes without a condition.
    pub(crate) async fn erase(&self, path: &Path) -> Result<()> {
        let delete = self.writes.delete(path);
        match self.within(self.options.timeout, delete).await {
            Err(Failure::Store(StoreError::NotFound { path, source })) => {
                let error = StoreError::NotFound { path, source };
                let no_bucket = Reason::of(&error).is_no_bucket();
                if no_bucket { Err(self.failed_writing(Operation::Delete, error)) } else { Ok(()) }
            }
            answer => answer.map_err(|failure| self.lost(Operation::Delete, failure)),
        }
    }

    /// Writes where nothing is, or a mark.
    async fn create(&self, path: &Path, value: Bytes) -> Result<Revision> {
        for _ in 0..ATTEMPTS {
            match self.put_once(path, value.clone(), PutMode::Create).await {
                Ok(put) => return self.revision_of(path, &put).await,
                // What is there may be a mark; and S3 says the same of a key that only just went.
                Err(Failure::Store(StoreError::AlreadyExists { .. })) => {}
                Err(failure) => return Err(self.lost(Operation::Put, failure)),
            }
            let found = self.fetch_raw(path, ByteRange::ALL).await;
            let found = found.map_err(|error| self.failed_reading(Operation::Put, error))?;
            let Some((there, meta)) = found else { continue };
            let seen = self.by.of_meta(&meta).filter(|_| is_mark(&there));
            let Some(mode) = seen.and_then(|seen| self.by.update(&seen)).map(PutMode::Update)
            else {
                return Err(conflict(Operation::Put));
            };
            match self.put_once(path, value.clone(), mode).await {
                Ok(put) => return self.revision_of(path, &put).await,
                Err(Failure::Store(
                    StoreError::Precondition { .. }
                    | StoreError::NotFound { .. }
                    | StoreError::AlreadyExists { .. },
                )) => {}
                Err(failure) => return Err(self.lost(Operation::Put, failure)),
            }
        }
        let message = "others write this key all the time; try again";
        Err(Error::unavailable(Operation::Put, message))
    }

    /// Writes where this revision is.
    async fn update(
        &self,
        operation: Operation,
        path: &Path,
        value: Bytes,
        revision: &Revision,
    ) -> Result<Revision> {
        let Some(version) = self.by.update(revision) else { return Err(conflict(operation)) };
        let failure = match self.put_once(path, value, PutMode::Update(version)).await {
            Ok(put) if operation == Operation::Put => return self.revision_of(path, &put).await,
            Ok(_) => return Ok(revision.clone()),
            Err(Failure::Store(error @ StoreError::Precondition { .. }))
                if !Reason::of(&error).is_no_bucket() =>
            {
                return Err(conflict(operation));
            }
            Err(failure) => failure,
        };
        // What is refused as wrong, missing or busy was not written. If the revision is another
        // one now, that is a conflict, whatever the store calls it.
        if let Failure::Store(error) = &failure {
            let reason = Reason::of(error);
            if matches!(reason.status, Some(400 | 404 | 409))
                && !reason.is_no_bucket()
                && self.look(operation, path).await?.as_ref() != Some(revision)
            {
                return Err(conflict(operation));
            }
        }
        Err(self.lost(operation, failure))
    }

    /// The revision that is there now.
    async fn look(&self, operation: Operation, path: &Path) -> Result<Option<Revision>> {
        let found = self.fetch(path, ByteRange::ALL).await;
        let found = found.map_err(|error| self.failed_reading(operation, error))?;
        Ok(found.map(|object| object.revision))
    }

    async fn put_once(
        &self,
        path: &Path,
        value: Bytes,
        mode: PutMode,
    ) -> Result<PutResult, Failure> {
        let limit = if value.len() as u64 > self.options.part_size {
            self.options.upload_timeout
        } else {
            self.options.timeout
        };
        let attributes = self.attributes();
        let options = PutOptions { mode, attributes, ..PutOptions::default() };
        self.within(limit, self.writes.put_opts(path, PutPayload::from(value), options)).await
    }

    fn attributes(&self) -> Attributes {
        let class = self.options.storage_class.clone();
        class.into_iter().map(|class| (Attribute::StorageClass, class)).collect()
    }

    /// Uploads in parts, several at the same time; nothing is seen before all are there.
    async fn put_parts(&self, path: &Path, value: Bytes) -> Result<Revision> {
        let options =
            PutMultipartOptions { attributes: self.attributes(), ..PutMultipartOptions::default() };
        let begin = self.writes.put_multipart_opts(path, options);
        // Until the parts are joined nothing is written: what fails here is no open outcome.
        let nothing_yet = |failure| {
            let error = self.lost(Operation::Put, failure);
            let open = error.kind() == holdall_core::ErrorKind::Unknown;
            if open { error.with_kind(holdall_core::ErrorKind::Unavailable) } else { error }
        };
        let upload = self.within(self.options.timeout, begin).await.map_err(nothing_yet)?;
        let mut upload = Upload { upload: Some(upload), env: self.env.clone() };
        let size = usize::try_from(self.options.part_size).unwrap_or(usize::MAX);
        let parts = upload.parts(&value, size);
        let sent = stream::iter(parts).buffer_unordered(self.options.concurrency);
        let sent = sent.try_collect::<Vec<()>>();
        self.within(self.options.upload_timeout, sent).await.map_err(nothing_yet)?;
        let put = self.within(self.options.upload_timeout, upload.join()).await;
        let put = put.map_err(|failure| self.lost(Operation::Put, failure))?;
        self.revision_of(path, &put).await
    }

    /// The revision of what was just written, which some answers do not say.
    async fn revision_of(&self, path: &Path, put: &PutResult) -> Result<Revision> {
        if let Some(revision) = self.by.of_put(put) {
            return Ok(revision);
        }
        let meta = self.head(path).await.unwrap_or_default();
        meta.and_then(|meta| self.by.of_meta(&meta)).ok_or_else(|| {
            let message = "the value was written, but the store does not say its revision; look";
            Error::unknown(Operation::Put, message)
        })
    }

    async fn within<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = object_store::Result<T>> + Send,
    ) -> Result<T, Failure> {
        match select(std::pin::pin!(call), self.env.sleep(limit)).await {
            Either::Left((answer, _)) => answer.map_err(Failure::Store),
            Either::Right(_) => Err(Failure::Late),
        }
    }

    fn lost(&self, operation: Operation, failure: Failure) -> Error {
        match failure {
            Failure::Store(error) => self.failed_writing(operation, error),
            Failure::Late => {
                let message = "the store did not answer in time; look whether the write happened";
                Error::unknown(operation, message)
            }
        }
    }
}

fn conflict(operation: Operation) -> Error {
    let message = "what is under the key is not what was expected; read again and decide";
    Error::conflict(operation, message)
}

/// An upload in parts, aborted unless it was joined: also if its future was dropped.
#[derive(Debug)]
struct Upload {
    upload: Option<Box<dyn MultipartUpload>>,
    env: holdall_core::Env,
}

impl Upload {
    fn parts(&mut self, value: &Bytes, size: usize) -> Vec<object_store::UploadPart> {
        let Some(upload) = self.upload.as_mut() else { return Vec::new() };
        let starts = (0..value.len()).step_by(size.max(1));
        let pieces = starts.map(|at| value.slice(at..value.len().min(at.saturating_add(size))));
        pieces.map(|piece| upload.put_part(PutPayload::from(piece))).collect()
    }

    async fn join(&mut self) -> object_store::Result<PutResult> {
        let gone = || StoreError::NotSupported { source: "the upload has ended".into() };
        let put = self.upload.as_mut().ok_or_else(gone)?.complete().await?;
        self.upload = None;
        Ok(put)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(mut upload) = self.upload.take() {
            // If this fails too, the store's own rule for unfinished uploads removes the parts.
            self.env.spawn(async move { drop(upload.abort().await) });
        }
    }
}

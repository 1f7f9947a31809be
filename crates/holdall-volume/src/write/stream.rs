//! Putting a stream of unknown length in constant memory.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, stream};
use holdall_core::{Error, Operation, Result};

use super::put::put_request;
use super::upload::Upload;
use super::{PutOptions, stream_is_spent};
use crate::commit::Committed;
use crate::data::{Ingest, Source, Stored};
use crate::format::entry::Name;
use crate::volume::Volume;

/// After how many bytes of a stream what is stored is committed as a part: bounds the rows of a
/// commit and the memory for them, and lets what is stored outlive any grace.
const PART_BYTES: u64 = 1 << 30;

impl Volume {
    /// Writes an entry from a stream of any length, in constant memory. It is there once this
    /// returns, whole, and not before. Anything that is `futures::io::AsyncRead` is a stream
    /// through `tokio_util::io::ReaderStream` or the like.
    ///
    /// # Errors
    /// The stream's first error; else as [`put`](Self::put). Dropping the future leaves nothing
    /// visible.
    pub async fn put_stream(
        &self,
        name: &Name,
        source: impl Stream<Item = Result<Bytes>> + Send + 'static,
        options: PutOptions,
    ) -> Result<Committed> {
        options.check()?;
        let policy = self.shared.committer.volume();
        let inline_max = policy.policy.inline_bytes_max as usize;
        let source = match small_or_source(Box::pin(source), inline_max).await? {
            Start::Small(bytes) => return self.put(name, bytes, options).await,
            Start::Source(source) => source,
        };
        let writer = self.shared.writer().await?;
        let hint = Some(options.hint(name));
        let compression = policy.policy.compression;
        let mut ingest = Ingest::new(Arc::clone(&writer.packer), source, compression, hint);
        let first = ingest.next_part(PART_BYTES).await?.unwrap_or_else(Stored::empty);
        let Some(second) = ingest.next_part(PART_BYTES).await? else {
            let draft = options.stored(&first);
            let request = put_request(name, options.condition, draft, Some(first));
            return self.shared.commit(request).await.map_err(stream_is_spent);
        };
        let upload = self.begin_upload(name, options.clone()).await?;
        match store_parts(&upload, ingest, first, second, &options).await {
            Ok(committed) => Ok(committed),
            Err(error) => {
                // What cannot be taken back now is aborted when its lease has run out.
                let _ = upload.abort().await;
                Err(error)
            }
        }
    }
}

async fn store_parts(
    upload: &Upload,
    mut ingest: Ingest,
    first: Stored,
    second: Stored,
    options: &PutOptions,
) -> Result<Committed> {
    let mut written = Vec::new();
    let mut parts = VecDeque::from([first, second]);
    loop {
        let next = match parts.pop_front() {
            Some(part) => Some(part),
            None => ingest.next_part(PART_BYTES).await?,
        };
        let Some(part) = next else { break };
        let number = written.len() as u32 + 1;
        let part = upload.commit_part(number, part).await.map_err(stream_is_spent)?;
        written.push((number, part.digest));
    }
    let (_, digest) = ingest.finish();
    let parts = upload.listed().await?;
    if !parts.digests().eq(written) {
        let message = "others have written to the upload of a stream; nothing was written: send \
                       the stream again";
        return Err(Error::conflict(Operation::Put, message));
    }
    upload.complete_as(digest, &parts, &parts.numbers(), options.condition).await
}

enum Start {
    Small(Bytes),
    Source(Source),
}

/// Reads until the stream ends or has more bytes than go into a row.
async fn small_or_source(mut source: Source, inline_max: usize) -> Result<Start> {
    let mut pieces: Vec<Bytes> = Vec::new();
    let mut size = 0;
    while let Some(piece) = source.next().await {
        let piece = piece?;
        size += piece.len();
        pieces.push(piece);
        if size > inline_max {
            let read = stream::iter(pieces.into_iter().map(Ok));
            return Ok(Start::Source(Box::pin(read.chain(source))));
        }
    }
    let mut bytes = BytesMut::with_capacity(size);
    pieces.iter().for_each(|piece| bytes.extend_from_slice(piece));
    Ok(Start::Small(bytes.freeze()))
}

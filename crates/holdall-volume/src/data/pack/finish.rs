//! Finishing a segment and putting it on the data backend, once and for good.

use bytes::Bytes;
use holdall_core::{
    BackendExt as _, Conditions, Durability, Error, ErrorKind, Expect, Key, Operation, Result,
    Timestamp,
};

use super::buffer::Buffer;
use crate::data::DataContext;
use crate::format::frame::{self, FrameKind, FramePlace};
use crate::format::policy::Compression;
use crate::format::segment::{Directory, SegmentId, encode_footer};
use crate::placement::Copies;

/// Closes a segment: appends its directory and footer.
///
/// # Errors
/// `Invalid` if the directory does not fit into a frame.
pub(crate) fn finish(
    context: &DataContext,
    id: SegmentId,
    mut buffer: Buffer,
    mut directory: Directory,
    closed: Timestamp,
) -> Result<Bytes> {
    for entry in &mut directory.entries {
        entry.entry.written = closed;
    }
    let raw = postcard::to_allocvec(&directory)
        .expect("a directory is plain data, which postcard writes to a Vec without failing");
    let directory_at = buffer.len() as u32;
    let place = FramePlace {
        kind: FrameKind::Directory,
        volume: context.data_keys.volume_id(),
        owner: (id.epoch, id.counter),
        position: directory_at,
    };
    let compression = Compression::Zstd { level: 1 };
    let bytes = frame::encode(place, 0, &[], &raw, compression, buffer.appender())?;
    buffer.appender().extend_from_slice(&encode_footer(directory_at, bytes));
    Ok(buffer.freeze())
}

/// Puts a segment under its name, which nobody else may ever use.
///
/// # Errors
/// The backend's, but never `Unknown` or `Conflict`: no commit names the segment, so a write that
/// may have happened is only garbage. `Closed` if another segment has the name.
pub(crate) async fn put(context: &DataContext, id: SegmentId, bytes: Bytes) -> Result<Copies> {
    if let Some(spread) = &context.spread {
        return spread.put_segment(id, bytes).await;
    }
    let key = context.data_keys.segment(id);
    let checked = context.data.profile().conditions != Conditions::None;
    let expect = if checked { Expect::Absent } else { Expect::Any };
    match context.data.put(&key, bytes.clone(), expect).await {
        Ok(_) => Ok(Copies::default()),
        Err(e) if matches!(e.kind(), ErrorKind::Unknown | ErrorKind::Conflict) => {
            resolve(context, &key, &bytes, e).await.map(|()| Copies::default())
        }
        Err(e) => Err(e),
    }
}

/// Looks whether a write happened whose outcome is not known.
async fn resolve(context: &DataContext, key: &Key, bytes: &Bytes, cause: Error) -> Result<()> {
    // On one machine, bytes that can be read back may still be in memory alone.
    if context.data.profile().durability != Durability::Machine {
        let found = context.data.get_all(key).await;
        if matches!(&found, Ok(Some(object)) if object.value == *bytes) {
            return Ok(());
        }
    }
    let conflict = cause.kind() == ErrorKind::Conflict;
    let error = if conflict {
        let message = "a segment's name is taken, so another writer has this epoch; open again";
        Error::closed(Operation::Put, message)
    } else {
        let message = "a segment may not have been written, and nothing names it; try again";
        Error::unavailable(Operation::Put, message)
    };
    Err(error.with_key(key).with_source(cause))
}

//! Segments: a chunk row for every chunk that they hold, not yet named by anything.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use holdall_core::Result;

use super::{Rebuild, is_damage};
use crate::data::{frames, places, read_directory};
use crate::format::chunk::ChunkRow;
use crate::format::row;
use crate::format::segment::{Directory, DirectoryFrame, SegmentId};
use crate::gc::pages::Pages;

/// What is known of a segment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    /// Its length in bytes.
    pub bytes: u64,
    /// How many chunk rows point into it.
    pub chunks: u64,
    /// Stored bytes of those that something names.
    pub live_bytes: u64,
}

/// All segments.
#[derive(Debug, Default)]
pub(super) struct Segments {
    pub found: BTreeMap<SegmentId, Found>,
    /// The highest level of a list in them.
    pub level_max: u8,
}

/// Writes chunk rows. Where a chunk is in several segments, the newest one counts.
pub(super) async fn scan(rebuild: &mut Rebuild) -> Result<()> {
    let mut pages = Pages::keys(rebuild.data_keys.segments());
    while let Some(objects) = pages.next(rebuild.data.as_ref()).await? {
        for object in objects {
            let Some(id) = rebuild.data_keys.segment_id(&object.key) else { continue };
            let found = Found { bytes: object.size, ..Found::default() };
            rebuild.segments.found.insert(id, found);
            rebuild.report.segments += 1;
            match directory(rebuild, id).await? {
                Some(directory) => {
                    for frame in &directory.frames {
                        note(rebuild, id, frame).await?;
                    }
                }
                None => walk(rebuild, id).await?,
            }
        }
        rebuild.progress();
    }
    rebuild.rows.flush().await
}

/// The directory of a segment; nothing if it is damaged.
pub(super) async fn directory(rebuild: &Rebuild, id: SegmentId) -> Result<Option<Directory>> {
    match read_directory(&rebuild.context, id, None).await {
        Ok(directory) => Ok(Some(directory)),
        Err(error) if is_damage(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Goes through a segment frame by frame.
async fn walk(rebuild: &mut Rebuild, id: SegmentId) -> Result<()> {
    rebuild.report.segments_damaged += 1;
    let mut found = std::pin::pin!(frames(&rebuild.context, id, None));
    while let Some(frame) = found.try_next().await? {
        match frame.listed() {
            Some(listed) => note(rebuild, id, &listed).await?,
            None => rebuild.report.frames_damaged += 1,
        }
    }
    Ok(())
}

async fn note(rebuild: &mut Rebuild, id: SegmentId, frame: &DirectoryFrame) -> Result<()> {
    rebuild.segments.level_max = rebuild.segments.level_max.max(frame.level);
    for (chunk, place) in places(id, frame) {
        let key = rebuild.keys.chunk(&chunk);
        let row = ChunkRow { place, level: frame.level, references: 0, idle_since: None };
        let value = row::encode(&key, &row);
        rebuild.rows.set(key, Some(value));
    }
    rebuild.rows.settle().await
}

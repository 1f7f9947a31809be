//! Whether the bytes of a copy are those of its segment.
//!
//! Checksums and places of all frames, without decoding them: that finds what storage does to
//! bytes at the speed of memory. Whether chunks have their digests is checked where they are read,
//! and by verifying the volume.

use bytes::Bytes;
use holdall_core::{Error, Operation, Result};

use crate::format::frame::{self, FrameKind, FramePlace, HEADER_BYTES, Header};
use crate::format::keys::VolumeId;
use crate::format::segment::{FOOTER_BYTES, SegmentId, decode_footer};

/// Checks a whole segment.
///
/// # Errors
/// `Corrupt`, or `Unsupported`, saying at which byte it is not what was written.
pub(crate) fn check_segment(volume: VolumeId, id: SegmentId, bytes: &Bytes) -> Result<()> {
    let footer_at = bytes.len().saturating_sub(FOOTER_BYTES);
    let (directory_at, _) = decode_footer(&bytes[footer_at..], bytes.len() as u64)?;
    let mut at = 0;
    while at < footer_at {
        let length = Header::parse(&bytes[at..])
            .ok()
            .map(|header| header.frame_bytes())
            .filter(|length| at + length <= footer_at)
            .unwrap_or(HEADER_BYTES.min(footer_at - at));
        let is_directory = at == directory_at as usize;
        let kind = if is_directory { FrameKind::Directory } else { FrameKind::Chunks };
        let owner = (id.epoch, id.counter);
        let place = FramePlace { kind, volume, owner, position: at as u32 };
        let header = frame::check_whole(&bytes[at..at + length]);
        if !header.as_ref().is_ok_and(|header| header.place == place) {
            let message = format!("a segment is damaged at byte {at}; a repair brings a copy");
            let error = Error::corrupt(Operation::Decode, message);
            return Err(match header {
                Err(cause) => error.with_source(cause),
                Ok(_) => error,
            });
        }
        at += length;
    }
    Ok(())
}

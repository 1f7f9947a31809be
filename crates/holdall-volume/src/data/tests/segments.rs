//! Segments as files: directories, hints, and frames found without a directory.

use bytes::Bytes;
use futures::TryStreamExt;
use holdall_core::{BackendExt, ErrorKind, Expect};

use super::super::{FrameFound, frames, places, read_directory, source_of};
use super::{Bed, KIB, MIB, ZSTD, hint, kind, noise, text};
use crate::format::chunk::Content;
use crate::format::segment::SegmentId;

const FIRST: SegmentId = SegmentId { epoch: 5, counter: 1 };

async fn all(bed: &Bed, with_directory: bool) -> Vec<FrameFound> {
    let directory = read_directory(&bed.context, FIRST, None).await;
    let directory = with_directory.then(|| directory.unwrap());
    frames(&bed.context, FIRST, directory.as_ref()).try_collect().await.unwrap()
}

async fn damage(bed: &Bed, at: usize) {
    let key = bed.context.data_keys.segment(FIRST);
    let mut bytes = bed.context.data.get_all(&key).await.unwrap().unwrap().value.to_vec();
    bytes[at] ^= 1;
    bed.context.data.put(&key, Bytes::from(bytes), Expect::Any).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_says_what_lies_in_its_segment() {
    let bed = Bed::new(holdall_runtime::env());
    let bytes = noise(1, 3 * MIB);
    let source = source_of(bytes.clone());
    let stored = bed.packer.store(source, ZSTD, Some(hint("a/name"))).await.unwrap();
    let directory = read_directory(&bed.context, FIRST, None).await.unwrap();
    let size = Some(stored.segments[0].bytes);
    assert_eq!(read_directory(&bed.context, FIRST, size).await.unwrap(), directory);
    let listed: Vec<_> = directory.frames.iter().flat_map(|frame| &frame.chunks).collect();
    assert_eq!(listed.len(), stored.chunks.len());
    for (frame, chunk) in directory.frames.iter().zip(&stored.chunks) {
        let place = chunk.place.unwrap();
        assert_eq!((frame.at, frame.bytes), (place.frame_at, place.frame_bytes));
        assert_eq!(frame.chunks, [(chunk.id, place.bytes)]);
    }
    let [entry] = &directory.entries[..] else { panic!("one entry") };
    assert_eq!(entry.name.as_str(), "a/name");
    assert_eq!((entry.entry.size, entry.entry.digest), (stored.size, stored.digest));
    assert_eq!(entry.entry.content, Content::Tree(stored.nodes.clone()));
    assert_eq!(entry.entry.attributes["mode"], "644");
    assert!(entry.entry.written.as_micros() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_values_leave_their_hints() {
    let bed = Bed::new(holdall_runtime::env());
    let values = (0..30).map(|n| (Some(hint(&format!("n/{n}"))), text(n, 9 * KIB))).collect();
    let stored = bed.packer.store_many(values, ZSTD).await.unwrap();
    let directory = read_directory(&bed.context, FIRST, None).await.unwrap();
    assert_eq!(directory.entries.len(), 30);
    for (entry, stored) in directory.entries.iter().zip(&stored) {
        assert_eq!(entry.entry.content, Content::Tree(stored.nodes.clone()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_are_found_with_and_without_the_directory() {
    let bed = Bed::new(holdall_runtime::env());
    let values = (0..40).map(|n| (None, text(n, 90 * KIB))).collect();
    let stored = bed.packer.store_many(values, ZSTD).await.unwrap();
    let listed = all(&bed, true).await;
    let walked = all(&bed, false).await;
    assert!(listed.len() > 3 && listed.len() == walked.len());
    let mut ids = Vec::new();
    let mut found = Vec::new();
    for (a, b) in listed.iter().zip(&walked) {
        assert_eq!((a.at, a.bytes), (b.at, b.bytes));
        assert_eq!(a.found.as_ref().unwrap(), b.found.as_ref().unwrap());
        found.extend(places(FIRST, &a.listed().unwrap()));
        ids.extend(a.found.as_ref().unwrap().chunks.iter().map(|(id, _)| *id));
    }
    let expected: Vec<_> = stored.iter().map(|stored| stored.chunks[0].id).collect();
    assert_eq!(ids, expected);
    // A catalog that is made anew from frames has the same places as the one that was lost.
    let chunks = stored.iter().map(|stored| &stored.chunks[0]);
    let placed: Vec<_> = chunks.map(|chunk| (chunk.id, chunk.place.unwrap())).collect();
    assert_eq!(found, placed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_frame_hides_no_other() {
    let bed = Bed::new(holdall_runtime::env());
    bed.store(noise(1, 3 * MIB)).await.unwrap();
    let whole = all(&bed, true).await;
    assert!(whole.len() >= 2);
    for (number, frame) in whole.iter().enumerate() {
        // In the magic, in the lengths, in the payload.
        for offset in [0, 48, 52, 100] {
            damage(&bed, frame.at as usize + offset).await;
            for with_directory in [true, false] {
                let found = all(&bed, with_directory).await;
                assert_eq!(found.len(), whole.len(), "frame {number}, byte {offset}");
                for (n, (found, whole)) in found.iter().zip(&whole).enumerate() {
                    assert_eq!((found.at, found.bytes), (whole.at, whole.bytes));
                    assert_eq!(found.found.is_err(), n == number);
                }
            }
            damage(&bed, frame.at as usize + offset).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_directory_leaves_the_frames() {
    let bed = Bed::new(holdall_runtime::env());
    let stored = bed.store(noise(1, 2 * MIB)).await.unwrap();
    let count = all(&bed, true).await.len();
    let size = stored.segments[0].bytes as usize;
    for at in [size - 1, size - 15, size - 20, size - 30] {
        damage(&bed, at).await;
        let error = read_directory(&bed.context, FIRST, None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let walked: Vec<FrameFound> =
            frames(&bed.context, FIRST, None).try_collect().await.unwrap();
        assert_eq!(walked.iter().filter(|frame| frame.found.is_ok()).count(), count);
        damage(&bed, at).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_segment_is_an_error() {
    let bed = Bed::new(holdall_runtime::env());
    let corrupt = Some(ErrorKind::Corrupt);
    assert_eq!(kind(read_directory(&bed.context, FIRST, None).await), corrupt);
    let found: Result<Vec<FrameFound>, _> = frames(&bed.context, FIRST, None).try_collect().await;
    assert_eq!(kind(found), corrupt);
}

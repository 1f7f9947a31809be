//! What goes in comes out, whatever its size and however it is given.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use holdall_core::{Error, Memory, Operation};
use proptest::prelude::*;

use super::super::{Ingest, tree_size};
use super::{Bed, KIB, MIB, ZSTD, hint, in_pieces, kind, noise, settings, text};
use crate::format::chunk::{Digest, ROOT_NODES_MAX};
use crate::format::policy::Compression;

const SIZES: [usize; 12] = [
    0,
    1,
    255 * KIB,
    256 * KIB - 1,
    256 * KIB,
    256 * KIB + 1,
    512 * KIB + 1,
    4 * MIB - 1,
    4 * MIB,
    4 * MIB + 1,
    5 * MIB,
    40 * MIB,
];

#[tokio::test(flavor = "multi_thread")]
async fn every_size_comes_back_whole() {
    let bed = Bed::new(holdall_runtime::env());
    for (seed, size) in SIZES.into_iter().enumerate() {
        for bytes in [noise(seed as u64, size), text(seed as u64, size)] {
            let stored = bed.store_committed(bytes.clone()).await;
            bed.check(&stored, &bytes).await;
            let again = bed.packer.store(in_pieces(bytes.clone(), 1 + seed), ZSTD, None).await;
            let again = again.unwrap();
            assert_eq!((&again.nodes, again.digest), (&stored.nodes, stored.digest), "{size}");
            assert!(again.chunks.iter().all(|chunk| chunk.place.is_none()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn small_values_are_one_chunk_and_large_ones_are_cut() {
    let bed = Bed::new(holdall_runtime::env());
    let small = bed.store(noise(1, 256 * KIB)).await.unwrap();
    assert_eq!((small.nodes.len(), small.chunks.len(), small.segments.len()), (1, 1, 1));
    let large = bed.store(noise(2, 40 * MIB)).await.unwrap();
    assert!((15..=100).contains(&large.chunks.len()), "{}", large.chunks.len());
    let last = large.chunks.len() - 1;
    for chunk in &large.chunks[..last] {
        let bytes = chunk.place.unwrap().bytes as usize;
        assert!((256 * KIB..=4 * MIB).contains(&bytes));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_backend_keeps_it_too() {
    let folder = tempfile::tempdir().unwrap();
    let env = holdall_runtime::env();
    let config = holdall_file::Config::new(folder.path());
    let data = holdall_file::File::open(config, &env).await.unwrap();
    let bed = Bed::on(env, Arc::new(data), settings());
    for size in [1, 300 * KIB, 9 * MIB] {
        let bytes = noise(size as u64, size);
        let stored = bed.store_committed(bytes.clone()).await;
        bed.check(&stored, &bytes).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_compression_gives_the_bytes_back() {
    let bed = Bed::new(holdall_runtime::env());
    let compressions = [Compression::None, Compression::Lz4, Compression::Zstd { level: 9 }];
    for (seed, compression) in compressions.into_iter().enumerate() {
        let bytes = text(seed as u64, 3 * MIB);
        let source = in_pieces(bytes.clone(), 9_999);
        let stored = bed.packer.store(source, compression, None).await.unwrap();
        bed.commit(&stored).await;
        bed.check(&stored, &bytes).await;
        let written: u32 = stored.chunks.iter().map(|c| c.place.unwrap().stored).sum();
        assert_eq!((written as usize) < bytes.len() / 2, compression != Compression::None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_stream_is_stored_part_by_part() {
    let bed = Bed::new(holdall_runtime::env());
    let bytes = noise(3, 23 * MIB);
    let source = in_pieces(bytes.clone(), 70_000);
    let mut ingest = Ingest::new(Arc::clone(&bed.packer), source, ZSTD, Some(hint("whole")));
    let (mut nodes, mut parts) = (Vec::new(), 0);
    while let Some(part) = ingest.next_part(5 * MIB as u64).await.unwrap() {
        assert!(part.size <= 14 * MIB as u64);
        bed.commit(&part).await;
        nodes.extend_from_slice(&part.nodes);
        parts += 1;
        let upto = tree_size(&nodes) as usize;
        assert_eq!(part.digest, Digest::of(&bytes[..upto]));
    }
    assert!(parts >= 2);
    assert_eq!(ingest.finish(), (bytes.len() as u64, Digest::of(&bytes)));
    let whole = bed.packer.join(nodes, Digest::of(&bytes), ZSTD, None).await.unwrap();
    bed.commit(&whole).await;
    bed.check(&whole, &bytes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_nodes_become_lists_that_are_read_back() {
    let bed = Bed::new(holdall_runtime::env());
    let piece = noise(4, 300);
    let mut nodes = Vec::new();
    let mut bytes = Vec::new();
    for number in 0..200_u8 {
        let mut part = piece.to_vec();
        part[0] = number;
        nodes.extend(bed.store_committed(part.clone()).await.nodes);
        bytes.extend(part);
    }
    let joined = bed.packer.join(nodes, Digest::of(&bytes), ZSTD, Some(hint("joined"))).await;
    let joined = joined.unwrap();
    assert!(joined.nodes.len() <= ROOT_NODES_MAX);
    assert_eq!((joined.chunks.len(), joined.chunks[0].level), (1, 1));
    assert_eq!(joined.chunks[0].children.len(), 200);
    bed.commit(&joined).await;
    bed.check(&joined, &bytes).await;
    let some = bed.reader.read(joined.nodes, 299..901).await.unwrap();
    assert_eq!(some, bytes[299..901]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_values_are_stored_together() {
    let bed = Bed::new(holdall_runtime::env());
    let sizes = [10 * KIB, 0, 300 * KIB, 1, 5 * MIB, 100 * KIB];
    let values: Vec<Bytes> =
        (0..120).map(|n| text(n as u64, sizes[n % sizes.len()] + (n % 7) * (n % 6))).collect();
    let wanted = values.iter().map(|value| (None, value.clone())).collect();
    let stored = bed.packer.store_many(wanted, ZSTD).await.unwrap();
    assert_eq!(stored.len(), values.len());
    for (stored, value) in stored.iter().zip(&values) {
        bed.commit(stored).await;
        bed.check(stored, value).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn small_values_that_lie_together_share_frames() {
    let bed = Bed::new(holdall_runtime::env());
    let values: Vec<Bytes> = (0..400).map(|n| text(n, 20 * KIB)).collect();
    let wanted = values.iter().map(|value| (None, value.clone())).collect();
    let stored = bed.packer.store_many(wanted, ZSTD).await.unwrap();
    let places: Vec<_> =
        stored.iter().flat_map(|s| &s.chunks).map(|chunk| chunk.place.unwrap()).collect();
    let mut frames: Vec<_> =
        places.iter().map(|place| (place.segment, place.frame_at, place.frame_bytes)).collect();
    frames.dedup();
    assert!(frames.len() <= 400 * 20 * KIB / (400 * KIB), "{}", frames.len());
    let total: u64 = frames.iter().map(|(_, _, bytes)| u64::from(*bytes)).sum();
    let shares: u64 = places.iter().map(|place| u64::from(place.stored)).sum();
    assert!(shares <= total && shares + 400 >= total, "{shares} of {total}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_fails_fails_the_store() {
    let bed = Bed::new(holdall_runtime::env());
    let pieces = [
        Ok(noise(5, 6 * MIB)),
        Err(Error::unavailable(Operation::Get, "the source broke off; send it again")),
    ];
    let source = Box::pin(futures::stream::iter(pieces));
    let error = bed.packer.store(source, ZSTD, None).await.unwrap_err();
    assert_eq!(error.message(), "the source broke off; send it again");
    let bytes = noise(6, MIB);
    let stored = bed.store_committed(bytes.clone()).await;
    bed.check(&stored, &bytes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_gives_pieces_in_order_and_an_empty_range_gives_nothing() {
    let bed = Bed::on(holdall_runtime::env(), Arc::new(Memory::new()), settings());
    let bytes = noise(7, 20 * MIB);
    let stored = bed.store_committed(bytes.clone()).await;
    let stream = bed.reader.stream(stored.nodes.clone(), 1..bytes.len() as u64 - 1);
    let pieces: Vec<Bytes> = stream.try_collect().await.unwrap();
    assert!(pieces.len() > 4);
    assert!(pieces.concat() == bytes[1..bytes.len() - 1]);
    for range in [5..5, 20 << 20..30 << 20] {
        assert!(bed.reader.read(stored.nodes.clone(), range).await.unwrap().is_empty());
    }
    let backwards = std::ops::Range { start: 9, end: 8 };
    let refused = bed.reader.read(stored.nodes, backwards).await;
    assert_eq!(kind(refused), Some(holdall_core::ErrorKind::Invalid));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn every_range_is_that_of_the_plain_bytes(
        start in 0_u64..5_000_000,
        length in 0_u64..5_000_000,
    ) {
        let mut one = tokio::runtime::Builder::new_multi_thread();
        let runtime = one.worker_threads(1).build().unwrap();
        runtime.block_on(async {
            let bed = Bed::new(holdall_runtime::env());
            let bytes = noise(8, 4_500_001);
            let stored = bed.store_committed(bytes.clone()).await;
            let size = bytes.len() as u64;
            let end = start.saturating_add(length);
            let got = bed.reader.read(stored.nodes, start..end).await.unwrap();
            let expected = &bytes[start.min(size) as usize..end.min(size) as usize];
            assert!(got == expected, "{start}..{end}");
        });
    }
}

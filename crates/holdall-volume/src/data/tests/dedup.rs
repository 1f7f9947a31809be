//! Equal bytes are stored once: within a put, across puts, across puts at the same time.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use holdall_core::BackendExt;

use super::{Bed, KIB, MIB, ZSTD, noise};
use crate::format::chunk::ChunkRow;
use crate::format::row;

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_repeats_itself_is_stored_once() {
    let bed = Bed::new(holdall_runtime::env());
    let zeros = Bytes::from(vec![0; 32 * MIB]);
    let stored = bed.store_committed(zeros.clone()).await;
    assert_eq!((stored.nodes.len(), stored.chunks.len()), (8, 1));
    bed.check(&stored, &zeros).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insertion_at_the_front_changes_few_chunks() {
    let bed = Bed::new(holdall_runtime::env());
    let bytes = noise(1, 24 * MIB);
    let first = bed.store_committed(bytes.clone()).await;
    let changed = [b"inserted", &bytes[..]].concat();
    let second = bed.store_committed(changed.clone()).await;
    let new = second.chunks.iter().filter(|chunk| chunk.place.is_some()).count();
    assert!(new <= 3, "{new} of {} chunks are new", first.chunks.len());
    bed.check(&second, &changed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_names_chunks_of_one_that_is_not_committed() {
    let bed = Bed::new(holdall_runtime::env());
    let bytes = noise(2, 3 * MIB);
    let first = bed.store(bytes.clone()).await.unwrap();
    let second = bed.store(bytes.clone()).await.unwrap();
    assert_eq!(first, second);
    assert!(second.chunks.iter().all(|chunk| chunk.place.is_some()));
    // Only the second is committed.
    bed.commit(&second).await;
    bed.check(&second, &bytes).await;
    let third = bed.store(bytes).await.unwrap();
    assert!(third.chunks.iter().all(|chunk| chunk.place.is_none()) && third.segments.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_values_put_at_the_same_time_share_their_bytes() {
    let bed = Bed::new(holdall_runtime::env());
    let bytes = noise(3, 2 * MIB);
    let puts = (0..8).map(|_| bed.store(bytes.clone()));
    let stored: Vec<_> = join_all(puts).await.into_iter().map(Result::unwrap).collect();
    for one in &stored {
        assert_eq!(one.chunks, stored[0].chunks);
    }
    bed.commit(&stored[5]).await;
    bed.check(&stored[5], &bytes).await;
    let keys = bed.context.data.list_all("", false).await.unwrap();
    let written: u64 = keys.iter().map(|row| row.size).sum();
    assert!(written < 2 * bytes.len() as u64, "{written}");
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_values_among_many_are_stored_once() {
    let bed = Bed::new(holdall_runtime::env());
    let values: Vec<_> = (0..60).map(|n| (None, noise(n % 3, 30 * KIB))).collect();
    let stored = bed.packer.store_many(values.clone(), ZSTD).await.unwrap();
    for ((_, value), stored) in values.iter().zip(&stored) {
        assert_eq!(stored.chunks[0].place.unwrap().bytes as usize, value.len());
        bed.commit(stored).await;
        bed.check(stored, value).await;
    }
    let places: std::collections::BTreeSet<_> =
        stored.iter().map(|s| s.chunks[0].place.unwrap()).map(|p| (p.frame_at, p.at)).collect();
    assert_eq!(places.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_is_about_to_be_collected_is_stored_anew() {
    let bed = Bed::new(holdall_runtime::env());
    let bytes = noise(4, 40 * KIB);
    let first = bed.store_committed(bytes.clone()).await;
    let (id, place) = (first.chunks[0].id, first.chunks[0].place.unwrap());
    for (idle, named) in [(1000, true), (1801, false)] {
        let since = bed.context.env.now().minus(Duration::from_secs(idle));
        let row = ChunkRow { place, level: 0, references: 0, idle_since: Some(since) };
        bed.put_row(&id, &row).await;
        // A packer of its own remembers nothing of the first put.
        let packer = super::Packer::new(bed.context.clone(), 6 + idle, super::settings());
        let source = super::super::source_of(bytes.clone());
        let again = packer.store(source, ZSTD, None).await.unwrap();
        assert_eq!(again.chunks[0].place.is_none(), named, "idle for {idle} s");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_made_whether_or_not_there_is_one() {
    let bed = Bed::new(holdall_runtime::env());
    let bytes = noise(5, 50 * KIB);
    let first = bed.store_committed(bytes.clone()).await;
    let (copies, segments) =
        bed.packer.copy_chunks(0, vec![bytes.clone(), noise(6, MIB)], ZSTD).await.unwrap();
    assert_eq!((copies.len(), segments.len()), (2, 1));
    let (id, copy) = *copies.iter().find(|(id, _)| *id == first.chunks[0].id).unwrap();
    assert_ne!(copy.segment, first.chunks[0].place.unwrap().segment);
    // The row is switched, the old segment goes: the value is read from the copy.
    let key = bed.context.keys.chunk(&id);
    let found = bed.context.catalog.get_all(&key).await.unwrap().unwrap();
    let row: ChunkRow = row::decode(&key, &found.value).unwrap();
    bed.put_row(&id, &ChunkRow { place: copy, ..row }).await;
    let old = bed.context.data_keys.segment(row.place.segment);
    bed.context.data.delete(&old, holdall_core::Expect::Any).await.unwrap();
    bed.check(&first, &bytes).await;
}

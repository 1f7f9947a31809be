//! Getting one entry and its bytes.

use futures::TryStreamExt;
use holdall_core::{BackendExt, Expect};
use holdall_testkit::Chance;

use super::*;

async fn collect(
    stream: impl futures::Stream<Item = Result<Bytes, holdall_core::Error>> + Send + 'static,
) -> Result<Vec<u8>, holdall_core::Error> {
    stream.map_ok(|piece| piece.to_vec()).try_concat().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_of_reading_gives_the_same_bytes() {
    let bed = Bed::new(Policy::default()).await;
    for size in [0_usize, 1, 1000, 16 << 10, 100 << 10, 3 << 20] {
        let written = Bytes::from(Chance::new(size as u64).bytes(size));
        bed.put("x", written.clone()).await;
        let reading = bed.volume.get(&name("x")).await.unwrap().unwrap();
        let entry = bed.volume.stat(&name("x")).await.unwrap().unwrap();
        assert_eq!(reading.entry(), &entry);
        assert_eq!((entry.size, entry.digest), (size as u64, Digest::of(&written)));
        assert_eq!(reading.bytes().await.unwrap(), written);
        assert_eq!(collect(reading.stream()).await.unwrap(), written);
        let all = size as u64;
        let ranges = vec![0..0, 0..all, 1..all.max(1), all / 2..all + 9, all + 1..all + 2, 3..4];
        let clip = |range: &std::ops::Range<u64>| {
            written.slice(range.start.min(all) as usize..range.end.min(all) as usize)
        };
        for range in &ranges {
            assert_eq!(reading.range(range.clone()).await.unwrap(), clip(range));
            let streamed = collect(reading.stream_range(range.clone())).await.unwrap();
            assert_eq!(streamed, clip(range));
        }
        let wanted: Vec<Bytes> = ranges.iter().map(clip).collect();
        assert_eq!(reading.ranges(ranges).await.unwrap(), wanted);
        #[allow(clippy::reversed_empty_ranges, reason = "what is tested")]
        let backwards = 5..2;
        assert_invalid(reading.range(backwards.clone()).await, "before its start");
        assert_invalid(reading.ranges(vec![backwards.clone()]).await, "before its start");
        assert_invalid(collect(reading.stream_range(backwards)).await, "before its start");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_present_takes_one_call() {
    let bed = Bed::new(Policy::default()).await;
    bed.put("x", "bytes").await;
    bed.recording.take();
    let reading = bed.volume.get(&name("x")).await.unwrap().unwrap();
    assert_eq!(reading.bytes().await.unwrap(), "bytes");
    bed.recording.assert_calls(&[(Method::Get, 1)]);
    assert!(bed.volume.get(&name("y")).await.unwrap().is_none());
    bed.recording.assert_calls(&[(Method::Get, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_ends_at_its_time() {
    let bed = Bed::new(Policy::default()).await;
    bed.put_until("x", bed.now().plus(HOUR)).await;
    bed.pass(HOUR - Duration::from_micros(1));
    assert!(bed.volume.stat(&name("x")).await.unwrap().is_some());
    bed.pass(Duration::from_micros(1));
    assert!(bed.volume.stat(&name("x")).await.unwrap().is_none());
    assert!(bed.volume.get(&name("x")).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn inline_bytes_that_are_not_what_was_written_are_noticed() {
    let bed = Bed::new(Policy::default()).await;
    bed.put("x", "bytes").await;
    let key = bed.keys.entry(&name("x"));
    let row = bed.catalog.get_all(&key).await.unwrap().unwrap();
    let mut entry = Entry::decode(&key, &row.value).unwrap();
    // As if damage had met row and checksum alike.
    entry.inline = Bytes::from_static(b"bytez");
    bed.catalog.put(&key, entry.encode(&key), Expect::Any).await.unwrap();
    let reading = bed.volume.get(&name("x")).await.unwrap().unwrap();
    let errors = [
        reading.bytes().await.unwrap_err(),
        reading.range(0..1).await.unwrap_err(),
        reading.ranges(vec![0..1, 2..3]).await.unwrap_err(),
        collect(reading.stream()).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert_eq!(error.key(), Some(&key));
    }
    let mut damaged = row.value.to_vec();
    damaged[9] ^= 1;
    bed.catalog.put(&key, Bytes::from(damaged), Expect::Any).await.unwrap();
    assert_eq!(bed.volume.get(&name("x")).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_of_another_size_than_the_entry_is_noticed() {
    let bed = Bed::new(Policy::default()).await;
    bed.put("x", Chance::new(1).bytes(100 << 10)).await;
    let key = bed.keys.entry(&name("x"));
    let row = bed.catalog.get_all(&key).await.unwrap().unwrap();
    let mut entry = Entry::decode(&key, &row.value).unwrap();
    entry.size += 1;
    bed.catalog.put(&key, entry.encode(&key), Expect::Any).await.unwrap();
    let reading = bed.volume.get(&name("x")).await.unwrap().unwrap();
    assert_eq!(reading.bytes().await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(collect(reading.stream()).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_read_outlives_its_deletion() {
    let bed = Bed::new(Policy::default()).await;
    let bytes = Chance::new(2).bytes(2 << 20);
    bed.put("x", bytes.clone()).await;
    let reading = bed.volume.get(&name("x")).await.unwrap().unwrap();
    bed.volume.delete(&name("x"), crate::Condition::Always).await.unwrap();
    assert!(bed.volume.get(&name("x")).await.unwrap().is_none());
    assert_eq!(collect(reading.stream()).await.unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_entry_can_be_opened() {
    let bed = Bed::new(Policy::default()).await;
    bed.put("x", "bytes").await;
    let page = bed.volume.list(ListOptions::default()).await.unwrap();
    let (name, entry) = page.entries.into_iter().next().unwrap();
    let reading = bed.volume.view().open(&name, entry);
    assert_eq!(reading.bytes().await.unwrap(), "bytes");
    let versions = bed.versions(&name).await;
    let bare = bed.volume.view().open(&name, versions[0].entry.clone());
    assert_invalid(bare.bytes().await, "without its bytes");
}

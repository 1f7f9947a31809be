//! A volume made by hand is clean; every damage to it is reported, and mended where it can be.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "../../tests/support/maker.rs"]
mod maker;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::FutureExt;
use holdall_core::{Expect, Key};

use self::maker::{Maker, SECRET, make, name, noise, people};
use super::*;
use crate::data::{DataContext, PackSettings, Packer, source_of};
use crate::format::chunk::{ChunkRow, Content};
use crate::format::head::Sealed;
use crate::format::policy::{Compression, Policy};
use crate::format::segment::{SegmentRow, SegmentState};

async fn check(context: &VerifyContext, repair: bool) -> Report {
    let options = VerifyOptions { repair, ..VerifyOptions::default() };
    verify(context, options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_volume_is_clean() {
    let (context, _) = make().await;
    let report = check(&context, false).await;
    assert!(report.is_clean(), "{report:#?}");
    assert!(report.findings.is_empty(), "{report:#?}");
    let counts = report.counts;
    assert_eq!((counts.segments, counts.frames, counts.chunks), (2, 5, 7));
    assert_eq!((counts.entries_read, counts.checkpoints, counts.log_commits), (7, 1, 4));
    assert!(counts.garbage_bytes > 3000 && counts.garbage_bytes < 3200, "{counts:?}");
}

/// Every row or object of a backend.
async fn everything(backend: &Arc<dyn Backend>) -> Vec<(Key, Bytes)> {
    let rows = backend.list_all("", true).await.unwrap();
    rows.into_iter().map(|row| (row.key, row.object.unwrap().value)).collect()
}

/// Puts a backend back as it was.
async fn restore(backend: &Arc<dyn Backend>, was: &[(Key, Bytes)]) {
    for (key, bytes) in everything(backend).await {
        if !was.contains(&(key.clone(), bytes)) {
            backend.delete(&key, Expect::Any).await.unwrap();
        }
    }
    for (key, bytes) in was {
        backend.put(key, bytes.clone(), Expect::Any).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_flip_and_cut_is_reported() {
    let (context, _) = make().await;
    for backend in [&context.catalog, &context.data] {
        for (key, whole) in everything(backend).await {
            let mut damages: Vec<Bytes> = vec![whole.slice(..whole.len() - 1), Bytes::new()];
            // Every byte of what is short; of the rest some, but each of the last ones.
            let step = (whole.len() / 48).max(1);
            let last = whole.len().saturating_sub(20)..whole.len();
            for position in (0..whole.len()).step_by(step).chain(last) {
                let mut flipped = whole.to_vec();
                flipped[position] ^= 0x10;
                damages.push(flipped.into());
            }
            for damaged in damages {
                backend.put(&key, damaged.clone(), Expect::Any).await.unwrap();
                let report = check(&context, false).await;
                assert!(!report.is_clean(), "{key} {}", damaged.len());
            }
            backend.put(&key, whole, Expect::Any).await.unwrap();
        }
    }
    assert!(check(&context, false).await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_deletion_and_swap_is_reported() {
    let (context, _) = make().await;
    for backend in [&context.catalog, &context.data] {
        let all = everything(backend).await;
        for (index, (key, whole)) in all.iter().enumerate() {
            let other = &all[(index + 1) % all.len()].1;
            backend.put(key, other.clone(), Expect::Any).await.unwrap();
            let report = check(&context, false).await;
            assert!(!report.is_clean(), "swapped {key}");
            backend.delete(key, Expect::Any).await.unwrap();
            // Nothing else tells that a writer was there, and the front of the sealed log looks as
            // if pruned.
            let silent = ["/00/w/", "/00/l/0000000000000001"];
            let silent = silent.iter().any(|part| key.as_str().contains(part));
            let report = check(&context, false).await;
            assert_eq!(report.is_clean(), silent, "deleted {key}: {report:#?}");
            backend.put(key, whole.clone(), Expect::Any).await.unwrap();
        }
    }
    assert!(check(&context, false).await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_rows_and_objects_and_orphans_are_named() {
    let (context, _) = make().await;
    let row = Key::parse(format!("{}z/what", context.catalog_keys.root())).unwrap();
    context.catalog.put(&row, Bytes::from("x"), Expect::Absent).await.unwrap();
    let object = Key::parse(format!("{}notes.txt", context.data_keys.root())).unwrap();
    context.data.put(&object, Bytes::from("x"), Expect::Absent).await.unwrap();
    let orphan = context.data_keys.segment(SegmentId { epoch: 2, counter: 9 });
    context.data.put(&orphan, Bytes::from("x"), Expect::Absent).await.unwrap();
    let report = check(&context, true).await;
    let found: Vec<_> = report.findings.iter().map(|f| (f.problem, f.key.as_str())).collect();
    let expected = [
        (Problem::DamagedRow, row.as_str()),
        (Problem::Orphan, orphan.as_str()),
        (Problem::ForeignObject, object.as_str()),
    ];
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_is_mended_from_another_copy() {
    let (context, _) = make().await;
    let key = context.data_keys.segment(SegmentId { epoch: 1, counter: 1 });
    let mut bytes = context.data.get_all(&key).await.unwrap().unwrap().value.to_vec();
    bytes[200] ^= 1;
    context.data.put(&key, bytes.into(), Expect::Any).await.unwrap();
    let report = check(&context, true).await;
    let lost: Vec<_> = report.findings.iter().filter(|f| f.problem == Problem::LostChunk).collect();
    // The frame holds two chunks, of which one has a copy elsewhere.
    assert_eq!(lost.iter().filter(|f| f.repaired).count(), 1, "{report:#?}");
    assert_eq!(lost.len(), 2);
    let unreadable = |report: &Report| -> Vec<String> {
        let found = report.findings.iter().filter(|f| f.problem == Problem::UnreadableEntry);
        found.map(|f| f.key.rsplit_once('/').unwrap().1.to_owned()).collect()
    };
    assert_eq!(unreadable(&report), ["deep"]);
    let again = check(&context, false).await;
    assert!(!again.findings.iter().any(|f| f.problem == Problem::Counter), "{again:#?}");
    assert_eq!(unreadable(&again), ["deep"]);
}

/// Of which class the row is.
fn class(context: &VerifyContext, key: &Key) -> u8 {
    key.as_str().as_bytes()[context.catalog_keys.root().len()]
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_are_mended() {
    let (context, _) = make().await;
    let was = everything(&context.catalog).await;
    // Each index row damaged or deleted, and for each another that points at nothing.
    for delete in [true, false] {
        for (key, _) in was.iter().filter(|(key, _)| b"iax".contains(&class(&context, key))) {
            if delete {
                context.catalog.delete(key, Expect::Any).await.unwrap();
            } else {
                context.catalog.put(key, Bytes::from("odd"), Expect::Any).await.unwrap();
            }
            let wrong = Key::parse(key.as_str().replace("/00000000", "/10000000")).unwrap();
            let same = wrong == *key;
            let wrong = if same { Key::parse(format!("{key}s")).unwrap() } else { wrong };
            let value = row::encode(&wrong, &());
            context.catalog.put(&wrong, value, Expect::Any).await.unwrap();
        }
        let report = check(&context, true).await;
        assert!(report.findings.len() >= 6, "{report:#?}");
        assert!(report.findings.iter().all(|found| found.repaired), "{report:#?}");
        assert_eq!(everything(&context.catalog).await, was);
        assert!(check(&context, false).await.findings.is_empty());
    }
}

/// The row with wrong counters, if it has any.
fn miscounted(context: &VerifyContext, key: &Key, bytes: &Bytes) -> Option<Bytes> {
    let wrong = match class(context, key) {
        b'c' => {
            let chunk: ChunkRow = row::decode(key, bytes).unwrap();
            let references = Some(chunk.references + 5).filter(|_| chunk.references > 0)?;
            row::encode(key, &ChunkRow { references, ..chunk })
        }
        b's' => {
            let segment: SegmentRow = row::decode(key, bytes).unwrap();
            row::encode(key, &SegmentRow { live_bytes: 1, chunks: 99, ..segment })
        }
        b'm' if *key == context.catalog_keys.head() => {
            let head: Head = row::decode(key, bytes).unwrap();
            let (next_epoch, live_bytes) = (0, head.live_bytes + 1);
            row::encode(key, &Head { next_epoch, live_bytes, segments: 0, ..head })
        }
        _ => return None,
    };
    Some(wrong)
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_are_mended_by_counting() {
    let (context, _) = make().await;
    let was = everything(&context.catalog).await;
    for (key, bytes) in &was {
        if let Some(wrong) = miscounted(&context, key, bytes) {
            context.catalog.put(key, wrong, Expect::Any).await.unwrap();
        }
    }
    let report = check(&context, true).await;
    assert!(report.findings.len() > 10, "{report:#?}");
    assert!(report.findings.iter().all(|found| found.repaired), "{report:#?}");
    assert_eq!(everything(&context.catalog).await, was);
    assert!(check(&context, false).await.findings.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_or_damaged_row_names_is_not_taken_for_garbage() {
    let (context, _) = make().await;
    let key = context.catalog_keys.history(&name("small"), 2);
    let entry = context.catalog_keys.entry(&name("plain"));
    // Nothing else has the rows.
    for prefix in [context.data_keys.logs(), context.data_keys.checkpoints()] {
        for row in context.data.list_all(&prefix, false).await.unwrap() {
            context.data.delete(&row.key, Expect::Any).await.unwrap();
        }
    }
    let was = everything(&context.catalog).await;
    for (key, damage) in [(&entry, None), (&key, Some(Bytes::from("odd"))), (&key, None)] {
        let whole = context.catalog.get_all(key).await.unwrap().unwrap().value;
        match damage {
            Some(damage) => drop(context.catalog.put(key, damage, Expect::Any).await.unwrap()),
            None => context.catalog.delete(key, Expect::Any).await.unwrap(),
        }
        let report = check(&context, true).await;
        let rows = [Problem::DamagedRow, Problem::MissingRow, Problem::Counter];
        let open = report.findings.iter().filter(|f| !f.repaired && rows.contains(&f.problem));
        assert!(open.clone().any(|found| found.severity == Severity::Error), "{report:#?}");
        assert!(open.clone().all(|found| found.advice.contains("holdall rebuild")), "{report:#?}");
        context.catalog.put(key, whole, Expect::Any).await.unwrap();
        let now = everything(&context.catalog).await;
        let counted = |rows: &[(Key, Bytes)]| -> Vec<(Key, Bytes)> {
            let rows = rows.iter().filter(|(key, _)| b"csm".contains(&class(&context, key)));
            rows.cloned().collect()
        };
        assert_eq!(counted(&now), counted(&was));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_chunk_rows_are_written_anew_from_the_segments() {
    let (context, _) = make().await;
    let was = everything(&context.catalog).await;
    for (key, bytes) in was.iter().filter(|(key, _)| class(&context, key) == b'c') {
        let chunk: ChunkRow = row::decode(key, bytes).unwrap();
        if chunk.references > 0 {
            context.catalog.put(key, bytes.slice(1..), Expect::Any).await.unwrap();
        }
    }
    let report = check(&context, true).await;
    let damaged = report.findings.iter().filter(|found| found.problem == Problem::DamagedRow);
    assert!(damaged.clone().count() > 4 && damaged.clone().all(|f| f.repaired), "{report:#?}");
    let again = check(&context, false).await;
    assert!(again.findings.is_empty(), "{again:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_entry_is_restored_from_checkpoint_and_log() {
    let (context, _) = make().await;
    let was = everything(&context.catalog).await;
    for text in ["small", "plain", "deep", "sealed", "open"] {
        let key = context.catalog_keys.entry(&name(text));
        context.catalog.put(&key, Bytes::from("nonsense"), Expect::Any).await.unwrap();
    }
    let report = check(&context, true).await;
    let damaged = report.findings.iter().filter(|f| f.problem == Problem::DamagedRow);
    assert!(damaged.clone().all(|found| found.repaired), "{report:#?}");
    assert_eq!(damaged.count(), 5);
    assert_eq!(everything(&context.catalog).await, was);
    assert!(check(&context, false).await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_in_between_raise_no_false_alarm() {
    let (context, _) = make().await;
    let was = everything(&context.catalog).await;
    restore(&context.catalog, &was).await;
    // Every progress call commits: the head's revision never stays the same.
    let (catalog, keys) = (Arc::clone(&context.catalog), context.catalog_keys.clone());
    let progress: Arc<ProgressFn> = Arc::new(move |_: Stage, _: &Counts| {
        let key = keys.head();
        // Memory answers at once.
        let head = catalog.get_all(&key).now_or_never().unwrap().unwrap().unwrap();
        catalog.put(&key, head.value, Expect::Any).now_or_never().unwrap().unwrap();
    });
    let options = VerifyOptions { progress: Some(progress), ..VerifyOptions::default() };
    let report = verify(&context, options).await.unwrap();
    let problems: Vec<Problem> = report.findings.iter().map(|found| found.problem).collect();
    assert_eq!(problems, [Problem::Busy], "{report:#?}");
    assert!(report.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_ends_with_what_was_found() {
    let (context, _) = make().await;
    let options = VerifyOptions::default();
    options.cancel.store(true, Ordering::Relaxed);
    let report = verify(&context, options).await.unwrap();
    assert!(!report.complete && !report.is_clean());
    assert!(serde_json::to_string(&report).unwrap().contains("\"complete\":false"));
}

/// What the data path stores is what verifying expects to find.
#[tokio::test(flavor = "multi_thread")]
async fn packed_segments_are_clean() {
    let mut maker = Maker::new();
    people(&mut maker).await;
    let data = DataContext {
        env: maker.context.env.clone(),
        catalog: Arc::clone(&maker.context.catalog),
        data: Arc::clone(&maker.context.data),
        spread: None,
        keys: maker.context.catalog_keys.clone(),
        data_keys: maker.context.data_keys.clone(),
        secret: SECRET,
    };
    let packer = Packer::new(data, 2, PackSettings::from(&Policy::default()));
    let sizes = [1, 5000, 300 << 10, 3 << 20, 9 << 20];
    let mut segments = BTreeMap::new();
    for (seed, size) in (1..).zip(sizes) {
        // Half of it can be compressed.
        let bytes = [noise(seed, size / 2), Bytes::from(vec![b'.'; size - size / 2])].concat();
        let source = source_of(Bytes::from(bytes.clone()));
        let stored = packer.store(source, Compression::Zstd { level: 1 }, None).await.unwrap();
        for chunk in &stored.chunks {
            let Some(place) = chunk.place else { continue };
            if maker.chunks.insert(chunk.id, (place, chunk.level)).is_none() {
                for child in &chunk.children {
                    *maker.references.entry(child.id).or_default() += 1;
                }
            }
        }
        segments.extend(stored.segments.iter().map(|segment| (segment.id, segment.bytes)));
        let entry = maker.entry(seed, Content::Tree(stored.nodes), &bytes);
        maker.put_entry(&format!("of {size} bytes"), entry);
    }
    for (id, bytes) in &segments {
        maker.segment_row(*id, *bytes);
    }
    maker.finish().await;
    let key = maker.context.catalog_keys.sealed();
    let sealed = row::encode(&key, &Sealed::default());
    maker.context.catalog.put(&key, sealed, Expect::Any).await.unwrap();
    let report = check(&maker.context, false).await;
    assert!(report.findings.is_empty(), "{report:#?}");
    let counts = report.counts;
    assert_eq!((counts.segments, counts.entries_read), (segments.len() as u64, 5));
    assert!(counts.chunks > 6 && counts.frames > 4, "{counts:?}");
}

#[test]
fn a_lost_snapshot_comes_back_only_if_all_that_it_pins_is_there() {
    use crate::gc::tests::bed::{self, Bed, at_once, pinned};
    for (lost, pruned) in [("first", false), ("second", false), ("first", true), ("second", true)] {
        crate::gc::tests::story(1, |env| async move {
            let (bed, volume) = Bed::create(env, bed::policy()).await;
            for (seed, snapshot) in [(1, Some("first")), (2, Some("second")), (3, None)] {
                let bytes = bed::noise(seed, 500);
                volume.put(&name("a"), bytes, crate::PutOptions::default()).await.unwrap();
                if let Some(snapshot) = snapshot {
                    volume.snapshot(&name(snapshot)).await.unwrap();
                }
            }
            volume.seal().await.unwrap();
            let key = bed.keys().snapshot(&name(lost));
            bed.catalog.delete(&key, Expect::Any).await.unwrap();
            if pruned {
                assert_eq!(bed.gc(&volume, at_once()).await.versions_pruned, 1);
            }
            let options = VerifyOptions { repair: true, ..VerifyOptions::default() };
            let report = volume.verify(options).await.unwrap();
            let found: Vec<_> = report.findings.iter().filter(|f| f.key == key.as_str()).collect();
            assert_eq!(found.len(), 1, "{report:#?}");
            let restored = lost == "second" && !pruned;
            assert_eq!((found[0].problem, found[0].repaired), (Problem::MissingRow, restored));
            if restored {
                assert_eq!(pinned(&volume, lost, "a").await, bed::noise(2, 500));
                bed.verify().await;
            } else {
                assert!(found[0].advice.contains("holdall rebuild"));
                assert!(bed.catalog.get_all(&key).await.unwrap().is_none());
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_chunk_rows_are_written_anew_from_the_segments() {
    let (context, _) = make().await;
    let was = everything(&context.catalog).await;
    // Lists of chunks and idle chunks are among them.
    for (key, _) in was.iter().filter(|(key, _)| class(&context, key) == b'c') {
        context.catalog.delete(key, Expect::Any).await.unwrap();
    }
    let report = check(&context, false).await;
    assert!(report.findings.iter().any(|f| f.problem == Problem::MissingRow), "{report:#?}");
    let report = check(&context, true).await;
    let open = report.findings.iter().find(|found| !found.repaired);
    assert!(open.is_none(), "{open:#?}");
    assert_eq!(everything(&context.catalog).await, was);
    assert!(check(&context, false).await.findings.is_empty());
}

#[test]
fn an_empty_segment_whose_row_is_damaged_is_condemned() {
    use crate::gc::tests::bed::{self, Bed, at_once};
    use crate::{Condition, PutOptions};
    for is_gone in [false, true] {
        crate::gc::tests::story(1, |env| async move {
            let (bed, volume) = Bed::create(env, bed::policy()).await;
            volume.put(&name("a"), bed::noise(1, 5000), PutOptions::default()).await.unwrap();
            volume.delete(&name("a"), Condition::Always).await.unwrap();
            bed.env.sleep(bed::GRACE).await;
            let first = bed.gc(&volume, crate::gc::GcOptions::default()).await;
            assert_eq!(first.segments_buried, 1);
            if is_gone {
                bed.gc(&volume, at_once()).await;
            }
            let (key, value) = bed.rows('s').await.into_iter().next().unwrap();
            let key = Key::parse(key).unwrap();
            bed.catalog.put(&key, value.slice(1..), Expect::Any).await.unwrap();
            let options = VerifyOptions { repair: true, ..VerifyOptions::default() };
            let report = volume.verify(options).await.unwrap();
            assert!(report.is_clean(), "{report:#?}");
            let value = bed.catalog.get_all(&key).await.unwrap().unwrap().value;
            let row: SegmentRow = row::decode(&key, &value).unwrap();
            let state = if is_gone { SegmentState::Deleted } else { SegmentState::Deleting };
            assert_eq!(row.state, state);
            bed.gc(&volume, at_once()).await;
            assert_eq!(bed.objects().await, 0);
            bed.verify().await;
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_own_rows_of_a_volume_are_written_anew() {
    let (context, _) = make().await;
    let keys = context.catalog_keys.clone();
    let was = everything(&context.catalog).await;
    for key in [keys.volume(), keys.head(), keys.sealed()] {
        let whole = context.catalog.get_all(&key).await.unwrap().unwrap().value;
        for damaged in [None, Some(whole.slice(1..))] {
            match damaged {
                Some(bytes) => drop(context.catalog.put(&key, bytes, Expect::Any).await.unwrap()),
                None => context.catalog.delete(&key, Expect::Any).await.unwrap(),
            }
            let report = check(&context, false).await;
            let found: Vec<_> = report.findings.iter().map(|found| found.key.as_str()).collect();
            assert!(found.iter().all(|found| *found == key.as_str()) && !found.is_empty());
            let report = check(&context, true).await;
            assert!(report.findings.iter().all(|found| found.repaired), "{report:#?}");
            assert!(check(&context, false).await.findings.is_empty());
            let now = context.catalog.get_all(&key).await.unwrap().unwrap().value;
            if key == keys.head() {
                let (was, now): (Head, Head) =
                    (row::decode(&key, &whole).unwrap(), row::decode(&key, &now).unwrap());
                assert!(now.next_epoch > was.next_epoch);
                // The fixture's head has no time.
                assert_eq!(now.time.as_micros(), now.sequence);
                let (time, next_epoch) = (was.time, was.next_epoch);
                assert_eq!(Head { time, next_epoch, ..now }, was);
            } else if key == keys.sealed() {
                let (was, now): (Sealed, Sealed) =
                    (row::decode(&key, &whole).unwrap(), row::decode(&key, &now).unwrap());
                assert_eq!(Sealed { time: was.time, ..now }, was);
            }
            let next = if key == keys.volume() { now } else { whole.clone() };
            context.catalog.put(&key, next, Expect::Any).await.unwrap();
        }
    }
    assert_eq!(everything(&context.catalog).await, was);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_is_not_counted_from_rows_of_which_some_are_lost() {
    let (context, _) = make().await;
    let head = context.catalog_keys.head();
    let part = context.catalog_keys.part("some", 1);
    for key in [&head, &part] {
        context.catalog.put(key, Bytes::from("odd"), Expect::Any).await.unwrap();
    }
    let report = check(&context, true).await;
    let open = report.findings.iter().filter(|found| !found.repaired);
    let open: Vec<_> = open.filter(|found| found.problem == Problem::DamagedRow).collect();
    assert_eq!(open.len(), 2, "{report:#?}");
    assert!(open.iter().all(|found| found.advice.contains("holdall rebuild")));
}

//! Tests of collecting garbage, and what they share with those of rebuilding.
#![allow(clippy::unwrap_used, reason = "tests")]

pub(crate) mod bed;
mod crash;
mod lifecycle;
mod races;
mod writers;

use std::time::Duration;

use holdall_core::{BackendExt, ErrorKind, Expect};
use holdall_testkit::Chance;
use holdall_testkit::sim::{Simulation, seeds};

use super::GcOptions;
use crate::format::keys::DataKeys;
use crate::format::policy::Policy;
use crate::format::upload::UPLOAD_LEASE;
use crate::write::PutOptions;
use crate::{Condition, Volume};
use bed::{Bed, GRACE, at_once, name, noise, pinned, policy, upload, work};

const MINUTE: Duration = Duration::from_secs(60);

/// Runs a story in a simulation whose wall clock does not jump.
pub(crate) fn story<F: Future<Output = ()>>(seed: u64, start: impl FnOnce(holdall_core::Env) -> F) {
    Simulation::new(seed).with_clock_jumps(0).run(start).unwrap();
}

/// Deletes everything that a volume holds.
async fn empty(volume: &Volume) {
    volume.delete_prefix("").await.unwrap();
    for snapshot in volume.snapshots().await.unwrap() {
        volume.delete_snapshot(&snapshot.name).await.unwrap();
    }
    for info in volume.uploads().await.unwrap() {
        volume.resume_upload(&info.id).await.unwrap().abort().await.unwrap();
    }
}

#[test]
fn every_counter_equals_a_recount_after_any_work_and_any_pass() {
    seeds(6, |seed| {
        story(seed, |env| async move {
            let mut chance = Chance::new(seed);
            let history = [Duration::ZERO, 10 * MINUTE][chance.index(2)];
            let (bed, volume) = Bed::create(env, Policy { history, ..policy() }).await;
            for _ in 0..6 {
                for _ in 0..15 {
                    work(&volume, &mut chance).await;
                    bed.env.sleep(Duration::from_secs(chance.below(60))).await;
                }
                let before = bed.show(&volume).await;
                bed.gc(&volume, at_once()).await;
                bed.verify().await;
                let after = bed.show(&volume).await;
                assert_eq!((before.entries, before.snapshots), (after.entries, after.snapshots));
            }
            // When nothing is left, nothing is left.
            empty(&volume).await;
            bed.env.sleep(20 * MINUTE).await;
            for _ in 0..3 {
                bed.gc(&volume, at_once()).await;
            }
            bed.verify().await;
            for class in ['e', 'h', 'r', 'c', 'i', 'p', 'u', 'q', 'x', 'a'] {
                assert!(bed.rows(class).await.is_empty(), "rows of class {class}");
            }
            assert_eq!(bed.objects().await, 0);
            let usage = volume.usage().await.unwrap();
            assert_eq!((usage.segments, usage.segment_bytes, usage.live_bytes), (0, 0, 0));
        });
    });
}

#[test]
fn a_dry_run_changes_nothing_and_says_what_would_be_done() {
    story(1, |env| async move {
        let (bed, volume) = Bed::create(env, policy()).await;
        volume.put(&name("a"), noise(1, 5000), PutOptions::default()).await.unwrap();
        volume.delete(&name("a"), Condition::Always).await.unwrap();
        let before = bed.catalog.list_all("", true).await.unwrap();
        let report = bed.gc(&volume, GcOptions { dry_run: true, ..at_once() }).await;
        assert_eq!((report.chunks_dropped, report.segments_deleted), (1, 0));
        assert_eq!(bed.catalog.list_all("", true).await.unwrap(), before);
        assert_eq!(bed.objects().await, 1);
    });
}

#[test]
fn garbage_waits_a_grace_as_chunk_and_a_grace_as_segment() {
    story(1, |env| async move {
        let (bed, volume) = Bed::create(env, policy()).await;
        volume.put(&name("a"), noise(1, 5000), PutOptions::default()).await.unwrap();
        volume.delete(&name("a"), Condition::Always).await.unwrap();
        bed.env.sleep(GRACE - MINUTE).await;
        let report = bed.gc(&volume, GcOptions::default()).await;
        assert_eq!((report.chunks_dropped, report.segments_buried), (0, 0));
        // What is named again in time stays.
        volume.put(&name("b"), noise(1, 5000), PutOptions::default()).await.unwrap();
        bed.env.sleep(2 * GRACE).await;
        let report = bed.gc(&volume, GcOptions::default()).await;
        // Its second copy is of no use: the row was still there when it came.
        assert_eq!((report.chunks_dropped, report.segments_buried), (0, 1));
        volume.delete(&name("b"), Condition::Always).await.unwrap();
        bed.env.sleep(GRACE).await;
        let report = bed.gc(&volume, GcOptions::default()).await;
        // The useless copy has been dead for two graces; the chunk goes now, and then its segment.
        let done = (report.chunks_dropped, report.segments_buried, report.segments_deleted);
        assert_eq!(done, (1, 1, 1));
        let before = bed.objects().await;
        bed.env.sleep(GRACE - MINUTE).await;
        assert_eq!(bed.gc(&volume, GcOptions::default()).await.segments_deleted, 0);
        bed.env.sleep(MINUTE).await;
        let report = bed.gc(&volume, GcOptions::default()).await;
        assert!(report.segments_deleted >= 1 && bed.objects().await < before, "{report:?}");
        bed.verify().await;
    });
}

#[test]
fn a_short_grace_must_be_asked_for_by_its_name() {
    story(1, |env| async move {
        let (_bed, volume) = Bed::create(env, policy()).await;
        let options = GcOptions { grace: Some(MINUTE), ..GcOptions::default() };
        let error = volume.gc(options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let options = GcOptions { grace: Some(2 * GRACE), ..GcOptions::default() };
        assert!(volume.gc(options).await.unwrap().complete);
    });
}

#[test]
fn history_is_kept_as_long_as_the_policy_says() {
    story(1, |env| async move {
        let (bed, volume) = Bed::create(env, Policy { history: GRACE, ..policy() }).await;
        for seed in 0..3 {
            volume.put(&name("a"), noise(seed, 500), PutOptions::default()).await.unwrap();
            bed.env.sleep(GRACE / 2).await;
        }
        // The first was superseded a grace ago, the second half a grace ago.
        let report = bed.gc(&volume, GcOptions::default()).await;
        assert_eq!((report.versions_pruned, report.version_bytes_pruned), (1, 500));
        let versions: Vec<_> = bed.show(&volume).await.versions.into_values().collect();
        assert_eq!(versions, [noise(1, 500)]);
        bed.env.sleep(GRACE / 2).await;
        assert_eq!(bed.gc(&volume, GcOptions::default()).await.versions_pruned, 1);
        assert!(bed.rows('r').await.is_empty());
        bed.verify().await;
    });
}

#[test]
fn a_policy_that_another_handle_has_changed_holds() {
    story(1, |env| async move {
        let (bed, old) = Bed::create(env, policy()).await;
        let volume = bed.open().await;
        let longer = Policy { history: 100 * GRACE, grace: 2 * GRACE, ..policy() };
        volume.set_policy(longer).await.unwrap();
        for seed in 0..2 {
            volume.put(&name("a"), noise(seed, 500), PutOptions::default()).await.unwrap();
        }
        bed.env.sleep(2 * GRACE).await;
        let short = GcOptions { grace: Some(GRACE), ..GcOptions::default() };
        assert_eq!(old.gc(short).await.unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(bed.gc(&old, GcOptions::default()).await.versions_pruned, 0);
        assert_eq!(bed.rows('h').await.len(), 1);
        bed.verify().await;
    });
}

#[test]
fn a_snapshot_pins_what_it_shows_and_nothing_else() {
    story(1, |env| async move {
        let (bed, volume) = Bed::create(env, policy()).await;
        volume.put(&name("a"), noise(1, 500), PutOptions::default()).await.unwrap();
        volume.snapshot(&name("first")).await.unwrap();
        volume.put(&name("a"), noise(2, 500), PutOptions::default()).await.unwrap();
        volume.snapshot(&name("second")).await.unwrap();
        volume.put(&name("a"), noise(3, 500), PutOptions::default()).await.unwrap();
        assert_eq!(bed.gc(&volume, at_once()).await.versions_pruned, 0);
        assert_eq!(pinned(&volume, "first", "a").await, noise(1, 500));
        assert_eq!(pinned(&volume, "second", "a").await, noise(2, 500));
        volume.delete_snapshot(&name("first")).await.unwrap();
        assert_eq!(bed.gc(&volume, at_once()).await.versions_pruned, 1);
        assert_eq!(pinned(&volume, "second", "a").await, noise(2, 500));
        volume.delete_snapshot(&name("second")).await.unwrap();
        assert_eq!(bed.gc(&volume, at_once()).await.versions_pruned, 1);
        // Nothing is pinned any more, so nothing is kept any more.
        volume.put(&name("a"), noise(4, 500), PutOptions::default()).await.unwrap();
        assert!(bed.rows('h').await.is_empty());
        bed.verify().await;
    });
}

#[test]
fn entries_end_and_uploads_are_aborted_when_their_time_has_come() {
    story(1, |env| async move {
        let (bed, volume) = Bed::create(env, policy()).await;
        let soon = bed.env.now().plus(MINUTE);
        volume.put(&name("a"), noise(1, 500), PutOptions::default().expires(soon)).await.unwrap();
        let later = PutOptions::default().expires(soon.plus(GRACE));
        volume.put(&name("b"), noise(2, 500), later).await.unwrap();
        upload(&volume, &name("c"), 5, false).await;
        bed.env.sleep(2 * MINUTE).await;
        let report = bed.gc(&volume, GcOptions::default()).await;
        assert_eq!((report.entries_expired, report.uploads_aborted), (1, 0));
        assert_eq!((bed.rows('e').await.len(), bed.rows('x').await.len()), (1, 1));
        bed.env.sleep(UPLOAD_LEASE).await;
        let report = bed.gc(&volume, GcOptions::default()).await;
        assert_eq!((report.entries_expired, report.uploads_aborted), (1, 1));
        assert!(bed.rows('u').await.is_empty() && bed.rows('q').await.is_empty());
        bed.verify().await;
    });
}

#[test]
fn mostly_dead_segments_are_repacked_and_read_as_before() {
    story(1, |env| async move {
        let (bed, volume) = Bed::create(env, policy()).await;
        let items = (0..60).map(|seed| crate::PutItem {
            name: name(format!("{seed:02}")),
            bytes: noise(seed, 3000),
            options: PutOptions::default(),
        });
        volume.put_many(items.collect()).await.unwrap();
        for seed in (0..60).filter(|seed| seed % 4 != 0) {
            volume.delete(&name(format!("{seed:02}")), Condition::Always).await.unwrap();
        }
        let shown = bed.show(&volume).await;
        assert_eq!(shown.entries.len(), 15);
        let none = GcOptions { repack_bytes_max: 0, ..at_once() };
        assert_eq!(bed.gc(&volume, none).await.chunks_moved, 0);
        let before = volume.usage().await.unwrap();
        let report = bed.gc(&volume, at_once()).await;
        assert_eq!((report.chunks_moved, report.segments_damaged), (15, 0), "{report:?}");
        bed.gc(&volume, at_once()).await;
        let after = volume.usage().await.unwrap();
        assert!(after.segment_bytes < before.segment_bytes / 2, "{before:?} {after:?}");
        assert_eq!(bed.show(&volume).await, shown);
        assert_eq!(bed.show(&bed.open().await).await, shown);
        bed.verify().await;
        // It comes to an end.
        assert_eq!(bed.gc(&volume, at_once()).await.chunks_moved, 0);
    });
}

#[test]
fn tiny_segments_are_merged_once() {
    story(1, |env| async move {
        let (bed, volume) = Bed::create(env, policy()).await;
        for seed in 0..6 {
            let name = name(format!("{seed}"));
            volume.put(&name, noise(seed, 500), PutOptions::default()).await.unwrap();
        }
        let shown = bed.show(&volume).await;
        assert_eq!(bed.objects().await, 6);
        assert_eq!(bed.gc(&volume, at_once()).await.segments_repacked, 6);
        bed.gc(&volume, at_once()).await;
        assert_eq!(bed.objects().await, 1);
        assert_eq!(bed.gc(&volume, at_once()).await.segments_repacked, 0);
        assert_eq!(bed.show(&volume).await, shown);
        bed.verify().await;
    });
}

#[test]
fn a_segment_that_chunk_rows_name_is_not_deleted_whatever_its_row_says() {
    use crate::format::row;
    use crate::format::segment::{SegmentRow, SegmentState};
    for damaged in [false, true] {
        story(1, |env| async move {
            let (bed, volume) = Bed::create(env, policy()).await;
            volume.put(&name("a"), noise(1, 5000), PutOptions::default()).await.unwrap();
            let (key, value) = bed.rows('s').await.into_iter().next().unwrap();
            let key = holdall_core::Key::parse(key).unwrap();
            let segment: SegmentRow = row::decode(&key, &value).unwrap();
            let since = bed.env.now();
            let wrong = SegmentRow { chunks: 0, state: SegmentState::Dead { since }, ..segment };
            bed.catalog.put(&key, row::encode(&key, &wrong), Expect::Any).await.unwrap();
            if damaged {
                let object = DataKeys::new(bed.id).segment(bed.keys().segment_id(&key).unwrap());
                let mut bytes = bed.data.get_all(&object).await.unwrap().unwrap().value.to_vec();
                let last = bytes.len() - 1;
                bytes[last] ^= 1;
                bed.data.put(&object, bytes.into(), Expect::Any).await.unwrap();
            }
            let error = volume.gc(at_once()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert_eq!(bed.objects().await, 1);
            let read = volume.get(&name("a")).await.unwrap().unwrap().bytes().await.unwrap();
            assert_eq!(read, noise(1, 5000));
        });
    }
}

#[test]
fn the_feed_keeps_a_day_and_what_is_not_sealed() {
    story(1, |env| async move {
        let (bed, volume) = Bed::create(env, policy()).await;
        for seed in 0..5 {
            let name = name(format!("{seed}"));
            volume.put(&name, noise(seed, 20), PutOptions::default()).await.unwrap();
        }
        volume.seal().await.unwrap();
        assert_eq!(bed.gc(&volume, GcOptions::default()).await.feed_rows_pruned, 0);
        bed.env.sleep(25 * GRACE).await;
        volume.put(&name("new"), noise(9, 20), PutOptions::default()).await.unwrap();
        assert_eq!(bed.gc(&volume, GcOptions::default()).await.feed_rows_pruned, 5);
        assert_eq!(bed.rows('l').await.len(), 1);
        bed.verify().await;
        // The feed goes on from the log on the data backend.
        let (mut commits, mut after) = (Vec::new(), 0);
        loop {
            let page = volume.changes(after, 100).await.unwrap();
            commits.extend(page.commits.into_iter().map(|commit| commit.sequence));
            after = page.next;
            if !page.more {
                break;
            }
        }
        assert_eq!(commits, [1, 2, 3, 4, 5, 6]);
    });
}

#[test]
fn a_cancelled_pass_says_so() {
    story(1, |env| async move {
        let (_bed, volume) = Bed::create(env, policy()).await;
        let options = at_once();
        options.cancel.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(!volume.gc(options).await.unwrap().complete);
    });
}

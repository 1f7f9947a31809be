//! A catalog that is lost and rebuilt is the one that was lost.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;
use holdall_core::{Backend, BackendExt, Env, ErrorKind, Expect, Key, Memory};
use holdall_testkit::sim::seeds;
use holdall_testkit::{Chance, Crash, CrashPoints, Crashing, Fault, Plan};

use super::{RebuildOptions, RebuildReport, RebuildSource};
use crate::Condition;
use crate::checkpoint::list_checkpoints;
use crate::format::head::Head;
use crate::format::keys::DataKeys;
use crate::format::policy::Policy;
use crate::format::row;
use crate::gc::tests::bed::{Bed, GRACE, Shown, at_once, name, noise, policy, upload, work};
use crate::gc::tests::story;
use crate::volume::{Resources, Volume};
use crate::write::PutOptions;

/// A volume with work behind it, sealed and closed. Makes checkpoints where it is told to.
async fn worked(env: Env, seed: u64, checkpoints: usize) -> (Bed, Shown) {
    let policy = Policy { history: 100 * GRACE, ..policy() };
    let (bed, volume) = Bed::create(env, policy).await;
    let mut chance = Chance::new(seed);
    for number in 0..3 {
        for _ in 0..20 {
            work(&volume, &mut chance).await;
        }
        if number == 1 {
            bed.gc(&volume, at_once()).await;
        }
        if number < checkpoints {
            volume.checkpoint().await.unwrap();
        }
    }
    volume.put(&name("last"), noise(77, 9000), PutOptions::default()).await.unwrap();
    volume.seal().await.unwrap();
    let shown = bed.show(&volume).await;
    volume.close().await.unwrap();
    (bed, shown)
}

/// The same volume, its catalog lost.
fn lose(bed: &Bed) -> Bed {
    Bed { catalog: Arc::new(Memory::new()), ..bed.clone() }
}

async fn rebuild(bed: &Bed) -> (Volume, RebuildReport) {
    Volume::rebuild(bed.resources(), bed.id, RebuildOptions::default()).await.unwrap()
}

async fn head(bed: &Bed) -> Head {
    let key = bed.keys().head();
    row::decode(&key, &bed.catalog.get_all(&key).await.unwrap().unwrap().value).unwrap()
}

/// Rows that must be the same, byte for byte, wherever they came from.
async fn same_rows(old: &Bed, new: &Bed, classes: &[char]) {
    for class in classes {
        let (old, new) = (old.rows(*class).await, new.rows(*class).await);
        assert_eq!(old, new, "rows of class {class}");
    }
    let (old, new) = (head(old).await, head(new).await);
    let counted = |head: &Head| {
        (head.sequence, head.entries, head.bytes, head.history_entries, head.history_bytes)
    };
    assert_eq!(counted(&old), counted(&new));
    assert!(new.next_epoch > old.next_epoch && new.time >= old.time);
}

/// The volume goes on as if nothing had been.
async fn goes_on(bed: &Bed, volume: &Volume, seed: u64) {
    let mut chance = Chance::new(seed);
    for _ in 0..20 {
        work(volume, &mut chance).await;
    }
    bed.gc(volume, at_once()).await;
    bed.verify().await;
    volume.seal().await.unwrap();
    bed.verify().await;
}

#[test]
fn from_checkpoint_and_log() {
    seeds(4, |seed| {
        for checkpoints in 1..=3 {
            story(seed, |env| async move {
                let (old, shown) = worked(env, seed, checkpoints).await;
                let new = lose(&old);
                let (volume, report) = rebuild(&new).await;
                assert!(matches!(report.source, RebuildSource::Checkpoint { .. }), "{report:?}");
                assert!(report.is_whole() && report.checkpoints_skipped.is_empty(), "{report:?}");
                assert_eq!(report.recoverable_upto, report.sequence);
                assert_eq!(new.show(&volume).await, shown);
                same_rows(&old, &new, &['e', 'h', 'p', 'x', 'a']).await;
                new.verify().await;
                goes_on(&new, &volume, seed).await;
            });
        }
    });
}

#[test]
fn from_checkpoints_that_were_made_while_commits_went_on() {
    seeds(12, |seed| {
        story(seed, |env| async move {
            let policy = Policy { history: 100 * GRACE, ..policy() };
            let (old, volume) = Bed::create(env.clone(), policy).await;
            // What is copied before the entries that change gives these time to do so.
            for number in 0..40 {
                let filler = name(format!("filler-{number}"));
                volume.put(&filler, noise(number, 20), PutOptions::default()).await.unwrap();
            }
            let mut writers = Vec::new();
            for actor in 0..3 {
                let (sender, receiver) = oneshot::channel();
                let volume = old.slow(Plan::new(seed + actor)).open().await;
                let mut chance = Chance::new(seed * 10 + actor);
                let env = env.clone();
                env.clone().spawn(async move {
                    for _ in 0..60 {
                        let one = name(format!("name-{}", chance.below(4)));
                        let size = [20, 300][chance.index(2)];
                        let bytes = noise(chance.below(8), size);
                        match chance.below(10) {
                            0..6 => {
                                drop(volume.put(&one, bytes, PutOptions::default()).await.unwrap())
                            }
                            6..9 => drop(volume.delete(&one, Condition::Always).await),
                            _ => work(&volume, &mut chance).await,
                        }
                        env.sleep(Duration::from_millis(chance.below(5))).await;
                    }
                    volume.close().await.unwrap();
                    let _ = sender.send(());
                });
                writers.push(receiver);
            }
            let slow = Plan::new(seed).everywhere(Fault::Slow(Duration::from_millis(2)), 1000);
            let other = old.slow(slow).open().await;
            for _ in 0..3 {
                env.sleep(Duration::from_millis(env.random_below(200))).await;
                other.checkpoint().await.unwrap();
            }
            for writer in writers {
                writer.await.unwrap();
            }
            other.seal().await.unwrap();
            let shown = old.show(&other).await;
            for newest_is_there in [true, false] {
                let new = lose(&old);
                let (volume, report) = rebuild(&new).await;
                assert!(report.is_whole(), "{report:?}");
                assert_eq!(new.show(&volume).await, shown);
                same_rows(&old, &new, &['e', 'h', 'p', 'x', 'a']).await;
                if newest_is_there {
                    new.verify().await;
                }
                // Then from the older one, over which more commits went.
                let keys = DataKeys::new(old.id);
                let newest = list_checkpoints(old.data.as_ref(), &keys).await.unwrap()[0];
                cut(&old, &keys.manifest(newest.sequence, newest.epoch)).await;
            }
        });
    });
}

#[test]
fn from_the_log_alone() {
    seeds(4, |seed| {
        story(seed, |env| async move {
            let (old, shown) = worked(env, seed, 0).await;
            let new = lose(&old);
            let (volume, report) = rebuild(&new).await;
            assert_eq!(report.source, RebuildSource::Log);
            assert!(report.is_whole(), "{report:?}");
            assert_eq!(new.show(&volume).await, shown);
            same_rows(&old, &new, &['e', 'h', 'p', 'x', 'a']).await;
            new.verify().await;
            goes_on(&new, &volume, seed).await;
        });
    });
}

#[test]
fn history_that_was_extended_later_brings_nothing_back() {
    for short in [Duration::ZERO, GRACE] {
        story(1, |env| async move {
            let (old, volume) = Bed::create(env, Policy { history: short, ..policy() }).await;
            for seed in 0..2 {
                volume.put(&name("a"), noise(seed, 5000), PutOptions::default()).await.unwrap();
            }
            old.env.sleep(2 * GRACE).await;
            for _ in 0..3 {
                old.gc(&volume, at_once()).await;
            }
            assert!(old.rows('h').await.is_empty());
            let longer = Policy { history: 100 * GRACE, ..volume.policy() };
            volume.set_policy(longer).await.unwrap();
            old.env.sleep(GRACE).await;
            volume.put(&name("a"), noise(2, 5000), PutOptions::default()).await.unwrap();
            volume.seal().await.unwrap();
            let shown = old.show(&volume).await;
            assert_eq!(shown.versions.len(), 1);
            let new = lose(&old);
            let (volume, report) = rebuild(&new).await;
            assert!(report.is_whole(), "{report:?}");
            assert_eq!(new.show(&volume).await, shown);
            same_rows(&old, &new, &['e', 'h']).await;
            new.verify().await;
        });
    }
}

/// Cuts an object's last byte off.
async fn cut(bed: &Bed, key: &Key) {
    let value = bed.data.get_all(key).await.unwrap().unwrap().value;
    bed.data.put(key, value.slice(..value.len() - 1), Expect::Any).await.unwrap();
}

#[test]
fn a_damaged_checkpoint_costs_nothing() {
    for (whole, part) in [(2, "00000000"), (2, "manifest"), (1, "00000000")] {
        story(5, |env| async move {
            let (old, shown) = worked(env, 5, whole).await;
            let keys = DataKeys::new(old.id);
            let newest = list_checkpoints(old.data.as_ref(), &keys).await.unwrap()[0];
            let manifest = keys.manifest(newest.sequence, newest.epoch);
            let key = manifest.as_str().replace("manifest", part);
            cut(&old, &Key::parse(key).unwrap()).await;
            let new = lose(&old);
            let (volume, report) = rebuild(&new).await;
            assert_eq!(report.checkpoints_skipped.len(), 1);
            let older = match report.source {
                RebuildSource::Checkpoint { sequence } => sequence < newest.sequence,
                _ => false,
            };
            assert!(older || whole == 1 && report.source == RebuildSource::Log, "{report:?}");
            assert!(report.is_whole(), "{report:?}");
            assert_eq!(new.show(&volume).await, shown);
            same_rows(&old, &new, &['e', 'h', 'p', 'x', 'a']).await;
        });
    }
}

/// Deletes all objects of the log and all checkpoints.
async fn lose_log(bed: &Bed) {
    let keys = DataKeys::new(bed.id);
    for prefix in [keys.logs(), keys.checkpoints()] {
        for row in bed.data.list_all(&prefix, false).await.unwrap() {
            bed.data.delete(&row.key, Expect::Any).await.unwrap();
        }
    }
}

#[test]
fn from_segments_alone() {
    story(1, |env| async move {
        let (old, volume) = Bed::create(env, policy()).await;
        volume.put(&name("inline"), noise(1, 20), PutOptions::default()).await.unwrap();
        let options = PutOptions::default().attribute("colour", "red").content_type("text/plain");
        volume.put(&name("first"), noise(2, 5000), options.clone()).await.unwrap();
        volume.put(&name("twice"), noise(3, 5000), options.clone()).await.unwrap();
        volume.put(&name("twice"), noise(4, 50_000), options).await.unwrap();
        upload(&volume, &name("parts"), 5, true).await;
        volume.close().await.unwrap();
        lose_log(&old).await;
        let new = lose(&old);
        let (volume, report) = rebuild(&new).await;
        assert_eq!((report.source, report.entries), (RebuildSource::Segments, 3));
        assert!(!report.is_whole() && report.incomplete.is_empty(), "{report:?}");
        for text in ["first", "twice", "parts"] {
            let old = old.open().await.get(&name(text)).await.unwrap().unwrap();
            let new = volume.get(&name(text)).await.unwrap().unwrap();
            assert_eq!(old.bytes().await.unwrap(), new.bytes().await.unwrap());
            let (old, new) = (old.into_entry(), new.into_entry());
            assert_eq!((old.attributes, old.content_type), (new.attributes, new.content_type));
        }
        new.verify().await;
        goes_on(&new, &volume, 1).await;
        // What was rebuilt is in the log now, so that the next time it is whole.
        let shown = new.show(&volume).await;
        volume.close().await.unwrap();
        let again = lose(&new);
        let (volume, report) = rebuild(&again).await;
        assert!(report.is_whole(), "{report:?}");
        assert_eq!(again.show(&volume).await.entries, shown.entries);
    });
}

#[test]
fn commits_that_are_missing_are_named_and_their_numbers_not_given_again() {
    for lost in 0..3_usize {
        story(1, |env| async move {
            let (old, volume) = Bed::create(env, policy()).await;
            for seed in 0..3 {
                for text in ["a", "b"] {
                    let name = name(format!("{text}{seed}"));
                    let bytes = noise(10 * seed + u64::from(text == "b"), 5000);
                    volume.put(&name, bytes, PutOptions::default()).await.unwrap();
                }
                volume.seal().await.unwrap();
            }
            volume.close().await.unwrap();
            let keys = DataKeys::new(old.id);
            let runs = old.data.list_all(&keys.logs(), false).await.unwrap();
            assert_eq!(runs.len(), 3);
            cut(&old, &runs[lost].key).await;
            let new = lose(&old);
            let (volume, report) = rebuild(&new).await;
            let first = 2 * lost as u64 + 1;
            assert_eq!(report.missing, [(first, first + 1)]);
            assert_eq!((report.sequence, report.commits_missing, report.log_damaged), (6, 2, 1));
            let upto = if lost == 0 { 0 } else { first - 1 };
            assert_eq!(report.recoverable_upto, upto);
            // What was before and behind is there; what the segments name, if nothing else does.
            let entries = if lost == 0 { 6 } else { 4 };
            assert_eq!(new.show(&volume).await.entries.len(), entries);
            let put = volume.put(&name("new"), noise(9, 20), PutOptions::default()).await.unwrap();
            assert_eq!(put.version, 7);
        });
    }
}

#[test]
fn a_catalog_that_is_there_is_not_thrown_away_unasked() {
    story(1, |env| async move {
        let (bed, volume) = Bed::create(env, policy()).await;
        volume.put(&name("a"), noise(1, 5000), PutOptions::default()).await.unwrap();
        let rebuilt = Volume::rebuild(bed.resources(), bed.id, RebuildOptions::default()).await;
        assert_eq!(rebuilt.unwrap_err().kind(), ErrorKind::Invalid);
        // Asked for, what was not sealed is sealed first.
        let options = RebuildOptions { replace: true, ..RebuildOptions::default() };
        let (new, report) = Volume::rebuild(bed.resources(), bed.id, options).await.unwrap();
        assert!(report.is_whole() && report.sequence == 1, "{report:?}");
        assert!(new.get(&name("a")).await.unwrap().is_some());
        // Who had it open before can no longer write.
        let stale = volume.put(&name("b"), noise(2, 20), PutOptions::default()).await;
        assert_eq!(stale.unwrap_err().kind(), ErrorKind::Closed);
        assert!(new.get(&name("b")).await.unwrap().is_none());
        bed.verify().await;
    });
}

#[test]
fn missing_segments_are_named_by_the_entries_that_lack_them() {
    story(1, |env| async move {
        let (old, volume) = Bed::create(env, policy()).await;
        volume.put(&name("gone"), noise(1, 5000), PutOptions::default()).await.unwrap();
        volume.put(&name("here"), noise(2, 5000), PutOptions::default()).await.unwrap();
        volume.close().await.unwrap();
        let keys = DataKeys::new(old.id);
        let segments = old.data.list_all(&keys.segments(), false).await.unwrap();
        old.data.delete(&segments[0].key, Expect::Any).await.unwrap();
        let new = lose(&old);
        let (volume, report) = rebuild(&new).await;
        assert_eq!(
            (report.chunks_missing, report.incomplete.as_slice()),
            (1, &["gone".to_owned()][..])
        );
        let here = volume.get(&name("here")).await.unwrap().unwrap();
        assert_eq!(here.bytes().await.unwrap(), noise(2, 5000));
        // It can still be deleted.
        assert!(volume.delete(&name("gone"), Condition::Always).await.unwrap());
        new.verify().await;
    });
}

#[test]
fn a_segment_without_a_directory_is_read_frame_by_frame() {
    story(4, |env| async move {
        let (old, shown) = worked(env, 4, 1).await;
        let keys = DataKeys::new(old.id);
        for object in old.data.list_all(&keys.segments(), false).await.unwrap() {
            cut(&old, &object.key).await;
        }
        let new = lose(&old);
        let (volume, report) = rebuild(&new).await;
        assert!(report.segments_damaged > 0 && report.frames_damaged == 0, "{report:?}");
        assert_eq!(new.show(&volume).await, shown);
    });
}

#[test]
fn an_interrupted_rebuild_begins_again() {
    story(6, |env| async move {
        let (old, shown) = worked(env, 6, 1).await;
        let mut nth = 1;
        loop {
            // On what an earlier rebuild has left, too.
            let new = Bed { data: old.copy().await.data, ..lose(&old) };
            let points = CrashPoints::nth(nth, Crash::Close);
            let wrap = |inner: &Arc<dyn Backend>| -> Arc<dyn Backend> {
                Arc::new(Crashing::new(Arc::clone(inner), points.clone()))
            };
            let resources = Resources {
                catalog: wrap(&new.catalog),
                data: wrap(&new.data).into(),
                ..new.resources()
            };
            let first = Volume::rebuild(resources, new.id, RebuildOptions::default()).await;
            if !points.has_crashed() {
                first.unwrap();
                break;
            }
            let whole = new.catalog.get_all(&new.keys().head()).await.unwrap().is_some();
            let volume = if whole { new.open().await } else { rebuild(&new).await.0 };
            assert_eq!(new.show(&volume).await, shown);
            new.verify().await;
            nth += 1;
        }
        assert!(nth > 4, "only {nth} points");
    });
}

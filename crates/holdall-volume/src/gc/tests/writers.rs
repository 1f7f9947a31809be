//! Writers that ended, stalled, or never wrote what they stored.

use std::time::Duration;

use futures::future::{BoxFuture, pending};
use holdall_core::{BackendExt, Env, Environment, ErrorKind, Expect, Timestamp};

use super::bed::{Bed, GRACE, at_once, name, noise, policy};
use super::story;
use crate::data::source_of;
use crate::format::keys::DataKeys;
use crate::format::policy::Compression;
use crate::gc::GcOptions;
use crate::volume::{Resources, Volume};
use crate::write::PutOptions;

/// An environment in which nobody wakes up who sleeps for long: a writer in it does not renew its
/// lease.
#[derive(Debug)]
struct Asleep(Env);

impl Environment for Asleep {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if duration < Duration::from_secs(1) { self.0.sleep(duration) } else { Box::pin(pending()) }
    }

    fn random(&self, bytes: &mut [u8]) {
        bytes.fill_with(|| self.0.random::<1>()[0]);
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.spawn(task);
    }

    fn blocking(&self, job: Box<dyn FnOnce() + Send + 'static>) {
        drop(self.0.blocking(job));
    }
}

/// Stores bytes that no commit will name.
async fn strand(volume: &Volume, seed: u64) {
    let writer = volume.shared.writer().await.unwrap();
    let source = source_of(noise(seed, 5000));
    writer.packer.store(source, Compression::None, None).await.unwrap();
}

#[test]
fn a_stalled_writer_is_ended_first_and_swept_a_grace_later() {
    story(1, |env| async move {
        let (bed, _) = Bed::create(env, policy()).await;
        let resources = Resources { env: Env::new(Asleep(bed.env.clone())), ..bed.resources() };
        let stalled = Volume::open(resources, bed.id).await.unwrap();
        stalled.put(&name("a"), noise(1, 5000), PutOptions::default()).await.unwrap();
        strand(&stalled, 2).await;
        assert_eq!(bed.objects().await, 2);
        let volume = bed.open().await;
        volume.put(&name("b"), noise(3, 20), PutOptions::default()).await.unwrap();
        let report = bed.gc(&volume, GcOptions::default()).await;
        assert_eq!((report.writers_ended, report.orphans_deleted), (0, 0));
        bed.env.sleep(GRACE + Duration::from_secs(60)).await;
        let report = bed.gc(&volume, GcOptions::default()).await;
        assert_eq!((report.writers_ended, report.orphans_deleted), (1, 0));
        // What it stored is still there, but it can name nothing any more.
        let error = stalled.put(&name("c"), noise(4, 20), PutOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert_eq!(bed.gc(&volume, GcOptions::default()).await.orphans_deleted, 0);
        assert_eq!(bed.objects().await, 2);
        bed.env.sleep(GRACE + Duration::from_secs(60)).await;
        let report = bed.gc(&volume, GcOptions::default()).await;
        assert_eq!((report.orphans_deleted, report.writers_forgotten), (1, 1));
        assert_eq!(bed.objects().await, 1);
        let read = volume.get(&name("a")).await.unwrap().unwrap().bytes().await.unwrap();
        assert_eq!(read, noise(1, 5000));
        bed.verify().await;
    });
}

#[test]
fn no_orphan_of_a_writer_that_lives_is_touched() {
    story(1, |env| async move {
        let (bed, volume) = Bed::create(env, policy()).await;
        let other = bed.open().await;
        strand(&volume, 1).await;
        strand(&other, 2).await;
        // Their heartbeats go on, so neither lease runs out.
        bed.env.sleep(3 * GRACE).await;
        for _ in 0..2 {
            let report = bed.gc(&volume, at_once()).await;
            assert_eq!((report.orphans_deleted, report.writers_ended), (0, 0));
        }
        assert_eq!(bed.objects().await, 2);
        // One that has ended by itself is swept, its tombstones too.
        other.close().await.unwrap();
        let report = bed.gc(&volume, at_once()).await;
        assert_eq!((report.orphans_deleted, report.writers_forgotten), (1, 1));
        assert_eq!((bed.objects().await, bed.rows('w').await.len()), (1, 1));
        bed.verify().await;
    });
}

#[test]
fn a_deleted_segment_is_remembered_as_long_as_its_writer() {
    story(1, |env| async move {
        let (bed, volume) = Bed::create(env, policy()).await;
        volume.put(&name("a"), noise(1, 5000), PutOptions::default()).await.unwrap();
        volume.delete(&name("a"), crate::Condition::Always).await.unwrap();
        bed.gc(&volume, at_once()).await;
        bed.gc(&volume, at_once()).await;
        assert_eq!((bed.objects().await, bed.rows('s').await.len()), (0, 1));
        bed.verify().await;
        volume.close().await.unwrap();
        let volume = bed.open().await;
        bed.gc(&volume, at_once()).await;
        // The writer that is left is the one that has done this.
        assert_eq!((bed.rows('s').await.len(), bed.rows('w').await.len()), (0, 1));
        bed.verify().await;
    });
}

#[test]
fn a_segment_that_lands_when_its_writer_is_forgotten_is_swept() {
    story(1, |env| async move {
        let (bed, volume) = Bed::create(env, policy()).await;
        let other = bed.open().await;
        volume.put(&name("a"), noise(1, 5000), PutOptions::default()).await.unwrap();
        strand(&other, 2).await;
        let of_other = other.shared.committer.epoch_taken().await.unwrap();
        let objects = bed.data.list_all(&DataKeys::new(bed.id).segments(), true).await.unwrap();
        let late = objects.into_iter().find(|object| {
            let id = DataKeys::new(bed.id).segment_id(&object.key).unwrap();
            id.epoch == of_other
        });
        let late = late.unwrap();
        other.close().await.unwrap();
        let report = bed.gc(&volume, at_once()).await;
        assert_eq!((report.orphans_deleted, report.writers_forgotten), (1, 1));
        let bytes = late.object.unwrap().value;
        bed.data.put(&late.key, bytes.clone(), Expect::Absent).await.unwrap();
        // One of an epoch that nobody has yet may still be named.
        let next = crate::format::segment::SegmentId { epoch: of_other + 1, counter: 1 };
        let next = DataKeys::new(bed.id).segment(next);
        bed.data.put(&next, bytes, Expect::Absent).await.unwrap();
        let dry = GcOptions { dry_run: true, ..GcOptions::default() };
        assert_eq!(bed.gc(&volume, dry).await.orphans_deleted, 1);
        assert_eq!(bed.objects().await, 3);
        let report = bed.gc(&volume, GcOptions::default()).await;
        assert_eq!((report.orphans_deleted, report.bytes_freed), (1, late.size));
        assert!(bed.data.get_all(&late.key).await.unwrap().is_none());
        assert!(bed.data.get_all(&next).await.unwrap().is_some());
        let read = volume.get(&name("a")).await.unwrap().unwrap().bytes().await.unwrap();
        assert_eq!(read, noise(1, 5000));
    });
}

#[test]
fn a_segment_whose_row_is_lost_is_no_orphan_while_chunks_lie_in_it() {
    story(1, |env| async move {
        let (bed, volume) = Bed::create(env, policy()).await;
        volume.put(&name("a"), noise(1, 5000), PutOptions::default()).await.unwrap();
        volume.close().await.unwrap();
        let (lost, _) = bed.rows('s').await.into_iter().next().unwrap();
        let lost = holdall_core::Key::parse(lost).unwrap();
        bed.catalog.delete(&lost, Expect::Any).await.unwrap();
        let volume = bed.open().await;
        let error = volume.gc(at_once()).await.unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some(&lost)));
        assert_eq!(bed.objects().await, 1);
        let read = volume.get(&name("a")).await.unwrap().unwrap().bytes().await.unwrap();
        assert_eq!(read, noise(1, 5000));
    });
}

//! A pass that ends at any of its writes has lost nothing, and another one ends its work.

use std::sync::Arc;

use holdall_core::Backend;
use holdall_testkit::{Chance, Crash, CrashPoints, Crashing};

use super::bed::{Bed, at_once, policy, work};
use super::{empty, story};
use crate::volume::{Resources, Volume};

/// The same backends, through crash points.
pub(crate) fn crashing(bed: &Bed, points: &CrashPoints) -> Resources {
    let wrap = |inner: &Arc<dyn Backend>| -> Arc<dyn Backend> {
        Arc::new(Crashing::new(Arc::clone(inner), points.clone()))
    };
    Resources { catalog: wrap(&bed.catalog), data: wrap(&bed.data).into(), ..bed.resources() }
}

#[test]
fn a_pass_may_end_at_every_write() {
    story(3, |env| async move {
        let (base, volume) = Bed::create(env, policy()).await;
        let mut chance = Chance::new(3);
        for _ in 0..40 {
            work(&volume, &mut chance).await;
        }
        volume.close().await.unwrap();
        let volume = base.open().await;
        base.gc(&volume, at_once()).await;
        for _ in 0..10 {
            work(&volume, &mut chance).await;
        }
        volume.close().await.unwrap();
        let mut nth = 1;
        loop {
            let bed = base.copy().await;
            let points = CrashPoints::nth(nth, Crash::Close);
            let volume = Volume::open(crashing(&bed, &points), bed.id).await.unwrap();
            let passed = volume.gc(at_once()).await;
            drop(volume);
            let volume = bed.open().await;
            bed.verify().await;
            let shown = bed.show(&base.open().await).await;
            let now = bed.show(&volume).await;
            assert_eq!((&now.entries, &now.snapshots), (&shown.entries, &shown.snapshots));
            if nth % 7 == 0 {
                bed.gc(&volume, at_once()).await;
                empty(&volume).await;
                bed.gc(&volume, at_once()).await;
                bed.gc(&volume, at_once()).await;
                bed.verify().await;
                assert!(bed.rows('c').await.is_empty() && bed.rows('i').await.is_empty());
            }
            if !points.has_crashed() {
                passed.unwrap();
                break;
            }
            nth += 1;
        }
        assert!(nth > 30, "only {nth} points: the pass had nothing to do");
    });
}

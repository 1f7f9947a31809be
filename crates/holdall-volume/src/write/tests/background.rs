//! What is left to be done when a backend fails or a process ends, and who does it.

use std::sync::Arc;
use std::time::Duration;

use holdall_core::{Backend, BackendExt, Bytes, ErrorKind, Expect};
use holdall_testkit::{Fault, Faulty, Method, Plan, Recording};

use super::Trapped;
use crate::format::keys::DataKeys;
use crate::format::policy::{Policy, VolumeRow};
use crate::gc::tests::bed::{Bed, name, policy};
use crate::gc::tests::story;
use crate::volume::{Resources, Volume};
use crate::{Condition, Places, PutOptions};

const MINUTE: Duration = Duration::from_secs(60);

/// A data backend that takes nothing until it is paused, and counts who tried.
fn refusing(bed: &Bed) -> (Faulty, Recording) {
    let plan = Plan::new(1).chance(Method::Put, Fault::FailBefore, 1000);
    let faulty = Faulty::new(Arc::clone(&bed.data), bed.env.clone(), plan);
    (faulty.clone(), Recording::new(Arc::new(faulty)))
}

async fn open_on(bed: &Bed, data: impl Backend + 'static) -> Volume {
    let resources = Resources { data: Places::one(Arc::new(data)), ..bed.resources() };
    Volume::open(resources, bed.id).await.unwrap()
}

async fn put(volume: &Volume, text: &str) {
    volume.put(&name(text), "x", PutOptions::default()).await.unwrap();
}

async fn unsealed(volume: &Volume) -> u64 {
    let usage = volume.usage().await.unwrap();
    usage.sequence - usage.recoverable_upto
}

#[test]
fn what_could_not_be_sealed_is_sealed_later_without_another_write() {
    story(1, |env| async move {
        let (bed, _) = Bed::create(env, policy()).await;
        let (faulty, recording) = refusing(&bed);
        let volume = open_on(&bed, recording.clone()).await;
        put(&volume, "a").await;
        bed.env.sleep(10 * MINUTE).await;
        assert_eq!(unsealed(&volume).await, 1);
        // It looks every five seconds, but does not try each time.
        let tries = recording.count(Method::Put);
        assert!((4..20).contains(&tries), "{tries} tries");
        faulty.pause();
        bed.env.sleep(2 * MINUTE).await;
        assert_eq!(unsealed(&volume).await, 0);
        // Nor does it go on when there is nothing left to do.
        let done = recording.count(Method::Put);
        bed.env.sleep(10 * MINUTE).await;
        assert_eq!(recording.count(Method::Put), done);
        bed.verify().await;
    });
}

#[test]
fn sealing_is_not_tried_again_once_the_volume_is_closed() {
    story(1, |env| async move {
        let (bed, _) = Bed::create(env, policy()).await;
        let (faulty, recording) = refusing(&bed);
        let volume = open_on(&bed, recording.clone()).await;
        put(&volume, "a").await;
        assert_eq!(volume.close().await.unwrap_err().kind(), ErrorKind::Unavailable);
        bed.env.sleep(MINUTE).await;
        faulty.pause();
        volume.close().await.unwrap();
        assert_eq!(unsealed(&volume).await, 0);
        faulty.resume();
        let before = recording.calls().len();
        bed.env.sleep(10 * MINUTE).await;
        assert_eq!(recording.calls().len(), before);
    });
}

#[test]
fn a_handle_that_has_written_seals_what_a_crashed_one_left_and_a_reader_writes_nothing() {
    story(1, |env| async move {
        let (bed, _) = Bed::create(env, policy()).await;
        let (faulty, _) = refusing(&bed);
        let crashed = open_on(&bed, faulty).await;
        put(&crashed, "a").await;
        drop(crashed);
        let writers = bed.rows('w').await;
        let reader = bed.open().await;
        assert!(reader.get(&name("a")).await.unwrap().is_some());
        reader.close().await.unwrap();
        assert_eq!((unsealed(&reader).await, bed.rows('w').await), (1, writers));
        let writer = bed.open().await;
        writer.delete(&name("nothing"), Condition::Always).await.unwrap();
        writer.close().await.unwrap();
        assert_eq!(unsealed(&writer).await, 0);
        bed.verify().await;
    });
}

async fn object(bed: &Bed) -> VolumeRow {
    let key = DataKeys::new(bed.id).volume();
    let found = bed.data.get_all(&key).await.unwrap().unwrap();
    VolumeRow::decode_object(bed.id, &found.value).unwrap()
}

fn with_quota(volume: &Volume) -> Policy {
    Policy { quota_bytes: Some(1 << 40), ..volume.policy() }
}

#[test]
fn a_changed_policy_reaches_the_data_backend_later_if_it_could_not_at_once() {
    story(1, |env| async move {
        let (bed, _) = Bed::create(env, policy()).await;
        let (faulty, recording) = refusing(&bed);
        let volume = open_on(&bed, recording).await;
        let error = volume.set_policy(with_quota(&volume)).await.unwrap_err();
        // It has happened, as the message says.
        assert_eq!(error.kind(), ErrorKind::Unknown, "{error}");
        assert_eq!(volume.policy().quota_bytes, Some(1 << 40));
        assert_eq!(object(&bed).await.policy.quota_bytes, None);
        faulty.pause();
        bed.env.sleep(2 * MINUTE).await;
        assert_eq!(object(&bed).await.policy, volume.policy());
        bed.verify().await;
    });
}

#[test]
fn the_next_writer_mends_what_a_crash_or_damage_has_left_of_the_volumes_object() {
    let key = |bed: &Bed| DataKeys::new(bed.id).volume();
    for left in ["old", "damaged", "missing"] {
        story(1, |env| async move {
            let (bed, volume) = Bed::create(env, policy()).await;
            let old = bed.data.get_all(&key(&bed)).await.unwrap().unwrap().value;
            volume.set_policy(with_quota(&volume)).await.unwrap();
            volume.close().await.unwrap();
            let bytes = match left {
                "old" => Some(old),
                "damaged" => Some(Bytes::from_static(b"no object")),
                _ => None,
            };
            match bytes {
                Some(bytes) => drop(bed.data.put(&key(&bed), bytes, Expect::Any).await.unwrap()),
                None => bed.data.delete(&key(&bed), Expect::Any).await.unwrap(),
            }
            let next = bed.open().await;
            put(&next, "a").await;
            next.close().await.unwrap();
            assert_eq!(object(&bed).await.policy, next.policy(), "{left}");
            bed.verify().await;
        });
    }
}

#[test]
fn the_object_is_as_the_row_whoever_writes_it_last() {
    story(1, |env| async move {
        let (bed, volume) = Bed::create(env, policy()).await;
        let trapped = Trapped::on(&bed.data);
        let slow = open_on(&bed, trapped.clone()).await;
        let (other, quota) = (volume.clone(), with_quota(&volume));
        trapped.before((Method::Put, "/volume"), async move {
            other.set_policy(quota).await.unwrap();
        });
        slow.set_name("renamed").await.unwrap();
        trapped.assert_sprung();
        let object = object(&bed).await;
        assert_eq!((&*object.name, object.policy.quota_bytes), ("renamed", Some(1 << 40)));
        // A handle that has not seen the others' changes does not take them back.
        volume.set_name("again").await.unwrap();
        slow.set_policy(Policy { quota_bytes: Some(7), ..slow.policy() }).await.unwrap();
        assert_eq!(bed.open().await.name(), "again");
        put(&volume, "a").await;
        volume.seal().await.unwrap();
        bed.verify().await;
    });
}

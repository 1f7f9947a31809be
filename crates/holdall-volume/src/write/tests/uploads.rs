//! Uploads whose parts are written, and whose beginning is in doubt, while others go on.

use holdall_core::{Error, Operation};
use holdall_testkit::Method;

use super::Trapped;
use crate::format::chunk::Digest;
use crate::gc::tests::bed::{Bed, name, noise, policy};
use crate::gc::tests::story;
use crate::{Condition, PutOptions, Upload};

/// An upload of two parts, and the same one in the hands of another handle.
async fn two_handles(bed: &Bed) -> (Trapped, Upload, Upload) {
    let (trapped, volume) = Trapped::open(bed).await;
    let upload = volume.begin_upload(&name("whole"), PutOptions::default()).await.unwrap();
    upload.put_part(1, noise(1, 3000)).await.unwrap();
    upload.put_part(2, noise(2, 3000)).await.unwrap();
    let other = bed.open().await.resume_upload(upload.id()).await.unwrap();
    (trapped, upload, other)
}

async fn assert_whole(bed: &Bed, parts: &[u64]) {
    let whole: Vec<u8> = parts.iter().flat_map(|seed| noise(*seed, 3000)).collect();
    let volume = bed.open().await;
    let reading = volume.get(&name("whole")).await.unwrap().unwrap();
    assert_eq!(reading.bytes().await.unwrap(), whole);
    assert_eq!(reading.entry().digest, Digest::of(&whole));
    assert!(bed.rows('q').await.is_empty() && bed.rows('u').await.is_empty());
    volume.seal().await.unwrap();
    bed.verify().await;
}

#[test]
fn a_part_added_while_an_upload_is_completed_is_in_it() {
    for at in [(Method::Apply, "/e/whole"), (Method::List, "/q/")] {
        story(1, |env| async move {
            let (bed, _) = Bed::create(env, policy()).await;
            let (trapped, upload, other) = two_handles(&bed).await;
            let adding = async move {
                other.put_part(3, noise(3, 3000)).await.unwrap();
            };
            if at.0 == Method::Apply {
                trapped.before(at, adding);
            } else {
                trapped.after(at, adding);
            }
            upload.complete(None, Condition::Always).await.unwrap();
            trapped.assert_sprung();
            assert_whole(&bed, &[1, 2, 3]).await;
        });
    }
}

#[test]
fn a_part_replaced_while_an_upload_is_completed_is_the_new_one() {
    for at in [(Method::Apply, "/e/whole"), (Method::List, "/q/")] {
        story(1, |env| async move {
            let (bed, _) = Bed::create(env, policy()).await;
            let (trapped, upload, other) = two_handles(&bed).await;
            let adding = async move {
                other.put_part(2, noise(7, 3000)).await.unwrap();
            };
            if at.0 == Method::Apply {
                trapped.before(at, adding);
            } else {
                trapped.after(at, adding);
            }
            upload.complete(None, Condition::Always).await.unwrap();
            trapped.assert_sprung();
            assert_whole(&bed, &[1, 7]).await;
        });
    }
}

#[test]
fn a_chosen_part_that_is_replaced_meanwhile_is_refused_and_another_is_not() {
    story(1, |env| async move {
        let (bed, _) = Bed::create(env, policy()).await;
        let (trapped, upload, other) = two_handles(&bed).await;
        let parts = upload.parts().await.unwrap();
        let chosen: Vec<_> = parts.iter().map(|part| (part.number, part.digest)).collect();
        let replace = |number, seed| {
            let other = other.clone();
            async move {
                other.put_part(number, noise(seed, 3000)).await.unwrap();
            }
        };
        trapped.before((Method::Apply, "/e/whole"), replace(2, 7));
        let error = upload.complete(Some(&chosen), Condition::Always).await.unwrap_err();
        assert_eq!(error.kind(), holdall_core::ErrorKind::Invalid, "{error}");
        trapped.assert_sprung();
        replace(2, 2).await;
        trapped.before((Method::Apply, "/e/whole"), replace(3, 3));
        upload.complete(Some(&chosen), Condition::Always).await.unwrap();
        trapped.assert_sprung();
        assert_whole(&bed, &[1, 2]).await;
    });
}

#[test]
fn an_upload_that_may_have_begun_takes_itself_for_its_own() {
    story(1, |env| async move {
        let (bed, _) = Bed::create(env, policy()).await;
        let (trapped, volume) = Trapped::open(&bed).await;
        let other = bed.open().await;
        // The batch happens, its answer is lost, and the head moves on before anyone can look.
        let overtake = async move {
            other.put(&name("other"), "x", PutOptions::default()).await.unwrap();
        };
        let lost = Error::unknown(Operation::Apply, "the reply was lost");
        trapped.set((Method::Apply, "/u/"), true, overtake, Some(lost));
        let upload = volume.begin_upload(&name("whole"), PutOptions::default()).await.unwrap();
        trapped.assert_sprung();
        upload.put_part(1, noise(1, 3000)).await.unwrap();
        assert_eq!(bed.rows('u').await.len(), 1);
        upload.complete(None, Condition::Absent).await.unwrap();
        assert_whole(&bed, &[1]).await;
    });
}

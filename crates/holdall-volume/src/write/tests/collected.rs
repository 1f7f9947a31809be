//! Bytes that a write found stored already, and that are collected before its commit.

use futures::stream;
use holdall_core::ErrorKind;
use holdall_testkit::Method;

use super::Trapped;
use crate::gc::tests::bed::{Bed, at_once, name, noise, policy};
use crate::gc::tests::story;
use crate::volume::Volume;
use crate::{Condition, PutItem, PutOptions};

/// A volume in which these bytes are garbage that still counts as stored, until the next writer
/// has looked: then it is collected.
async fn garbage(bed: &Bed, volume: &Volume) -> (Trapped, Volume) {
    volume.put(&name("old"), noise(1, 5000), PutOptions::default()).await.unwrap();
    volume.delete(&name("old"), Condition::Present).await.unwrap();
    let (trapped, writer) = Trapped::open(bed).await;
    let (collector, collecting) = (volume.clone(), bed.clone());
    trapped.after((Method::GetMany, "/c/"), async move {
        for _ in 0..3 {
            collecting.gc(&collector, at_once()).await;
        }
        assert!(collecting.rows('c').await.is_empty());
    });
    (trapped, writer)
}

async fn assert_stored(bed: &Bed, text: &str) {
    let volume = bed.open().await;
    let reading = volume.get(&name(text)).await.unwrap().unwrap();
    assert_eq!(reading.bytes().await.unwrap(), noise(1, 5000));
    volume.seal().await.unwrap();
    bed.verify().await;
}

#[test]
fn a_put_stores_its_bytes_again() {
    story(1, |env| async move {
        let (bed, volume) = Bed::create(env, policy()).await;
        let (trapped, writer) = garbage(&bed, &volume).await;
        writer.put(&name("new"), noise(1, 5000), PutOptions::default()).await.unwrap();
        trapped.assert_sprung();
        assert_stored(&bed, "new").await;
    });
}

#[test]
fn so_do_many_puts() {
    story(1, |env| async move {
        let (bed, volume) = Bed::create(env, policy()).await;
        let (trapped, writer) = garbage(&bed, &volume).await;
        let item = |text, bytes| {
            let options = PutOptions::default();
            PutItem { name: name(text), bytes, options }
        };
        let items = vec![item("small", noise(2, 10)), item("new", noise(1, 5000))];
        let results = writer.put_many(items).await.unwrap();
        trapped.assert_sprung();
        results.into_iter().for_each(|result| drop(result.unwrap()));
        assert_stored(&bed, "new").await;
    });
}

#[test]
fn so_does_a_transaction() {
    story(1, |env| async move {
        let (bed, volume) = Bed::create(env, policy()).await;
        let (trapped, writer) = garbage(&bed, &volume).await;
        let transaction = writer.transaction().put(&name("small"), "x", PutOptions::default()).put(
            &name("new"),
            noise(1, 5000),
            PutOptions::default(),
        );
        transaction.commit().await.unwrap();
        trapped.assert_sprung();
        assert_stored(&bed, "new").await;
        assert_eq!(volume.usage().await.unwrap().entries, 2);
    });
}

#[test]
fn so_does_a_part() {
    story(1, |env| async move {
        let (bed, volume) = Bed::create(env, policy()).await;
        let (trapped, writer) = garbage(&bed, &volume).await;
        let upload = writer.begin_upload(&name("new"), PutOptions::default()).await.unwrap();
        upload.put_part(1, noise(1, 5000)).await.unwrap();
        trapped.assert_sprung();
        upload.complete(None, Condition::Absent).await.unwrap();
        assert_stored(&bed, "new").await;
    });
}

#[test]
fn a_stream_says_that_nothing_was_written_and_that_it_must_be_sent_again() {
    let pieces = || stream::iter([Ok(noise(1, 5000))]);
    story(1, |env| async move {
        let (bed, volume) = Bed::create(env, policy()).await;
        let (trapped, writer) = garbage(&bed, &volume).await;
        let target = name("new");
        let put = || writer.put_stream(&target, pieces(), PutOptions::default());
        let error = put().await.unwrap_err();
        trapped.assert_sprung();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().contains("nothing was written"), "{error}");
        assert!(error.message().contains("send it again"), "{error}");
        assert!(volume.get(&target).await.unwrap().is_none());
        put().await.unwrap();
        assert_stored(&bed, "new").await;
    });
    story(2, |env| async move {
        let (bed, volume) = Bed::create(env, policy()).await;
        let (trapped, writer) = garbage(&bed, &volume).await;
        let upload = writer.begin_upload(&name("new"), PutOptions::default()).await.unwrap();
        let error = upload.put_part_stream(1, pieces()).await.unwrap_err();
        trapped.assert_sprung();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().contains("nothing was written"), "{error}");
        assert!(upload.parts().await.unwrap().is_empty());
        upload.put_part_stream(1, pieces()).await.unwrap();
        upload.complete(None, Condition::Absent).await.unwrap();
        assert_stored(&bed, "new").await;
    });
}

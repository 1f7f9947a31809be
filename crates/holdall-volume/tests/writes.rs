//! Writing through every door of a volume, and verifying what came of it.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use futures::future::join_all;
use futures::stream;
use holdall_core::{Backend, Bytes, ErrorKind, Memory};
use holdall_volume::format::entry::Name;
use holdall_volume::format::policy::Policy;
use holdall_volume::verify::{Severity, VerifyOptions};
use holdall_volume::{At, Condition, PutItem, PutOptions, Resources, Volume};

fn resources() -> Resources {
    let memory = || Arc::new(Memory::new()) as Arc<dyn Backend>;
    let env = holdall_runtime::env();
    Resources { env, catalog: memory(), data: memory().into(), holder: "test".to_owned() }
}

fn name(name: &str) -> Name {
    Name::parse(name).unwrap()
}

fn noise(seed: u64, bytes: usize) -> Bytes {
    let mut chance = holdall_testkit::Chance::new(seed);
    let mut noise = vec![0; bytes];
    chance.fill(&mut noise);
    Bytes::from(noise)
}

async fn assert_clean(volume: &Volume) {
    volume.seal().await.unwrap();
    let report = volume.verify(VerifyOptions::default()).await.unwrap();
    assert!(report.complete);
    let bad: Vec<_> = report.findings.iter().filter(|f| f.severity > Severity::Notice).collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_of_writing_leaves_a_whole_volume() {
    let volume = Volume::create(resources(), "v", Policy::default()).await.unwrap();
    let default = PutOptions::default;
    volume.put(&name("small"), "hello", default()).await.unwrap();
    volume.put(&name("empty"), "", default()).await.unwrap();
    let big = noise(1, 3 << 20);
    volume.put(&name("big"), big.clone(), default()).await.unwrap();
    volume.put(&name("big again"), big.clone(), default()).await.unwrap();
    volume.put(&name("small"), "hello again", default()).await.unwrap();
    volume.copy(&name("big"), &name("copy"), Condition::Absent).await.unwrap();
    volume.rename(&name("big"), &name("moved"), Condition::Always).await.unwrap();
    assert!(volume.delete(&name("big again"), Condition::Present).await.unwrap());
    assert!(!volume.delete(&name("big again"), Condition::Always).await.unwrap());
    let pieces: Vec<_> = big.chunks(100_000).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
    volume.put_stream(&name("stream"), stream::iter(pieces), default()).await.unwrap();
    let upload = volume.begin_upload(&name("parts"), default()).await.unwrap();
    upload.put_part(2, noise(3, 700_000)).await.unwrap();
    upload.put_part(1, noise(2, 300_000)).await.unwrap();
    upload.put_part(2, noise(4, 600_000)).await.unwrap();
    assert_clean(&volume).await;
    upload.complete(None, Condition::Absent).await.unwrap();
    let aborted = volume.begin_upload(&name("aborted"), default()).await.unwrap();
    aborted.put_part(1, noise(5, 300_000)).await.unwrap();
    aborted.abort().await.unwrap();
    assert!(volume.uploads().await.unwrap().is_empty());
    volume.snapshot(&name("first")).await.unwrap();
    volume.put(&name("small"), "a third time", default()).await.unwrap();
    let transaction = volume
        .transaction()
        .put(&name("t/1"), "one", default())
        .put(&name("t/2"), noise(6, 100_000), default())
        .delete(&name("empty"), Condition::Present)
        .check(&name("nowhere"), Condition::Absent);
    transaction.commit().await.unwrap();
    assert_clean(&volume).await;
    let usage = volume.usage().await.unwrap();
    assert_eq!((usage.entries, usage.history_entries), (7, 2));
    assert_eq!(usage.recoverable_upto, usage.sequence);
    volume.close().await.unwrap();
    let late = volume.put(&name("late"), "x", default()).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_happens_whole_or_not_at_all() {
    let volume = Volume::create(resources(), "v", Policy::default()).await.unwrap();
    let before = volume.usage().await.unwrap();
    let failed = volume
        .transaction()
        .put(&name("a"), noise(1, 100_000), PutOptions::default())
        .check(&name("b"), Condition::Present)
        .commit()
        .await
        .unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Conflict);
    let twice = volume
        .transaction()
        .put(&name("a"), "1", PutOptions::default())
        .delete(&name("a"), Condition::Always);
    assert_eq!(twice.commit().await.unwrap_err().kind(), ErrorKind::Invalid);
    let after = volume.usage().await.unwrap();
    assert_eq!((after.entries, after.sequence), (before.entries, before.sequence));
    assert_clean(&volume).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_creators_have_one_winner_and_no_update_is_lost() {
    let volume = Volume::create(resources(), "v", Policy::default()).await.unwrap();
    let create = PutOptions::default().condition(Condition::Absent);
    let races = (0..32).map(|n| volume.put(&K, n.to_string(), create.clone()));
    static K: std::sync::LazyLock<Name> = std::sync::LazyLock::new(|| name("k"));
    let won = join_all(races).await.into_iter().filter(Result::is_ok).count();
    assert_eq!(won, 1);
    assert_clean(&volume).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_handles_on_one_catalog_write_side_by_side() {
    let resources = resources();
    let one = Volume::create(resources.clone(), "v", Policy::default()).await.unwrap();
    let two = Volume::open(resources, one.id()).await.unwrap();
    let put = |volume: &Volume, n: usize| {
        let (volume, name) = (volume.clone(), name(&format!("{:03}", n % 50)));
        let bytes = noise(n as u64 % 9, if n.is_multiple_of(5) { 30_000 } else { 100 });
        async move { volume.put(&name, bytes, PutOptions::default()).await }
    };
    let writes = (0..200).map(|n| put(if n % 2 == 0 { &one } else { &two }, n));
    for result in join_all(writes).await {
        result.unwrap();
    }
    assert_eq!(one.usage().await.unwrap().entries, 50);
    assert_eq!(one.usage().await.unwrap().sequence, 200);
    assert_clean(&one).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quota_is_refused_cleanly_at_its_edge() {
    let policy = Policy { quota_bytes: Some(100_000), ..Policy::default() };
    let volume = Volume::create(resources(), "v", policy).await.unwrap();
    let put = |n: &str, bytes: usize| {
        let (volume, name) = (volume.clone(), name(n));
        async move { volume.put(&name, noise(1, bytes), PutOptions::default()).await }
    };
    put("a", 60_000).await.unwrap();
    assert_eq!(put("b", 40_001).await.unwrap_err().kind(), ErrorKind::Full);
    put("b", 40_000).await.unwrap();
    assert_eq!(put("c", 1).await.unwrap_err().kind(), ErrorKind::Full);
    put("a", 59_999).await.unwrap();
    put("c", 1).await.unwrap();
    assert!(volume.delete(&name("a"), Condition::Always).await.unwrap());
    put("c", 60_000).await.unwrap();
    assert_eq!(volume.usage().await.unwrap().bytes, 100_000);
    assert_clean(&volume).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_type_is_refused_behind_its_limit_at_every_door() {
    let volume = Volume::create(resources(), "v", Policy::default()).await.unwrap();
    let longest = "é".repeat(127) + "x";
    assert_eq!(longest.len(), 255);
    let of = |text: &str| PutOptions::default().content_type(text);
    volume.put(&name("longest"), "x", of(&longest)).await.unwrap();
    let entry = volume.stat(&name("longest")).await.unwrap().unwrap();
    assert_eq!(entry.content_type.as_deref(), Some(&*longest));
    let upload = volume.begin_upload(&name("parts"), of(&longest)).await.unwrap();
    upload.complete(None, Condition::Absent).await.unwrap();
    let too_long = format!("{longest}x");
    for wrong in [&*too_long, "text/plain\r\nx: y", "\0", "text/\u{7f}", "text/\u{85}"] {
        let (bad, target) = (of(wrong), name("bad"));
        let item = PutItem { name: target.clone(), bytes: "x".into(), options: bad.clone() };
        let transaction = volume.transaction().put(&target, "x", bad.clone());
        let errors = [
            volume.put(&target, "x", bad.clone()).await.unwrap_err(),
            volume.put_many(vec![item]).await.unwrap_err(),
            volume.put_stream(&target, stream::empty(), bad.clone()).await.unwrap_err(),
            volume.begin_upload(&target, bad).await.unwrap_err(),
            transaction.commit().await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.message().contains("255"), "{error}");
            assert!(!error.message().contains(char::is_control), "{error:?}");
        }
    }
    assert_eq!(volume.usage().await.unwrap().entries, 2);
    assert_clean(&volume).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_are_packed_together() {
    let volume = Volume::create(resources(), "v", Policy::default()).await.unwrap();
    let item = |n: usize| PutItem {
        name: name(&format!("{n:05}")),
        bytes: noise(n as u64, n % 3000),
        options: PutOptions::default(),
    };
    let results = volume.put_many((0..3000).map(item).collect()).await.unwrap();
    assert!(results.iter().all(Result::is_ok));
    let usage = volume.usage().await.unwrap();
    assert_eq!(usage.entries, 3000);
    assert!(usage.segments <= 2, "{}", usage.segments);
    assert_clean(&volume).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_longer_history_does_not_claim_what_a_shorter_one_let_go() {
    let volume = Volume::create(resources(), "v", Policy::default()).await.unwrap();
    let put = async |text: &'static str| {
        volume.put(&name("a"), text, PutOptions::default()).await.unwrap().version
    };
    let (first, second) = (put("1").await, put("2").await);
    let policy = Policy { history: std::time::Duration::from_secs(3600), ..volume.policy() };
    volume.set_policy(policy).await.unwrap();
    put("3").await;
    let lost = volume.as_of(At::Commit(first)).await.unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::Invalid);
    let view = volume.as_of(At::Commit(second)).await.unwrap();
    let reading = view.get(&name("a")).await.unwrap().unwrap();
    assert_eq!(reading.bytes().await.unwrap(), "2");
    assert_clean(&volume).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handle_knows_the_policy_of_others_from_its_first_write_on() {
    let shared = resources();
    let volume = Volume::create(shared.clone(), "v", Policy::default()).await.unwrap();
    let late = Volume::open(shared, volume.id()).await.unwrap();
    volume.set_policy(Policy { quota_bytes: Some(10), ..volume.policy() }).await.unwrap();
    let refused = late.put(&name("a"), vec![0; 11], PutOptions::default()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Full);
    late.put(&name("a"), vec![0; 10], PutOptions::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_name_and_policy_do_not_undo_each_other() {
    let volume = Volume::create(resources(), "v", Policy::default()).await.unwrap();
    for round in 0..20 {
        let policy = Policy { quota_bytes: Some(1000 + round), ..volume.policy() };
        let text = format!("v{round}");
        let (named, told) = futures::join!(volume.set_name(&text), volume.set_policy(policy));
        named.unwrap();
        told.unwrap();
        assert_eq!((volume.name(), volume.policy().quota_bytes), (text, Some(1000 + round)));
    }
}

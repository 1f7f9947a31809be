//! Calls are made again only where that is safe, and what comes of a write is never guessed.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use holdall_core::{
    Backend, BackendExt, Batch, Bytes, Conditions, Durability, Env, ErrorKind, Expect, Key, Memory,
};
use holdall_layers::{Prefixed, Readonly, Retries, Retrying};
use holdall_testkit::sim::{seeds, simulate};
use holdall_testkit::{Fault, Faulty, Method, Plan, Recording, Strict};

fn key(name: &str) -> Key {
    Key::parse(name).unwrap()
}

/// A retrying layer over calls that are recorded, over faults, over a store.
struct Bed {
    layer: Retrying,
    calls: Recording,
    faults: Faulty,
    store: Arc<dyn Backend>,
}

fn bed(store: Arc<dyn Backend>, env: &Env, plan: Plan) -> Bed {
    let faults = Faulty::new(Arc::clone(&store), env.clone(), plan);
    let calls = Recording::new(Arc::new(faults.clone()));
    let layer = Retrying::new(Arc::new(calls.clone()), Retries::default(), env).unwrap();
    Bed { layer, calls, faults, store }
}

fn on_memory(env: &Env, plan: Plan) -> Bed {
    bed(Arc::new(Memory::new()), env, plan)
}

#[test]
fn what_did_not_happen_is_tried_again_but_not_for_ever() {
    simulate(1, |env| async move {
        let plan = Plan::new(0)
            .at(Method::Put, 1, Fault::FailBefore)
            .at(Method::Put, 2, Fault::FailBefore)
            .at(Method::Get, 1, Fault::FailAfter)
            .at(Method::Apply, 1, Fault::BatchRefused);
        let bed = on_memory(&env, plan);
        bed.layer.put(&key("a"), Bytes::from("1"), Expect::Absent).await.unwrap();
        assert_eq!(bed.layer.get_all(&key("a")).await.unwrap().unwrap().value, "1");
        let mut batch = Batch::new();
        batch.put(key("b"), "2", Expect::Absent);
        bed.layer.apply(batch).await.unwrap();
        bed.calls.assert_calls(&[(Method::Put, 3), (Method::Get, 2), (Method::Apply, 2)]);

        let always = Plan::new(0).everywhere(Fault::FailBefore, 1000);
        let bed = on_memory(&env, always);
        let watch = env.stopwatch();
        let error = bed.layer.put(&key("a"), Bytes::from("1"), Expect::Any).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        bed.calls.assert_calls(&[(Method::Put, 6)]);
        assert!(watch.elapsed() < Duration::from_secs(10), "{:?}", watch.elapsed());
    });
}

#[test]
fn a_success_that_nobody_heard_of_is_recognised() {
    simulate(2, |env| async move {
        let plan = Plan::new(0).at(Method::Put, 1, Fault::ReplyLost).at(
            Method::Apply,
            1,
            Fault::FailAfter,
        );
        let bed = on_memory(&env, plan);
        let revision = bed.layer.put(&key("a"), Bytes::from("mine"), Expect::Absent).await.unwrap();
        let found = bed.store.get_all(&key("a")).await.unwrap().unwrap();
        assert_eq!((found.revision, found.value), (revision.clone(), Bytes::from("mine")));

        let mut batch = Batch::new();
        batch.put(key("a"), "again mine", Expect::Revision(revision));
        batch.put(key("b"), "with it", Expect::Absent).delete(key("c"), Expect::Any);
        let revision = bed.layer.apply(batch).await.unwrap();
        assert_eq!(bed.store.get_all(&key("b")).await.unwrap().unwrap().revision, revision);
        bed.calls.assert_calls(&[
            (Method::Put, 2),
            (Method::Get, 1),
            (Method::Apply, 2),
            (Method::GetMany, 1),
        ]);
    });
}

#[test]
fn a_conflict_that_may_be_with_oneself_is_unknown() {
    simulate(3, |env| async move {
        // The write happens, another takes its place, and only then it is looked for.
        let plan = Plan::new(0).at(Method::Put, 1, Fault::FailAfter).at(
            Method::Get,
            1,
            Fault::Slow(Duration::from_secs(1)),
        );
        let bed = on_memory(&env, plan);
        let name = key("a");
        let put = bed.layer.put(&name, Bytes::from("mine"), Expect::Absent);
        let other = async {
            env.sleep(Duration::from_millis(500)).await;
            bed.store.put(&key("a"), Bytes::from("theirs"), Expect::Any).await.unwrap();
        };
        let (result, ()) = futures::join!(put, other);
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Unknown);
        assert_eq!(bed.store.get_all(&key("a")).await.unwrap().unwrap().value, "theirs");

        let plan = Plan::new(0).at(Method::Delete, 1, Fault::FailAfter);
        let bed = on_memory(&env, plan);
        let revision = bed.layer.put(&key("a"), Bytes::from("1"), Expect::Any).await.unwrap();
        let delete = bed.layer.delete(&key("a"), Expect::Revision(revision)).await;
        assert_eq!(delete.unwrap_err().kind(), ErrorKind::Unknown);
        bed.calls.assert_calls(&[(Method::Put, 1), (Method::Delete, 1)]);
    });
}

/// As a Redis whose replicas are away: what was written can be read, and may still be lost.
#[test]
fn what_can_be_read_back_but_not_confirmed_stays_unknown() {
    simulate(4, |env| async move {
        let never = |method| Plan::new(0).chance(method, Fault::FailAfter, 1000);
        let bed = on_memory(&env, never(Method::Put));
        let put = bed.layer.put(&key("a"), Bytes::from("mine"), Expect::Absent).await;
        assert_eq!(put.unwrap_err().kind(), ErrorKind::Unknown);
        assert_eq!(bed.store.get_all(&key("a")).await.unwrap().unwrap().value, "mine");

        let bed = on_memory(&env, never(Method::Apply));
        let mut batch = Batch::new();
        batch.put(key("a"), "mine", Expect::Absent);
        assert_eq!(bed.layer.apply(batch).await.unwrap_err().kind(), ErrorKind::Unknown);

        // The replicas are back at the fourth write: until then it is tried on.
        let plan = (1..4).fold(Plan::new(0), |p, n| p.at(Method::Put, n, Fault::FailAfter));
        let bed = on_memory(&env, plan);
        let revision = bed.layer.put(&key("a"), Bytes::from("mine"), Expect::Absent).await.unwrap();
        assert_eq!(bed.store.get_all(&key("a")).await.unwrap().unwrap().revision, revision);
        assert!(bed.calls.count(Method::Put) >= 4);
    });
}

#[test]
fn a_confirming_batch_overwrites_nobody() {
    simulate(7, |env| async move {
        // The batch happens, and another writes one of its keys between look and confirmation.
        let plan = Plan::new(0).at(Method::Apply, 1, Fault::FailAfter).at(
            Method::Apply,
            2,
            Fault::Slow(Duration::from_secs(2)),
        );
        let bed = on_memory(&env, plan);
        let mut batch = Batch::new();
        batch.put(key("a"), "mine", Expect::Absent).put(key("b"), "mine", Expect::Any);
        batch.delete(key("c"), Expect::Any).check(key("d"), Expect::Absent);
        let other = async {
            env.sleep(Duration::from_secs(1)).await;
            bed.store.put(&key("b"), Bytes::from("theirs"), Expect::Any).await.unwrap();
            bed.store.put(&key("d"), Bytes::from("theirs"), Expect::Any).await.unwrap();
        };
        let (result, ()) = futures::join!(bed.layer.apply(batch), other);
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Unknown);
        assert_eq!(bed.store.get_all(&key("b")).await.unwrap().unwrap().value, "theirs");
    });
}

#[test]
fn without_revisions_a_look_is_all_there_is() {
    simulate(8, |env| async move {
        for (durability, counts) in [(Durability::Store, true), (Durability::Machine, false)] {
            let store = Strict::new().with_conditions(Conditions::Absent);
            let store = Arc::new(store.with_durability(durability));
            let bed = bed(store, &env, Plan::new(0).at(Method::Put, 1, Fault::FailAfter));
            let put = bed.layer.put(&key("a"), Bytes::from("mine"), Expect::Absent).await;
            assert_eq!(put.is_ok(), counts);
            assert_eq!(bed.calls.count(Method::Get), usize::from(counts));
            assert_eq!(bed.calls.count(Method::Put), if counts { 1 } else { 2 });
        }
    });
}

#[test]
fn storms_lose_no_update_and_apply_none_twice() {
    seeds(60, |seed| {
        simulate(seed, |env| async move {
            let bed = Arc::new(on_memory(&env, Plan::stormy(seed)));
            let actors = (0..4).map(|actor| {
                let (bed, env) = (Arc::clone(&bed), env.clone());
                async move {
                    let (mut sure, mut open) = (0_u64, 0_u64);
                    for round in 0..20 {
                        let Ok(found) = bed.layer.get_all(&key("count")).await else { continue };
                        let text = found
                            .as_ref()
                            .map_or("", |found| std::str::from_utf8(&found.value).unwrap());
                        let count: u64 = text.split(' ').next().unwrap().parse().unwrap_or(0);
                        let value = format!("{} {actor}-{round}", count + 1);
                        let expect = Expect::from(found.map(|found| found.revision));
                        match bed.layer.put(&key("count"), Bytes::from(value), expect).await {
                            Ok(_) => sure += 1,
                            Err(e) if e.kind() == ErrorKind::Unknown => open += 1,
                            Err(_) => env.sleep(Duration::from_millis(10)).await,
                        }
                    }
                    (sure, open)
                }
            });
            let counts = join_all(actors).await;
            bed.faults.pause();
            bed.faults.land().await;
            let sure: u64 = counts.iter().map(|(sure, _)| sure).sum();
            let open: u64 = counts.iter().map(|(_, open)| open).sum();
            let found = bed.store.get_all(&key("count")).await.unwrap().unwrap();
            let text = std::str::from_utf8(&found.value).unwrap().to_owned();
            let count: u64 = text.split(' ').next().unwrap().parse().unwrap();
            assert!(sure <= count && count <= sure + open, "{sure} <= {count} <= {sure} + {open}");
        });
    });
}

#[test]
fn a_part_names_keys_as_its_callers_do_and_leaves_the_rest_alone() {
    simulate(5, |_| async move {
        let store: Arc<dyn Backend> = Arc::new(Memory::new());
        store.put(&key("other"), Bytes::from("x"), Expect::Any).await.unwrap();
        let part = Prefixed::new(Arc::clone(&store), "part/").unwrap();
        part.put(&key("a"), Bytes::from("1"), Expect::Absent).await.unwrap();
        assert_eq!(store.get_all(&key("part/a")).await.unwrap().unwrap().value, "1");
        let again = part.put(&key("a"), Bytes::from("1"), Expect::Absent).await.unwrap_err();
        assert_eq!((again.kind(), again.key()), (ErrorKind::Conflict, Some(&key("a"))));
        let mut batch = Batch::new();
        batch.put(key("b"), "2", Expect::Any).check(key("a"), Expect::Absent);
        assert_eq!(part.apply(batch).await.unwrap_err().key(), Some(&key("a")));
        assert_eq!(part.list_all("", false).await.unwrap().len(), 1);
        assert!(Prefixed::new(Arc::clone(&store), &"long".repeat(250)).is_err());
        assert!(Prefixed::new(store, "").is_err());
    });
}

#[test]
fn what_is_only_read_is_never_changed() {
    simulate(6, |env| async move {
        let bed = on_memory(&env, Plan::new(0));
        bed.store.put(&key("a"), Bytes::from("1"), Expect::Any).await.unwrap();
        let calls = bed.calls.clone();
        let layer = Readonly::new(Arc::new(bed.calls));
        assert_eq!(layer.get_all(&key("a")).await.unwrap().unwrap().value, "1");
        let put = layer.put(&key("a"), Bytes::from("2"), Expect::Any).await.map(drop);
        let delete = layer.delete(&key("a"), Expect::Any).await;
        let apply = layer.apply(Batch::new()).await.map(drop);
        for refused in [put, delete, apply] {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::Denied);
        }
        calls.assert_calls(&[(Method::Get, 1)]);
    });
}

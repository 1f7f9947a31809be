//! The doubles do what they say: each fault, each crash point, each damage, each count.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::clone_on_ref_ptr, reason = "the clones become trait objects on the way")]

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use holdall_core::{
    Backend, BackendExt, Batch, Bytes, ErrorKind, Expect, Key, List, Memory, Result,
};
use holdall_testkit::damage::{Damage, damage_backend, damage_folder, files_below};
use holdall_testkit::sim::simulate;
use holdall_testkit::{
    Chance, Crash, CrashPoints, Crashing, Fault, Faulty, Load, Method, Plan, Recording, Strict,
    measure,
};

fn key(name: &str) -> Key {
    Key::parse(name).unwrap()
}

async fn put(backend: &dyn Backend, name: &str, value: &str) -> Result<()> {
    backend.put(&key(name), Bytes::copy_from_slice(value.as_bytes()), Expect::Any).await.map(drop)
}

async fn value(backend: &dyn Backend, name: &str) -> Option<String> {
    let found = backend.get_all(&key(name)).await.unwrap()?;
    Some(String::from_utf8(found.value.to_vec()).unwrap())
}

/// Makes one put meet the fault: the kind it returned, what was there then, and the time it took.
fn one_put(fault: Fault) -> (Option<ErrorKind>, Option<String>, Duration) {
    simulate(1, |env| async move {
        let memory = Arc::new(Memory::new());
        let plan = Plan::new(7).at(Method::Put, 2, fault);
        let faulty = Faulty::new(memory.clone(), env.clone(), plan);
        put(&faulty, "k", "old").await.unwrap();
        let watch = env.stopwatch();
        let kind = put(&faulty, "k", "new value").await.err().map(|error| error.kind());
        (kind, value(&*memory, "k").await, watch.elapsed())
    })
}

#[test]
fn each_fault_of_a_put_is_as_described() {
    let unknown = Some(ErrorKind::Unknown);
    let (old, new) = (Some("old".to_owned()), Some("new value".to_owned()));
    let outcome = |fault| {
        let (kind, value, _) = one_put(fault);
        (kind, value)
    };
    assert_eq!(outcome(Fault::FailBefore), (Some(ErrorKind::Unavailable), old.clone()));
    assert_eq!(outcome(Fault::NoSpace), (Some(ErrorKind::Full), old.clone()));
    assert_eq!(outcome(Fault::FailAfter), (unknown, new.clone()));
    assert_eq!(outcome(Fault::ReplyLost), (unknown, new.clone()));
    assert_eq!(outcome(Fault::RequestLost), (unknown, old.clone()));
    assert_eq!(outcome(Fault::LandsLate(1)), (unknown, old.clone()));
    assert_eq!(outcome(Fault::Slow(Duration::from_secs(9))), (None, new.clone()));
    assert!(one_put(Fault::Slow(Duration::from_secs(9))).2 >= Duration::from_secs(9));
    assert!(one_put(Fault::ReplyLost).2 >= Duration::from_secs(30));
    let (kind, torn) = outcome(Fault::TornWrite);
    assert_eq!(kind, unknown);
    let torn = torn.unwrap();
    assert!("new value".starts_with(&torn) && torn != "new value", "{torn:?}");
}

#[test]
fn a_write_without_a_replica_is_seen_and_lost_with_the_server() {
    simulate(1, |_| async move {
        let strict = Strict::new();
        put(&strict, "k", "old").await.unwrap();
        for found in [false, true] {
            strict.lose_replica();
            let error = put(&strict, "k", "new").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unknown);
            assert_eq!(value(&strict, "k").await.unwrap(), "new");
            if found {
                strict.find_replica();
            }
            strict.fail_over();
            assert_eq!(value(&strict, "k").await.unwrap(), if found { "new" } else { "old" });
            put(&strict, "k", "old").await.unwrap();
        }
    });
}

#[test]
fn a_late_write_lands_after_so_many_calls_if_it_still_may() {
    simulate(1, |env| async move {
        let memory = Arc::new(Memory::new());
        let plan = Plan::new(0).at(Method::Put, 1, Fault::LandsLate(1)).at(
            Method::Put,
            2,
            Fault::LandsLate(0),
        );
        let faulty = Faulty::new(memory.clone(), env, plan);
        assert!(put(&faulty, "k", "late").await.is_err());
        assert_eq!(value(&faulty, "k").await, None);
        assert_eq!(value(&faulty, "k").await, Some("late".to_owned()));
        let create = faulty.put(&key("k"), Bytes::from("later"), Expect::Absent).await;
        assert_eq!(create.unwrap_err().kind(), ErrorKind::Unknown);
        assert_eq!(value(&faulty, "k").await, Some("late".to_owned()), "its expectation failed");
    });
}

#[test]
fn a_failed_fsync_closes_until_reopened() {
    simulate(1, |env| async move {
        let plan = Plan::new(0).at(Method::Apply, 1, Fault::FailedFsync);
        let faulty = Faulty::new(Arc::new(Memory::new()), env, plan);
        let mut batch = Batch::new();
        batch.put(key("k"), "x", Expect::Any);
        let apply = faulty.apply(batch).await;
        assert_eq!(apply.unwrap_err().kind(), ErrorKind::Unknown);
        assert_eq!(put(&faulty, "k", "y").await.unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(faulty.get_all(&key("k")).await.unwrap_err().kind(), ErrorKind::Closed);
        faulty.reopen();
        put(&faulty, "k", "y").await.unwrap();
        assert_eq!(faulty.injected().len(), 1);
    });
}

#[test]
fn reads_are_cut_and_flipped_and_batches_refused() {
    simulate(1, |env| async move {
        let plan = Plan::new(3)
            .at(Method::List, 1, Fault::ShortList)
            .at(Method::Get, 1, Fault::FlippedRead)
            .at(Method::Apply, 1, Fault::BatchRefused);
        let faulty = Faulty::new(Arc::new(Memory::new()), env, plan);
        for name in ["a", "b", "c"] {
            put(&faulty, name, "value").await.unwrap();
        }
        let page = faulty.list(&List::prefix("")).await.unwrap();
        assert!(page.more && (1..3).contains(&page.rows.len()));
        let flipped = faulty.get_all(&key("a")).await.unwrap().unwrap().value;
        let bits = flipped.iter().zip(b"value").map(|(one, two)| (one ^ two).count_ones());
        assert_eq!(bits.sum::<u32>(), 1);
        let mut batch = Batch::new();
        batch.put(key("a"), "1", Expect::Any).put(key("d"), "1", Expect::Any);
        let refused = faulty.apply(batch).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable);
        assert_eq!(value(&faulty, "d").await, None);
    });
}

#[test]
fn chances_follow_the_seed_and_pausing_stops_them() {
    let faults = |seed| {
        simulate(1, |env| async move {
            let plan = Plan::stormy(seed);
            let faulty = Faulty::new(Arc::new(Memory::new()), env, plan);
            for round in 0..300 {
                let _ = put(&faulty, "k", &round.to_string()).await;
            }
            let injected = faulty.injected();
            faulty.pause();
            for _ in 0..100 {
                put(&faulty, "k", "calm").await.unwrap();
            }
            assert_eq!(faulty.injected(), injected);
            injected
        })
    };
    assert_eq!(faults(1), faults(1));
    assert_ne!(faults(1), faults(2));
    let kinds: HashSet<Fault> = faults(1).into_iter().map(|injected| injected.fault).collect();
    assert!(kinds.len() > 3, "{kinds:?}");
}

#[tokio::test]
async fn every_write_step_can_be_the_last() {
    async fn action(backend: &dyn Backend) -> Result<()> {
        put(backend, "data", "x").await?;
        let mut batch = Batch::new();
        batch.put(key("row"), "1", Expect::Any).put(key("log"), "1", Expect::Any);
        backend.apply(batch).await?;
        backend.delete(&key("data"), Expect::Any).await
    }
    let counting = CrashPoints::never();
    action(&Crashing::new(Arc::new(Memory::new()), counting.clone())).await.unwrap();
    let steps = counting.reached();
    let wanted =
        ["put.before", "put.after", "apply.before", "apply.after", "delete.before", "delete.after"];
    assert_eq!(steps, wanted);
    let mut left = Vec::new();
    for nth in 1..=steps.len() as u64 {
        let memory = Arc::new(Memory::new());
        let points = CrashPoints::nth(nth, Crash::Close);
        let crashing = Crashing::new(memory.clone(), points.clone());
        assert!(action(&crashing).await.is_err());
        assert!(points.has_crashed());
        let after = crashing.get_all(&key("row")).await;
        assert_eq!(after.unwrap_err().kind(), ErrorKind::Closed);
        let rows = memory.list_all("", false).await.unwrap();
        left.push(rows.iter().map(|row| row.key.as_str().to_owned()).collect::<Vec<_>>().join(" "));
    }
    let wanted = ["", "data", "data", "data log row", "data log row", "log row"];
    assert_eq!(left, wanted);
}

#[tokio::test]
async fn calls_are_counted_and_asserted() {
    let recording = Recording::new(Arc::new(Memory::new()));
    put(&recording, "k", "12345").await.unwrap();
    assert!(recording.put(&key("k"), Bytes::from("x"), Expect::Absent).await.is_err());
    value(&recording, "k").await;
    let calls = recording.calls();
    assert_eq!((calls[0].bytes_in, calls[0].error), (5, None));
    assert_eq!(calls[1].error, Some(ErrorKind::Conflict));
    assert_eq!(calls[2].bytes_out, 5);
    recording.assert_calls(&[(Method::Put, 2), (Method::Get, 1), (Method::List, 0)]);
    recording.assert_calls(&[]);
}

#[tokio::test]
#[should_panic(expected = "the calls were")]
async fn an_unexpected_call_fails_the_assertion() {
    let recording = Recording::new(Arc::new(Memory::new()));
    value(&recording, "k").await;
    recording.assert_calls(&[(Method::Put, 1)]);
}

#[tokio::test]
async fn damage_changes_what_it_says_and_follows_the_seed() {
    for damage in Damage::ALL {
        let mut outcomes = Vec::new();
        for seed in [1, 1, 2] {
            let memory = Memory::new();
            for at in 0..10 {
                put(&memory, &format!("seg/{at}"), &format!("value {at}")).await.unwrap();
            }
            put(&memory, "other", "untouched").await.unwrap();
            let before = memory.list_all("seg/", true).await.unwrap();
            let mut chance = Chance::new(seed);
            let harm = damage_backend(&memory, "seg/", damage, &mut chance).await.unwrap().unwrap();
            let after = memory.list_all("seg/", true).await.unwrap();
            let held = |rows: &[holdall_core::Row], key: &Key| {
                let row = rows.iter().find(|row| row.key == *key);
                row.and_then(|row| row.object.clone()).map(|object| object.value)
            };
            for row in &before {
                let changed = held(&before, &row.key) != held(&after, &row.key);
                assert_eq!(changed, harm.names.contains(&row.key), "{harm} and {:?}", row.key);
            }
            assert_eq!(value(&memory, "other").await.unwrap(), "untouched");
            outcomes.push(harm);
        }
        assert_eq!(outcomes[0], outcomes[1]);
    }
    let nothing = damage_backend(&Memory::new(), "", Damage::Flip, &mut Chance::new(1)).await;
    assert_eq!(nothing.unwrap(), None);
}

#[test]
fn files_are_damaged_too() {
    let folder = tempfile::tempdir().unwrap();
    for damage in Damage::ALL {
        for name in ["a", "b/c", "b/d"] {
            let file = folder.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, format!("the content of {name}")).unwrap();
        }
        let files = files_below(folder.path()).unwrap();
        let read = || files.iter().map(|file| std::fs::read(file).ok()).collect::<Vec<_>>();
        let before = read();
        let harm = damage_folder(folder.path(), damage, &mut Chance::new(9)).unwrap().unwrap();
        for (file, (before, after)) in files.iter().zip(before.iter().zip(read())) {
            assert_eq!(*before != after, harm.names.contains(file), "{harm} and {file:?}");
        }
    }
}

#[test]
fn a_measurement_counts_what_it_did_and_leaves_nothing() {
    simulate(1, |env| async move {
        let memory = Arc::new(Memory::new());
        let plan = Plan::new(0).everywhere(Fault::Slow(Duration::from_millis(10)), 1000);
        let slow = Arc::new(Faulty::new(memory.clone(), env.clone(), plan));
        let load = Load { values: 40, value_bytes: 100, callers: 4, ..Load::default() };
        let rates = measure(slow, "measured/", &env, load).await.unwrap();
        let counts: Vec<_> = rates.iter().map(|rate| (rate.name, rate.count, rate.bytes)).collect();
        let wanted = [
            ("put", 40, 4000),
            ("put", 40, 4000),
            ("get", 40, 4000),
            ("get", 40, 4000),
            ("list", 40, 0),
        ];
        assert_eq!(counts, wanted);
        for rate in &rates {
            assert!(rate.half >= Duration::from_millis(10), "{rate}");
            assert!(rate.half <= rate.most && rate.most <= rate.slowest, "{rate}");
        }
        assert!(rates[1].per_second() > 2.0 * rates[0].per_second(), "4 callers are not faster");
        assert!(memory.list_all("", false).await.unwrap().is_empty());
    });
}

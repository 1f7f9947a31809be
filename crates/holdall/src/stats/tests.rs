//! Figures of several processes, of damaged files, and of backends that are used no more.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use holdall_core::{Backend, BackendExt, Bytes, Env, ErrorKind, Expect, Key, Location, Memory};
use holdall_layers::Metered;
use holdall_testkit::sim::simulate;

use super::*;

fn calls(name: &str, requests: u64, nanos: u64) -> CallStats {
    CallStats {
        call: name.to_owned(),
        requests,
        bytes_read: 10 * requests,
        nanos_sum: requests * nanos,
        nanos_max: nanos,
        buckets: BTreeMap::from([(40, requests)]),
        ..CallStats::default()
    }
}

fn process(id: &str, at: u64, ended: bool) -> ProcessStats {
    let time = Timestamp::from_micros(at);
    ProcessStats { id: id.to_owned(), started: time, updated: time, ended, ..Default::default() }
}

#[test]
fn what_is_new_is_what_came_since() {
    let errors = BTreeMap::from([("full".to_owned(), 2)]);
    let before = [CallStats { errors: errors.clone(), ..calls("put", 5, 100) }];
    let more = BTreeMap::from([("full".to_owned(), 2), ("denied".to_owned(), 1)]);
    let now = [
        CallStats { errors: more, nanos_sum: 1400, nanos_max: 700, ..calls("put", 8, 100) },
        calls("get", 1, 7),
    ];
    let new = news(&now, &before);
    assert_eq!((new[0].requests, new[0].bytes_read, new[0].nanos_sum), (3, 30, 900));
    assert_eq!(new[0].errors, BTreeMap::from([("denied".to_owned(), 1)]));
    assert_eq!((new[0].nanos_max, new[0].buckets[&40]), (700, 3));
    assert_eq!(new[1], now[1]);
    assert!(news(&now, &now).is_empty());

    let mut sum = before[0].clone();
    sum.add(&new[0]);
    assert_eq!(sum, now[0]);
    assert_eq!(sum.latency().mean, Duration::from_nanos(1400 / 8));
}

#[test]
fn the_newest_processes_are_named_and_all_are_counted() {
    let mut stats = BackendStats::default();
    stats.merge(&[calls("get", 1, 5)], process("stuck", 1, false));
    for number in 2..40 {
        stats.merge(&[calls("get", 1, 5)], process(&number.to_string(), number, true));
    }
    assert_eq!(stats.calls[0].requests, 39);
    assert_eq!(stats.processes.len(), PROCESSES_MAX);
    assert_eq!(stats.processes[0].id, "stuck", "who has not ended stays");
    assert_eq!(stats.since, Timestamp::from_micros(1));
    assert_eq!(stats.updated, Timestamp::from_micros(39));
    for number in 40..60 {
        stats.merge(&[], process(&number.to_string(), number, false));
    }
    assert_eq!(stats.processes.len(), PROCESSES_MAX, "however many never end");
}

/// A backend whose figures are kept in this folder, as an engine does it.
fn kept(folder: &Path, location: &str, env: &Env) -> (Arc<Keeper>, Metered) {
    let metered = Metered::new(Arc::new(Memory::new()), env);
    let location = Location::parse(location).unwrap();
    let source = Source { location, role: "data", metrics: metered.metrics() };
    (Keeper::start(folder.to_owned(), "test", vec![source], env), metered)
}

async fn put(backend: &Metered, count: usize) {
    for number in 0..count {
        let key = Key::parse(format!("{number}")).unwrap();
        backend.put(&key, Bytes::from("value"), Expect::Any).await.unwrap();
    }
}

fn of(folder: &Path, location: &str) -> BackendStats {
    let kept = read_stats(folder).unwrap();
    assert!(kept.problems.is_empty(), "{:?}", kept.problems);
    kept.backends.into_iter().find(|stats| stats.location == location).unwrap()
}

#[test]
fn a_process_that_goes_on_writes_every_few_seconds_and_at_its_end() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("stats");
    simulate(1, |env| {
        let folder = folder.clone();
        async move {
            let (keeper, backend) = kept(&folder, "file:///srv/a", &env);
            put(&backend, 3).await;
            assert!(read_stats(&folder).unwrap().backends.is_empty());
            env.sleep(Duration::from_secs(12)).await;
            let stats = of(&folder, "file:///srv/a");
            assert_eq!((stats.calls[0].requests, stats.processes[0].ended), (3, false));
            assert_eq!(stats.calls[0].bytes_written, 3 * 6);
            put(&backend, 2).await;
            keeper.keep(true).await;
            keeper.keep(true).await;
            let stats = of(&folder, "file:///srv/a");
            assert_eq!((stats.calls[0].requests, stats.processes.len()), (5, 1));
            assert!(stats.processes[0].ended);
            assert_eq!(stats.processes[0].calls, stats.calls);
        }
    });
}

#[test]
fn secrets_are_in_no_file() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("stats");
    simulate(2, |env| {
        let folder = folder.clone();
        async move {
            let location = "s3://bucket?secret_access_key=hunter2&region=here";
            let (keeper, backend) = kept(&folder, location, &env);
            put(&backend, 1).await;
            keeper.keep(true).await;
        }
    });
    let mut files = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        files += usize::from(text.contains("s3://bucket?region=here"));
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert_eq!(files, 1);
}

/// Many at once, as from several processes: the lock is the file's and not the process's.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn figures_of_many_at_once_are_added_up_exactly() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("stats");
    let env = holdall_runtime::env();
    let writers = (0..8).map(|_| async {
        let (keeper, backend) = kept(&folder, "file:///srv/a", &env);
        for _ in 0..5 {
            put(&backend, 10).await;
            // Whoever does not get the lock in time has it written with the next ones.
            keeper.keep(false).await;
        }
        while keeper.kept[0].merged.lock().unwrap().first().map(|call| call.requests) != Some(50) {
            keeper.keep(true).await;
        }
    });
    let pairs = futures::future::join_all(writers);
    pairs.await;
    let stats = of(&folder, "file:///srv/a");
    assert_eq!((stats.calls[0].requests, stats.processes.len()), (8 * 50, 8));
    assert_eq!(stats.calls[0].buckets.values().sum::<u64>(), 8 * 50);
}

#[test]
fn what_is_damaged_begins_anew_and_what_is_newer_is_left() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("stats");
    let add = |location: &str| {
        folder::merge(&folder, location, &[calls("get", 1, 5)], process("a", 9, true))
    };
    assert!(add("file:///a").unwrap());
    let path = folder.join(
        fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .find(|name| name.to_string_lossy().ends_with(".json"))
            .unwrap(),
    );
    let whole = fs::read_to_string(&path).unwrap();

    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let found = read_stats(&folder).unwrap();
    assert_eq!(found.problems[0].kind(), ErrorKind::Corrupt);
    assert!(add("file:///a").unwrap());
    let stats = of(&folder, "file:///a");
    assert!(stats.lost && stats.calls[0].requests == 1);

    let newer = whole.replace("\"version\":1", "\"version\":2");
    assert_ne!(newer, whole);
    fs::write(&path, &newer).unwrap();
    assert_eq!(add("file:///a").unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(fs::read_to_string(&path).unwrap(), newer);
    assert_eq!(read_stats(&folder).unwrap().problems[0].kind(), ErrorKind::Unsupported);
}

#[test]
fn figures_have_bounds_and_make_no_home() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("none/stats");
    let add = |folder: &Path, location: &str| {
        folder::merge(folder, location, &[calls("get", 1, 5)], process("a", 9, true))
    };
    add(&folder, "file:///a").unwrap_err();
    assert!(!home.path().join("none").exists());
    assert!(read_stats(&folder).unwrap().backends.is_empty());

    let folder = home.path().join("stats");
    for number in 0..120 {
        assert!(add(&folder, &format!("file:///{number}")).unwrap());
    }
    let kept = read_stats(&folder).unwrap();
    assert_eq!(kept.backends.len(), 100);
    assert!(kept.backends.iter().any(|stats| stats.location == "file:///119"));
}

#[test]
fn who_holds_the_lock_for_long_holds_up_nobody() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("stats");
    fs::create_dir(&folder).unwrap();
    let lock = fs::File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    simulate(3, |env| {
        let folder = folder.clone();
        async move {
            let (keeper, backend) = kept(&folder, "file:///srv/a", &env);
            put(&backend, 1).await;
            let watch = env.stopwatch();
            keeper.keep(true).await;
            assert!(watch.elapsed() < Duration::from_secs(2), "{:?}", watch.elapsed());
            assert!(read_stats(&folder).unwrap().backends.is_empty());
            lock.unlock().unwrap();
            keeper.keep(true).await;
            assert_eq!(of(&folder, "file:///srv/a").calls[0].requests, 1);
            assert!(backend.get_all(&Key::parse("0").unwrap()).await.unwrap().is_some());
        }
    });
}

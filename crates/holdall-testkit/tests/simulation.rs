//! The simulation runner: one seed replays exactly, and what cannot go on is an error.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::clone_on_ref_ptr, reason = "the clones become trait objects on the way")]

use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;
use holdall_core::{
    Backend, BackendExt, Bytes, Env, ErrorKind, Expect, Key, Memory, Revision, Timestamp,
};
use holdall_testkit::conformance;
use holdall_testkit::sim::{Simulation, Trace, seeds, simulate};
use holdall_testkit::{Faulty, Plan, Strict};

/// Some actors that write, wait, compute and roll dice; returns what can be seen of it.
async fn busy(env: Env) -> (Vec<String>, [u8; 8], Timestamp) {
    let backend = Arc::new(Strict::new());
    let faulty = Faulty::new(backend.clone(), env.clone(), Plan::stormy(env.random_below(1 << 40)));
    let faulty = Arc::new(faulty);
    let mut done = Vec::new();
    for actor in 0..4 {
        let (sender, receiver) = oneshot::channel();
        let (env, backend) = (env.clone(), Arc::clone(&faulty));
        env.clone().spawn(async move {
            let mut log = Vec::new();
            for round in 0..10 {
                let key = Key::parse(format!("key-{}", env.random_below(3))).unwrap();
                let value = env.blocking(move || format!("{actor}-{round}")).await.unwrap();
                let put = backend.put(&key, Bytes::from(value), Expect::Any).await;
                log.push(format!("{actor} {key} {:?} {:?}", put.map_err(|e| e.kind()), env.now()));
                env.sleep(Duration::from_millis(env.random_below(50))).await;
            }
            let _ = sender.send(log);
        });
        done.push(receiver);
    }
    let mut seen = Vec::new();
    for receiver in done {
        seen.extend(receiver.await.unwrap());
    }
    faulty.land().await;
    for row in backend.list_all("", true).await.unwrap() {
        seen.push(format!("{row:?}"));
    }
    (seen, env.random(), env.now())
}

#[test]
fn one_seed_replays_exactly_and_others_differ() {
    let run = |seed| Simulation::new(seed).run(busy).unwrap();
    let mut traces: Vec<Trace> = Vec::new();
    seeds(20, |seed| {
        let (first, second) = (run(seed), run(seed));
        assert_eq!(first, second, "seed {seed} did not replay");
        assert!(!traces.contains(&first.1), "seed {seed} went as an earlier one");
        traces.push(first.1);
    });
}

#[test]
fn waiting_costs_no_time_and_never_ends_early() {
    let (waited, trace) = Simulation::new(1)
        .run(|env| async move {
            let watch = env.stopwatch();
            env.sleep(Duration::from_secs(86_400)).await;
            watch.elapsed()
        })
        .unwrap();
    assert!(waited >= Duration::from_secs(86_400));
    assert!(trace.steps < 10);
}

#[test]
fn the_wall_clock_jumps_and_the_other_never_goes_back() {
    let wait = |env: Env| async move {
        let (mut back, mut last, mut elapsed) = (0, env.now(), env.elapsed());
        for _ in 0..200 {
            env.sleep(Duration::from_secs(1)).await;
            back += usize::from(env.now() < last);
            assert!(env.elapsed() >= elapsed + Duration::from_secs(1));
            (last, elapsed) = (env.now(), env.elapsed());
        }
        back
    };
    let (jumped, _) = Simulation::new(3).with_clock_jumps(500).run(wait).unwrap();
    let (steady, _) = Simulation::new(3).with_clock_jumps(0).run(wait).unwrap();
    assert!(jumped > 0, "the wall clock never went back");
    assert_eq!(steady, 0);
}

#[test]
fn a_deadlock_is_an_error_with_its_seed() {
    let stuck = Simulation::new(77)
        .run(|env| async move {
            let (_kept, never) = oneshot::channel::<()>();
            env.spawn(async {});
            let _ = never.await;
        })
        .unwrap_err();
    assert_eq!(stuck.seed, 77);
    assert!(stuck.to_string().contains("deadlock"), "{stuck}");
    assert!(stuck.to_string().contains("HOLDALL_SEED=77"), "{stuck}");
}

#[test]
fn going_in_circles_is_an_error() {
    let circle = |_| async {
        loop {
            holdall_testkit::suspend().await;
        }
    };
    let stuck = Simulation::new(1).with_steps_max(1000).run::<(), _>(circle).unwrap_err();
    assert_eq!(stuck.trace.steps, 1000);
}

/// A lost update that only some orders show: a check and a write with a pause between them.
async fn racy(env: Env) -> u64 {
    let backend = Arc::new(Memory::new());
    let key = Key::parse("counter").unwrap();
    let mut done = Vec::new();
    for actor in 0..2 {
        let (sender, receiver) = oneshot::channel();
        let (backend, key, pause) = (Arc::clone(&backend), key.clone(), env.clone());
        env.spawn(async move {
            pause.sleep(Duration::from_micros(pause.random_below(60))).await;
            let seen = backend.get_all(&key).await.unwrap();
            let count = seen.map_or(0, |object| object.value.len());
            pause.sleep(Duration::from_micros(20)).await;
            let value = vec![actor; count + 1];
            let _ = sender.send(backend.put(&key, value.into(), Expect::Any).await);
        });
        done.push(receiver);
    }
    for receiver in done {
        let _: Revision = receiver.await.unwrap().unwrap();
    }
    backend.get_all(&key).await.unwrap().unwrap().size
}

#[test]
fn seeds_explore_orders() {
    let counts: Vec<u64> = (0..60).map(|seed| simulate(seed, racy)).collect();
    assert!(counts.contains(&1), "no seed lost the update");
    assert!(counts.contains(&2), "every seed lost the update");
}

#[test]
fn the_suite_itself_runs_simulated() {
    seeds(3, |seed| {
        let report = simulate(seed, |env| async move {
            conformance::run(Arc::new(Strict::new()), "sim/", &env).await
        });
        assert!(report.is_conformant(), "{report}");
    });
}

#[test]
fn jobs_answer_and_a_dropped_wait_does_not_stop_them() {
    let error = simulate(5, |env| async move {
        drop(env.blocking(|| 1));
        assert_eq!(env.blocking(|| 2).await.unwrap(), 2);
        let (sender, receiver) = oneshot::channel::<()>();
        drop(sender);
        receiver.await.is_err()
    });
    assert!(error);
    let kind = simulate(6, |env| async move {
        let plan =
            Plan::new(0).at(holdall_testkit::Method::Put, 1, holdall_testkit::Fault::NoSpace);
        let backend = Faulty::new(Arc::new(Memory::new()), env, plan);
        let put = backend.put(&Key::parse("k").unwrap(), Bytes::new(), Expect::Any).await;
        put.unwrap_err().kind()
    });
    assert_eq!(kind, ErrorKind::Full);
}

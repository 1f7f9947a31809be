//! What an engine tells of its backends while it runs: their health, and their figures.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use holdall::{
    Engine, Env, ErrorKind, HealthPolicy, HealthState, Memory, ReadOptions, WriteOptions,
    read_stats,
};
use holdall_testkit::sim::simulate;
use holdall_testkit::{Fault, Faulty, Method, Plan, Recording};

const POLICY: HealthPolicy = HealthPolicy {
    interval: Duration::from_secs(20),
    timeout: Duration::from_secs(5),
    failures: 3,
};

/// An engine whose data backend fails when asked for its health, once it is let.
async fn ailing(env: &Env, fault: Fault) -> (Engine, Faulty) {
    let plan = Plan::new(1).chance(Method::Health, fault, 1000);
    let faulty = Faulty::new(Arc::new(Memory::new()), env.clone(), plan);
    faulty.pause();
    let builder = Engine::builder().data_backend(Arc::new(faulty.clone())).data_health(POLICY);
    (builder.env(env.clone()).open().await.unwrap(), faulty)
}

#[test]
fn a_backend_that_fails_goes_down_and_comes_back() {
    simulate(1, |env| async move {
        let (engine, faulty) = ailing(&env, Fault::FailBefore).await;
        assert!(engine.known_health().data.checked.is_none(), "nobody asked yet");
        engine.watch_health();
        engine.watch_health();
        let mut seen = Vec::new();
        for round in 0..12 {
            match round {
                2 => faulty.resume(),
                7 => faulty.pause(),
                _ => {}
            }
            env.sleep(Duration::from_secs(if round == 0 { 1 } else { 20 })).await;
            let health = engine.known_health();
            assert_eq!(health.catalog.state, HealthState::Healthy);
            assert_eq!(health.data.problem().is_some(), (2..7).contains(&round), "{round}");
            seen.push((health.data.state, health.data.failures));
        }
        use HealthState::{Down, Healthy, Suspect};
        let wanted = [
            (Healthy, 0),
            (Healthy, 0),
            (Suspect, 1),
            (Suspect, 2),
            (Down, 3),
            (Down, 4),
            (Down, 5),
            (Suspect, 0),
            (Healthy, 0),
        ];
        assert_eq!(seen[..wanted.len()], wanted);
        assert!(engine.known_health().data.answer.unwrap().is_ok());
    });
}

#[test]
fn a_backend_that_does_not_answer_in_time_has_failed() {
    simulate(2, |env| async move {
        let (engine, faulty) = ailing(&env, Fault::Slow(Duration::from_secs(60))).await;
        assert_eq!(engine.health().await.data.state, HealthState::Healthy);
        faulty.resume();
        let watch = env.stopwatch();
        let health = engine.health().await;
        assert_eq!(watch.elapsed(), POLICY.timeout);
        assert_eq!((health.data.state, health.data.took), (HealthState::Suspect, POLICY.timeout));
        let problem = health.data.problem().unwrap();
        assert_eq!(problem.kind(), ErrorKind::Unavailable);
        assert!(problem.message().contains("5 s"), "{problem}");
        assert_eq!(health.catalog.state, HealthState::Healthy);
    });
}

/// A watched engine that is dropped must let go of its backends, or nobody could open them again.
#[test]
fn nobody_is_asked_once_the_engine_is_closed_or_dropped() {
    simulate(3, |env| async move {
        for close in [true, false] {
            let data = Recording::new(Arc::new(Memory::new()));
            let weak = Arc::new(data.clone());
            let builder = Engine::builder().data_backend(Arc::<Recording>::clone(&weak) as _);
            let engine = builder.data_health(POLICY).env(env.clone()).open().await.unwrap();
            let weak = {
                let handle = Arc::downgrade(&weak);
                drop(weak);
                handle
            };
            engine.watch_health();
            env.sleep(Duration::from_secs(50)).await;
            assert_eq!(data.count(Method::Health), 3);
            if close {
                engine.close().await.unwrap();
                env.sleep(Duration::from_secs(500)).await;
                assert_eq!(data.count(Method::Health), 3);
            }
            drop(engine);
            assert_eq!(weak.strong_count(), 0, "nothing holds the backend");
            env.sleep(Duration::from_secs(500)).await;
            assert_eq!(data.count(Method::Health), 3);
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_survive_the_process_and_are_those_of_the_engine() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("stats");
    let mut requests = 0;
    for round in 0..3_u32 {
        let engine = Engine::builder().home(home.path()).holder("me").open().await.unwrap();
        engine.get_or_create_volume("v").await.unwrap();
        let bytes = vec![7; 100_000];
        engine.write("v", &round.to_string(), bytes, WriteOptions::default()).await.unwrap();
        engine.read("v", "0", ReadOptions::default()).await.unwrap().unwrap();
        engine.close().await.unwrap();
        requests += engine.metrics().data.iter().map(|call| call.count).sum::<u64>();

        let kept = read_stats(&folder).unwrap();
        assert!(kept.problems.is_empty(), "{:?}", kept.problems);
        let [data, catalog] = kept.backends.as_slice() else { panic!("{kept:?}") };
        assert!(data.location.starts_with("file://"), "{}", data.location);
        assert!(catalog.location.starts_with("journal+lmdb://"), "{}", catalog.location);
        assert_eq!(data.total().requests, requests);
        assert_eq!(data.processes.len() as u32, round + 1);
        let last = data.processes.last().unwrap();
        assert_eq!((last.holder.as_str(), last.role.as_str(), last.ended), ("me", "data", true));
        let (total, latency) = (data.total(), data.total().latency());
        assert!(total.bytes_written > 0 && total.bytes_read > 0);
        assert!(latency.p50 <= latency.p99 && latency.p99 <= latency.max);
        assert!(latency.mean > Duration::ZERO && latency.mean <= latency.max);
    }
    // Losing them harms nothing.
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::write(&folder, "in the way").unwrap();
    let engine = Engine::builder().home(home.path()).open().await.unwrap();
    assert!(engine.read("v", "2", ReadOptions::default()).await.unwrap().is_some());
    engine.close().await.unwrap();
}

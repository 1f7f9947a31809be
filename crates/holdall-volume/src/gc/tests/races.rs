//! Passes without any grace beside puts that go on: puts may fail, but none that was acknowledged
//! is lost.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::channel::oneshot;
use holdall_core::{Bytes, Env, ErrorKind};
use holdall_testkit::sim::{Simulation, seeds};
use holdall_testkit::{Chance, Fault, Method, Plan};

use super::bed::{Bed, at_once, name, noise, policy};
use crate::Condition;
use crate::volume::Volume;
use crate::write::PutOptions;

/// What a name may hold: what was last acknowledged, and what may have been written since.
type Expected = BTreeMap<String, Vec<Option<Bytes>>>;

async fn write(volume: Volume, actor: u64, seed: u64, env: Env) -> Expected {
    let mut chance = Chance::new(seed * 100 + actor);
    let mut expected = Expected::new();
    for _ in 0..25 {
        let text = format!("{actor}-{}", chance.below(4));
        // Few contents, so that what one deletes another stores.
        let (content, size) = (chance.below(5), [30, 400, 9000, 70_000][chance.index(4)]);
        let bytes = noise(content, size);
        let put = chance.happens(700);
        let result = if put {
            volume.put(&name(&*text), bytes.clone(), PutOptions::default()).await.map(drop)
        } else {
            volume.delete(&name(&*text), Condition::Always).await.map(drop)
        };
        let now = put.then_some(bytes);
        let may_be = expected.entry(text).or_insert_with(|| vec![None]);
        match result {
            Ok(()) => *may_be = vec![now],
            Err(error) if error.kind() == ErrorKind::Unavailable => {}
            Err(error) if error.kind() == ErrorKind::Unknown => may_be.push(now),
            // The clock has jumped over its lease, and a pass has ended it.
            Err(error) if error.kind() == ErrorKind::Closed => break,
            Err(error) => panic!("actor {actor}: {error:?}"),
        }
        env.sleep(Duration::from_millis(chance.below(300))).await;
    }
    expected
}

async fn collect(volume: Volume, env: Env, faulty: bool) {
    for _ in 0..12 {
        if let Err(error) = volume.gc(at_once()).await {
            assert!(faulty || error.kind() == ErrorKind::Closed, "{error:?}");
            assert_ne!(error.kind(), ErrorKind::Corrupt, "{error:?}");
        }
        env.sleep(Duration::from_millis(env.random_below(400))).await;
    }
}

async fn race(env: Env, seed: u64, plan: Plan, faulty: bool) {
    let (bed, _) = Bed::create(env.clone(), policy()).await;
    let first = bed.slow(Plan::new(seed)).open().await;
    let slow = bed.slow(plan);
    let Ok(second) = Volume::open(slow.resources(), bed.id).await else { return };
    let mut writers = Vec::new();
    for actor in 0..4 {
        let volume = if actor % 2 == 0 { first.clone() } else { second.clone() };
        let (sender, receiver) = oneshot::channel();
        let inner = env.clone();
        env.spawn(async move {
            let _ = sender.send(write(volume, actor, seed, inner).await);
        });
        writers.push(receiver);
    }
    let (sender, collected) = oneshot::channel();
    let (volume, inner) = (second.clone(), env.clone());
    env.spawn(async move {
        collect(volume, inner, faulty).await;
        let _ = sender.send(());
    });
    let mut expected = Expected::new();
    for writer in writers {
        expected.extend(writer.await.unwrap());
    }
    collected.await.unwrap();
    drop((first, second));
    let volume = bed.open().await;
    for (text, may_be) in expected {
        let found = match volume.get(&name(&*text)).await.unwrap() {
            Some(reading) => Some(reading.bytes().await.unwrap()),
            None => None,
        };
        assert!(may_be.contains(&found), "{text} holds what nobody wrote last");
    }
    bed.verify().await;
    bed.gc(&volume, at_once()).await;
    bed.verify().await;
}

#[test]
fn no_acknowledged_write_is_lost_to_passes_without_grace() {
    seeds(12, |seed| {
        Simulation::new(seed).run(|env| race(env, seed, Plan::new(seed), false)).unwrap();
    });
}

#[test]
fn nor_if_backends_fail_meanwhile() {
    seeds(12, |seed| {
        let plan = Plan::new(seed)
            .everywhere(Fault::FailBefore, 15)
            .everywhere(Fault::FailAfter, 15)
            .everywhere(Fault::ShortList, 100)
            .everywhere(Fault::ReplyLost, 5)
            .chance(Method::Delete, Fault::LandsLate(20), 50)
            .chance(Method::Apply, Fault::LandsLate(3), 10)
            .chance(Method::Apply, Fault::BatchRefused, 20);
        Simulation::new(seed).run(|env| race(env, seed, plan, true)).unwrap();
    });
}

//! The same seed gives the same run.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use holdall_core::Memory;
use holdall_testkit::sim::Simulation;
use holdall_testkit::{Fault, Faulty, Method, Plan};

use super::{Bed, KIB, MIB, noise, settings};

#[test]
fn a_seed_replays_exactly() {
    let run = |seed| {
        let simulation = Simulation::new(seed);
        let run = simulation.run(|env| async move {
            let plan = Plan::new(seed)
                .chance(Method::Put, Fault::Slow(Duration::from_millis(3)), 500)
                .chance(Method::Put, Fault::FailBefore, 200);
            let data = Faulty::new(Arc::new(Memory::new()), env.clone(), plan);
            let bed = Bed::on(env, Arc::new(data), settings());
            let sizes = [20 * KIB, 5 * MIB, 300 * KIB];
            let puts = (0..12).map(|n| bed.store(noise(n, sizes[n as usize % 3])));
            join_all(puts).await.into_iter().map(|result| result.is_ok()).collect::<Vec<_>>()
        });
        run.unwrap()
    };
    for seed in 0..6 {
        assert_eq!(run(seed), run(seed));
    }
}

//! Stores at the same time share puts of segments.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use holdall_core::{Backend, Memory};
use holdall_testkit::sim::simulate;
use holdall_testkit::{Fault, Faulty, Method, Plan, Recording};

use super::{Bed, KIB, MIB, ZSTD, noise, settings};

#[tokio::test(flavor = "multi_thread")]
async fn a_put_alone_is_one_lookup_and_one_segment() {
    let data = Recording::new(Arc::new(Memory::new()));
    let bed = Bed::on(holdall_runtime::env(), Arc::new(data.clone()), settings());
    bed.store(noise(1, 20 * KIB)).await.unwrap();
    data.assert_calls(&[(Method::Put, 1)]);
}

#[test]
fn sixty_four_small_stores_share_few_puts() {
    for seed in 0..10 {
        let (puts, stored) = simulate(seed, |env| async move {
            let slow =
                Plan::new(seed).chance(Method::Put, Fault::Slow(Duration::from_millis(5)), 1000);
            let slow = Faulty::new(Arc::new(Memory::new()), env.clone(), slow);
            let data = Recording::new(Arc::new(slow));
            let bed = Bed::on(env, Arc::new(data.clone()), settings());
            let puts = (0..64).map(|n| bed.store(noise(n, 20 * KIB)));
            let stored: Vec<_> = join_all(puts)
                .await
                .into_iter()
                .map(Result::unwrap)
                .collect();
            for one in &stored {
                bed.commit(one).await;
            }
            (data.count(Method::Put), stored.len())
        });
        assert!(puts <= 3, "{puts} puts for {stored} stores");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_values_share_one_flush() {
    let data = Recording::new(Arc::new(Memory::new()));
    let bed = Bed::on(holdall_runtime::env(), Arc::new(data.clone()), settings());
    let values = (0..50).map(|n| (None, noise(n, 20 * KIB))).collect();
    bed.packer.store_many(values, ZSTD).await.unwrap();
    assert_eq!(data.count(Method::Put), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_neighbours_is_one_read_and_a_frame_is_decoded_once() {
    let data = Recording::new(Arc::new(Memory::new()));
    let bed = Bed::on(holdall_runtime::env(), Arc::new(data.clone()), settings());
    let stored = bed.store_committed(noise(1, 3 * MIB)).await;
    data.take();
    bed.read(&stored).await.unwrap();
    assert_eq!(data.count(Method::Get), 1);
    let values = (0..20).map(|n| (None, super::text(n, 20 * KIB))).collect();
    let stored = bed.packer.store_many(values, ZSTD).await.unwrap();
    for one in &stored {
        bed.commit(one).await;
    }
    data.take();
    for one in &stored {
        bed.read(one).await.unwrap();
    }
    assert_eq!(data.count(Method::Get), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_backends_do_not_keep_large_buffers_for_few_bytes() {
    let memory = Arc::new(Memory::new());
    let backend: Arc<dyn Backend> = memory.clone();
    let bed = Bed::on(holdall_runtime::env(), backend, settings());
    bed.store_committed(noise(1, 20 * KIB)).await;
    assert_eq!(bed.segments().await, 1);
}

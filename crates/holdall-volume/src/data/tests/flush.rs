//! Stores at the same time share puts of segments.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use holdall_core::{
    Backend, Batch, ByteRange, Bytes, Expect, Find, Health, Key, List, Memory, Object, Page,
    Profile, Result, Revision, async_trait,
};
use holdall_testkit::sim::simulate;
use holdall_testkit::{Fault, Faulty, Method, Plan, Recording};

use super::{Bed, KIB, MIB, ZSTD, noise, settings};

#[tokio::test(flavor = "multi_thread")]
async fn a_put_alone_is_one_call() {
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
            let stored: Vec<_> = join_all(puts).await.into_iter().map(Result::unwrap).collect();
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

/// Counts the puts that are under way at once.
#[derive(Debug)]
struct Gauge {
    inner: Faulty,
    now: AtomicUsize,
    most: AtomicUsize,
}

#[async_trait]
impl Backend for Gauge {
    fn profile(&self) -> &Profile {
        self.inner.profile()
    }

    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        self.inner.get(key, range).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        self.inner.get_many(keys).await
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        let result = self.inner.put(key, value, expect).await;
        self.now.fetch_sub(1, Ordering::SeqCst);
        result
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        self.inner.delete(key, expect).await
    }

    async fn list(&self, list: &List) -> Result<Page> {
        self.inner.list(list).await
    }

    async fn find(&self, find: &Find) -> Result<Page> {
        self.inner.find(find).await
    }

    async fn apply(&self, batch: Batch) -> Result<Revision> {
        self.inner.apply(batch).await
    }

    async fn health(&self) -> Result<Health> {
        self.inner.health().await
    }
}

#[test]
fn a_slow_backend_gets_few_segments_at_once() {
    let most = simulate(1, |env| async move {
        let slow = Plan::new(1).chance(Method::Put, Fault::Slow(Duration::from_secs(1)), 1000);
        let inner = Faulty::new(Arc::new(Memory::new()), env.clone(), slow);
        let data = Arc::new(Gauge { inner, now: 0.into(), most: 0.into() });
        let backend: Arc<dyn Backend> = Arc::<Gauge>::clone(&data);
        let bed = Bed::on(env, backend, settings());
        let puts = (0..24).map(|n| bed.store(noise(n, 5 * MIB)));
        join_all(puts).await.into_iter().for_each(|stored| drop(stored.unwrap()));
        data.most.load(Ordering::SeqCst)
    });
    assert!((2..=4).contains(&most), "{most}");
}

#[test]
fn long_streams_that_stand_still_hold_up_no_small_value() {
    simulate(2, |env| async move {
        let bed = Bed::new(env.clone());
        for n in 0..30 {
            let packer = Arc::clone(&bed.packer);
            env.spawn(async move {
                let begun = futures::stream::iter([Ok(noise(n, 300 * KIB))]);
                let source = begun.chain(futures::stream::pending()).boxed();
                drop(packer.store(source, ZSTD, None).await);
            });
        }
        env.sleep(Duration::from_secs(60)).await;
        assert!(bed.packer.blocks.try_acquire(1).is_none(), "the streams hold all they can");
        let bytes = noise(99, 200 * KIB);
        let stored = bed.store_committed(bytes.clone()).await;
        bed.check(&stored, &bytes).await;
    });
}

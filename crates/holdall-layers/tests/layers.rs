//! What the small layers do beyond passing calls on: counting, turns and deadlines.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "tests drive the real runtime")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use futures::lock::Mutex;
use holdall_core::{
    Backend, BackendExt, Batch, ByteRange, Bytes, ErrorKind, Expect, Find, Health, Key, List,
    Memory, Object, Page, Profile, Result, Revision, async_trait,
};
use holdall_layers::{Call, Limited, Limits, Metered, Stack};
use support::{bytes, env, key, roomy};

#[tokio::test(flavor = "multi_thread")]
async fn calls_errors_and_bytes_are_counted() {
    let layer = Metered::new(Arc::new(Memory::new()), &env());
    let metrics = layer.metrics();
    layer.put(&key("a"), bytes("12345"), Expect::Absent).await.unwrap();
    for _ in 0..2 {
        layer.put(&key("a"), bytes("x"), Expect::Absent).await.unwrap_err();
    }
    let wrong = Expect::Revision(Revision::number(99));
    layer.delete(&key("a"), wrong).await.unwrap_err();
    assert_eq!(layer.get_all(&key("a")).await.unwrap().unwrap().value.len(), 5);
    assert!(layer.get_all(&key("none")).await.unwrap().is_none());
    layer.get_many(&[key("a"), key("none"), key("a")]).await.unwrap();
    layer.list(&List::prefix("").with_values()).await.unwrap();
    layer.list(&List::prefix("").limit(0)).await.unwrap_err();
    let mut batch = Batch::new();
    batch.put(key("b"), "1", Expect::Any).delete(key("c"), Expect::Any);
    layer.apply(batch).await.unwrap();

    let put = metrics.of(Call::Put);
    assert_eq!((put.count, put.bytes_in, put.bytes_out), (3, 6 + 2 + 2, 0));
    assert_eq!(put.errors, [(ErrorKind::Conflict, 2)]);
    let latency = put.latency();
    assert!(latency.p50 > Duration::ZERO && latency.p50 <= latency.max);
    assert!(latency.mean > Duration::ZERO && latency.mean <= latency.max);
    assert_eq!(metrics.of(Call::Delete).errors, [(ErrorKind::Conflict, 1)]);
    let get = metrics.of(Call::Get);
    assert_eq!((get.count, get.bytes_out, get.errors.len()), (2, 5, 0));
    assert_eq!(metrics.of(Call::GetMany).bytes_out, 10);
    let list = metrics.of(Call::List);
    assert_eq!((list.count, list.bytes_out, list.errors), (2, 5, vec![(ErrorKind::Invalid, 1)]));
    assert_eq!(metrics.of(Call::Apply).bytes_in, 3);
    let calls: Vec<Call> = metrics.snapshot().iter().map(|each| each.call).collect();
    assert_eq!(calls.len(), 8);
    assert_eq!(metrics.of(Call::Health).count, 0);
}

/// A memory backend in which every call waits at a gate.
#[derive(Debug)]
struct Gated {
    memory: Memory,
    gate: Arc<Mutex<()>>,
}

impl Gated {
    async fn pass(&self) {
        drop(self.gate.lock().await);
    }
}

#[async_trait]
impl Backend for Gated {
    fn profile(&self) -> &Profile {
        self.memory.profile()
    }
    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        self.pass().await;
        self.memory.get(key, range).await
    }
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        self.pass().await;
        self.memory.get_many(keys).await
    }
    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        self.pass().await;
        self.memory.put(key, value, expect).await
    }
    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        self.pass().await;
        self.memory.delete(key, expect).await
    }
    async fn list(&self, list: &List) -> Result<Page> {
        self.pass().await;
        self.memory.list(list).await
    }
    async fn find(&self, find: &Find) -> Result<Page> {
        self.pass().await;
        self.memory.find(find).await
    }
    async fn apply(&self, batch: Batch) -> Result<Revision> {
        self.pass().await;
        self.memory.apply(batch).await
    }
    async fn health(&self) -> Result<Health> {
        self.pass().await;
        self.memory.health().await
    }
}

fn gated(limits: Limits) -> (Limited, Arc<Gated>, Arc<Mutex<()>>) {
    let gate = Arc::new(Mutex::new(()));
    let inner = Arc::new(Gated { memory: Memory::new(), gate: Arc::clone(&gate) });
    let shared: Arc<dyn Backend> = Arc::<Gated>::clone(&inner);
    (Limited::new(shared, limits, &env()).unwrap(), inner, gate)
}

const SHORT: Limits = Limits { calls_max: 1, deadline: Some(Duration::from_millis(20)) };

#[tokio::test(flavor = "multi_thread")]
async fn a_read_past_its_deadline_is_unavailable() {
    let (layer, _, gate) = gated(SHORT);
    let closed = gate.lock().await;
    for error in [
        layer.get_all(&key("a")).await.unwrap_err(),
        layer.get_many(&[key("a")]).await.unwrap_err(),
        layer.list(&List::prefix("")).await.unwrap_err(),
        layer.health().await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.message().contains("did not answer by the deadline of 20ms"), "{error}");
    }
    drop(closed);
    assert!(layer.get_all(&key("a")).await.unwrap().is_none(), "and it gave its turn back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_past_its_deadline_is_unknown_and_goes_on() {
    let (layer, inner, gate) = gated(SHORT);
    let closed = gate.lock().await;
    let unknown = layer.put(&key("a"), bytes("1"), Expect::Any).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::Unknown);
    // It still has the only turn, so that writes do not pile up in a store that hangs.
    let unavailable = layer.delete(&key("a"), Expect::Any).await.unwrap_err();
    assert_eq!(unavailable.kind(), ErrorKind::Unavailable);
    assert!(unavailable.message().contains("1 calls were under way"), "{unavailable}");
    drop(closed);
    while inner.memory.get_all(&key("a")).await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    // The turn comes back when the write has ended.
    while layer.delete(&key("a"), Expect::Any).await.is_err() {}
    assert!(inner.memory.get_all(&key("a")).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_deadline_calls_wait_for_their_turn() {
    let (layer, _, gate) = gated(Limits { calls_max: 2, deadline: None });
    let closed = gate.lock().await;
    let layer = Arc::new(layer);
    let writes = (0..20).map(|row| {
        let layer = Arc::clone(&layer);
        tokio::spawn(
            async move { layer.put(&key(format!("{row}")), bytes("x"), Expect::Any).await },
        )
    });
    let writes: Vec<_> = writes.collect();
    drop(closed);
    for write in writes {
        write.await.unwrap().unwrap();
    }
    assert_eq!(layer.list_all("", false).await.unwrap().len(), 20);
    let none = Limits { calls_max: 0, deadline: None };
    let refused = Limited::new(Arc::new(Memory::new()), none, &env()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_has_what_was_asked_for_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let plain = Stack::new(Arc::new(Memory::new())).open(&env()).await.unwrap();
    assert!(plain.journal.is_none() && plain.metrics.is_none());
    assert_eq!(plain.backend.profile().engine, "memory");
    let stack = Stack::new(Arc::new(Memory::new()))
        .with_metrics()
        .with_limits(Limits::default())
        .with_journal(folder.path(), roomy())
        .open(&env())
        .await
        .unwrap();
    assert_eq!(stack.backend.profile().engine, "journal+memory");
    stack.backend.put(&key("a"), bytes("1"), Expect::Any).await.unwrap();
    assert_eq!(stack.metrics.unwrap().of(Call::Put).count, 1);
    let shown = format!("{:?}", stack.backend);
    let places: Vec<usize> =
        ["Metered", "Limited", "Journaled", "Memory"].map(|name| shown.find(name).unwrap()).into();
    assert!(places.is_sorted(), "from the outside in: {shown}");
    stack.journal.unwrap().close().await.unwrap();
}

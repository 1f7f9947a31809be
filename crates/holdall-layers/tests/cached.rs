//! What a cache may give out, what it may keep, and what it never does.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/far.rs"]
mod far;

use std::sync::Arc;
use std::time::Duration;

use far::Far;
use futures::channel::oneshot;
use futures::future::{BoxFuture, join_all};
use holdall_core::{
    Backend, BackendExt, Batch, ByteRange, Bytes, Env, ErrorKind, Expect, Key, Memory, Row,
};
use holdall_layers::{CacheSettings, Cached, Writes};
use holdall_testkit::sim::{seeds, simulate};
use holdall_testkit::{Chance, Fault, Faulty, Method, Plan, Recording};

fn key(name: &str) -> Key {
    Key::parse(name).unwrap()
}

fn settings() -> CacheSettings {
    CacheSettings { memory_bytes: 1 << 20, value_bytes_max: 64 << 10, ..CacheSettings::default() }
}

fn once() -> CacheSettings {
    CacheSettings { written_once: vec!["seg/".to_owned()], ..settings() }
}

/// A cache over calls that are recorded, over a store.
struct Bed {
    cache: Arc<Cached>,
    calls: Recording,
    store: Arc<dyn Backend>,
}

async fn bed(env: &Env, settings: CacheSettings, store: Arc<dyn Backend>) -> Bed {
    let calls = Recording::new(Arc::clone(&store));
    let cache = Cached::open(Arc::new(calls.clone()), None, settings, env).await.unwrap();
    Bed { cache, calls, store }
}

async fn put(store: &dyn Backend, name: &str, value: &str) {
    store.put(&key(name), Bytes::copy_from_slice(value.as_bytes()), Expect::Any).await.unwrap();
}

async fn get(store: &dyn Backend, name: &str) -> Option<String> {
    let found = store.get_all(&key(name)).await.unwrap()?;
    Some(String::from_utf8(found.value.to_vec()).unwrap())
}

/// Runs a future in a task of its own.
fn start<T: Send + 'static>(
    env: &Env,
    task: impl Future<Output = T> + Send + 'static,
) -> BoxFuture<'static, T> {
    let (sender, receiver) = oneshot::channel();
    env.spawn(async move { drop(sender.send(task.await)) });
    Box::pin(async { receiver.await.unwrap() })
}

#[test]
fn those_who_miss_together_make_one_read() {
    simulate(1, |env| async move {
        let memory: Arc<dyn Backend> = Arc::new(Memory::new());
        put(&*memory, "a", "value").await;
        let late = Far::late(Arc::clone(&memory), &env, Duration::from_secs(1));
        for store in [late.clone(), Far::shared(Arc::new(late))] {
            let shared = store.profile().reach != memory.profile().reach;
            let bed = bed(&env, settings(), Arc::new(store)).await;
            let readers = (0..20).map(|_| {
                let cache = Arc::clone(&bed.cache);
                start(&env, async move { get(&*cache, "a").await.unwrap() })
            });
            for value in join_all(readers.collect::<Vec<_>>()).await {
                assert_eq!(value, "value");
            }
            let calls = bed.calls.take();
            let whole = calls.iter().filter(|call| call.bytes_out > 0).count();
            assert_eq!(whole, 1, "the value came once");
            // Where others write too, the nineteen ask whether it is still that value.
            assert_eq!(calls.len(), if shared { 20 } else { 1 });
            let counts = bed.cache.counts();
            assert_eq!((counts.misses, counts.shared, counts.fills), (20, 19, 1));
        }
    });
}

#[test]
fn a_reader_who_goes_away_takes_nobodys_answer_along() {
    simulate(2, |env| async move {
        let memory: Arc<dyn Backend> = Arc::new(Memory::new());
        put(&*memory, "a", "value").await;
        let late = Far::late(memory, &env, Duration::from_secs(1));
        let bed = bed(&env, settings(), Arc::new(late)).await;
        let cache = Arc::clone(&bed.cache);
        let mut gone = Box::pin(async move { get(&*cache, "a").await });
        assert!(futures::poll!(&mut gone).is_pending());
        let cache = Arc::clone(&bed.cache);
        let second = start(&env, async move { get(&*cache, "a").await });
        env.sleep(Duration::from_millis(500)).await;
        drop(gone);
        assert_eq!(second.await.unwrap(), "value");
        bed.calls.assert_calls(&[(Method::Get, 1)]);
    });
}

#[test]
fn an_answer_that_raced_with_a_write_is_kept_for_nobody() {
    simulate(3, |env| async move {
        let memory: Arc<dyn Backend> = Arc::new(Memory::new());
        put(&*memory, "a", "old").await;
        let late = Far::late(Arc::clone(&memory), &env, Duration::from_secs(1));
        let bed = bed(&env, settings(), Arc::new(late)).await;
        let cache = Arc::clone(&bed.cache);
        let reader = start(&env, async move { get(&*cache, "a").await.unwrap() });
        env.sleep(Duration::from_millis(500)).await;
        put(&*bed.cache, "a", "new").await;
        // Before the reader's answer is back: this one must not share it.
        assert_eq!(get(&*bed.cache, "a").await.unwrap(), "new");
        assert_eq!(reader.await, "old", "it was asked before the write");
        assert_eq!(get(&*bed.cache, "a").await.unwrap(), "new");
        assert_eq!(bed.cache.counts().overtaken, 1);
    });
}

/// One writer a key, and readers, over a store with faults: a value never goes back, and when all
/// is quiet the cache says what the store says.
async fn storm(env: Env, seed: u64, shared: bool) {
    let store: Arc<dyn Backend> = Arc::new(Memory::new());
    let plan = Plan::new(seed)
        .everywhere(Fault::FailBefore, 30)
        .everywhere(Fault::FailAfter, 30)
        .everywhere(Fault::ReplyLost, 20)
        .everywhere(Fault::Slow(Duration::from_millis(300)), 200);
    let faults = Faulty::new(Arc::clone(&store), env.clone(), plan);
    let late = Far::late(Arc::new(faults.clone()), &env, Duration::from_millis(40));
    let back: Arc<dyn Backend> =
        if shared { Arc::new(Far::shared(Arc::new(late))) } else { Arc::new(late) };
    let front: Arc<dyn Backend> = Arc::new(Memory::new());
    let front = seed.is_multiple_of(2).then_some(front);
    let settings = CacheSettings { memory_bytes: 600, front_bytes: 600, ..settings() };
    let cache = Cached::open(back, front, settings, &env).await.unwrap();
    let names = ["a", "b", "c", "d"];
    let mut tasks = Vec::new();
    for (nth, name) in names.into_iter().enumerate() {
        let (cache, mut chance) = (Arc::clone(&cache), Chance::new(seed * 31 + nth as u64));
        tasks.push(start(&env, async move {
            for number in 0..30_u64 {
                let value = Bytes::from(format!("{number:04}"));
                if chance.happens(300) {
                    let mut batch = Batch::new();
                    batch.put(key(name), value, Expect::Any);
                    drop(cache.apply(batch).await);
                } else {
                    drop(cache.put(&key(name), value, Expect::Any).await);
                }
            }
        }));
    }
    for reader in 0..3 {
        let cache = Arc::clone(&cache);
        let mut chance = Chance::new(seed * 97 + reader);
        tasks.push(start(&env, async move {
            let mut last = [String::new(), String::new(), String::new(), String::new()];
            for _ in 0..60 {
                let at = chance.index(names.len());
                let found = match chance.below(3) {
                    0 => cache.get_many(&[key(names[at])]).await.map(|mut found| found.remove(0)),
                    _ => cache.get_all(&key(names[at])).await,
                };
                if let Ok(Some(found)) = found {
                    let value = String::from_utf8(found.value.to_vec()).unwrap();
                    assert!(value >= last[at], "{} after {}", value, last[at]);
                    last[at] = value;
                }
            }
        }));
    }
    join_all(tasks).await;
    faults.pause();
    for name in names {
        for _ in 0..2 {
            assert_eq!(get(&*cache, name).await, get(&*store, name).await, "{name}");
        }
    }
}

#[test]
fn values_never_go_back_whatever_the_store_does() {
    seeds(40, |seed| simulate(seed, |env| storm(env, seed, false)));
    seeds(20, |seed| simulate(seed, |env| storm(env, seed, true)));
}

#[test]
fn a_write_that_lands_late_is_seen() {
    seeds(20, |seed| {
        simulate(seed, |env| async move {
            let store: Arc<dyn Backend> = Arc::new(Memory::new());
            put(&*store, "a", "old").await;
            let plan = Plan::new(seed).at(Method::Put, 1, Fault::LandsLate(2));
            let faults = Faulty::new(store, env.clone(), plan);
            let cache =
                Cached::open(Arc::new(faults.clone()), None, settings(), &env).await.unwrap();
            assert_eq!(get(&*cache, "a").await.unwrap(), "old");
            let error = cache.put(&key("a"), Bytes::from("late"), Expect::Any).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unknown);
            assert_eq!(get(&*cache, "a").await.unwrap(), "old");
            faults.land().await;
            assert_eq!(get(&*cache, "a").await.unwrap(), "late");
            assert!(cache.health().await.unwrap().notes.last().unwrap().contains("in doubt"));
        });
    });
}

#[test]
fn what_others_write_is_seen_at_once_except_under_names_that_are_written_once() {
    simulate(4, |env| async move {
        let store: Arc<dyn Backend> = Arc::new(Far::shared(Arc::new(Memory::new())));
        let bed = bed(&env, once(), store).await;
        put(&*bed.store, "row", "1").await;
        put(&*bed.store, "seg/1", "frames").await;
        assert_eq!(get(&*bed.cache, "row").await.unwrap(), "1");
        assert_eq!(get(&*bed.cache, "seg/1").await.unwrap(), "frames");
        bed.calls.assert_calls(&[(Method::Get, 2)]);
        put(&*bed.store, "row", "2").await;
        assert_eq!(get(&*bed.cache, "row").await.unwrap(), "2");
        assert_eq!(get(&*bed.cache, "row").await.unwrap(), "2");
        let asked: Vec<u64> = bed.calls.take().iter().map(|call| call.bytes_out).collect();
        assert_eq!(asked, [0, 1, 0], "a look, the new value, a look");
        // Nobody is asked about a name that is written once.
        assert_eq!(get(&*bed.cache, "seg/1").await.unwrap(), "frames");
        bed.calls.assert_calls(&[]);
        bed.store.delete(&key("row"), Expect::Any).await.unwrap();
        assert_eq!(get(&*bed.cache, "row").await, None);
        // Through this cache its removal is seen like any other.
        bed.cache.delete(&key("seg/1"), Expect::Any).await.unwrap();
        assert_eq!(get(&*bed.cache, "seg/1").await, None);
        put(&*bed.cache, "seg/1", "again").await;
        assert_eq!(get(&*bed.cache, "seg/1").await.unwrap(), "again");
    });
}

#[test]
fn ranges_come_out_of_the_whole_value() {
    simulate(5, |env| async move {
        let filled = bed(&env, settings(), Arc::new(Memory::new())).await;
        put(&*filled.store, "a", "0123456789").await;
        let part = |from, to| {
            let cache = Arc::clone(&filled.cache);
            async move { cache.get(&key("a"), ByteRange::new(from, to)).await.unwrap().unwrap() }
        };
        let first = part(2, 5).await;
        assert_eq!((first.value, first.size), (Bytes::from("234"), 10));
        env.sleep(Duration::from_secs(1)).await;
        filled.calls.assert_calls(&[(Method::Get, 2)]);
        let second = part(7, 99).await;
        assert_eq!((second.value, second.size), (Bytes::from("789"), 10));
        assert_eq!(part(20, 30).await.value, Bytes::new());
        let error = filled.cache.get(&key("a"), ByteRange::new(3, 2)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        filled.calls.assert_calls(&[]);

        let plain = CacheSettings { ranges_fill: false, ..settings() };
        let plain = bed(&env, plain, Arc::clone(&filled.store)).await;
        for _ in 0..2 {
            plain.cache.get(&key("a"), ByteRange::new(0, 3)).await.unwrap();
            env.sleep(Duration::from_secs(1)).await;
        }
        plain.calls.assert_calls(&[(Method::Get, 2)]);
        assert_eq!(plain.cache.counts().fills, 0);
    });
}

#[test]
fn written_values_are_kept_or_passed_by_as_was_asked() {
    simulate(6, |env| async move {
        for (writes, reads) in [(Writes::Through, 0), (Writes::Around, 2)] {
            let bed =
                bed(&env, CacheSettings { writes, ..settings() }, Arc::new(Memory::new())).await;
            put(&*bed.cache, "a", "1").await;
            let mut batch = Batch::new();
            batch.put(key("b"), "2", Expect::Absent).delete(key("c"), Expect::Any);
            bed.cache.apply(batch).await.unwrap();
            bed.calls.take();
            for (name, value) in [("a", "1"), ("b", "2"), ("a", "1"), ("b", "2")] {
                assert_eq!(get(&*bed.cache, name).await.unwrap(), value);
            }
            bed.calls.assert_calls(&[(Method::Get, reads)]);
            // A refused write changes nothing.
            let refused = bed.cache.put(&key("a"), Bytes::from("x"), Expect::Absent).await;
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::Conflict);
            assert_eq!(get(&*bed.cache, "a").await.unwrap(), "1");
        }
    });
}

#[test]
fn an_error_is_not_absence_and_is_not_kept() {
    simulate(7, |env| async move {
        let store: Arc<dyn Backend> = Arc::new(Memory::new());
        put(&*store, "a", "1").await;
        let plan = Plan::new(0).at(Method::Get, 1, Fault::FailAfter);
        let faults = Faulty::new(Arc::clone(&store), env.clone(), plan);
        let cache = Cached::open(Arc::new(faults), None, settings(), &env).await.unwrap();
        let error = cache.get_all(&key("a")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(get(&*cache, "a").await.unwrap(), "1");
        // Absence is not kept either: what is written past the cache is found.
        assert_eq!(get(&*cache, "b").await, None);
        put(&*store, "b", "2").await;
        assert_eq!(get(&*cache, "b").await.unwrap(), "2");
    });
}

#[test]
fn a_front_that_fails_is_passed_by_and_counted() {
    simulate(8, |env| async move {
        let back: Arc<dyn Backend> = Arc::new(Memory::new());
        put(&*back, "a", "1").await;
        let plan = Plan::new(0).everywhere(Fault::FailBefore, 1000);
        let front = Faulty::new(Arc::new(Memory::new()), env.clone(), plan);
        front.pause();
        let settings = CacheSettings { memory_bytes: 0, ..settings() };
        let cache =
            Cached::open(back, Some(Arc::new(front.clone())), settings, &env).await.unwrap();
        assert_eq!(get(&*cache, "a").await.unwrap(), "1");
        front.resume();
        assert_eq!(get(&*cache, "a").await.unwrap(), "1");
        assert!(cache.counts().failures > 0);
        front.pause();
        let failures = cache.counts().failures;
        assert_eq!(get(&*cache, "a").await.unwrap(), "1");
        assert_eq!((cache.counts().kept_hits, cache.counts().failures), (1, failures));
    });
}

#[test]
fn memory_is_bounded_and_the_store_keeps_everything() {
    simulate(9, |env| async move {
        let settings = CacheSettings { memory_bytes: 64 << 10, ..settings() };
        let bed = bed(&env, settings, Arc::new(Memory::new())).await;
        let value = |number: usize| Bytes::from(vec![number as u8; 1000]);
        for number in 0..500 {
            let name = key(&format!("{number:03}"));
            bed.cache.put(&name, value(number), Expect::Absent).await.unwrap();
            let note = bed.cache.health().await.unwrap().notes.pop().unwrap();
            let bytes = note.split(", ").nth(3).unwrap().split(' ').next().unwrap();
            assert!(bytes.parse::<u64>().unwrap() <= 64 << 10, "{note}");
        }
        bed.calls.take();
        for number in (0..1000).map(|number| number / 2) {
            let found = bed.cache.get_all(&key(&format!("{number:03}"))).await.unwrap().unwrap();
            assert_eq!(found.value, value(number));
        }
        let counts = bed.cache.counts();
        assert!(counts.memory_hits >= 500 && counts.misses > 400, "{counts:?}");
        assert!(bed.calls.calls().iter().all(|call| call.method == Method::Get));
        assert_eq!(bed.store.list_all("", false).await.unwrap().len(), 500);
        // What is too large is read every time.
        let huge = Bytes::from(vec![1; 65 << 10]);
        bed.cache.put(&key("huge"), huge.clone(), Expect::Any).await.unwrap();
        bed.calls.take();
        for _ in 0..2 {
            assert_eq!(bed.cache.get_all(&key("huge")).await.unwrap().unwrap().value, huge);
        }
        bed.calls.assert_calls(&[(Method::Get, 2)]);
    });
}

#[test]
fn a_front_holds_the_bytes_of_the_back_and_is_believed_after_reopening_for_names_written_once() {
    simulate(10, |env| async move {
        let back: Arc<dyn Backend> = Arc::new(Far::shared(Arc::new(Memory::new())));
        let front: Arc<dyn Backend> = Arc::new(Memory::new());
        let settings = CacheSettings { memory_bytes: 0, ..once() };
        let open = || {
            let calls = Recording::new(Arc::clone(&back));
            let (front, settings, env) = (Arc::clone(&front), settings.clone(), env.clone());
            async move {
                let back: Arc<dyn Backend> = Arc::new(calls.clone());
                (Cached::open(back, Some(front), settings, &env).await.unwrap(), calls)
            }
        };
        let (cache, _) = open().await;
        put(&*cache, "seg/1", "sealed frames").await;
        put(&*cache, "row", "sealed row").await;
        let mut in_back: Vec<Bytes> = Vec::new();
        for row in back.list_all("", true).await.unwrap() {
            in_back.push(row.object.unwrap().value);
        }
        let rows = front.list_all("", true).await.unwrap();
        assert_eq!(rows.len(), 2);
        // Each behind its checksum.
        let value = |row: &Row| row.object.as_ref().unwrap().value.slice(4..);
        assert!(rows.iter().all(|row| in_back.contains(&value(row))));
        drop(cache);

        let (cache, calls) = open().await;
        assert_eq!(get(&*cache, "seg/1").await.unwrap(), "sealed frames");
        assert_eq!(calls.take().iter().map(|call| call.bytes_out).sum::<u64>(), 0, "a look");
        assert_eq!(get(&*cache, "seg/1").await.unwrap(), "sealed frames");
        calls.assert_calls(&[]);
        // Any other key may be another value of the same revision, in a store that was made anew.
        assert_eq!(get(&*cache, "row").await.unwrap(), "sealed row");
        assert_eq!(calls.take().iter().map(|call| call.bytes_out).sum::<u64>(), 10);
        drop(cache);

        // What was removed while no cache was open is not given out.
        back.delete(&key("seg/1"), Expect::Any).await.unwrap();
        let (cache, _) = open().await;
        assert_eq!(get(&*cache, "seg/1").await, None);
    });
}

/// Turns one bit of the only row in front, and says what the row was before.
async fn spoil(front: &dyn Backend, at: usize) -> Row {
    let row = front.list_all("cache/", true).await.unwrap().remove(0);
    let mut bytes = row.object.as_ref().unwrap().value.to_vec();
    bytes[at] ^= 1;
    front.put(&row.key, bytes.into(), Expect::Any).await.unwrap();
    row
}

#[test]
fn a_copy_that_rots_in_front_is_read_anew_and_mended() {
    simulate(12, |env| async move {
        let back: Arc<dyn Backend> = Arc::new(Memory::new());
        let front: Arc<dyn Backend> = Arc::new(Memory::new());
        let settings = CacheSettings { memory_bytes: 0, value_bytes_max: 1 << 20, ..once() };
        let calls = Recording::new(Arc::clone(&back));
        let recorded: Arc<dyn Backend> = Arc::new(calls.clone());
        let cache = Cached::open(recorded, Some(Arc::clone(&front)), settings, &env).await.unwrap();
        let name = key("seg/1");
        let value: Bytes = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
        cache.put(&name, value.clone(), Expect::Absent).await.unwrap();
        calls.take();
        let whole = |range: ByteRange| {
            let place = range.clip(value.len() as u64).unwrap();
            value.slice(place.start as usize..place.end as usize)
        };
        let (first, last) = (ByteRange::new(10, 5000), ByteRange::new(140_000, 199_000));
        for (round, (at, range)) in
            [(100, ByteRange::ALL), (199_990, ByteRange::ALL), (150_000, last), (2, first)]
                .into_iter()
                .enumerate()
        {
            let row = spoil(&*front, at).await;
            if range == last {
                // Other blocks are whole.
                assert_eq!(cache.get(&name, first).await.unwrap().unwrap().value, whole(first));
                calls.assert_calls(&[]);
            }
            assert_eq!(cache.get(&name, range).await.unwrap().unwrap().value, whole(range));
            assert!(calls.count(Method::Get) > 0, "the back was asked");
            // A range brings in the whole value behind its reader's back.
            env.sleep(Duration::from_secs(1)).await;
            calls.take();
            let counts = cache.counts();
            assert_eq!((counts.damaged, counts.failures), (round as u64 + 1, 0));
            let mended = front.list_all("cache/", true).await.unwrap();
            assert_eq!(mended.len(), 1);
            assert_eq!(mended[0].key, row.key);
            assert_eq!(mended[0].object.as_ref().unwrap().value, row.object.unwrap().value);
            assert_eq!(cache.get_all(&name).await.unwrap().unwrap().value, value);
            calls.assert_calls(&[]);
        }
        let note = cache.health().await.unwrap().notes.pop().unwrap();
        assert!(note.contains("4 damaged copies"), "{note}");
    });
}

#[test]
fn settings_that_keep_nothing_are_refused() {
    simulate(11, |env| async move {
        let disk = holdall_layers::CacheDisk {
            folder: "nowhere".into(),
            bytes: 1 << 20,
            store: String::new(),
        };
        let wrong = [
            CacheSettings { memory_bytes: 0, ..settings() },
            CacheSettings { value_bytes_max: 0, ..settings() },
            CacheSettings { disk: Some(disk), ..settings() },
        ];
        for settings in wrong {
            let opened = Cached::open(Arc::new(Memory::new()), None, settings, &env).await;
            assert_eq!(opened.unwrap_err().kind(), ErrorKind::Invalid);
        }
    });
}

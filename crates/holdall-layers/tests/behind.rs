//! Writes behind: what was acknowledged is read at once, arrives in the end, and is never undone.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{BoxFuture, join_all};
use holdall_core::{
    Backend, BackendExt, ByteRange, Bytes, Durability, Env, ErrorKind, Expect, Key, List, Memory,
    Reach,
};
use holdall_layers::{Behind, BehindSettings};
use holdall_testkit::sim::{seeds, simulate};
use holdall_testkit::{
    Chance, Crash, CrashPoints, Crashing, Fault, Faulty, Method, Plan, Recording,
};

fn key(name: &str) -> Key {
    Key::parse(name).unwrap()
}

fn memory() -> Arc<dyn Backend> {
    Arc::new(Memory::new())
}

/// A queue in memory over calls that are recorded, over faults, over memory.
struct Bed {
    queue: Arc<Behind>,
    front: Arc<dyn Backend>,
    calls: Recording,
    faults: Faulty,
    back: Arc<dyn Backend>,
}

async fn bed(env: &Env, settings: BehindSettings, plan: Plan) -> Bed {
    let (front, back) = (memory(), memory());
    let faults = Faulty::new(Arc::clone(&back), env.clone(), plan);
    let calls = Recording::new(Arc::new(faults.clone()));
    let far: Arc<dyn Backend> = Arc::new(calls.clone());
    let queue = Behind::open(Arc::clone(&front), far, settings, env).await.unwrap();
    Bed { queue, front, calls, faults, back }
}

fn dead() -> Plan {
    Plan::new(0).everywhere(Fault::FailBefore, 1000)
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

/// Everything a store shows, by listing.
async fn all(store: &dyn Backend) -> BTreeMap<String, String> {
    let rows = store.list_all("", true).await.unwrap();
    let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    rows.into_iter().map(|row| (row.key.to_string(), text(row.object.unwrap().value))).collect()
}

#[test]
fn a_write_is_done_when_the_front_has_it_and_arrives_when_the_back_serves() {
    simulate(1, |env| async move {
        let bed = bed(&env, BehindSettings::default(), dead()).await;
        put(&*bed.back, "old", "untouched").await;
        let revision = bed.queue.put(&key("a"), Bytes::from("1234"), Expect::Any).await.unwrap();
        // Whether there is something can only be said by the back.
        let asked = bed.queue.put(&key("b"), Bytes::from("1"), Expect::Absent).await.unwrap_err();
        assert_eq!(asked.kind(), ErrorKind::Unavailable);
        env.sleep(Duration::from_secs(5)).await;
        assert!(bed.calls.calls().len() > 3, "it goes on trying");
        assert!(bed.back.get_all(&key("a")).await.unwrap().is_none());
        let found = bed.queue.get(&key("a"), ByteRange::new(1, 3)).await.unwrap().unwrap();
        assert_eq!((found.value, found.size, &found.revision), ("23".into(), 4, &revision));
        let backlog = bed.queue.backlog();
        assert_eq!((backlog.rows, backlog.bytes), (1, 6));
        assert_eq!(backlog.failure.unwrap().kind(), ErrorKind::Unavailable);
        let health = bed.queue.health().await.unwrap_err();
        assert!(health.message().contains("1 writes with 6 bytes wait"), "{health}");
        assert_eq!(bed.queue.flush().await.unwrap_err().kind(), ErrorKind::Unavailable);

        bed.faults.pause();
        while bed.queue.backlog().rows > 0 {
            env.sleep(Duration::from_secs(1)).await;
        }
        bed.queue.flush().await.unwrap();
        assert_eq!(get(&*bed.back, "a").await.unwrap(), "1234");
        let note = bed.queue.health().await.unwrap().notes.pop().unwrap();
        assert_eq!(note, "0 writes with 0 bytes wait in front");
        // The revision is the same as before, by every way of reading, and is taken.
        let found = bed.queue.get_all(&key("a")).await.unwrap().unwrap();
        assert_eq!(found.revision, revision);
        let many = bed.queue.get_many(&[key("a"), key("old")]).await.unwrap();
        assert_eq!(many[0].as_ref().unwrap(), &found);
        let page = bed.queue.list(&List::prefix("").with_values()).await.unwrap();
        assert_eq!(page.rows[0].object.as_ref().unwrap(), &found);
        assert_eq!(page.rows[1].object, many[1]);
        let stale = bed.queue.put(&key("a"), Bytes::from("x"), Expect::Absent).await.unwrap_err();
        assert_eq!((stale.kind(), stale.key()), (ErrorKind::Conflict, Some(&key("a"))));
        let expect = Expect::Revision(revision.clone());
        let newer = bed.queue.put(&key("a"), Bytes::from("5"), expect).await.unwrap();
        assert_ne!(newer, revision);
        let old = many[1].as_ref().unwrap().revision.clone();
        bed.queue.delete(&key("old"), Expect::Revision(old)).await.unwrap();
        bed.queue.flush().await.unwrap();
        assert_eq!(all(&*bed.back).await, BTreeMap::from([("a".to_owned(), "5".to_owned())]));
        // Of a key that was deleted the front keeps nothing.
        let left = bed.front.list_all("", false).await.unwrap();
        let left: Vec<&str> = left.iter().map(|row| row.key.as_str()).collect();
        assert_eq!(left, ["behind/owner", "behind/t/a"]);
    });
}

#[test]
fn names_that_are_written_once_are_created_without_the_back() {
    simulate(7, |env| async move {
        let written_once = vec!["seg/".to_owned()];
        let settings = BehindSettings { written_once, ..BehindSettings::default() };
        let bed = bed(&env, settings, dead()).await;
        let create = |value: &'static str| {
            let queue = Arc::clone(&bed.queue);
            async move { queue.put(&key("seg/1"), Bytes::from(value), Expect::Absent).await }
        };
        let revision = create("frames").await.unwrap();
        assert_eq!(create("other").await.unwrap_err().kind(), ErrorKind::Conflict);
        bed.faults.pause();
        while bed.queue.backlog().rows > 0 {
            env.sleep(Duration::from_secs(1)).await;
        }
        bed.calls.take();
        assert_eq!(create("other").await.unwrap_err().kind(), ErrorKind::Conflict);
        let found = bed.queue.get_all(&key("seg/1")).await.unwrap().unwrap();
        assert_eq!((found.value, found.revision), (Bytes::from("frames"), revision));
        put(&*bed.queue, "seg/2", "frames").await;
        bed.calls.take();
        bed.queue.flush().await.unwrap();
        bed.calls.assert_calls(&[(Method::Put, 1)]);
    });
}

#[test]
fn what_is_written_often_arrives_once() {
    simulate(2, |env| async move {
        let slow = Plan::new(0).everywhere(Fault::Slow(Duration::from_secs(1)), 1000);
        let bed = bed(&env, BehindSettings::default(), slow).await;
        for number in 0..50 {
            put(&*bed.queue, "a", &number.to_string()).await;
        }
        bed.queue.flush().await.unwrap();
        assert_eq!(get(&*bed.back, "a").await.unwrap(), "49");
        assert!(bed.calls.count(Method::Put) <= 3, "{:?}", bed.calls.counts());
    });
}

#[test]
fn the_queue_is_bounded() {
    simulate(3, |env| async move {
        let settings = BehindSettings { rows_max: 2, ..BehindSettings::default() };
        let refusing = bed(&env, settings.clone(), dead()).await;
        put(&*refusing.queue, "a", "1").await;
        put(&*refusing.queue, "b", "1").await;
        env.sleep(Duration::from_secs(1)).await;
        let full = refusing.queue.put(&key("c"), Bytes::from("1"), Expect::Any).await.unwrap_err();
        assert_eq!(full.kind(), ErrorKind::Unavailable);
        assert!(full.message().contains("no room for more"), "{full}");
        assert!(refusing.front.get_all(&key("behind/w/c")).await.unwrap().is_none());

        // A back that is only slow lets writers wait, and all of them get through.
        let slow = Plan::new(0).everywhere(Fault::Slow(Duration::from_secs(1)), 1000);
        let slow = bed(&env, settings, slow).await;
        let writers = (0..20).map(|number| {
            let queue = Arc::clone(&slow.queue);
            start(&env, async move { put(&*queue, &format!("{number:02}"), "1").await })
        });
        let writers = join_all(writers.collect::<Vec<_>>());
        let watched = start(&env, {
            let (queue, env) = (Arc::clone(&slow.queue), env.clone());
            async move {
                for _ in 0..100 {
                    assert!(queue.backlog().rows <= 2);
                    env.sleep(Duration::from_millis(100)).await;
                }
            }
        });
        writers.await;
        watched.await;
        slow.queue.flush().await.unwrap();
        assert_eq!(all(&*slow.back).await.len(), 20);
    });
}

#[test]
fn an_error_of_the_front_is_not_absence() {
    simulate(4, |env| async move {
        let (front, back) = (memory(), memory());
        put(&*back, "a", "old").await;
        let plan = Plan::new(0).at(Method::Get, 2, Fault::FailAfter);
        let front = Faulty::new(front, env.clone(), plan);
        let calls = Recording::new(back);
        let far: Arc<dyn Backend> = Arc::new(calls.clone());
        let settings = BehindSettings::default();
        let queue = Behind::open(Arc::new(front), far, settings, &env).await.unwrap();
        let error = queue.get_all(&key("a")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        calls.assert_calls(&[]);
        assert_eq!(get(&*queue, "a").await.unwrap(), "old");
    });
}

#[test]
fn an_earlier_opener_is_shut_out_and_the_next_one_goes_on() {
    simulate(5, |env| async move {
        let (front, back) = (memory(), memory());
        let far = Faulty::new(Arc::clone(&back), env.clone(), dead());
        let open = |far: &Faulty| {
            let far: Arc<dyn Backend> = Arc::new(far.clone());
            Behind::open(Arc::clone(&front), far, BehindSettings::default(), &env)
        };
        let first = open(&far).await.unwrap();
        let profile = first.profile();
        assert_eq!((profile.reach, profile.durability), (Reach::Process, Durability::Process));
        assert!(!profile.atomic && !profile.metadata);
        put(&*first, "a", "1").await;
        let second = open(&far).await.unwrap();
        assert_eq!(second.backlog().rows, 1);
        let error = first.put(&key("a"), Bytes::from("2"), Expect::Any).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
        let error = first.put(&key("b"), Bytes::from("2"), Expect::Any).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        put(&*second, "a", "3").await;
        far.pause();
        while second.backlog().rows > 0 {
            env.sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(all(&*back).await, BTreeMap::from([("a".to_owned(), "3".to_owned())]));
        second.close().await;
        let error = second.put(&key("a"), Bytes::from("4"), Expect::Any).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert_eq!(get(&*second, "a").await.unwrap(), "3");
        let foreign = memory();
        put(&*foreign, "behind/owner", "something else").await;
        let settings = BehindSettings::default();
        let error = Behind::open(foreign, back, settings, &env).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    });
}

/// Random writes by several writers over a back in a storm; afterwards both sides say the same,
/// and what was acknowledged last is there.
async fn storm(env: Env, seed: u64) {
    let settings = BehindSettings { rows_max: 6, calls_max: 3, ..BehindSettings::default() };
    let bed = bed(&env, settings, Plan::stormy(seed)).await;
    let names = ["a", "b", "b/c", "d"];
    let writers = names.into_iter().enumerate().map(|(nth, name)| {
        let (queue, env) = (Arc::clone(&bed.queue), env.clone());
        let mut chance = Chance::new(seed * 31 + nth as u64);
        start(&env.clone(), async move {
            let mut last = None;
            for number in 0..20 {
                let known = queue.get_all(&key(name)).await.ok().flatten();
                let expect = match (known, chance.happens(500)) {
                    (Some(found), true) => Expect::Revision(found.revision),
                    _ => Expect::Any,
                };
                let value = format!("{number}");
                if chance.happens(250) {
                    if queue.delete(&key(name), expect).await.is_ok() {
                        last = None;
                    }
                } else if queue.put(&key(name), value.clone().into(), expect).await.is_ok() {
                    last = Some(value);
                }
                if chance.happens(300) {
                    env.sleep(Duration::from_millis(chance.below(2000))).await;
                }
            }
            (name, last)
        })
    });
    let last = join_all(writers.collect::<Vec<_>>()).await;
    bed.faults.pause();
    bed.faults.land().await;
    while bed.queue.backlog().rows > 0 {
        env.sleep(Duration::from_secs(1)).await;
    }
    let wanted: BTreeMap<String, String> =
        last.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    assert_eq!(all(&*bed.queue).await, wanted);
    assert_eq!(all(&*bed.back).await, wanted, "and nothing late undoes it");
}

#[test]
fn nothing_acknowledged_is_lost_or_undone_in_a_storm() {
    seeds(60, |seed| simulate(seed, |env| storm(env, seed)));
}

/// A few writes; then the process ends at this point. What was acknowledged is there afterwards.
async fn crash(env: Env, points: CrashPoints) {
    let (front, back) = (memory(), memory());
    put(&*back, "old", "0").await;
    let near: Arc<dyn Backend> = Arc::new(Crashing::new(Arc::clone(&front), points.clone()));
    let far: Arc<dyn Backend> = Arc::new(Crashing::new(Arc::clone(&back), points));
    let mut sure: BTreeMap<&str, Option<String>> = BTreeMap::new();
    let mut open: BTreeMap<&str, Option<String>> = BTreeMap::new();
    if let Ok(queue) = Behind::open(near, far, BehindSettings::default(), &env).await {
        let steps = [
            ("a", Some("1")),
            ("old", Some("2")),
            ("a", Some("3")),
            ("b", Some("4")),
            ("old", None),
            ("b", None),
            ("b", Some("5")),
        ];
        for (name, value) in steps {
            let value = value.map(str::to_owned);
            let done = match &value {
                Some(text) => {
                    queue.put(&key(name), text.clone().into(), Expect::Any).await.map(drop)
                }
                None => queue.delete(&key(name), Expect::Any).await,
            };
            match done {
                Ok(()) => drop(sure.insert(name, value)),
                Err(_) => {
                    open.entry(name).or_insert(value);
                }
            }
            env.sleep(Duration::from_millis(1)).await;
        }
        drop(queue.flush().await);
    }
    let settings = BehindSettings::default();
    let queue = Behind::open(front, Arc::clone(&back), settings, &env).await.unwrap();
    queue.flush().await.unwrap();
    for name in ["a", "b", "old"] {
        let before = (name == "old").then(|| "0".to_owned());
        let found = get(&*back, name).await;
        assert_eq!(get(&*queue, name).await, found, "{name}");
        let sure = sure.get(name).cloned().unwrap_or(before);
        assert!(found == sure || open.get(name) == Some(&found), "{name} is {found:?}");
    }
}

#[test]
fn a_crash_at_any_point_loses_nothing_that_was_acknowledged() {
    seeds(3, |seed| {
        let points = CrashPoints::never();
        simulate(seed, |env| crash(env, points.clone()));
        let reached = points.reached().len() as u64;
        assert!(reached > 20, "{reached}");
        for nth in 1..=reached {
            simulate(seed, |env| crash(env, CrashPoints::nth(nth, Crash::Close)));
        }
    });
}

/// Pages of a queue that is partly worked off, against a map.
async fn pages(env: Env, seed: u64) {
    let bed = bed(&env, BehindSettings::default(), Plan::new(seed)).await;
    let mut chance = Chance::new(seed);
    let mut model = BTreeMap::new();
    for number in 0..60 {
        let name = format!("{}{}", ["a", "b", "c/"][chance.index(3)], chance.below(12));
        if chance.happens(350) {
            bed.queue.delete(&key(&name), Expect::Any).await.unwrap();
            model.remove(&name);
        } else {
            put(&*bed.queue, &name, &number.to_string()).await;
            model.insert(name, number.to_string());
        }
        if chance.happens(150) {
            bed.queue.flush().await.unwrap();
        }
        if chance.happens(300) {
            let prefix = ["", "a", "b1", "c"][chance.index(4)];
            let mut list = List::prefix(prefix).limit(1 + chance.index(4)).with_values();
            let mut found = Vec::new();
            loop {
                let page = bed.queue.list(&list).await.unwrap();
                assert!(page.rows.len() <= list.limit && !(page.more && page.rows.is_empty()));
                found.extend(page.rows.iter().map(|row| {
                    let object = row.object.clone().unwrap();
                    assert_eq!(row.size, object.value.len() as u64);
                    (row.key.to_string(), String::from_utf8(object.value.to_vec()).unwrap())
                }));
                match page.rows.last() {
                    Some(last) if page.more => list = list.after(last.key.as_str()),
                    _ => break,
                }
            }
            let wanted = model.iter().filter(|(name, _)| name.starts_with(prefix));
            let wanted: Vec<(String, String)> =
                wanted.map(|(name, value)| (name.clone(), value.clone())).collect();
            assert_eq!(found, wanted);
        }
    }
}

#[test]
fn pages_show_what_waits_and_what_is_there_in_one_order() {
    seeds(40, |seed| simulate(seed, |env| pages(env, seed)));
}

#[test]
fn rows_that_belong_to_others_stay() {
    simulate(6, |env| async move {
        let (front, back) = (memory(), memory());
        put(&*front, "mine", "1").await;
        put(&*front, "behind", "1").await;
        put(&*back, "theirs", "1").await;
        let settings = BehindSettings::default();
        let queue =
            Behind::open(Arc::clone(&front), Arc::clone(&back), settings, &env).await.unwrap();
        for name in ["a", "b"] {
            put(&*queue, name, "1").await;
            queue.delete(&key(name), Expect::Any).await.unwrap();
        }
        queue.flush().await.unwrap();
        assert_eq!(all(&*back).await.into_keys().collect::<Vec<_>>(), ["theirs"]);
        let left: Vec<String> = all(&*front).await.into_keys().collect();
        assert_eq!(left, ["behind", "behind/owner", "mine"]);
    });
}

//! The journal against a plain map, with files so small that generations change all the time.
#![allow(clippy::disallowed_methods, reason = "tests drive the real runtime")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use holdall_core::{
    Backend, BackendExt, Batch, ByteRange, ErrorKind, Expect, Key, List, Memory, Op, Revision,
};
use holdall_layers::Journaled;
use proptest::prelude::*;
use support::{key, open_with, tiny};

#[derive(Clone, Debug)]
enum Step {
    Apply(Vec<(u8, Change)>),
    Flush,
    Reopen,
    List { prefix: &'static str, start: Option<u8>, limit: usize },
}

#[derive(Clone, Debug)]
enum Change {
    Put { size: usize, expect: Guess },
    Delete(Guess),
    Check(Guess),
}

/// What the step claims to know of the key.
#[derive(Clone, Debug)]
enum Guess {
    Nothing,
    Right,
    Absent,
    Old(u64),
}

type Model = BTreeMap<Key, (Vec<u8>, Revision)>;

fn name(number: u8) -> Key {
    key(format!("{}/{number:02}", if number.is_multiple_of(2) { "even" } else { "odd" }))
}

fn guess() -> impl Strategy<Value = Guess> {
    prop_oneof![
        4 => Just(Guess::Nothing),
        4 => Just(Guess::Right),
        1 => Just(Guess::Absent),
        1 => (0..50_u64).prop_map(Guess::Old),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (0..600_usize, guess()).prop_map(|(size, expect)| Change::Put { size, expect }),
        2 => guess().prop_map(Change::Delete),
        1 => guess().prop_map(Change::Check),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let start = proptest::option::of(0..20_u8);
    let prefix = prop_oneof![Just(""), Just("even/"), Just("odd"), Just("none")];
    prop_oneof![
        12 => proptest::collection::vec((0..20_u8, change()), 0..5).prop_map(Step::Apply),
        1 => Just(Step::Flush),
        1 => Just(Step::Reopen),
        5 => (prefix, start, 1..8_usize)
            .prop_map(|(prefix, start, limit)| Step::List { prefix, start, limit }),
    ]
}

fn expect(model: &Model, key: &Key, guess: &Guess) -> Expect {
    match guess {
        Guess::Nothing => Expect::Any,
        Guess::Right => Expect::from(model.get(key).map(|(_, revision)| revision.clone())),
        Guess::Absent => Expect::Absent,
        Guess::Old(number) => Expect::Revision(Revision::number(*number)),
    }
}

fn batch(model: &Model, changes: &[(u8, Change)], fill: u8) -> Batch {
    let unique: BTreeMap<u8, &Change> =
        changes.iter().map(|(key, change)| (*key, change)).collect();
    let mut batch = Batch::new();
    for (number, change) in unique {
        let key = name(number);
        match change {
            Change::Put { size, expect: guess } => {
                let guess = expect(model, &key, guess);
                batch.put(key, vec![fill; *size], guess)
            }
            Change::Delete(guess) => {
                let guess = expect(model, &key, guess);
                batch.delete(key, guess)
            }
            Change::Check(guess) => {
                let guess = expect(model, &key, guess);
                batch.check(key, guess)
            }
        };
    }
    batch
}

async fn apply(journal: &Journaled, model: &mut Model, changes: &[(u8, Change)], fill: u8) {
    let batch = batch(model, changes, fill);
    let holds = |op: &Op| op.expect().holds(model.get(op.key()).map(|(_, revision)| revision));
    let expected = batch.ops.iter().all(holds);
    let ops = batch.ops.clone();
    match journal.apply(batch).await {
        Ok(revision) => {
            assert!(expected, "a batch was taken whose expectations do not hold");
            for op in ops {
                match op {
                    Op::Put { key, value, .. } => {
                        model.insert(key, (value.to_vec(), revision.clone()));
                    }
                    Op::Delete { key, .. } => drop(model.remove(&key)),
                    Op::Check { .. } => {}
                }
            }
        }
        Err(error) => {
            assert!(!expected, "{error:?}");
            assert_eq!(error.kind(), ErrorKind::Conflict);
        }
    }
}

async fn compare_reads(journal: &Journaled, model: &Model) {
    let keys: Vec<Key> = (0..20).map(name).collect();
    let many = journal.get_many(&keys).await.unwrap();
    for (key, many) in keys.iter().zip(many) {
        let one = journal.get_all(key).await.unwrap();
        assert_eq!(one, many);
        let expected = model.get(key);
        assert_eq!(one.as_ref().map(|found| found.value.to_vec()), expected.map(|e| e.0.clone()));
        assert_eq!(one.as_ref().map(|found| &found.revision), expected.map(|e| &e.1));
        let Some(part) = journal.get(key, ByteRange::new(3, 9)).await.unwrap() else {
            continue;
        };
        let (value, _) = expected.unwrap();
        assert_eq!(part.value.as_ref(), &value[3.min(value.len())..9.min(value.len())]);
        assert_eq!(part.size, value.len() as u64);
    }
}

async fn compare_list(journal: &Journaled, model: &Model, mut list: List) {
    let expected: Vec<(Key, Vec<u8>, Revision)> = model
        .iter()
        .filter(|(key, _)| list.contains(key.as_str()))
        .map(|(key, (value, revision))| (key.clone(), value.clone(), revision.clone()))
        .collect();
    let mut found = Vec::new();
    loop {
        let page = journal.list(&list).await.unwrap();
        assert!(page.rows.len() <= list.limit);
        assert!(!page.rows.is_empty() || !page.more, "a page is empty though there is more");
        let last = page.rows.last().map(|row| row.key.as_str().to_owned());
        for row in page.rows {
            let object = row.object.unwrap();
            assert_eq!(row.size, object.value.len() as u64);
            found.push((row.key, object.value.to_vec(), object.revision));
        }
        match last {
            Some(last) if page.more => list = list.after(last),
            _ => break,
        }
    }
    assert_eq!(found, expected);
}

async fn run(steps: Vec<Step>) {
    let (inner, folder) = (Arc::new(Memory::new()), tempfile::tempdir().unwrap());
    let mut journal = open_with(&inner, folder.path(), tiny()).await.unwrap();
    let mut model = Model::new();
    for (at, step) in steps.into_iter().enumerate() {
        match step {
            Step::Apply(changes) => apply(&journal, &mut model, &changes, at as u8).await,
            Step::Flush => journal.flush().await.unwrap(),
            Step::Reopen => {
                drop(journal);
                journal = open_with(&inner, folder.path(), tiny()).await.unwrap();
            }
            Step::List { prefix, start, limit } => {
                let mut list = List::prefix(prefix).limit(limit).with_values();
                if let Some(start) = start {
                    list = list.after(name(start).as_str());
                }
                compare_list(&journal, &model, list).await;
            }
        }
        if at % 8 == 7 {
            compare_reads(&journal, &model).await;
        }
    }
    compare_reads(&journal, &model).await;
    compare_list(&journal, &model, List::prefix("").with_values()).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn reads_equal_a_map_after_any_steps(steps in proptest::collection::vec(step(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}

/// Readers beside a writer of pairs: whatever the flush does, a pair is never seen half.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn batches_are_seen_whole_while_generations_change() {
    let (inner, folder) = (Arc::new(Memory::new()), tempfile::tempdir().unwrap());
    let journal = open_with(&inner, folder.path(), tiny()).await.unwrap();
    let keys: Vec<Key> = (0..8).map(|pair| key(format!("pair/{pair}"))).collect();
    let write = |round: u32| {
        let mut batch = Batch::new();
        for key in &keys {
            batch.put(key.clone(), round.to_le_bytes().to_vec(), Expect::Any);
        }
        batch
    };
    journal.apply(write(0)).await.unwrap();
    let readers = (0..3).map(|_| {
        let (journal, keys) = (Arc::clone(&journal), keys.clone());
        tokio::spawn(async move {
            let mut last = 0;
            while last < 400 {
                let seen = journal.get_many(&keys).await.unwrap();
                let rounds = |object: &Option<holdall_core::Object>| {
                    u32::from_le_bytes(object.as_ref().unwrap().value.as_ref().try_into().unwrap())
                };
                let first = rounds(&seen[0]);
                assert!(seen.iter().all(|object| rounds(object) == first), "a batch was seen half");
                let page = journal.list(&List::prefix("pair/").with_values()).await.unwrap();
                let page: Vec<u32> = page.rows.iter().map(|row| rounds(&row.object)).collect();
                assert!(page.len() == 8 && page.iter().all(|round| *round == page[0]));
                assert!(first >= last && page[0] >= first, "time went back");
                last = page[0];
            }
        })
    });
    let readers: Vec<_> = readers.collect();
    for round in 1..=400 {
        journal.apply(write(round)).await.unwrap();
        // Other rows, so that generations change at other places too.
        journal.put(&key("other"), vec![0; 300].into(), Expect::Any).await.unwrap();
    }
    for reader in readers {
        reader.await.unwrap();
    }
}

/// Many writers add to one counter by compare-and-swap, across rotations and flushes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn conditions_hold_among_concurrent_writers() {
    let (inner, folder) = (Arc::new(Memory::new()), tempfile::tempdir().unwrap());
    let journal = open_with(&inner, folder.path(), tiny()).await.unwrap();
    let writers = (0..8).map(|writer| {
        let journal = Arc::clone(&journal);
        tokio::spawn(async move {
            let counter = key("counter");
            for add in 0..25 {
                loop {
                    let seen = journal.get_all(&counter).await.unwrap();
                    let value = seen.as_ref().map_or(0, |seen| {
                        u64::from_le_bytes(seen.value.as_ref().try_into().unwrap())
                    });
                    let mut batch = Batch::new();
                    let next = (value + 1).to_le_bytes().to_vec();
                    batch.put(counter.clone(), next, Expect::from(seen.map(|seen| seen.revision)));
                    batch.put(key(format!("{writer}/{add}")), vec![0; 400], Expect::Absent);
                    match journal.apply(batch).await {
                        Ok(_) => break,
                        Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}"),
                    }
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let counter = journal.get_all(&key("counter")).await.unwrap().unwrap();
    assert_eq!(counter.value.as_ref(), 200_u64.to_le_bytes());
    assert_eq!(journal.list_all("", false).await.unwrap().len(), 201);
}

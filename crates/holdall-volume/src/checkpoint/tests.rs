//! Checkpoints under every interruption, and what they let go.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::format::entry::{Entry, Name};
use crate::format::log::{Change, Commit};
use crate::seal::tests::{Failing, commit, commit_groups, context};

/// Commits puts, as log rows and entry rows.
async fn write_entries(
    context: &SealContext,
    numbers: std::ops::RangeInclusive<u64>,
    bytes: usize,
) {
    let commits: Vec<Commit> = numbers.map(|number| commit(number, 60, bytes)).collect();
    let mut batch = Batch::new();
    for change in commits.iter().flat_map(|commit| &commit.changes) {
        let Change::Put { name, entry } = change else {
            continue;
        };
        let name = Name::parse(format!("{name} of {}", entry.version)).unwrap();
        let key = context.catalog_keys.entry(&name);
        batch.put(key.clone(), Entry::encode(entry, &key), Expect::Any);
    }
    context.catalog.apply(batch).await.unwrap();
    commit_groups(context, &[commits]).await;
}

async fn rows_of(context: &SealContext, id: CheckpointId) -> Vec<CheckpointRow> {
    let mut reader = CheckpointReader::open(&context.data, &context.data_keys, id).await.unwrap();
    let mut rows = Vec::new();
    while let Some(more) = reader.next().await.unwrap() {
        rows.extend(more);
    }
    rows
}

async fn assert_copies_everything(context: &SealContext, id: CheckpointId) {
    let rows = rows_of(context, id).await;
    let entries = context.catalog_keys.class('e');
    let expected = context.catalog.list_all(&entries, true).await.unwrap();
    assert_eq!(rows.len(), expected.len());
    for (row, expected) in rows.iter().zip(expected) {
        assert_eq!(row.check(&context.catalog_keys).unwrap(), expected.key);
        assert_eq!(row.value, expected.object.unwrap().value);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_copies_every_row_in_parts() {
    let context = context(1);
    let head = context.catalog_keys.head();
    let empty = crate::format::row::encode(&head, &crate::format::head::Head::default());
    context.catalog.put(&head, empty, Expect::Absent).await.unwrap();
    assert_eq!(checkpoint(&context).await.unwrap(), None);
    write_entries(&context, 1..=20, 9 << 10).await;
    let id = checkpoint(&context).await.unwrap().unwrap();
    assert_eq!(id, CheckpointId { sequence: 20, epoch: 1 });
    assert_copies_everything(&context, id).await;
    let reader = CheckpointReader::open(&context.data, &context.data_keys, id).await.unwrap();
    assert_eq!((reader.manifest().parts, reader.manifest().rows), (2, 1200));
    let sealed = State::read(&context).await.unwrap().sealed;
    assert_eq!((sealed.upto, sealed.checkpoint, sealed.log_bytes), (20, 20, 0));
    assert_eq!(sealed.checkpoint_bytes, reader.manifest().bytes);
    assert_eq!(checkpoint(&context).await.unwrap(), Some(id));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_checkpoints_and_the_log_from_the_older_on_are_kept() {
    let context = context(1);
    for last in 1..=4 {
        write_entries(&context, last..=last, 100).await;
        checkpoint(&context).await.unwrap();
        let ids = list_checkpoints(context.data.as_ref(), &context.data_keys).await.unwrap();
        let sequences: Vec<u64> = ids.iter().map(|id| id.sequence).collect();
        let expected: &[u64] = [&[1][..], &[2, 1], &[3, 2], &[4, 3]][last as usize - 1];
        assert_eq!(sequences, expected);
        let data = Arc::clone(&context.data);
        let mut runs = log_reader::Runs::from(data, context.data_keys.clone(), 1);
        let first = runs.peek().await.unwrap().unwrap().first;
        // The commits behind the older checkpoint, and all while there is only one.
        assert_eq!(first, last);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_at_any_call_leaves_a_whole_checkpoint_or_none() {
    for after in [false, true] {
        for at in 0.. {
            let context = context(1);
            for last in 1..=2 {
                write_entries(&context, last..=last, 100).await;
                checkpoint(&context).await.unwrap();
            }
            write_entries(&context, 3..=3, 100).await;
            let calls = Arc::new(AtomicU64::new(0));
            let failing = SealContext {
                catalog: Arc::new(Failing::new(Arc::clone(&context.catalog), &calls, at, after)),
                data: Arc::new(Failing::new(Arc::clone(&context.data), &calls, at, after)),
                ..context.clone()
            };
            let first = checkpoint(&failing).await;
            let reached = calls.load(Ordering::SeqCst) > at;
            assert!(reached || first.is_ok());
            // At every moment two whole checkpoints and the log behind the older are there.
            let keys = (&context.catalog_keys, &context.data_keys);
            let ids = list_checkpoints(context.data.as_ref(), &context.data_keys).await.unwrap();
            assert!(ids.len() >= 2, "{ids:?}");
            for id in &ids {
                verify_checkpoint(&context.data, keys, *id).await.unwrap();
            }
            let from = ids[1].sequence + 1;
            let data = Arc::clone(&context.data);
            let mut log = log_reader::read_log(data, context.data_keys.clone(), from);
            while let Some(item) = log.next().await.unwrap() {
                assert!(matches!(item, log_reader::LogItem::Commits(_)), "{item:?}");
            }
            assert!(log.position() > ids[0].sequence, "{}", log.position());
            let id = checkpoint(&context).await.unwrap().unwrap();
            assert_copies_everything(&context, id).await;
            if !reached {
                assert!(at > 20);
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_noticed_and_a_damaged_attempt_written_anew() {
    let context = context(1);
    write_entries(&context, 1..=2, 100).await;
    let id = checkpoint(&context).await.unwrap().unwrap();
    let keys = (&context.catalog_keys, &context.data_keys);
    let part = context.data_keys.checkpoint(2, 1, 0);
    let manifest = context.data_keys.manifest(2, 1);
    for key in [part, manifest] {
        let whole = context.data.get_all(&key).await.unwrap().unwrap().value;
        for position in [0, 5, 30, 59, whole.len() / 2, whole.len() - 1] {
            let mut damaged = whole.to_vec();
            damaged[position] ^= 1;
            context.data.put(&key, damaged.into(), Expect::Any).await.unwrap();
            let error = verify_checkpoint(&context.data, keys, id).await.unwrap_err();
            assert_eq!(error.key(), Some(&key), "{error}");
        }
        assert_eq!(checkpoint(&context).await.unwrap(), Some(id));
        verify_checkpoint(&context.data, keys, id).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_row_is_not_copied() {
    let context = context(1);
    write_entries(&context, 1..=1, 100).await;
    let key = context.catalog_keys.entry(&Name::parse("entry 0 of 1").unwrap());
    let row = context.catalog.get_all(&key).await.unwrap().unwrap().value;
    context.catalog.put(&key, row.slice(1..), Expect::Any).await.unwrap();
    let error = checkpoint(&context).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some(&key)));
}

#[test]
fn a_checkpoint_is_due_when_the_log_outgrows_the_last() {
    let sealed =
        |log_bytes, checkpoint_bytes| Sealed { log_bytes, checkpoint_bytes, ..Sealed::default() };
    assert!(!is_due(&sealed((32 << 20) - 1, 0)));
    assert!(is_due(&sealed(32 << 20, 0)));
    assert!(!is_due(&sealed(99 << 20, 100 << 20)));
    assert!(is_due(&sealed(100 << 20, 100 << 20)));
}

//! What the journal brings back after an end of any kind, and what it refuses to bring back.
//!
//! The inner backend is a memory backend that the test keeps while the journal is opened again.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdall_core::{Backend, BackendExt, Batch, ErrorKind, Expect, List, Memory, Revision};
use holdall_layers::MARKER_KEY;
use support::{bytes, key, open, open_with, roomy, text, tiny};

const BLOCK: u64 = 4096;

fn file(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("journal-{number:016}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_a_drop() {
    let (inner, folder) = (Arc::new(Memory::new()), tempfile::tempdir().unwrap());
    let journal = open(&inner, folder.path()).await.unwrap();
    let first = journal.put(&key("a"), bytes("1"), Expect::Absent).await.unwrap();
    journal.put(&key("gone"), bytes("x"), Expect::Any).await.unwrap();
    journal.delete(&key("gone"), Expect::Any).await.unwrap();
    drop(journal);
    assert!(inner.get_all(&key("a")).await.unwrap().is_none(), "it was only in the journal");

    let journal = open(&inner, folder.path()).await.unwrap();
    let found = journal.get_all(&key("a")).await.unwrap().unwrap();
    assert_eq!((found.value.as_ref(), &found.revision), (b"1".as_slice(), &first));
    assert_eq!(text(journal.as_ref(), "gone").await, None);
    let next = journal.put(&key("b"), bytes("2"), Expect::Any).await.unwrap();
    assert_eq!(next, Revision::number(4), "revisions go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_journal_replays_nothing_and_keeps_revisions() {
    let (inner, folder) = (Arc::new(Memory::new()), tempfile::tempdir().unwrap());
    let journal = open(&inner, folder.path()).await.unwrap();
    let first = journal.put(&key("a"), bytes("1"), Expect::Any).await.unwrap();
    journal.close().await.unwrap();
    let refused = journal.put(&key("a"), bytes("2"), Expect::Any).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Closed);
    assert_eq!(text(journal.as_ref(), "a").await.as_deref(), Some("1"), "reads go on");
    assert!(inner.get_all(&key("a")).await.unwrap().is_some(), "it is in the engine now");
    drop(journal);

    let journal = open(&inner, folder.path()).await.unwrap();
    let notes = journal.health().await.unwrap().notes.join(" ");
    assert!(notes.contains("journal: 0 rows"), "{notes}");
    let found = journal.get_all(&key("a")).await.unwrap().unwrap();
    assert_eq!(found.revision, first, "a revision does not change when its row moves");
    journal.put(&key("a"), bytes("2"), Expect::Revision(first)).await.unwrap();
}

/// How many bytes the journal's files have, without the lock's text.
fn journal_bytes(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let files = files.filter(|entry| entry.file_name() != "lock");
    files.map(|entry| entry.metadata().unwrap().len()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_journal_gives_its_room_back() {
    let (inner, folder) = (Arc::new(Memory::new()), tempfile::tempdir().unwrap());
    let mut rows = 0;
    // In few files and many, and while the next file is being filled.
    for writes in [1, 40, 60, 70, 300, 600, 0] {
        let journal = open_with(&inner, folder.path(), roomy()).await.unwrap();
        assert_eq!(journal_bytes(folder.path()), 0, "opening takes no room");
        for _ in 0..writes {
            let name = format!("{rows}");
            let revision = journal.put(&key(&name), bytes(&name), Expect::Absent).await.unwrap();
            rows += 1;
            assert_eq!(revision, Revision::number(rows), "revisions go on");
        }
        assert!(writes == 0 || journal_bytes(folder.path()) > 0);
        journal.close().await.unwrap();
        assert_eq!(journal_bytes(folder.path()), 0, "after {writes} writes");
        drop(journal);
    }
    let journal = open(&inner, folder.path()).await.unwrap();
    assert_eq!(journal.list_all("", false).await.unwrap().len() as u64, rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_end_may_be_cut_short_anywhere() {
    type Cut = fn(&Path);
    let cuts: [(&str, Cut); 5] = [
        ("the engine has everything", |_| {}),
        ("the spare file is gone", |folder| fs::remove_file(folder.join("spare")).unwrap()),
        ("the empty file has half its room", |folder| shorten(folder, 2)),
        ("the empty file has no room", |folder| shorten(folder, 0)),
        ("both", |folder| {
            fs::remove_file(folder.join("spare")).unwrap();
            shorten(folder, 0);
        }),
    ];
    for (step, cut) in cuts {
        let (inner, folder) = (Arc::new(Memory::new()), tempfile::tempdir().unwrap());
        let journal = open_with(&inner, folder.path(), roomy()).await.unwrap();
        for round in 1..=3 {
            for row in 0..50 {
                journal.put(&key(format!("{row}")), bytes("kept"), Expect::Any).await.unwrap();
            }
            journal.flush().await.unwrap();
            assert_eq!(last(folder.path()).1, round + 1, "a flush begins the next file");
        }
        drop(journal);
        cut(folder.path());
        let journal = open_with(&inner, folder.path(), roomy()).await.unwrap();
        let notes = journal.health().await.unwrap().notes.join(" ");
        assert!(notes.contains("journal: 0 rows"), "{step}: {notes}");
        assert_eq!(journal.list_all("", false).await.unwrap().len(), 50, "{step}");
        let next = journal.put(&key("next"), bytes("1"), Expect::Absent).await.unwrap();
        assert_eq!(next, Revision::number(151), "{step}");
        drop(journal);
        let journal = open_with(&inner, folder.path(), roomy()).await.unwrap();
        assert_eq!(text(journal.as_ref(), "next").await.as_deref(), Some("1"), "{step}");
        journal.close().await.unwrap();
        assert_eq!(journal_bytes(folder.path()), 0, "{step}");
    }
}

/// The newest journal file and its number.
fn last(folder: &Path) -> (PathBuf, u64) {
    let number = (1..10).rev().find(|number| file(folder, *number).exists()).unwrap();
    (file(folder, number), number)
}

/// Cuts the newest journal file to so many blocks. It has more, and no record.
fn shorten(folder: &Path, blocks: u64) {
    let file = fs::OpenOptions::new().write(true).open(last(folder).0).unwrap();
    assert!(file.metadata().unwrap().len() > blocks * BLOCK);
    file.set_len(blocks * BLOCK).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_while_the_journal_closes_is_kept() {
    let (inner, folder) = (Arc::new(Memory::new()), tempfile::tempdir().unwrap());
    for round in 0..20 {
        let journal = open_with(&inner, folder.path(), roomy()).await.unwrap();
        let write = |writer: usize| {
            let journal = Arc::clone(&journal);
            async move {
                let mut acknowledged = 0;
                loop {
                    let name = format!("{round}/{writer}/{acknowledged}");
                    match journal.put(&key(&name), bytes("1"), Expect::Absent).await {
                        Ok(_) => acknowledged += 1,
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
                            return acknowledged;
                        }
                    }
                    if writer == 0 && acknowledged == 30 {
                        journal.close().await.unwrap();
                    }
                }
            }
        };
        let counts = futures::join!(write(0), write(1), write(2), write(3));
        drop(journal);
        let journal = open_with(&inner, folder.path(), roomy()).await.unwrap();
        let rows = journal.list_all(&format!("{round}/"), false).await.unwrap();
        assert_eq!(rows.len(), counts.0 + counts.1 + counts.2 + counts.3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_record_cut_at_any_byte_is_left_out_and_nothing_else() {
    cut_last_record(60, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_is_one_of_several_blocks() {
    cut_last_record(9000, 173).await;
}

async fn cut_last_record(size: usize, step: usize) {
    let (inner, folder) = (Arc::new(Memory::new()), tempfile::tempdir().unwrap());
    let path = file(folder.path(), 1);
    let journal = open(&inner, folder.path()).await.unwrap();
    journal.put(&key("kept"), bytes("before"), Expect::Any).await.unwrap();
    let mut batch = Batch::new();
    batch.put(key("torn/1"), vec![1; size], Expect::Any);
    batch.put(key("torn/2"), vec![2; 30], Expect::Any);
    journal.apply(batch).await.unwrap();
    drop(journal);
    // A few blocks of the reserved room are enough, and quicker to write again and again.
    let mut whole = fs::read(&path).unwrap();
    whole.truncate(size + 3 * BLOCK as usize);
    let used = 40 + 12 + 2 * (7 + 6 + 8) + size + 30;
    for cut in (0..used).step_by(step).chain([used - 1, used]) {
        // Both kinds of torn write: zeros where nothing arrived, and a file that ends there.
        let mut torn = whole.clone();
        torn[BLOCK as usize + cut..].fill(0);
        if cut % 2 == 1 {
            torn.truncate(BLOCK as usize + cut);
        }
        fs::write(&path, &torn).unwrap();
        let journal = open(&inner, folder.path()).await.unwrap();
        assert_eq!(text(journal.as_ref(), "kept").await.as_deref(), Some("before"), "cut {cut}");
        let rows = journal.list_all("torn/", false).await.unwrap();
        assert_eq!(rows.len(), if cut == used { 2 } else { 0 }, "cut {cut}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_goes_on_where_a_torn_record_was() {
    let (inner, folder) = (Arc::new(Memory::new()), tempfile::tempdir().unwrap());
    let journal = open(&inner, folder.path()).await.unwrap();
    journal.put(&key("a"), bytes("1"), Expect::Any).await.unwrap();
    journal.put(&key("torn"), vec![7; 20_000].into(), Expect::Any).await.unwrap();
    drop(journal);
    flip(&file(folder.path(), 1), BLOCK + 9000);
    let journal = open(&inner, folder.path()).await.unwrap();
    let revision = journal.put(&key("b"), bytes("2"), Expect::Any).await.unwrap();
    assert_eq!(revision, Revision::number(2));
    drop(journal);
    let journal = open(&inner, folder.path()).await.unwrap();
    assert_eq!(text(journal.as_ref(), "torn").await, None);
    assert_eq!(text(journal.as_ref(), "b").await.as_deref(), Some("2"));
}

fn flip(path: &Path, at: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[!byte[0]], at).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_the_middle_is_refused_and_named() {
    let (inner, folder) = (Arc::new(Memory::new()), tempfile::tempdir().unwrap());
    let journal = open(&inner, folder.path()).await.unwrap();
    for name in ["a", "b", "c"] {
        journal.put(&key(name), bytes("value"), Expect::Any).await.unwrap();
    }
    drop(journal);
    let path = file(folder.path(), 1);
    for at in (0..40 + 12 + 7 + 1 + 8 + 5).map(|at| BLOCK + at) {
        flip(&path, at);
        let error = open(&inner, folder.path()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {at}: {error}");
        assert!(error.message().contains("byte 4096 of "), "byte {at}: {error}");
        assert!(error.message().contains("journal-0000000000000001"), "byte {at}: {error}");
        flip(&path, at);
    }
    let journal = open(&inner, folder.path()).await.unwrap();
    assert_eq!(journal.list_all("", false).await.unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn recycled_files_never_bring_back_old_records() {
    let (inner, folder) = (Arc::new(Memory::new()), tempfile::tempdir().unwrap());
    for life in 0..5_u64 {
        let journal = open_with(&inner, folder.path(), tiny()).await.unwrap();
        for write in 0..40 {
            let value = format!("{life}/{write}");
            journal.put(&key("same"), bytes(&value), Expect::Any).await.unwrap();
            let name = format!("{life}/{write}");
            journal.put(&key(&name), bytes("x"), Expect::Any).await.unwrap();
            journal.delete(&key(&name), Expect::Any).await.unwrap();
        }
        if life % 2 == 0 {
            journal.close().await.unwrap();
        }
        drop(journal);
        let journal = open_with(&inner, folder.path(), tiny()).await.unwrap();
        let last = format!("{life}/39");
        assert_eq!(text(journal.as_ref(), "same").await.as_deref(), Some(last.as_str()));
        assert_eq!(journal.list_all("", false).await.unwrap().len(), 1);
        let files = fs::read_dir(folder.path()).unwrap().count();
        assert!(files <= 4, "{files} files: lock, two journals, one spare");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_file_and_a_foreign_journal_are_refused() {
    let (inner, folder) = (Arc::new(Memory::new()), tempfile::tempdir().unwrap());
    let journal = open(&inner, folder.path()).await.unwrap();
    journal.put(&key("a"), bytes("1"), Expect::Any).await.unwrap();
    drop(journal);

    let other = Arc::new(Memory::new());
    let error = open(&other, folder.path()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "a new store under an old journal: {error}");

    let elsewhere = tempfile::tempdir().unwrap();
    let error = open(&inner, elsewhere.path()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "an old store with no journal: {error}");
    assert!(error.message().contains("journal-0000000000000001 is missing"), "{error}");

    let other = Arc::new(Memory::new());
    let journal = open(&other, elsewhere.path()).await.unwrap();
    journal.put(&key("b"), bytes("1"), Expect::Any).await.unwrap();
    drop(journal);
    let error = open(&inner, elsewhere.path()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "another store's journal: {error}");
    assert!(error.message().contains("belongs to another store"), "{error}");

    assert!(open(&inner, folder.path()).await.is_ok(), "nothing was spoilt by trying");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_written_without_a_journal_are_refused() {
    let (inner, folder) = (Arc::new(Memory::new()), tempfile::tempdir().unwrap());
    inner.put(&key("plain"), bytes("1"), Expect::Any).await.unwrap();
    let error = open(&inner, folder.path()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("written without a journal"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_marker_row_is_out_of_sight_and_out_of_reach() {
    let (inner, folder) = (Arc::new(Memory::new()), tempfile::tempdir().unwrap());
    let journal = open(&inner, folder.path()).await.unwrap();
    let marker = key(MARKER_KEY);
    assert!(inner.get_all(&marker).await.unwrap().is_some());
    assert!(journal.get_all(&marker).await.unwrap().is_none());
    assert_eq!(journal.get_many(&[marker.clone(), key("a")]).await.unwrap(), [None, None]);
    let page = journal.list(&List::prefix("").limit(1)).await.unwrap();
    assert!(page.rows.is_empty() && !page.more);
    journal.put(&key("a"), bytes("1"), Expect::Any).await.unwrap();
    journal.flush().await.unwrap();
    let page = journal.list(&List::prefix("").limit(1)).await.unwrap();
    assert_eq!(page.rows.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), ["a"]);
    let mut batch = Batch::new();
    batch.put(key("b"), "1", Expect::Any).delete(marker.clone(), Expect::Any);
    for refused in [
        journal.put(&marker, bytes("1"), Expect::Any).await.map(drop),
        journal.delete(&marker, Expect::Any).await,
        journal.apply(batch).await.map(drop),
    ] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert_eq!(text(journal.as_ref(), "b").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_larger_than_a_journal_file_is_taken_whole() {
    let (inner, folder) = (Arc::new(Memory::new()), tempfile::tempdir().unwrap());
    let journal = open_with(&inner, folder.path(), tiny()).await.unwrap();
    for round in 0..3_u8 {
        let mut batch = Batch::new();
        for row in 0..100 {
            batch.put(key(format!("{row}")), vec![round; 1000], Expect::Any);
        }
        journal.apply(batch).await.unwrap();
        journal.put(&key("small"), vec![round].into(), Expect::Any).await.unwrap();
    }
    drop(journal);
    let journal = open_with(&inner, folder.path(), tiny()).await.unwrap();
    let rows = journal.list_all("", true).await.unwrap();
    assert_eq!(rows.len(), 101);
    assert!(rows.iter().all(|row| row.object.as_ref().unwrap().value.iter().all(|b| *b == 2)));
    journal.close().await.unwrap();
    drop(journal);
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        assert!(entry.metadata().unwrap().len() <= 16 << 10, "{:?} shrank again", entry.path());
    }
}

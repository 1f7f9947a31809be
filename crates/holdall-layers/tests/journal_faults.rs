//! A disk that fails, a full disk, an engine that fails, and callers who go away.
#![allow(clippy::disallowed_methods, reason = "tests drive the real runtime")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use holdall_core::{
    Backend, Batch, ByteRange, Bytes, Error, ErrorKind, Expect, Find, Health, Key, List, Memory,
    Object, Operation, Page, Profile, Result, Revision, async_trait,
};
use holdall_layers::Journaled;
use support::{BadDisk, bytes, env, key, open, roomy, text, tiny};

async fn on(inner: &Arc<Memory>, folder: &Path, disk: &Arc<BadDisk>) -> Arc<Journaled> {
    let inner: Arc<dyn Backend> = Arc::<Memory>::clone(inner);
    let disk = Arc::<BadDisk>::clone(disk);
    Journaled::open_on(inner, folder, roomy(), &env(), disk).await.unwrap()
}

async fn after_a_failure(fail: impl Fn(&BadDisk, bool)) {
    let (inner, folder) = (Arc::new(Memory::new()), tempfile::tempdir().unwrap());
    let disk = Arc::new(BadDisk::default());
    let journal = on(&inner, folder.path(), &disk).await;
    journal.put(&key("a"), bytes("1"), Expect::Any).await.unwrap();
    fail(&disk, true);
    let unknown = journal.put(&key("a"), bytes("2"), Expect::Any).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::Unknown);
    fail(&disk, false);
    let closed = journal.put(&key("b"), bytes("3"), Expect::Any).await.unwrap_err();
    assert_eq!(closed.kind(), ErrorKind::Closed, "also when the disk works again");
    assert!(closed.message().contains("open the store again"), "{closed}");
    assert_eq!(journal.flush().await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(journal.health().await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(text(journal.as_ref(), "a").await.as_deref(), Some("1"), "reads go on");
    drop(journal);
    let journal = on(&inner, folder.path(), &disk).await;
    let found = text(journal.as_ref(), "a").await.unwrap();
    assert!(found == "1" || found == "2", "the unknown write is whole or not there");
    journal.put(&key("a"), bytes("4"), Expect::Any).await.unwrap();
    drop(journal);
    let journal = on(&inner, folder.path(), &disk).await;
    assert_eq!(text(journal.as_ref(), "a").await.as_deref(), Some("4"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_write_ends_writing_until_the_store_is_opened_again() {
    after_a_failure(|disk, fail| disk.fail_writes.store(fail, Ordering::SeqCst)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_ends_writing_until_the_store_is_opened_again() {
    after_a_failure(|disk, fail| disk.fail_syncs.store(fail, Ordering::SeqCst)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_writes_loses_nothing_and_recovers() {
    let (inner, folder) = (Arc::new(Memory::new()), tempfile::tempdir().unwrap());
    let disk = Arc::new(BadDisk::default());
    disk.room.store(64 << 10, Ordering::SeqCst);
    let journal = on(&inner, folder.path(), &disk).await;
    let mut written = 0;
    let full = loop {
        let name = format!("{written}");
        match journal.put(&key(&name), vec![0; 5000].into(), Expect::Any).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), ErrorKind::Full);
    assert_eq!(written, 8, "64 KiB hold eight records of two blocks");
    assert!(text(journal.as_ref(), "7").await.is_some(), "reads go on");
    disk.room.store(u64::MAX, Ordering::SeqCst);
    journal.put(&key("8"), bytes("room again"), Expect::Any).await.unwrap();
    drop(journal);
    let journal = open(&inner, folder.path()).await.unwrap();
    assert_eq!(journal.list(&List::prefix("")).await.unwrap().rows.len(), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_applied_files_are_used_again() {
    let (inner, folder) = (Arc::new(Memory::new()), tempfile::tempdir().unwrap());
    let disk = Arc::new(BadDisk::default());
    disk.room.store(64 << 10, Ordering::SeqCst);
    let journal = on(&inner, folder.path(), &disk).await;
    for round in 0..20 {
        for row in 0..6 {
            let name = format!("{round}/{row}");
            journal.put(&key(&name), vec![0; 5000].into(), Expect::Any).await.unwrap();
        }
        journal.flush().await.unwrap();
    }
    assert_eq!(journal.list(&List::prefix("")).await.unwrap().rows.len(), 120);
}

/// A memory backend whose batches can be made to fail.
#[derive(Debug)]
struct Moody {
    memory: Memory,
    fails: AtomicBool,
}

#[async_trait]
impl Backend for Moody {
    fn profile(&self) -> &Profile {
        self.memory.profile()
    }
    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        self.memory.get(key, range).await
    }
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        self.memory.get_many(keys).await
    }
    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        self.memory.put(key, value, expect).await
    }
    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        self.memory.delete(key, expect).await
    }
    async fn list(&self, list: &List) -> Result<Page> {
        self.memory.list(list).await
    }
    async fn find(&self, find: &Find) -> Result<Page> {
        self.memory.find(find).await
    }
    async fn apply(&self, batch: Batch) -> Result<Revision> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(Error::full(Operation::Apply, "the engine has no room"));
        }
        self.memory.apply(batch).await
    }
    async fn health(&self) -> Result<Health> {
        self.memory.health().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_that_fails_is_tried_again_and_reads_stay_right() {
    let inner = Arc::new(Moody { memory: Memory::new(), fails: AtomicBool::new(false) });
    let folder = tempfile::tempdir().unwrap();
    let shared: Arc<dyn Backend> = Arc::<Moody>::clone(&inner);
    let journal = Journaled::open(shared, folder.path(), roomy(), &env()).await.unwrap();
    inner.fails.store(true, Ordering::SeqCst);
    let seen = journal.put(&key("a"), bytes("1"), Expect::Any).await.unwrap();
    assert_eq!(journal.flush().await.unwrap_err().kind(), ErrorKind::Full);
    assert_eq!(text(journal.as_ref(), "a").await.as_deref(), Some("1"));
    let notes = journal.health().await.unwrap().notes.join(" ");
    assert!(notes.contains("the engine has no room"), "{notes}");
    journal.put(&key("a"), bytes("2"), Expect::Revision(seen)).await.unwrap();
    inner.fails.store(false, Ordering::SeqCst);
    journal.flush().await.unwrap();
    assert_eq!(text(journal.as_ref(), "a").await.as_deref(), Some("2"));
    assert!(!journal.health().await.unwrap().notes.join(" ").contains("no room"));
    assert!(inner.memory.get(&key("a"), ByteRange::ALL).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_wait_while_the_engine_fails_and_go_on_after() {
    let inner = Arc::new(Moody { memory: Memory::new(), fails: AtomicBool::new(false) });
    let folder = tempfile::tempdir().unwrap();
    let shared: Arc<dyn Backend> = Arc::<Moody>::clone(&inner);
    let journal = Journaled::open(shared, folder.path(), tiny(), &env()).await.unwrap();
    inner.fails.store(true, Ordering::SeqCst);
    let writes = (0..100).map(|row| {
        let journal = Arc::clone(&journal);
        async move { journal.put(&key(format!("{row}")), vec![0; 900].into(), Expect::Any).await }
    });
    let writes = tokio::spawn(futures::future::join_all(writes));
    // Both generations fill up; then nothing more can be acknowledged.
    loop {
        tokio::task::yield_now().await;
        let notes = journal.health().await.unwrap().notes.join(" ");
        if notes.contains("the engine does not take") && !notes.contains(" 0 writes waiting") {
            break;
        }
    }
    assert!(!writes.is_finished(), "memory is bounded: writers wait");
    inner.fails.store(false, Ordering::SeqCst);
    assert!(writes.await.unwrap().into_iter().all(|written| written.is_ok()));
    assert_eq!(journal.list(&List::prefix("")).await.unwrap().rows.len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_holds_up_nobody() {
    let (inner, folder) = (Arc::new(Memory::new()), tempfile::tempdir().unwrap());
    let journal = open(&inner, folder.path()).await.unwrap();
    for round in 0..200 {
        let name = format!("{round}");
        let (one, two) = (key(format!("dropped/{round}")), key(&name));
        let mut dropped = journal.put(&one, bytes("x"), Expect::Any);
        // Polled once, so that it has joined the queue, and then dropped.
        assert!(futures::poll!(&mut dropped).is_pending());
        drop(dropped);
        journal.put(&two, bytes("y"), Expect::Any).await.unwrap();
    }
    let rows = journal.list(&List::prefix("").limit(1000)).await.unwrap().rows;
    assert_eq!(rows.len(), 400, "what had joined the queue happened wholly");
}

/// The engine takes nothing, so two generations are in journal files when the store is opened
/// again. The last record of the first is broken: in the last file that would be a torn write.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_record_at_the_end_of_a_file_that_others_follow_is_damage() {
    let inner = Arc::new(Moody { memory: Memory::new(), fails: AtomicBool::new(false) });
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let shared: Arc<dyn Backend> = Arc::<Moody>::clone(&inner);
        let path = folder.path().to_owned();
        async move { Journaled::open(shared, &path, tiny(), &env()).await }
    };
    let journal = open().await.unwrap();
    inner.fails.store(true, Ordering::SeqCst);
    for row in 0..4 {
        journal.put(&key(format!("{row}")), vec![0; 900].into(), Expect::Any).await.unwrap();
    }
    drop(journal);
    let (first, second) = ("journal-0000000000000001", "journal-0000000000000002");
    assert!(folder.path().join(second).exists());
    let journal = open().await.unwrap();
    assert_eq!(journal.list(&List::prefix("")).await.unwrap().rows.len(), 4, "both are replayed");
    drop(journal);

    let file = std::fs::OpenOptions::new().write(true).open(folder.path().join(first)).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[1], 4096 + 100).unwrap();
    let error = open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("does not follow the one before it"), "{error}");
    assert!(error.message().contains(second), "{error}");
}

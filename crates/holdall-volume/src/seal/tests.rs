//! Sealing under every interruption, and reading the log back whatever is wrong with it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use holdall_core::{ByteRange, Find, Health, Memory, Object, Page, Profile, Timestamp};

use super::*;
use crate::format::chunk::{Content, Digest};
use crate::format::entry::{Entry, Name};
use crate::format::keys::VolumeId;
use crate::log_reader::{LogItem, Runs, read_log};

/// Fails the call with this number, before or after doing it; all calls of clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Failing {
    inner: Arc<dyn Backend>,
    profile: Profile,
    calls: Arc<AtomicU64>,
    at: u64,
    after: bool,
}

impl Failing {
    pub(crate) fn new(
        inner: Arc<dyn Backend>,
        calls: &Arc<AtomicU64>,
        at: u64,
        after: bool,
    ) -> Self {
        let profile = inner.profile().clone();
        Self { inner, profile, calls: Arc::clone(calls), at, after }
    }

    async fn call<T: Send>(
        &self,
        operation: Operation,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        if self.calls.fetch_add(1, Ordering::SeqCst) != self.at {
            return work.await;
        }
        if self.after {
            work.await?;
            return Err(Error::unknown(operation, "the reply was lost"));
        }
        Err(Error::unavailable(operation, "the call was refused"))
    }
}

#[async_trait]
impl Backend for Failing {
    fn profile(&self) -> &Profile {
        &self.profile
    }
    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        self.call(Operation::Get, self.inner.get(key, range)).await
    }
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        self.call(Operation::Get, self.inner.get_many(keys)).await
    }
    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        self.call(Operation::Put, self.inner.put(key, value, expect)).await
    }
    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        self.call(Operation::Delete, self.inner.delete(key, expect)).await
    }
    async fn list(&self, list: &List) -> Result<Page> {
        self.call(Operation::List, self.inner.list(list)).await
    }
    async fn find(&self, find: &Find) -> Result<Page> {
        self.call(Operation::Find, self.inner.find(find)).await
    }
    async fn apply(&self, batch: Batch) -> Result<Revision> {
        self.call(Operation::Apply, self.inner.apply(batch)).await
    }
    async fn health(&self) -> Result<Health> {
        self.call(Operation::Health, self.inner.health()).await
    }
}

pub(crate) fn context(epoch: u64) -> SealContext {
    let volume = VolumeId::from_random([5; 12]);
    SealContext {
        env: holdall_runtime::env(),
        catalog: Arc::new(Memory::new()),
        data: Arc::new(Memory::new()),
        catalog_keys: CatalogKeys::new(volume),
        data_keys: DataKeys::new(volume),
        epoch,
        compression: Compression::Lz4,
    }
}

pub(crate) fn put(name: &str, sequence: Version, bytes: &[u8]) -> Change {
    let entry = Entry {
        version: sequence,
        written: Timestamp::from_micros(sequence * 10),
        size: bytes.len() as u64,
        digest: Digest::of(bytes),
        content_type: None,
        attributes: BTreeMap::new(),
        expires: None,
        content: Content::Inline,
        inline: Bytes::copy_from_slice(bytes),
    };
    Change::Put { name: Name::parse(name).unwrap(), entry }
}

pub(crate) fn commit(sequence: Version, changes: usize, bytes: usize) -> Commit {
    // Noise, so that compression does not hide sizes.
    let mut state = sequence;
    let mut noise = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    let changes = (0..changes)
        .map(|i| {
            put(&format!("entry {i}"), sequence, &(0..bytes).map(&mut noise).collect::<Vec<_>>())
        })
        .collect();
    Commit { sequence, time: Timestamp::from_micros(sequence * 10), epoch: 1, changes }
}

/// Adds groups of commits as the committer does.
pub(crate) async fn commit_groups(context: &SealContext, groups: &[Vec<Commit>]) {
    let keys = &context.catalog_keys;
    for group in groups {
        let last = group.last().unwrap();
        let mut batch = Batch::new();
        let (log_key, inline_key) = (keys.log(last.sequence), keys.unsealed(last.sequence));
        batch.put(log_key.clone(), log::encode_commits(&log_key, group), Expect::Absent);
        batch.put(inline_key.clone(), log::encode_inline(&inline_key, group), Expect::Absent);
        let head = Head { sequence: last.sequence, time: last.time, ..Head::default() };
        batch.put(keys.head(), row::encode(&keys.head(), &head), Expect::Any);
        context.catalog.apply(batch).await.unwrap();
    }
}

/// Seven groups of two commits, of which the fourth is too large for one part.
fn groups() -> Vec<Vec<Commit>> {
    let size = |group: u64| if group == 3 { 70 << 10 } else { 10 };
    (0..7).map(|g| vec![commit(2 * g + 1, 3, size(g)), commit(2 * g + 2, 2, size(g))]).collect()
}

async fn read_all(context: &SealContext) -> Vec<Commit> {
    let mut reader = read_log(Arc::clone(&context.data), context.data_keys.clone(), 1);
    let mut commits = Vec::new();
    while let Some(item) = reader.next().await.unwrap() {
        match item {
            LogItem::Commits(more) => commits.extend(more),
            // What an interrupted attempt left; a longer run holds the same.
            LogItem::Missing { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    commits
}

/// The same backend, with small values and batches.
fn small(inner: Arc<dyn Backend>) -> Arc<dyn Backend> {
    let mut failing = Failing::new(inner, &Arc::default(), u64::MAX, false);
    failing.profile.value_bytes_max = VALUE_BYTES_MIN;
    failing.profile.batch_ops_max = 3;
    Arc::new(failing)
}

async fn assert_sealed(context: &SealContext, groups: &[Vec<Commit>]) {
    assert_eq!(read_all(context).await, groups.concat());
    let kept = context.catalog.list_all(&context.catalog_keys.class('v'), false).await.unwrap();
    assert!(kept.is_empty(), "{kept:?}");
    let kept = context.catalog.list_all(&context.catalog_keys.class('l'), false).await.unwrap();
    assert_eq!(kept.len(), groups.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn sealing_moves_everything_and_is_repeatable() {
    let mut context = context(1);
    context.catalog = small(context.catalog);
    context.data = small(context.data);
    commit_groups(&context, &groups()).await;
    let sealed = seal(&context).await.unwrap();
    assert_eq!(sealed.upto, 14);
    assert_sealed(&context, &groups()).await;
    let objects = context.data.list_all("", false).await.unwrap();
    assert_eq!(sealed.log_bytes, objects.iter().map(|row| row.size).sum::<u64>());
    assert!(objects.iter().any(|row| row.key.as_str().ends_with("00000001")), "no second part");
    assert_eq!(seal(&context).await.unwrap(), sealed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_at_any_call_loses_nothing() {
    for after in [false, true] {
        for at in 0.. {
            let mut context = context(1);
            context.catalog = small(context.catalog);
            context.data = small(context.data);
            commit_groups(&context, &groups()[..5]).await;
            let calls = Arc::new(AtomicU64::new(0));
            let failing = SealContext {
                catalog: Arc::new(Failing::new(Arc::clone(&context.catalog), &calls, at, after)),
                data: Arc::new(Failing::new(Arc::clone(&context.data), &calls, at, after)),
                ..context.clone()
            };
            let first = seal(&failing).await;
            let reached = calls.load(Ordering::SeqCst) > at;
            assert!(reached || first.is_ok());
            // The next attempt finds more commits, so its runs have other names.
            commit_groups(&context, &groups()[5..]).await;
            let again = SealContext { epoch: 1 + at % 2, ..context.clone() };
            assert_eq!(seal(&again).await.unwrap().upto, 14);
            assert_sealed(&context, &groups()).await;
            if !reached {
                assert!(at > 10);
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_seal_side_by_side() {
    let mut context = context(1);
    context.catalog = small(context.catalog);
    commit_groups(&context, &groups()).await;
    let other = SealContext { epoch: 2, ..context.clone() };
    let (left, right) = futures::join!(seal(&context), seal(&other));
    assert_eq!((left.unwrap().upto, right.unwrap().upto), (14, 14));
    assert_sealed(&context, &groups()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_part_of_an_earlier_attempt_is_written_anew() {
    let context = context(1);
    commit_groups(&context, &groups()).await;
    let key = context.data_keys.log(1, 14, 1, 0);
    context.data.put(&key, Bytes::from("HFRM"), Expect::Absent).await.unwrap();
    seal(&context).await.unwrap();
    assert_sealed(&context, &groups()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_in_the_catalog_is_corrupt() {
    for class in ['l', 'v'] {
        let mut context = context(1);
        context.catalog = small(context.catalog);
        commit_groups(&context, &groups()).await;
        let key = Key::parse(format!("{}{:016x}", context.catalog_keys.class(class), 6)).unwrap();
        context.catalog.delete(&key, Expect::Any).await.unwrap();
        assert_eq!(seal(&context).await.unwrap_err().kind(), ErrorKind::Corrupt);
        assert!(State::read(&context).await.unwrap().sealed.upto <= 4);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_of_tiny_values_is_refused() {
    let mut context = context(1);
    let mut tiny = Failing::new(context.data, &Arc::default(), u64::MAX, false);
    tiny.profile.value_bytes_max = 1000;
    context.data = Arc::new(tiny);
    commit_groups(&context, &groups()).await;
    assert_eq!(seal(&context).await.unwrap_err().kind(), ErrorKind::Unsupported);
}

/// Writes a run without a catalog.
async fn run(context: &SealContext, epoch: u64, numbers: std::ops::RangeInclusive<u64>) {
    let commits = numbers.map(|n| commit(n, 2, 100 << 10)).collect();
    let context = SealContext { epoch, ..context.clone() };
    write_run(&context, commits, 256 << 10).await.unwrap();
}

/// What reading from `from` gives, in short.
async fn read_short(context: &SealContext, from: u64) -> Vec<String> {
    let mut reader = read_log(Arc::clone(&context.data), context.data_keys.clone(), from);
    let mut short = Vec::new();
    while let Some(item) = reader.next().await.unwrap() {
        match item {
            LogItem::Commits(commits) => short.extend(commits.iter().map(|c| {
                assert_eq!(c, &commit(c.sequence, 2, 100 << 10));
                c.sequence.to_string()
            })),
            LogItem::Gap { first, last } => short.push(format!("gap {first}-{last}")),
            LogItem::Missing { key } => short.push(format!("missing {}", part_name(&key))),
            LogItem::Damage { key, .. } => short.push(format!("damage {}", part_name(&key))),
        }
    }
    short
}

fn part_name(key: &Key) -> &str {
    key.as_str().rsplit_once("log/").unwrap().1
}

#[tokio::test(flavor = "multi_thread")]
async fn overlapping_runs_give_each_commit_once() {
    let context = context(1);
    for (epoch, numbers) in [(1, 1..=3), (2, 1..=5), (1, 4..=6), (2, 6..=6), (3, 2..=4)] {
        run(&context, epoch, numbers).await;
    }
    assert_eq!(read_short(&context, 1).await, ["1", "2", "3", "4", "5", "6"]);
    assert_eq!(read_short(&context, 4).await, ["4", "5", "6"]);
    assert!(read_short(&context, 7).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn gaps_and_damage_are_reported_and_read_past() {
    let context = context(1);
    for (epoch, numbers) in [(1, 2..=4), (1, 5..=9), (2, 7..=8), (1, 12..=12)] {
        run(&context, epoch, numbers).await;
    }
    let whole = ["gap 1-1", "2", "3", "4", "5", "6", "7", "8", "9", "gap 10-11", "12"];
    assert_eq!(read_short(&context, 1).await, whole);
    // Each commit of this run has a part; without that of 6, the other writer's run goes on at 7.
    let key = context.data_keys.log(5, 9, 1, 1);
    let object = context.data.get_all(&key).await.unwrap().unwrap();
    let mut damaged = object.value.to_vec();
    damaged[100] ^= 1;
    context.data.put(&key, damaged.into(), Expect::Any).await.unwrap();
    let name = part_name(&key);
    let expected = |what: &str| {
        let what = format!("{what} {name}");
        ["gap 1-1", "2", "3", "4", "5", &what, "gap 6-6", "7", "8", "gap 9-11", "12"]
            .map(str::to_owned)
    };
    assert_eq!(read_short(&context, 1).await, expected("damage"));
    context.data.delete(&key, Expect::Any).await.unwrap();
    assert_eq!(read_short(&context, 1).await, expected("missing"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_larger_than_a_part_is_put_together_again() {
    let context = context(1);
    let commits = vec![commit(1, 1, 10), commit(2, 9, 60 << 10), commit(3, 0, 0), commit(4, 1, 9)];
    write_run(&context, commits.clone(), 100 << 10).await.unwrap();
    assert_eq!(context.data.list_all("", false).await.unwrap().len(), 9);
    assert_eq!(read_all(&context).await, commits);
    // Without its last part the commit is not returned in pieces.
    context.data.delete(&context.data_keys.log(1, 4, 1, 8), Expect::Any).await.unwrap();
    let mut reader = read_log(Arc::clone(&context.data), context.data_keys.clone(), 1);
    assert!(matches!(reader.next().await.unwrap(), Some(LogItem::Commits(c)) if c.len() == 1));
    assert!(matches!(reader.next().await.unwrap(), Some(LogItem::Missing { .. })));
    assert!(reader.next().await.unwrap().is_none());
    assert_eq!(reader.position(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_call_does_not_lose_the_place() {
    let context = context(1);
    run(&context, 1, 1..=3).await;
    run(&context, 1, 4..=6).await;
    for at in 0..8 {
        let failing = Failing::new(Arc::clone(&context.data), &Arc::default(), at, false);
        let mut reader = read_log(Arc::new(failing), context.data_keys.clone(), 1);
        let mut numbers = Vec::new();
        let mut errors = 0;
        loop {
            match reader.next().await {
                Ok(Some(LogItem::Commits(commits))) => {
                    numbers.extend(commits.iter().map(|c| c.sequence))
                }
                Ok(Some(other)) => panic!("{other:?}"),
                Ok(None) => break,
                Err(_) => errors += 1,
            }
        }
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
        assert!(errors <= 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_deleted_only_when_wholly_behind() {
    let context = context(1);
    for numbers in [1..=3, 2..=5, 4..=6] {
        run(&context, 1, numbers).await;
    }
    crate::log_reader::delete_log(context.data.as_ref(), &context.data_keys, 5).await.unwrap();
    let mut runs = Runs::from(Arc::clone(&context.data), context.data_keys.clone(), 1);
    assert_eq!(runs.peek().await.unwrap().unwrap().first, 4);
    runs.take();
    assert!(runs.peek().await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_far_on_does_not_list_the_log_from_its_beginning() {
    let context = context(1);
    let far = 3 * log::RUN_COMMITS_MAX;
    for numbers in [1..=2, far..=far, far + 1..=far + 2] {
        run(&context, 1, numbers).await;
    }
    let mut runs = Runs::from(Arc::clone(&context.data), context.data_keys.clone(), far + 1);
    assert_eq!(runs.peek().await.unwrap().unwrap().first, far);
    let short = read_short(&context, far + 1).await;
    assert_eq!(short, [(far + 1).to_string(), (far + 2).to_string()]);
}

//! The suite can fail: each of these backends breaks one clause, and that clause says so.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::clone_on_ref_ptr, reason = "the clones become trait objects on the way")]

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use holdall_core::{
    Backend, BackendExt, Batch, ByteRange, Bytes, Conditions, Error, ErrorKind, Expect, Health,
    Key, List, Memory, Object, Op, Operation, Page, Profile, Result, Revision, async_trait,
};
use holdall_testkit::conformance::{CLAUSES, run, run_some};
use holdall_testkit::sim::simulate;
use holdall_testkit::{probe, suspend};

/// What is wrong with the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    IgnoresAbsent,
    IgnoresRevision,
    ChecksThenWrites,
    UnsortedList,
    EmptyPageWithMore,
    ListForgetsTheLast,
    InclusiveCursor,
    HalfBatch,
    TakesKeyTwice,
    LowerCaseKeys,
    TrimsKeys,
    MissingDeleteFails,
    RangeOffByOne,
    TooLongValues,
    ReusesRevisions,
    LosesTheTail,
    SplitGetMany,
    ShowsValues,
    Panics,
    UnknownForConflict,
    WritesInTwoSteps,
    LeaksSlots,
    PrefixIsAPattern,
    WritesWhatItCannotCheck,
    AppliesWithoutBeingAtomic,
    DeletesBelow,
    EmptyIsMissing,
    StaleList,
    RanksByCharacter,
}

/// A memory backend with one fault.
struct Broken {
    inner: Memory,
    fault: Fault,
    profile: Profile,
    calls: AtomicU64,
}

impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Broken({:?})", self.fault)
    }
}

impl Broken {
    fn new(fault: Fault) -> Self {
        let inner = Memory::new();
        let mut profile = inner.profile().clone();
        profile.value_bytes_max = 100_000;
        match fault {
            Fault::WritesWhatItCannotCheck => profile.conditions = Conditions::None,
            Fault::AppliesWithoutBeingAtomic => {
                profile.atomic = false;
                profile.batch_ops_max = 0;
                profile.batch_bytes_max = 0;
            }
            _ => {}
        }
        Self { inner, fault, profile, calls: AtomicU64::new(0) }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn key(&self, key: &Key) -> Key {
        match self.fault {
            Fault::LowerCaseKeys => Key::parse(key.as_str().to_lowercase()).unwrap(),
            Fault::TrimsKeys => {
                Key::parse(key.as_str().trim_end_matches(['/', ' '])).unwrap_or(key.clone())
            }
            _ => key.clone(),
        }
    }

    async fn expect(&self, key: &Key, expect: Expect) -> Result<Expect> {
        match (self.fault, &expect) {
            (Fault::IgnoresAbsent, Expect::Absent)
            | (Fault::IgnoresRevision, Expect::Revision(_))
            | (Fault::WritesWhatItCannotCheck, _) => Ok(Expect::Any),
            (Fault::ChecksThenWrites, _) => {
                let found = self.inner.get(key, ByteRange::ALL).await?;
                suspend().await;
                suspend().await;
                if expect.holds(found.map(|found| found.revision).as_ref()) {
                    return Ok(Expect::Any);
                }
                Err(Error::conflict(Operation::Put, "changed").with_key(key))
            }
            _ => Ok(expect),
        }
    }
}

#[async_trait]
impl Backend for Broken {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn get(&self, key: &Key, mut range: ByteRange) -> Result<Option<Object>> {
        if self.is(Fault::RangeOffByOne) {
            range.end = range.end.map(|end| end.saturating_add(1));
        }
        let mut found = self.inner.get(&self.key(key), range).await?;
        if let (Fault::ReusesRevisions, Some(object)) = (self.fault, &mut found) {
            object.revision = Revision::number(object.size);
        }
        Ok(found)
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        if !self.is(Fault::SplitGetMany) {
            let keys: Vec<Key> = keys.iter().map(|key| self.key(key)).collect();
            return self.inner.get_many(&keys).await;
        }
        let mut found = Vec::new();
        for key in keys {
            found.push(self.inner.get(key, ByteRange::ALL).await?);
            suspend().await;
        }
        Ok(found)
    }

    async fn put(&self, key: &Key, mut value: Bytes, expect: Expect) -> Result<Revision> {
        let key = self.key(key);
        let len = value.len();
        if len as u64 > self.profile.value_bytes_max && !self.is(Fault::TooLongValues) {
            return Err(Error::invalid(Operation::Put, "the value is too long").with_key(&key));
        }
        if self.is(Fault::LosesTheTail) {
            value.truncate(len.min(65_536));
        }
        if self.is(Fault::LeaksSlots) && self.calls.fetch_add(1, Ordering::Relaxed) > 30 {
            return Err(Error::unavailable(Operation::Put, "all slots are taken"));
        }
        if self.is(Fault::LeaksSlots) {
            suspend().await;
            suspend().await;
            self.calls.fetch_sub(1, Ordering::Relaxed);
        }
        if self.is(Fault::WritesInTwoSteps) {
            self.inner.put(&key, value.slice(..len / 2), expect.clone()).await?;
            suspend().await;
            return self.inner.put(&key, value, Expect::Any).await;
        }
        if self.is(Fault::EmptyIsMissing) && value.is_empty() {
            self.inner.delete(&key, expect).await?;
            return Ok(Revision::number(0));
        }
        let expect = self.expect(&key, expect).await?;
        let shown = String::from_utf8_lossy(&value).into_owned();
        match self.inner.put(&key, value, expect).await {
            Err(error) if self.is(Fault::UnknownForConflict) => {
                Err(error.with_kind(ErrorKind::Unknown))
            }
            Err(_) if self.is(Fault::ShowsValues) => {
                let message = format!("could not write {shown}");
                Err(Error::conflict(Operation::Put, message).with_key(&key))
            }
            Ok(_) if self.is(Fault::ReusesRevisions) => Ok(Revision::number(len as u64)),
            answer => answer,
        }
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        let key = self.key(key);
        let there = self.inner.get(&key, ByteRange::ALL).await?.is_some();
        if self.is(Fault::MissingDeleteFails) && !there {
            return Err(Error::invalid(Operation::Delete, "there is no such key").with_key(&key));
        }
        if self.is(Fault::DeletesBelow) {
            for row in self.inner.list_all(&format!("{key}/"), false).await? {
                self.inner.delete(&row.key, Expect::Any).await?;
            }
        }
        let expect = self.expect(&key, expect).await?;
        self.inner.delete(&key, expect).await
    }

    #[allow(clippy::panic, reason = "this backend is broken on purpose")]
    async fn list(&self, list: &List) -> Result<Page> {
        let mut list = list.clone();
        if let (Fault::InclusiveCursor, std::ops::Bound::Excluded(start)) =
            (self.fault, list.start.clone())
        {
            list.start = std::ops::Bound::Included(start);
        }
        if self.is(Fault::PrefixIsAPattern) {
            list.prefix = list.prefix.replace(['%', '_', '*'], "");
        }
        let mut page = self.inner.list(&list).await?;
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        match self.fault {
            Fault::UnsortedList => page.rows.sort_by_key(|row| row.key.as_str().to_lowercase()),
            Fault::EmptyPageWithMore if page.rows.is_empty() => page.more = call.is_multiple_of(2),
            Fault::ListForgetsTheLast if page.rows.len() > 2 => drop(page.rows.pop()),
            Fault::StaleList if page.rows.len() > 3 => drop(page.rows.remove(1)),
            Fault::RanksByCharacter => {
                page.rows.sort_by_key(|row| row.key.as_str().encode_utf16().collect::<Vec<_>>());
            }
            Fault::Panics if page.rows.len() > 5 => panic!("broken on purpose"),
            _ => {}
        }
        Ok(page)
    }

    async fn apply(&self, mut batch: Batch) -> Result<Revision> {
        for op in &mut batch.ops {
            match op {
                Op::Put { key, .. } | Op::Delete { key, .. } | Op::Check { key, .. } => {
                    *key = self.key(key);
                }
            }
        }
        if self.is(Fault::TakesKeyTwice) {
            let mut seen = std::collections::HashSet::new();
            batch.ops.retain(|op| seen.insert(op.key().clone()));
        }
        if !self.is(Fault::HalfBatch) {
            return self.inner.apply(batch).await;
        }
        let mut last = Revision::number(0);
        for op in batch.ops {
            suspend().await;
            last = self.inner.apply(Batch { ops: vec![op] }).await?;
        }
        Ok(last)
    }

    async fn health(&self) -> Result<Health> {
        self.inner.health().await
    }
}

/// Runs the named clauses against the broken backend; each must fail. Where the fault needs a race,
/// simulated orders are tried until one shows it.
fn caught(fault: Fault, ids: &[&str], seeds: u64) {
    for id in ids {
        let broken = |seed| {
            simulate(seed, |env| async move {
                let backend = Arc::new(Broken::new(fault));
                let report = run_some(backend, "broken/", &env, &[id]).await;
                assert_eq!(report.findings.len(), 1, "{id} is no clause");
                !report.is_conformant()
            })
        };
        assert!((0..seeds).any(broken), "clause {id} did not notice {fault:?}");
    }
}

macro_rules! caught {
    ($($name:ident: $fault:ident by $($id:literal)+, $seeds:literal;)*) => {$(
        #[test]
        fn $name() {
            caught(Fault::$fault, &[$($id),+], $seeds);
        }
    )*};
}

caught! {
    ignoring_absent: IgnoresAbsent by "E1" "R1" "E9" "F1", 1;
    ignoring_revisions: IgnoresRevision by "E4" "E5" "E6" "E8", 1;
    checking_without_a_lock: ChecksThenWrites by "R1" "R2" "R3", 40;
    unsorted_listing: UnsortedList by "L1" "K2", 1;
    empty_page_with_more: EmptyPageWithMore by "L9", 2;
    listing_forgets_a_row: ListForgetsTheLast by "L1" "L8" "L13", 1;
    cursor_is_inclusive: InclusiveCursor by "L4", 1;
    half_a_batch: HalfBatch by "A2" "A4" "A7", 1;
    half_a_batch_is_seen: HalfBatch by "R5", 40;
    key_twice_in_a_batch: TakesKeyTwice by "A4", 1;
    keys_in_lower_case: LowerCaseKeys by "K1" "K2", 1;
    keys_are_trimmed: TrimsKeys by "K1" "K2", 1;
    missing_delete_fails: MissingDeleteFails by "D2", 1;
    range_is_off_by_one: RangeOffByOne by "G3", 1;
    long_values_are_taken: TooLongValues by "B3", 1;
    revisions_repeat: ReusesRevisions by "P5" "M4", 1;
    long_values_are_cut: LosesTheTail by "P4", 1;
    many_reads_are_of_many_moments: SplitGetMany by "R5", 40;
    errors_show_values: ShowsValues by "F3", 1;
    panics: Panics by "L1", 1;
    puts_in_two_steps: WritesInTwoSteps by "C1" "R4", 40;
    batches_in_many_steps: HalfBatch by "C2" "R7", 40;
    dropped_calls_keep_their_slot: LeaksSlots by "C5", 1;
    prefix_is_a_pattern: PrefixIsAPattern by "L3", 1;
    unchecked_expectations: WritesWhatItCannotCheck by "E1" "E3" "E4" "E8" "R1" "R2" "F1", 1;
    batches_without_being_atomic: AppliesWithoutBeingAtomic by "A1" "A2" "R5" "C2", 1;
    delete_takes_a_folder: DeletesBelow by "D3" "K3", 1;
    empty_is_missing: EmptyIsMissing by "P3", 1;
    listing_lags: StaleList by "L8" "L13", 1;
    listing_in_utf_16: RanksByCharacter by "L1", 1;
    conflict_is_unknown: UnknownForConflict by "E1" "R1", 1;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_probe_finds_a_store_that_ignores_conditions() {
    let env = holdall_runtime::env();
    let found = probe(Arc::new(Broken::new(Fault::IgnoresAbsent)), "probe/", &env).await;
    assert!(!found.is_honest());
    let honest = probe(Arc::new(Memory::new()), "probe/", &env).await;
    assert!(honest.is_honest(), "{honest}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_check_writes_under_its_prefix_alone_and_removes_it() {
    let env = holdall_runtime::env();
    let backend = Arc::new(Memory::new());
    let users = ["a", "holdall", "users/data", "zz"].map(|key| Key::parse(key).unwrap());
    for key in &users {
        backend.put(key, Bytes::from("precious"), Expect::Any).await.unwrap();
    }
    let before = backend.list(&List::prefix("").with_values()).await.unwrap();
    let prefix = holdall_testkit::conformance::random_prefix(&env);
    let report = run(backend.clone(), &prefix, &env).await;
    assert!(report.is_conformant(), "{report}");
    assert_eq!(report.left_behind, None);
    assert_eq!(report.findings.len(), CLAUSES.len());
    assert_eq!(backend.list(&List::prefix("").with_values()).await.unwrap(), before);
}

#[test]
fn every_clause_is_in_the_contract_and_has_its_number_once() {
    let folder = env!("CARGO_MANIFEST_DIR");
    let contract = std::fs::read_to_string(format!("{folder}/../../docs/contract.md")).unwrap();
    for clause in CLAUSES {
        assert_eq!(
            contract.matches(&format!("**{}** ", clause.id)).count(),
            1,
            "docs/contract.md must have {clause:?} once"
        );
        let line = contract.split(&format!("**{}** ", clause.id)).nth(1).unwrap();
        let text = line.split("\n\n").next().unwrap();
        assert!(text.contains(&format!("(`{}`)", clause.name)), "{clause:?} is not named there");
    }
    let stated = contract.matches("\n**").count() + usize::from(contract.starts_with("**"));
    assert_eq!(stated, CLAUSES.len(), "docs/contract.md has clauses that no function tests");
}

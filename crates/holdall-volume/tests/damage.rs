//! Damage to what a volume has stored: noticed, named, never read as something else, and mended
//! where a copy or the log still has it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "support/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use holdall_core::{Backend, BackendExt, Bytes, ErrorKind, Key, Memory, Result, Row, Timestamp};
use holdall_testkit::Chance;
use holdall_testkit::damage::{Damage, Harm, damage_backend};
use holdall_volume::format::keys::{CatalogKeys, DataKeys, VolumeId};
use holdall_volume::format::policy::Policy;
use holdall_volume::format::row;
use holdall_volume::format::segment::SegmentRow;
use holdall_volume::rebuild::RebuildOptions;
use holdall_volume::verify::{Finding, Problem, VerifyOptions};
use holdall_volume::{At, Condition, ListOptions, PutOptions, Reading, View, Volume};
use world::{Stores, assert_clean, bad, copy, name, noise, rebuild, small_policy};

/// What every name held at every version, and what is there now.
#[derive(Clone, Debug, Default)]
struct Truth {
    versions: BTreeMap<(String, u64), Bytes>,
    present: BTreeMap<String, u64>,
    snapshots: BTreeMap<String, BTreeMap<String, u64>>,
}

/// A volume with a row and an object of every class.
struct Whole {
    stores: Stores,
    id: VolumeId,
    truth: Truth,
    /// What was true at the newest commit that the log has.
    sealed: Truth,
    sealed_upto: u64,
    newest: u64,
}

fn memory() -> Arc<dyn Backend> {
    Arc::new(Memory::new())
}

struct Making {
    volume: Volume,
    truth: Truth,
}

impl Making {
    async fn put(&mut self, text: &str, bytes: Bytes) {
        let options = PutOptions::default()
            .attribute("colour", if text.len().is_multiple_of(2) { "red" } else { "blue" });
        let far = holdall_runtime::env().now().plus(Duration::from_secs(1 << 30));
        let options = if text == "ends" { options.expires(far) } else { options };
        let committed = self.volume.put(&name(text), bytes.clone(), options).await.unwrap();
        self.truth.versions.insert((text.to_owned(), committed.version), bytes);
        self.truth.present.insert(text.to_owned(), committed.version);
    }

    async fn delete(&mut self, text: &str) {
        self.volume.delete(&name(text), Condition::Present).await.unwrap();
        self.truth.present.remove(text);
    }

    async fn snapshot(&mut self, text: &str) {
        self.volume.snapshot(&name(text)).await.unwrap();
        self.truth.snapshots.insert(text.to_owned(), self.truth.present.clone());
    }
}

async fn make() -> Whole {
    let stores = Stores { env: holdall_runtime::env(), catalog: memory(), data: memory() };
    let policy = Policy {
        history: Duration::from_secs(1_000_000),
        indexed: BTreeSet::from(["colour".to_owned()]),
        ..small_policy()
    };
    let volume = Volume::create(stores.resources(), "v", policy).await.unwrap();
    let mut making = Making { volume: volume.clone(), truth: Truth::default() };
    making.put("small", noise(1, 100)).await;
    making.put("large", noise(2, 100_000)).await;
    making.put("huge", noise(3, 1_000_000)).await;
    making.put("twin", noise(2, 100_000)).await;
    making.put("ends", noise(4, 10)).await;
    making.put("gone", noise(5, 30_000)).await;
    volume.checkpoint().await.unwrap();
    making.snapshot("one").await;
    making.put("small", noise(6, 200)).await;
    making.put("large", noise(7, 50_000)).await;
    making.delete("gone").await;
    volume.seal().await.unwrap();
    making.put("between", noise(8, 9_000)).await;
    volume.checkpoint().await.unwrap();
    making.put("later", noise(9, 90)).await;
    making.put("small", noise(10, 40_000)).await;
    volume.seal().await.unwrap();
    // An idle chunk, of an upload that was given up.
    let aborted = volume.begin_upload(&name("aborted"), PutOptions::default()).await.unwrap();
    aborted.put_part(1, noise(11, 20_000)).await.unwrap();
    aborted.abort().await.unwrap();
    let (sealed, sealed_upto) = (making.truth.clone(), volume.usage().await.unwrap().sequence);
    making.put("unsealed", noise(12, 120)).await;
    making.put("unsealed large", noise(13, 20_000)).await;
    let upload = volume.begin_upload(&name("unfinished"), PutOptions::default()).await.unwrap();
    upload.put_part(1, noise(14, 30_000)).await.unwrap();
    assert_clean(&volume).await;
    let newest = volume.usage().await.unwrap().sequence;
    Whole { stores, id: volume.id(), truth: making.truth, sealed, sealed_upto, newest }
}

impl Whole {
    /// The same once more, to be damaged.
    async fn again(&self) -> Stores {
        let stores = Stores { env: self.stores.env.clone(), catalog: memory(), data: memory() };
        copy(self.stores.catalog.as_ref(), stores.catalog.as_ref()).await;
        copy(self.stores.data.as_ref(), stores.data.as_ref()).await;
        stores
    }

    /// What all rows, and all objects, of each class begin with.
    fn classes(&self) -> Vec<(&'static str, bool, String)> {
        let (keys, data) = (CatalogKeys::new(self.id), DataKeys::new(self.id));
        let mut classes = vec![
            ("volume row", false, keys.volume().as_str().to_owned()),
            ("head", false, keys.head().as_str().to_owned()),
            ("sealed", false, keys.sealed().as_str().to_owned()),
            ("volume object", true, data.volume().as_str().to_owned()),
            ("segment", true, data.segments()),
            ("log", true, data.logs()),
            ("checkpoint", true, data.checkpoints()),
            ("sealed log row", false, keys.log(9).as_str().to_owned()),
        ];
        for (class, prefix) in [
            ("entry", 'e'),
            ("history", 'h'),
            ("retention", 'r'),
            ("log row", 'l'),
            ("unsealed", 'v'),
            ("chunk", 'c'),
            ("idle", 'i'),
            ("segment row", 's'),
            ("writer", 'w'),
            ("snapshot", 'p'),
            ("upload", 'u'),
            ("part", 'q'),
            ("expiry", 'x'),
            ("attribute", 'a'),
        ] {
            classes.push((class, false, keys.class(prefix)));
        }
        classes
    }
}

async fn findings(volume: &Volume, repair: bool) -> Vec<Finding> {
    let report = volume.verify(VerifyOptions { repair, ..VerifyOptions::default() }).await.unwrap();
    assert!(report.complete);
    bad(report)
}

/// Reads everything that ever was: each is right, or an error, or missing. How many were not right.
async fn read_all(volume: &Volume, truth: &Truth) -> usize {
    let mut wrong = 0;
    for ((text, version), bytes) in &truth.versions {
        let found = whole_of(volume.get_version(&name(text), *version).await).await;
        wrong += usize::from(!is_right(found, bytes, text));
    }
    wrong += view_all(&volume.view(), truth, &truth.present).await;
    wrong += usize::from(!is_listed(volume, truth).await);
    for (text, present) in &truth.snapshots {
        match volume.as_of(At::Snapshot(name(text))).await {
            Ok(view) => wrong += view_all(&view, truth, present).await,
            Err(error) => {
                let kind = error.kind();
                assert!(matches!(kind, ErrorKind::Corrupt | ErrorKind::Invalid), "{error:?}");
                wrong += 1;
            }
        }
    }
    wrong
}

async fn view_all(view: &View, truth: &Truth, present: &BTreeMap<String, u64>) -> usize {
    let mut wrong = 0;
    for (text, version) in present {
        let bytes = &truth.versions[&(text.clone(), *version)];
        let found = whole_of(view.get(&name(text)).await).await;
        wrong += usize::from(!is_right(found, bytes, text));
    }
    wrong
}

async fn whole_of(found: Result<Option<Reading>>) -> Result<Option<Bytes>> {
    match found? {
        Some(reading) => reading.bytes().await.map(Some),
        None => Ok(None),
    }
}

fn is_right(found: Result<Option<Bytes>>, expected: &Bytes, text: &str) -> bool {
    match found {
        Ok(Some(bytes)) => {
            assert_eq!(&bytes, expected, "{text} was read as something else");
            true
        }
        Ok(None) => false,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
            false
        }
    }
}

/// Whether all that is there is listed; nothing else may be.
async fn is_listed(volume: &Volume, truth: &Truth) -> bool {
    match volume.list(ListOptions::default()).await {
        Ok(page) => {
            let listed: BTreeMap<String, u64> =
                page.entries.into_iter().map(|(name, e)| (name.into_string(), e.version)).collect();
            for (text, version) in &listed {
                assert_eq!(truth.present.get(text), Some(version), "{text} is listed");
            }
            listed == truth.present
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
            false
        }
    }
}

/// What verifying has nothing to compare with: nothing else tells that they were there.
fn is_silent(class: &str, damage: Damage) -> bool {
    damage == Damage::Delete && class == "writer"
}

/// Whether verifying can mend it, until nothing is left to report.
fn is_mended(class: &str, damage: Damage) -> bool {
    match class {
        "log" | "checkpoint" | "head" | "sealed" | "volume object" => true,
        // One that is missing cannot be told from one that was swept.
        "writer" => damage != Damage::Delete,
        // The log on the data backend has it too; other rows of the log are older, or newer.
        "sealed log row" => true,
        "entry" | "chunk" | "history" | "segment row" | "unsealed" | "retention" | "snapshot"
        | "idle" | "expiry" | "attribute" => true,
        _ => false,
    }
}

/// Every damage to every class, each by some seeds, on a copy of the volume each time.
async fn every_damage(
    whole: &Whole,
    is_wanted: impl Fn(bool) -> bool,
    mut check: impl AsyncFnMut(&str, Damage, Stores, Harm<Key>),
) {
    let mut cases = 0;
    for (class, is_data, prefix) in whole.classes() {
        if !is_wanted(is_data) {
            continue;
        }
        for (number, damage) in Damage::ALL.into_iter().enumerate() {
            let seeds = if class == "segment" { 6 } else { 1 };
            for seed in 0..seeds {
                let stores = whole.again().await;
                let mut chance = Chance::new(seed * 10 + number as u64);
                let backend = if is_data { &stores.data } else { &stores.catalog };
                let harm = damage_backend(backend.as_ref(), &prefix, damage, &mut chance).await;
                // One of a kind cannot change places.
                let Some(harm) = harm.unwrap() else {
                    assert_eq!(damage, Damage::Swap, "{class}");
                    continue;
                };
                cases += 1;
                let _show = Show(format!("{class}: {harm}"));
                check(class, damage, stores, harm).await;
            }
        }
    }
    assert!(cases > 15, "only {cases} cases");
}

/// Says what was damaged when a test failed.
struct Show(String);

impl Drop for Show {
    #[allow(clippy::print_stderr, reason = "a failing test says where")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0);
        }
    }
}

/// All rows of a catalog, those of segments without when they were made.
async fn rows(stores: &Stores) -> BTreeMap<Key, Bytes> {
    let rows = stores.catalog.list_all("", true).await.unwrap();
    let row = |found: Row| {
        let (key, value) = (found.key, found.object.unwrap().value);
        if !key.as_str().contains("/00/s/") {
            return (key, value);
        }
        let segment: SegmentRow = row::decode(&key, &value).unwrap();
        let value = row::encode(&key, &SegmentRow { created: Timestamp::EPOCH, ..segment });
        (key, value)
    };
    rows.into_iter().map(row).collect()
}

async fn noticed(whole: &Whole, class: &str, damage: Damage, stores: Stores, harm: Harm<Key>) {
    let volume = match stores.open(whole.id).await {
        Ok(volume) => volume,
        Err(error) => {
            assert_eq!(class, "volume row");
            let kind = error.kind();
            assert!(matches!(kind, ErrorKind::Corrupt | ErrorKind::Invalid), "{error:?}");
            return;
        }
    };
    let wrong = read_all(&volume, &whole.truth).await;
    let found = findings(&volume, false).await;
    assert_eq!(found.is_empty(), is_silent(class, damage), "{found:#?}");
    if !matches!(damage, Damage::Delete | Damage::Swap) {
        let key = harm.names[0].as_str();
        assert!(found.iter().any(|finding| finding.key == key), "{found:#?}");
    }
    // What cannot be read is not found out by readers alone.
    assert!(wrong == 0 || !found.is_empty() || is_silent(class, damage));
    // What of the catalog could not be mended names the command that brings it back.
    for open in findings(&volume, true).await.iter().filter(|found| !found.repaired) {
        let of_rows = [Problem::DamagedRow, Problem::MissingRow, Problem::Counter];
        let named = open.advice.contains("holdall rebuild");
        assert!(named || !of_rows.contains(&open.problem), "{open:?}");
    }
    let after = read_all(&volume, &whole.truth).await;
    assert!(after <= wrong, "mending made it worse: {after} instead of {wrong}");
    if is_mended(class, damage) {
        assert_eq!(after, 0);
        assert_clean(&volume).await;
    }
    if is_mended(class, damage) && matches!(class, "log" | "checkpoint") {
        // They are good for what they are for.
        let (rebuilt, report) = rebuild(&stores, memory(), whole.id).await.unwrap();
        assert!(report.is_whole(), "{report:#?}");
        assert_eq!(read_all(&rebuilt, &whole.truth).await, 0);
        assert_clean(&rebuilt).await;
    } else if is_mended(class, damage) && !matches!(class, "head" | "sealed" | "writer") {
        // Exactly as it was.
        let (rows, was) = (rows(&stores).await, rows(&whole.stores).await);
        let keys = was.keys().chain(rows.keys());
        let other: Vec<&Key> = keys.filter(|key| rows.get(*key) != was.get(*key)).collect();
        assert!(other.is_empty(), "{other:?}");
    }
    if class == "chunk" && damage != Damage::Delete {
        assert_eq!(after, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_noticed_and_never_read_as_something_else() {
    let whole = make().await;
    let check = async |class: &str, damage, stores, harm| {
        noticed(&whole, class, damage, stores, harm).await;
    };
    every_damage(&whole, |_| true, check).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_catalog_is_rebuilt_whole() {
    let whole = make().await;
    let check = async |class: &str, damage, stores: Stores, _| {
        let options = RebuildOptions { replace: true, ..RebuildOptions::default() };
        let rebuilt = Volume::rebuild(stores.resources(), whole.id, options).await;
        let (volume, report) = rebuilt.unwrap();
        // Commits that were not yet in the log are brought there first, unless they are damaged.
        let salvaged = report.recoverable_upto >= whole.newest;
        let unsealed = matches!(class, "unsealed" | "log row");
        assert!(salvaged || unsealed, "{damage:?}: {report:#?}");
        let truth = if salvaged { &whole.truth } else { &whole.sealed };
        if salvaged || report.recoverable_upto == whole.sealed_upto {
            assert_eq!(read_all(&volume, truth).await, 0, "{report:#?}");
        }
        assert_clean(&volume).await;
    };
    every_damage(&whole, |is_data| !is_data, check).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_catalog_is_rebuilt_up_to_what_the_log_has() {
    let whole = make().await;
    let usage = whole.stores.open(whole.id).await.unwrap().usage().await.unwrap();
    assert_eq!(usage.recoverable_upto, whole.sealed_upto);
    let (volume, report) = rebuild(&whole.stores, memory(), whole.id).await.unwrap();
    assert!(report.is_whole(), "{report:#?}");
    assert_eq!(report.recoverable_upto, whole.sealed_upto);
    assert_eq!(read_all(&volume, &whole.sealed).await, 0);
    let snapshots = volume.snapshots().await.unwrap();
    let snapshots: Vec<String> = snapshots.into_iter().map(|s| s.name.into_string()).collect();
    assert_eq!(snapshots, whole.sealed.snapshots.keys().cloned().collect::<Vec<_>>());
    assert_clean(&volume).await;
}

/// Data that is damaged when the catalog is lost too: what is still there is right, and the report
/// says whether all of it is.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_twice_is_said_to_be_lost() {
    let whole = make().await;
    let check = async |class: &str, damage, stores: Stores, _| {
        let rebuilt = rebuild(&stores, memory(), whole.id).await;
        let (volume, report) = match rebuilt {
            Ok(rebuilt) => rebuilt,
            Err(error) => {
                assert_eq!((class, error.kind()), ("volume object", ErrorKind::Corrupt));
                return;
            }
        };
        let wrong = wrong_now(&volume, &whole).await;
        if report.is_whole() && wrong > 0 {
            // A rebuild reads what chunks there are, and not their bytes: verifying does.
            assert_eq!(class, "segment", "{damage:?}: {report:#?}");
            assert!(!findings(&volume, false).await.is_empty());
        }
        if class == "checkpoint" && damage != Damage::Swap {
            // The log alone, or an older checkpoint and the log, has everything.
            assert!(report.is_whole(), "{report:#?}");
            assert_eq!(read_all(&volume, &whole.sealed).await, 0);
        }
    };
    every_damage(&whole, |is_data| is_data, check).await;
}

/// How many entries are not as they were last; none may hold what it never held.
async fn wrong_now(volume: &Volume, whole: &Whole) -> usize {
    let page = volume.list(ListOptions::default()).await.unwrap();
    let mut wrong = 0;
    for (name, entry) in page.entries {
        let text = name.as_str();
        let ever = whole.truth.versions.iter().filter(|((of, _), _)| of == text);
        let ever: Vec<&Bytes> = ever.map(|(_, bytes)| bytes).collect();
        match volume.get(&name).await.unwrap().unwrap().bytes().await {
            Ok(bytes) => {
                assert!(ever.contains(&&bytes), "{text} holds what it never held");
                wrong += usize::from(whole.sealed.present.get(text) != Some(&entry.version));
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
                wrong += 1;
            }
        }
    }
    wrong
}

//! Random operations on a volume, compared with a `BTreeMap` of versions at every step.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    missing_docs,
    reason = "tests, each of which uses a part"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use holdall_core::{Bytes, ErrorKind, Memory, Timestamp};
use holdall_testkit::{Chance, Model};
use holdall_volume::format::log::Change;
use holdall_volume::format::policy::Policy;
use holdall_volume::gc::GcOptions;
use holdall_volume::{At, Condition, ListOptions, PutItem, PutOptions, Query, View, Volume};

use crate::world::{Stores, assert_clean, name, noise, pieces, rebuild, small_policy};

/// What an entry holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Value {
    bytes: Bytes,
    content_type: Option<String>,
    colour: Option<String>,
}

impl Value {
    fn random(chance: &mut Chance) -> Self {
        let seed = chance.below(40);
        let size = *chance.pick(&[0, 1, 100, 256, 257, 4000, 40_000, 150_000]).unwrap();
        let kinds = [None, Some("text/plain"), Some("text/html"), Some("image/png")];
        let colours = [None, Some("red"), Some("green")];
        Self {
            bytes: noise(seed, size),
            content_type: chance.pick(&kinds).unwrap().map(str::to_owned),
            colour: chance.pick(&colours).unwrap().map(str::to_owned),
        }
    }

    fn options(&self) -> PutOptions {
        let content_type = self.content_type.clone();
        let options = PutOptions { content_type, ..PutOptions::default() };
        match &self.colour {
            Some(colour) => options.attribute("colour", colour.clone()),
            None => options,
        }
    }
}

struct Run {
    stores: Stores,
    volume: Volume,
    model: Model<String, Value>,
    snapshots: BTreeMap<String, u64>,
    chance: Chance,
}

const NAMES: [&str; 14] =
    ["a", "a/", "a/b", "a/b/c", "a/b/d", "a/c", "a0", "b", "b/a", "b//x", "ä/ö", "z", "z/%", "z/~"];

fn random_name(chance: &mut Chance) -> String {
    (*chance.pick(&NAMES).unwrap()).to_owned()
}

impl Run {
    fn current(&self, text: &str) -> Option<u64> {
        let text = text.to_owned();
        self.model.get(&text)?;
        self.model.versions(&text).last().map(|(version, _)| *version)
    }

    /// A condition that may hold or not, and whether it does.
    fn condition(&mut self, text: &str) -> (Condition, bool) {
        let current = self.current(text);
        let wrong = current.unwrap_or(0) + 1000;
        match (self.chance.below(6), current) {
            (0, _) => (Condition::Absent, current.is_none()),
            (1, _) => (Condition::Present, current.is_some()),
            (2, Some(version)) => (Condition::Version(version), true),
            (3, _) => (Condition::Version(wrong), false),
            _ => (Condition::Always, true),
        }
    }

    /// Compares how a write went with what must have come of it.
    fn settle(
        &mut self,
        result: holdall_core::Result<holdall_volume::Committed>,
        holds: bool,
        changes: Vec<(String, Option<Value>)>,
    ) {
        match result {
            Ok(committed) => {
                assert!(holds);
                assert_eq!(committed.version, self.model.apply(changes));
            }
            Err(error) => {
                assert!(!holds, "{error:?}");
                assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
            }
        }
    }

    async fn write(&mut self) {
        let (one, value) = (random_name(&mut self.chance), Value::random(&mut self.chance));
        let (condition, holds) = self.condition(&one);
        let (key, volume) = (name(&one), self.volume.clone());
        let options = value.options().condition(condition);
        match self.chance.below(12) {
            0..=3 => {
                let put = volume.put(&key, value.bytes.clone(), options).await;
                self.settle(put, holds, vec![(one, Some(value))]);
            }
            4 => {
                let source = pieces(value.bytes.clone());
                let put = volume.put_stream(&key, source, options).await;
                self.settle(put, holds, vec![(one, Some(value))]);
            }
            5..=6 => {
                let there = self.current(&one).is_some();
                match volume.delete(&key, condition).await {
                    Ok(deleted) => {
                        assert!(holds);
                        assert_eq!(deleted, there);
                        if there {
                            self.model.delete(one);
                        }
                    }
                    Err(error) => {
                        assert!(!holds && error.kind() == ErrorKind::Conflict, "{error:?}");
                    }
                }
            }
            7 => self.copy_or_rename(&one).await,
            8 => self.transaction(&one, value).await,
            9 => self.bulk().await,
            10 => self.upload(&one, value).await,
            _ => self.delete_prefix().await,
        }
    }

    async fn copy_or_rename(&mut self, from: &str) {
        let to = random_name(&mut self.chance);
        let (condition, holds) = self.condition(&to);
        let rename = self.chance.happens(500);
        let (source, target) = (name(from), name(&to));
        let result = if rename {
            self.volume.rename(&source, &target, condition).await
        } else {
            self.volume.copy(&source, &target, condition).await
        };
        if from == to {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::Invalid);
            return;
        }
        let value = self.model.get(&from.to_owned()).cloned();
        let mut changes = vec![(to, value.clone())];
        changes.extend(rename.then(|| (from.to_owned(), None)));
        self.settle(result, holds && value.is_some(), changes);
    }

    async fn transaction(&mut self, one: &str, value: Value) {
        let (two, three) = (random_name(&mut self.chance), random_name(&mut self.chance));
        let (first, holds_first) = self.condition(one);
        let (second, holds_second) = self.condition(&two);
        let (third, holds_third) = self.condition(&three);
        let result = self
            .volume
            .transaction()
            .put(&name(one), value.bytes.clone(), value.options().condition(first))
            .delete(&name(&two), second)
            .check(&name(&three), third)
            .commit()
            .await;
        if BTreeSet::from([one, &two, &three]).len() < 3 {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::Invalid);
            return;
        }
        let mut changes = vec![(one.to_owned(), Some(value))];
        changes.extend(self.current(&two).map(|_| (two, None)));
        self.settle(result, holds_first && holds_second && holds_third, changes);
    }

    async fn bulk(&mut self) {
        let values: BTreeMap<String, Value> = (0..5)
            .map(|_| (random_name(&mut self.chance), Value::random(&mut self.chance)))
            .collect();
        let item = |(text, value): (&String, &Value)| PutItem {
            name: name(text),
            bytes: value.bytes.clone(),
            options: value.options(),
        };
        let results = self.volume.put_many(values.iter().map(item).collect()).await.unwrap();
        let versions = results.into_iter().map(|result| result.unwrap().version);
        let ordered: BTreeMap<u64, (String, Value)> = versions.zip(values).collect();
        for (version, (text, value)) in ordered {
            assert_eq!(self.model.put(text, value), version);
        }
    }

    async fn upload(&mut self, one: &str, value: Value) {
        let upload = self.volume.begin_upload(&name(one), value.options()).await.unwrap();
        let cut = self.chance.index(value.bytes.len() + 1);
        upload.put_part(7, value.bytes.slice(cut..)).await.unwrap();
        upload.put_part(2, noise(1, 9)).await.unwrap();
        let upload = self.volume.resume_upload(upload.id()).await.unwrap();
        upload.put_part(2, value.bytes.slice(..cut)).await.unwrap();
        if self.chance.happens(200) {
            upload.abort().await.unwrap();
            return;
        }
        let (condition, holds) = self.condition(one);
        let result = upload.complete(None, condition).await;
        if !holds {
            upload.abort().await.unwrap();
        }
        self.settle(result, holds, vec![(one.to_owned(), Some(value))]);
        assert!(self.volume.uploads().await.unwrap().is_empty());
    }

    async fn delete_prefix(&mut self) {
        let prefix = *self.chance.pick(&["a/b", "b/", "z", "none"]).unwrap();
        let there: Vec<String> =
            self.model.list().into_keys().filter(|text| text.starts_with(prefix)).collect();
        let deleted = self.volume.delete_prefix(prefix).await.unwrap();
        assert_eq!(deleted, there.len() as u64);
        for text in there {
            self.model.delete(text);
        }
    }

    /// Changes nothing that can be read, apart from snapshots.
    async fn look_after(&mut self) {
        match self.chance.below(8) {
            0 => drop(self.volume.seal().await.unwrap()),
            1 => drop(self.volume.checkpoint().await.unwrap()),
            2..=3 => {
                let unsafe_grace = Some(Duration::ZERO);
                let options = GcOptions { unsafe_grace, ..GcOptions::default() };
                assert_eq!(self.volume.gc(options).await.unwrap().versions_pruned, 0);
                // With so short a grace, what this handle has stored lately may be gone.
                self.volume = self.stores.open(self.volume.id()).await.unwrap();
            }
            4 => {
                self.volume.close().await.unwrap();
                self.volume = self.stores.open(self.volume.id()).await.unwrap();
            }
            5 => self.volume = self.stores.open(self.volume.id()).await.unwrap(),
            _ => {
                let text = format!("s{}", self.chance.below(3));
                if self.snapshots.remove(&text).is_some() {
                    assert!(self.volume.delete_snapshot(&name(&text)).await.unwrap());
                    self.model.apply([]);
                } else {
                    let info = self.volume.snapshot(&name(&text)).await.unwrap();
                    assert_eq!(info.version, self.model.apply([]));
                    self.snapshots.insert(text, info.version);
                }
            }
        }
    }

    /// Asks something of the present or of a version of the past.
    async fn ask(&mut self) {
        let newest = self.model.version();
        let (view, at) = match self.chance.below(4) {
            0 => (self.volume.view(), newest),
            1 => (self.volume.as_of(At::Latest).await.unwrap(), newest),
            2 if !self.snapshots.is_empty() => {
                let names: Vec<_> = self.snapshots.keys().cloned().collect();
                let text = self.chance.pick(&names).unwrap();
                let view = self.volume.as_of(At::Snapshot(name(text))).await.unwrap();
                (view, self.snapshots[text])
            }
            _ => {
                let at = self.chance.below(newest + 1);
                (self.volume.as_of(At::Commit(at)).await.unwrap(), at)
            }
        };
        match self.chance.below(4) {
            0 => check_list(&view, &self.model, at, &mut self.chance).await,
            1 => check_find(&view, &self.model, at, &mut self.chance).await,
            _ => check_get(&view, &self.model, at, &mut self.chance).await,
        }
    }

    /// Compares every name at every version.
    async fn check_all(&self) {
        for text in NAMES {
            let infos = self.volume.versions(&name(text), None, 100_000).await.unwrap().versions;
            let found: BTreeMap<u64, Option<u64>> = infos
                .iter()
                .map(|info| (info.entry.version, info.superseded.map(|(version, _)| version)))
                .collect();
            let changes = self.model.versions(&text.to_owned());
            let ends = changes.iter().skip(1).map(|(version, _)| Some(*version)).chain([None]);
            let expected: BTreeMap<u64, Option<u64>> = changes
                .iter()
                .zip(ends)
                .filter(|((_, value), _)| value.is_some())
                .map(|((version, _), end)| (*version, end))
                .collect();
            assert_eq!(found, expected, "versions of {text}");
            for (version, value) in changes {
                let reading = self.volume.get_version(&name(text), version).await.unwrap();
                assert_eq!(reading.is_some(), value.is_some());
                let (Some(reading), Some(value)) = (reading, value) else { continue };
                assert_eq!(reading.bytes().await.unwrap(), value.bytes, "{text} {version}");
            }
        }
    }

    async fn check_feed(&self) {
        let (mut after, mut feed, mut times) = (0, Vec::new(), BTreeMap::new());
        loop {
            let page = self.volume.changes(after, 7).await.unwrap();
            for commit in page.commits {
                assert_eq!(commit.sequence, times.len() as u64 + 1);
                times.insert(commit.sequence, commit.time);
                let mut changes = Vec::new();
                for change in commit.changes {
                    match change {
                        Change::Put { name, entry } => {
                            changes.push((commit.sequence, name.into_string(), Some(entry.digest)));
                        }
                        Change::Delete { name } => {
                            changes.push((commit.sequence, name.into_string(), None));
                        }
                        _ => {}
                    }
                }
                changes.sort_by(|one, two| one.1.cmp(&two.1));
                feed.extend(changes);
            }
            after = page.next;
            if !page.more {
                break;
            }
        }
        let digest = |value: Value| holdall_volume::format::chunk::Digest::of(&value.bytes);
        let expected = self.model.feed(0, self.model.version()).into_iter();
        let expected: Vec<_> = expected.map(|(v, n, value)| (v, n, value.map(digest))).collect();
        assert_eq!(feed, expected);
        self.check_times(&times).await;
    }

    /// As of a time the newest commit counts that is not younger.
    async fn check_times(&self, times: &BTreeMap<u64, Timestamp>) {
        for (version, time) in times.iter().step_by(5) {
            let newest = times.iter().rfind(|(_, other)| *other <= time).unwrap().0;
            let view = self.volume.as_of(At::Time(*time)).await.unwrap();
            let (found, expected) = (everything(&view).await, self.model.list_as_of(*newest));
            assert_eq!(found, sizes(&expected), "as of the time of {version}");
        }
    }
}

fn sizes(values: &BTreeMap<String, Value>) -> BTreeMap<String, u64> {
    values.iter().map(|(text, value)| (text.clone(), value.bytes.len() as u64)).collect()
}

async fn everything(view: &View) -> BTreeMap<String, u64> {
    let page = view.list(ListOptions::default()).await.unwrap();
    assert_eq!(page.next, None);
    page.entries.into_iter().map(|(name, entry)| (name.into_string(), entry.size)).collect()
}

async fn check_get(view: &View, model: &Model<String, Value>, at: u64, chance: &mut Chance) {
    let text = random_name(chance);
    let expected = model.get_as_of(&text, at);
    let found = view.get(&name(&text)).await.unwrap();
    assert_eq!(found.is_some(), expected.is_some(), "{text} as of {at}");
    let (Some(reading), Some(value)) = (found, expected) else { return };
    let entry = reading.entry();
    assert_eq!(entry.content_type, value.content_type);
    assert_eq!(entry.attributes.get("colour"), value.colour.as_ref());
    let changes = model.versions(&text);
    let newest = changes.iter().rfind(|(version, _)| *version <= at).unwrap().0;
    assert_eq!(entry.version, newest);
    assert_eq!(reading.bytes().await.unwrap(), value.bytes, "{text} as of {at}");
    let len = value.bytes.len();
    let (start, end) = (chance.index(len + 1), chance.index(len + 1));
    let (start, end) = (start.min(end), start.max(end));
    let range = reading.range(start as u64..end as u64).await.unwrap();
    assert_eq!(range, value.bytes.slice(start..end));
    let ranges = vec![0..start as u64, start as u64..end as u64];
    let ranges = reading.ranges(ranges).await.unwrap();
    assert_eq!(ranges, [value.bytes.slice(..start), value.bytes.slice(start..end)]);
    let pieces: Vec<Bytes> = reading.stream().map(Result::unwrap).collect().await;
    assert_eq!(pieces.concat(), value.bytes);
}

/// Lists page by page, as a model of names and delimiters does.
async fn check_list(view: &View, model: &Model<String, Value>, at: u64, chance: &mut Chance) {
    let prefix = *chance.pick(&["", "a", "a/", "a/b", "b/", "z", "none"]).unwrap();
    let delimiter = *chance.pick(&[None, None, Some("/"), Some("b")]).unwrap();
    let limit = 1 + chance.index(4);
    let mut expected: (BTreeMap<String, u64>, BTreeSet<String>) = Default::default();
    for (text, value) in model.list_as_of(at) {
        let Some(rest) = text.strip_prefix(prefix) else { continue };
        match delimiter.and_then(|d| Some(rest.find(d)? + d.len())) {
            Some(end) => drop(expected.1.insert(text[..prefix.len() + end].to_owned())),
            None => drop(expected.0.insert(text, value.bytes.len() as u64)),
        }
    }
    let mut found: (BTreeMap<String, u64>, BTreeSet<String>) = Default::default();
    let mut options = ListOptions::prefix(prefix).limit(limit);
    if let Some(delimiter) = delimiter {
        options = options.delimiter(delimiter);
    }
    loop {
        let page = view.list(options.clone()).await.unwrap();
        assert!(page.entries.len() + page.prefixes.len() <= limit);
        for (name, entry) in page.entries {
            assert!(found.0.insert(name.into_string(), entry.size).is_none());
        }
        for prefix in page.prefixes {
            assert!(found.1.insert(prefix.clone()), "{prefix} twice");
        }
        match page.next {
            Some(next) => options = options.after(next),
            None => break,
        }
    }
    assert_eq!(found, expected, "{prefix:?} {delimiter:?} {limit} as of {at}");
}

async fn check_find(view: &View, model: &Model<String, Value>, at: u64, chance: &mut Chance) {
    let prefix = *chance.pick(&["", "", "a/", "z"]).unwrap();
    let colour = *chance.pick(&[None, Some("red"), Some("blue")]).unwrap();
    let kind = *chance.pick(&[None, Some("text/plain"), Some("text/*")]).unwrap();
    let size_min = chance.happens(300).then_some(200);
    let mut query = Query {
        prefix: prefix.to_owned(),
        size_min,
        content_type: kind.map(str::to_owned),
        limit: 1 + chance.index(4),
        ..Query::default()
    };
    query.attributes.extend(colour.map(|colour| ("colour".to_owned(), colour.to_owned())));
    let fits = |text: &str, value: &Value| {
        text.starts_with(prefix)
            && value.bytes.len() as u64 >= size_min.unwrap_or(0)
            && colour.is_none_or(|colour| value.colour.as_deref() == Some(colour))
            && kind.is_none_or(|kind| {
                let found = value.content_type.as_deref().unwrap_or("");
                found == kind || (kind == "text/*" && found.starts_with("text/"))
            })
    };
    let mut expected = sizes(&model.list_as_of(at));
    expected.retain(|text, _| fits(text, model.get_as_of(text, at).unwrap()));
    let mut found = BTreeMap::new();
    loop {
        let page = view.find(query.clone()).await.unwrap();
        found.extend(page.entries.into_iter().map(|(n, entry)| (n.into_string(), entry.size)));
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    assert_eq!(found, expected, "{query:?} as of {at}");
}

/// So many steps on a new volume; then everything is compared, also with what a rebuild gives.
pub async fn run(stores: Stores, seed: u64, steps: usize) {
    let policy = Policy {
        history: Duration::from_secs(1_000_000),
        indexed: BTreeSet::from(["colour".to_owned()]),
        ..small_policy()
    };
    let volume = Volume::create(stores.resources(), "v", policy).await.unwrap();
    let (model, snapshots) = (Model::new(), BTreeMap::new());
    let mut run = Run { stores, volume, model, snapshots, chance: Chance::new(seed) };
    for _ in 0..steps {
        match run.chance.below(10) {
            0..=4 => run.write().await,
            5 => run.look_after().await,
            _ => run.ask().await,
        }
    }
    run.check_all().await;
    run.check_feed().await;
    assert_clean(&run.volume).await;
    let usage = run.volume.usage().await.unwrap();
    assert_eq!(usage.entries, run.model.list().len() as u64);
    assert_eq!(usage.bytes, sizes(&run.model.list()).values().sum::<u64>());
    assert_eq!(usage.sequence, run.model.version());
    // A handle that has written nothing leaves the log to those that do.
    run.volume.seal().await.unwrap();
    run.volume.close().await.unwrap();
    let (rebuilt, report) =
        rebuild(&run.stores, Arc::new(Memory::new()), run.volume.id()).await.unwrap();
    assert!(report.is_whole(), "{report:#?}");
    // The log before the checkpoint may be gone, and with it the feed that the catalog had.
    run.volume = rebuilt;
    run.check_all().await;
    for (text, version) in &run.snapshots {
        let view = run.volume.as_of(At::Snapshot(name(text))).await.unwrap();
        assert_eq!(everything(&view).await, sizes(&run.model.list_as_of(*version)));
    }
    assert_clean(&run.volume).await;
}

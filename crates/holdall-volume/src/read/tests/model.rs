//! Random commits, and every one of them seen again as a model remembers it.

use std::collections::BTreeSet;

use holdall_testkit::{Chance, Model};

use super::*;
use crate::format::log::Change;
use crate::{At, Condition, View};

/// Names that are one another's beginnings, with characters that sort next to separators.
const NAMES: [&str; 14] = [
    "a", "a\u{1}", "a\u{1}b", "a/", "a/b", "a/b/c", "a/c", "a0", "ab", "b", "b/a", "b/a\u{1}", "ü",
    "ü/ü",
];

type Expected = Model<String, Bytes>;

/// Makes one commit, or some side by side.
async fn step(bed: &Bed, chance: &mut Chance, model: &mut Expected, times: &mut Vec<Timestamp>) {
    if chance.happens(700) {
        bed.pass(Duration::from_micros(1 + chance.below(3)));
    }
    let mut changes: BTreeMap<String, Option<Bytes>> = BTreeMap::new();
    for _ in 0..=chance.below(4) {
        let at = (*chance.pick(&NAMES).unwrap()).to_owned();
        let size = if chance.happens(50) { 20 << 10 } else { chance.index(9) };
        let bytes = chance.bytes(size).into();
        let change = if chance.happens(350) { None } else { Some(bytes) };
        if change.is_some() || model.get(&at).is_some() {
            changes.insert(at, change);
        }
    }
    if changes.is_empty() {
        return;
    }
    let volume = &bed.volume;
    if chance.happens(500) {
        let mut transaction = volume.transaction();
        for (at, change) in &changes {
            transaction = match change {
                Some(bytes) => transaction.put(&name(at), bytes.clone(), PutOptions::default()),
                None => transaction.delete(&name(at), Condition::Always),
            };
        }
        let version = transaction.commit().await.unwrap().version;
        assert_eq!(model.apply(changes), version);
        times.push(bed.now());
    } else {
        changes.retain(|_, change| change.is_some());
        let puts = changes.iter().map(|(at, change)| async move {
            let bytes = change.clone().unwrap();
            volume.put(&name(at), bytes, PutOptions::default()).await.unwrap().version
        });
        let versions = futures::future::join_all(puts).await;
        let mut made: Vec<_> = versions.into_iter().zip(changes).collect();
        made.sort_by_key(|(version, _)| *version);
        for (version, change) in made {
            assert_eq!(model.apply([change]), version);
            times.push(bed.now());
        }
    }
}

/// What a listing must give: names and common prefixes.
fn expected_list(
    held: &BTreeMap<String, Bytes>,
    prefix: &str,
    delimiter: Option<&str>,
) -> Vec<String> {
    let mut found = BTreeSet::new();
    for at in held.keys().filter(|at| at.starts_with(prefix)) {
        let end =
            delimiter.and_then(|d| Some(prefix.len() + at[prefix.len()..].find(d)? + d.len()));
        found.insert(at[..end.unwrap_or(at.len())].to_owned());
    }
    found.into_iter().collect()
}

async fn check_view(view: &View, held: &BTreeMap<String, Bytes>, chance: &mut Chance) {
    for at in NAMES {
        let reading = view.get(&name(at)).await.unwrap();
        let found = match reading {
            Some(reading) => Some(reading.bytes().await.unwrap()),
            None => None,
        };
        assert_eq!(found.as_ref(), held.get(at), "{at} at {:?}", view.at());
    }
    for prefix in ["", "a", "a/", "b", "ü", "none"] {
        for delimiter in [None, Some("/"), Some("\u{1}")] {
            let limit = 1 + chance.index(6);
            let mut options = ListOptions::prefix(prefix).limit(limit);
            options.delimiter = delimiter.map(str::to_owned);
            let wanted = expected_list(held, prefix, delimiter);
            assert_eq!(pages(view, options).await, wanted, "{prefix} {delimiter:?}");
        }
    }
    let page = view.list(ListOptions::default()).await.unwrap();
    for (at, entry) in page.entries {
        let bytes = view.open(&at, entry).bytes().await.unwrap();
        assert_eq!(Some(&bytes), held.get(at.as_str()));
    }
}

async fn check_names(bed: &Bed, model: &Expected) {
    for at in NAMES {
        let mut found = Vec::new();
        for info in bed.versions(&name(at)).await {
            let version = info.entry.version;
            let reading = bed.volume.get_version(&name(at), version).await.unwrap().unwrap();
            if let Some((superseded, _)) = info.superseded
                && model.get_as_of(&at.to_owned(), superseded).is_none()
            {
                found.push((superseded, None));
            }
            found.push((version, Some(reading.bytes().await.unwrap())));
        }
        found.reverse();
        let wanted: Vec<_> = model.versions(&at.to_owned());
        let wanted: Vec<_> = wanted.into_iter().map(|(at, value)| (at, value.cloned())).collect();
        assert_eq!(found, wanted, "{at}");
    }
}

async fn check_feed(bed: &Bed, model: &Expected, chance: &mut Chance) {
    let (mut after, mut found) = (0, Vec::new());
    while after < model.version() {
        let page = bed.volume.changes(after, 1 + chance.index(5)).await.unwrap();
        for commit in &page.commits {
            for change in &commit.changes {
                found.push(match change {
                    Change::Put { name, .. } => (commit.sequence, name.as_str().to_owned(), true),
                    Change::Delete { name } => (commit.sequence, name.as_str().to_owned(), false),
                    other => unreachable!("{other:?}"),
                });
            }
        }
        assert!(page.next > after);
        after = page.next;
    }
    found.sort();
    let wanted = model.feed(0, model.version()).into_iter();
    let wanted: Vec<_> = wanted.map(|(at, name, value)| (at, name, value.is_some())).collect();
    assert_eq!(found, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_commit_is_seen_as_it_was() {
    for seed in 0..12 {
        let mut chance = Chance::new(seed);
        let on_strict = seed % 3 == 2;
        let bed = if on_strict { Bed::strict(history()).await } else { Bed::new(history()).await };
        let (mut model, mut times) = (Expected::new(), Vec::new());
        for _ in 0..40 {
            step(&bed, &mut chance, &mut model, &mut times).await;
        }
        for commit in 0..=model.version() {
            let view = bed.volume.as_of(At::Commit(commit)).await.unwrap();
            check_view(&view, &model.list_as_of(commit), &mut chance).await;
        }
        check_view(&bed.volume.view(), &model.list(), &mut chance).await;
        check_names(&bed, &model).await;
        check_feed(&bed, &model, &mut chance).await;
        let first = times[0];
        for _ in 0..50 {
            let time = first.plus(Duration::from_micros(chance.below(120)));
            let time = time.minus(Duration::from_micros(2));
            let wanted = times.partition_point(|at| *at <= time) as u64;
            let view = bed.volume.as_of(At::Time(time)).await.unwrap();
            assert_eq!(view.at(), Some(wanted), "seed {seed} time {time}");
        }
    }
}

/// A view of the past must not lose what is superseded while it is being read.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_of_the_past_stands_still_while_others_write() {
    let bed = Bed::strict(history()).await;
    for number in 0..300 {
        bed.put(&format!("{number:04}"), "old").await;
    }
    let view = bed.volume.as_of(At::Commit(300)).await.unwrap();
    let writer = async {
        for number in (0..300).rev().chain(0..300) {
            let at = name(&format!("{number:04}"));
            if number % 2 == 0 {
                bed.put(at.as_str(), "new").await;
            } else {
                bed.volume.delete(&at, Condition::Always).await.unwrap();
            }
        }
    };
    let reader = async {
        for limit in [1, 3, 10, 100, 1000, 2, 5] {
            let found = pages(&view, ListOptions::default().limit(limit)).await;
            assert!(
                found.iter().map(String::as_str).eq((0..300)
                    .map(|number| format!("{number:04}"))
                    .collect::<Vec<_>>()
                    .iter()
                    .map(String::as_str))
            );
        }
    };
    futures::join!(writer, reader);
}

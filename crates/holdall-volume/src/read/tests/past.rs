//! Views of the past and versions.

use holdall_core::{Expect, List};

use super::*;
use crate::{At, Condition, VersionPage};

async fn read(view: &crate::View, at: &str) -> Option<Bytes> {
    let reading = view.get(&name(at)).await.unwrap()?;
    Some(reading.bytes().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_shows_what_its_commit_left() {
    let bed = Bed::with_history().await;
    let mut times = vec![bed.now()];
    for text in ["one", "two", "three"] {
        bed.pass(Duration::from_secs(10));
        bed.put("x", text).await;
        times.push(bed.now());
    }
    bed.pass(Duration::from_secs(10));
    bed.volume.delete(&name("x"), Condition::Always).await.unwrap();
    let wanted = [None, Some("one"), Some("two"), Some("three"), None];
    for (commit, wanted) in wanted.into_iter().enumerate() {
        let view = bed.volume.as_of(At::Commit(commit as u64)).await.unwrap();
        assert_eq!(view.at(), Some(commit as u64));
        assert_eq!(read(&view, "x").await.as_deref(), wanted.map(str::as_bytes));
    }
    for (commit, time) in times.iter().enumerate().skip(1) {
        for (time, commit) in [
            (time.minus(Duration::from_micros(1)), commit - 1),
            (*time, commit),
            (time.plus(Duration::from_micros(1)), commit),
        ] {
            let view = bed.volume.as_of(At::Time(time)).await.unwrap();
            assert_eq!(view.at(), Some(commit as u64));
        }
    }
    let future = [At::Commit(99), At::Time(bed.now().plus(HOUR))];
    for at in future {
        assert_eq!(bed.volume.as_of(at).await.unwrap().at(), Some(4));
    }
    assert_eq!(bed.volume.as_of(At::Latest).await.unwrap().at(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_longer_kept_is_refused_and_not_left_out() {
    let bed = Bed::with_history().await;
    bed.put("x", "one").await;
    let view = bed.volume.as_of(At::Commit(1)).await.unwrap();
    // The newest state can be seen however old it is.
    bed.pass(10 * HOUR);
    assert_eq!(read(&view, "x").await.unwrap(), "one");
    bed.put("x", "two").await;
    bed.pass(HOUR - Duration::from_micros(1));
    assert_eq!(read(&view, "x").await.unwrap(), "one");
    let yesterday = At::Time(bed.now().minus(2 * HOUR));
    assert_eq!(bed.volume.as_of(yesterday).await.unwrap().at(), Some(1));
    bed.pass(Duration::from_micros(1));
    let since = bed.now().minus(HOUR).to_string();
    assert_invalid(view.get(&name("x")).await, &since);
    assert_invalid(view.stat(&name("nothing")).await, &since);
    assert_invalid(view.list(ListOptions::default()).await, &since);
    assert_invalid(view.find(crate::Query::default()).await, &since);
    assert_invalid(bed.volume.as_of(At::Commit(1)).await, &since);
    assert_invalid(bed.volume.as_of(At::Commit(0)).await, &since);
    assert!(bed.volume.as_of(At::Commit(2)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_history_only_the_newest_state_can_be_seen() {
    let bed = Bed::new(Policy::default()).await;
    bed.put("x", "one").await;
    let view = bed.volume.as_of(At::Commit(1)).await.unwrap();
    assert_eq!(read(&view, "x").await.unwrap(), "one");
    bed.put("y", "two").await;
    assert_invalid(view.get(&name("x")).await, "keeps no history");
    assert_invalid(bed.volume.as_of(At::Commit(1)).await, "keeps no history");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_keeps_its_commit() {
    let bed = Bed::new(Policy::default()).await;
    bed.put("x", "one").await;
    let pinned = bed.volume.snapshot(&name("monday")).await.unwrap().version;
    bed.pass(Duration::from_secs(1));
    bed.put("x", "two").await;
    bed.volume.delete(&name("x"), Condition::Always).await.unwrap();
    bed.pass(100 * HOUR);
    for at in [At::Snapshot(name("monday")), At::Commit(pinned)] {
        let view = bed.volume.as_of(at).await.unwrap();
        assert_eq!(view.at(), Some(pinned));
        assert_eq!(read(&view, "x").await.unwrap(), "one");
        assert_eq!(pages(&view, ListOptions::default()).await, ["x"]);
    }
    assert_invalid(bed.volume.as_of(At::Commit(pinned + 1)).await, "can no longer");
    assert_invalid(bed.volume.as_of(At::Snapshot(name("tuesday"))).await, "tuesday");
    let view = bed.volume.as_of(At::Snapshot(name("monday"))).await.unwrap();
    bed.volume.delete_snapshot(&name("monday")).await.unwrap();
    assert_invalid(view.get(&name("x")).await, "can no longer");
}

#[tokio::test(flavor = "multi_thread")]
async fn times_are_found_in_the_sealed_log_where_rows_were_pruned() {
    let bed = Bed::with_history().await;
    let mut times = vec![bed.now()];
    for number in 0..40 {
        bed.pass(Duration::from_secs(1));
        bed.put("x", format!("{number}")).await;
        times.push(bed.now());
    }
    bed.volume.seal().await.unwrap();
    let rows = bed.catalog.list(&List::prefix(bed.keys.class('l'))).await.unwrap().rows;
    for row in rows.iter().take(25) {
        bed.catalog.delete(&row.key, Expect::Any).await.unwrap();
    }
    for (commit, time) in times.iter().enumerate().skip(1) {
        let view = bed.volume.as_of(At::Time(*time)).await.unwrap();
        assert_eq!(view.at(), Some(commit as u64));
        assert_eq!(read(&view, "x").await.unwrap(), format!("{}", commit - 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_has_ended_since_is_seen_in_the_past() {
    let bed = Bed::with_history().await;
    bed.put_until("x", bed.now().plus(Duration::from_secs(60))).await;
    bed.put("y", "y").await;
    let before = bed.now();
    bed.pass(Duration::from_secs(60));
    let after = bed.now();
    bed.put("z", "z").await;
    let list = async |time| {
        let view = bed.volume.as_of(At::Time(time)).await.unwrap();
        let found = view.stat(&name("x")).await.unwrap().is_some();
        (found, pages(&view, ListOptions::default()).await)
    };
    assert_eq!(list(before).await, (true, vec!["x".to_owned(), "y".to_owned()]));
    let at_the_end = after.minus(Duration::from_micros(1));
    assert_eq!(list(at_the_end).await, (true, vec!["x".to_owned(), "y".to_owned()]));
    assert_eq!(list(after).await, (false, vec!["y".to_owned(), "z".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_come_newest_first() {
    let bed = Bed::with_history().await;
    let x = name("x");
    assert_eq!(bed.put("x", "one").await, 1);
    assert_eq!(bed.put("x", "two").await, 2);
    bed.volume.delete(&x, Condition::Always).await.unwrap();
    bed.put("other", "-").await;
    assert_eq!(bed.put("x", "five").await, 5);
    let shape = |versions: &[VersionInfo]| -> Vec<(u64, Option<u64>, bool)> {
        let shape = versions.iter().map(|info| {
            (info.entry.version, info.superseded.map(|(version, _)| version), info.current)
        });
        shape.collect()
    };
    let versions = bed.versions(&x).await;
    let wanted = [(5, None, true), (2, Some(3), false), (1, Some(2), false)];
    assert_eq!(shape(&versions), wanted);
    assert!(versions.iter().all(|info| info.entry.inline.is_empty()));
    for (version, text) in [(1, "one"), (2, "two"), (5, "five")] {
        let reading = bed.volume.get_version(&x, version).await.unwrap().unwrap();
        assert_eq!(reading.bytes().await.unwrap(), text);
    }
    assert!(bed.volume.get_version(&x, 3).await.unwrap().is_none());
    bed.put_until("x", bed.now().plus(HOUR)).await;
    bed.pass(HOUR);
    let versions = bed.versions(&x).await;
    assert_eq!(shape(&versions)[0], (6, None, false));
    assert!(bed.versions(&name("none")).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_with_many_versions_is_read_in_pages() {
    let bed = Bed::with_history().await;
    for number in 0..1500 {
        bed.put("m", format!("{number}")).await;
    }
    bed.put("z", "z").await;
    // One look at the present, one at the head, one listing and one reading, however many there
    // are: and what is listed lies where the page ends.
    bed.recording.take();
    let page = bed.volume.versions(&name("m"), Some(1000), 7).await.unwrap();
    let versions: Vec<u64> = page.versions.iter().map(|info| info.entry.version).collect();
    assert_eq!((versions, page.next), ((993..1000).rev().collect(), Some(993)));
    bed.recording.assert_calls(&[(Method::Get, 2), (Method::List, 1), (Method::GetMany, 1)]);
    let all = bed.versions(&name("m")).await;
    let numbers = all.iter().map(|info| info.entry.version);
    assert!(numbers.eq((1..=1500).rev()));
    for limit in [1, 2, 1499, 1500, usize::MAX] {
        let page = bed.volume.versions(&name("m"), None, limit).await.unwrap();
        assert_eq!(page.versions, all[..limit.min(1500)], "{limit}");
        let last = page.versions.last().map(|info| info.entry.version);
        assert_eq!(page.next, last.filter(|last| *last > 1), "{limit}");
    }
    let end = bed.volume.versions(&name("m"), Some(1), 10).await.unwrap();
    assert_eq!(end, VersionPage::default());
    assert_invalid(bed.volume.versions(&name("m"), None, 0).await, "limit is 0");
    for commit in [1, 999, 1000, 1001, 1400, 1500] {
        let view = bed.volume.as_of(At::Commit(commit)).await.unwrap();
        assert_eq!(read(&view, "m").await.unwrap(), format!("{}", commit - 1));
        for limit in [1, 2, 1000] {
            let page = view.list(ListOptions::default().limit(limit)).await.unwrap();
            assert_eq!(page.entries.len(), 1);
            assert_eq!(page.entries[0].1.version, commit);
        }
    }
}

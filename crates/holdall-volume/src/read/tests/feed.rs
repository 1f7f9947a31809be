//! The change feed.

use holdall_core::{BackendExt, Expect, List};

use super::*;
use crate::format::log::{Change, Commit};

async fn all(bed: &Bed, limit: usize) -> Vec<Commit> {
    let (mut after, mut commits) = (0, Vec::new());
    loop {
        let page = bed.volume.changes(after, limit).await.unwrap();
        assert!(page.commits.len() <= limit);
        assert_eq!(page.next, page.commits.last().map_or(after, |commit| commit.sequence));
        assert!(!page.commits.is_empty() || !page.more);
        after = page.next;
        commits.extend(page.commits);
        if !page.more {
            return commits;
        }
    }
}

/// Takes log rows away, as pruning does.
async fn prune(bed: &Bed, count: usize) {
    let rows = bed.catalog.list(&List::prefix(bed.keys.class('l'))).await.unwrap().rows;
    for row in rows.iter().take(count) {
        bed.catalog.delete(&row.key, Expect::Any).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_come_in_order_without_gaps() {
    let bed = Bed::strict(Policy::default()).await;
    assert!(all(&bed, 1).await.is_empty());
    // Those that are made side by side share rows.
    let names: Vec<Name> = (0..200).map(|number| name(&format!("{number}"))).collect();
    let writes = names
        .iter()
        .map(|name| bed.volume.put(name, name.as_str().to_owned(), PutOptions::default()));
    futures::future::join_all(writes).await.into_iter().for_each(|result| drop(result.unwrap()));
    let rows = bed.catalog.list_all(&bed.keys.class('l'), false).await.unwrap().len();
    assert!(rows < 200, "no two commits share a row");
    for limit in [1, 7, 199, 200, 1000] {
        let commits = all(&bed, limit).await;
        assert!(commits.iter().map(|commit| commit.sequence).eq(1..=200));
        for commit in commits {
            let [Change::Put { entry, .. }] = commit.changes.as_slice() else { unreachable!() };
            assert!(entry.inline.is_empty());
        }
    }
    assert_invalid(bed.volume.changes(0, 0).await, "limit");
    assert_invalid(bed.volume.changes(201, 1).await, "200");
}

#[tokio::test(flavor = "multi_thread")]
async fn pruned_rows_are_read_from_the_sealed_log() {
    let bed = Bed::new(Policy::default()).await;
    for number in 0..30 {
        bed.put(&format!("{number}"), format!("{number}")).await;
        if number % 7 == 0 {
            bed.volume.seal().await.unwrap();
        }
    }
    let before = all(&bed, 1000).await;
    assert_eq!(before.len(), 30);
    bed.volume.seal().await.unwrap();
    for count in [1, 11, 30] {
        prune(&bed, count).await;
        for limit in [1, 4, 1000] {
            assert_eq!(all(&bed, limit).await, before);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_nowhere_is_refused() {
    let bed = Bed::new(Policy::default()).await;
    for number in 0..10 {
        bed.put(&format!("{number}"), "x").await;
    }
    prune(&bed, 4).await;
    assert_invalid(bed.volume.changes(0, 10).await, "commit 1 is no longer kept");
    assert_invalid(bed.volume.changes(3, 10).await, "commit 4 is no longer kept");
    let page = bed.volume.changes(4, 10).await.unwrap();
    assert!(page.commits.iter().map(|commit| commit.sequence).eq(5..=10));
}

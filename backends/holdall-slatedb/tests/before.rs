//! A store that the pinned version before the present one has written still reads, and goes on.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::path::Path;

use common::{at, files, key, open, put, text};
use holdall_core::{Backend, BackendExt, ErrorKind, Expect};
use holdall_slatedb::SlateDb;

/// A copy of the store that 0.17.0 left when its process was killed.
fn copy() -> tempfile::TempDir {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/slatedb-0.17.0");
    let folder = tempfile::tempdir().unwrap();
    for name in ["manifest", "wal", "compacted"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
        let found = files(&from, name);
        assert!(!found.is_empty());
        for file in found {
            std::fs::copy(&file, folder.path().join(name).join(file.file_name().unwrap())).unwrap();
        }
    }
    folder
}

async fn check(store: &SlateDb) {
    let mut wanted = vec![("empty".to_owned(), String::new())];
    wanted.extend((0..5).map(|n| (format!("log/{n:02}"), format!("value {n}"))));
    for n in (0..20).filter(|n| ![8, 10].contains(n)) {
        let value = match n {
            7 => "written over".to_owned(),
            9 => "written over in the log".to_owned(),
            n => format!("value {n}"),
        };
        wanted.push((format!("table/{n:02}"), value));
    }
    let rows = store.list_all("", true).await.unwrap();
    let found: Vec<_> = rows
        .into_iter()
        .map(|row| {
            let value = row.object.unwrap().value.to_vec();
            (row.key.to_string(), String::from_utf8(value).unwrap())
        })
        .collect();
    assert_eq!(found, wanted);
    assert_eq!(text(store, "table/07").await.as_deref(), Some("written over"));
    assert_eq!(text(store, "table/08").await, None);
    assert_eq!(text(store, "table/10").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_the_version_before_reads_and_goes_on() {
    let folder = copy();
    let reader = open(&at(folder.path(), "read_only=true")).await.unwrap();
    check(&reader).await;
    let store = open(&at(folder.path(), "")).await.unwrap();
    check(&store).await;
    // The revisions of its rows are taken, once.
    for name in ["table/03", "table/09", "log/02"] {
        let found = store.get_all(&key(name)).await.unwrap().unwrap();
        let old = Expect::Revision(found.revision);
        let new = store.put(&key(name), "new".into(), old.clone()).await.unwrap();
        let stale = store.put(&key(name), "newer".into(), old).await.unwrap_err();
        assert_eq!(stale.kind(), ErrorKind::Conflict);
        store.put(&key(name), found.value, Expect::Revision(new)).await.unwrap();
    }
    put(&store, "table/08", "back").await.unwrap();
    store.delete(&key("table/08"), Expect::Any).await.unwrap();
    drop(store);
    check(&open(&at(folder.path(), "")).await.unwrap()).await;
}

#[test]
fn the_version_before_is_the_one_before_the_pinned_one() {
    let manifest = include_str!("../Cargo.toml");
    let pinned = manifest.split_once("version = \"=").unwrap().1.split('"').next().unwrap();
    assert_eq!(pinned, "0.18.0", "add a store of the old version to tests/fixtures and test it");
}

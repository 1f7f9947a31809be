//! What the file backend promises beyond the contract: its layout, foreign files, leftovers.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use holdall_core::{
    Backend, BackendExt, Batch, ByteRange, Bytes, ErrorKind, Expect, Key, List, Location,
};
use holdall_file::{Config, File};

async fn open(path: &Path) -> File {
    File::open(Config::new(path), &holdall_runtime::env()).await.unwrap()
}

fn key(text: impl AsRef<str>) -> Key {
    Key::parse(text).unwrap()
}

async fn value(file: &File, name: &str) -> Option<Bytes> {
    file.get_all(&key(name)).await.unwrap().map(|object| object.value)
}

/// All regular files below a folder, with their content.
fn files(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            for (inner, content) in files(&entry.path()) {
                found.insert(format!("{name}/{inner}"), content);
            }
        } else {
            found.insert(name, fs::read(entry.path()).unwrap());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_a_plain_file_and_comes_back_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("made/on/demand");
    let file = open(&root).await;
    file.put(&key("Notes/a.txt"), Bytes::from("hello"), Expect::Any).await.unwrap();
    drop(file);

    let found = files(&root);
    let (name, content) = found.iter().find(|(name, _)| !name.starts_with('.')).unwrap();
    assert!(name.ends_with("/%4eotes+a.txt"), "{name}");
    assert_eq!(content, b"hello");
    assert!(!found.keys().any(|name| name.starts_with(".tmp/")), "{found:?}");

    let file = open(&root).await;
    assert_eq!(value(&file, "Notes/a.txt").await.unwrap(), "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_at_the_edges_of_blocks_and_of_direct_writes_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let file = open(folder.path()).await;
    let mega = 1 << 20;
    let sizes = [
        0,
        1,
        4095,
        4096,
        4097,
        mega - 1,
        mega,
        mega + 1,
        4 * mega - 1,
        4 * mega,
        4 * mega + 4097,
        9 * mega - 5,
    ];
    let bytes: Bytes =
        (0..9 * mega as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for size in sizes {
        let name = key(format!("size/{size}"));
        let written = file.put(&name, bytes.slice(..size), Expect::Absent).await.unwrap();
        let object = file.get_all(&name).await.unwrap().unwrap();
        assert!(object.value == bytes.slice(..size), "{size}");
        assert_eq!((object.size, object.revision), (size as u64, written), "{size}");
        let tail = ByteRange::from(size.saturating_sub(10) as u64);
        let part = file.get(&name, tail).await.unwrap().unwrap();
        assert!(part.value == bytes.slice(size.saturating_sub(10)..size), "{size}");
        assert_eq!(part.size, size as u64);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_never_come_twice_though_inodes_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = open(folder.path()).await;
    let name = key("same");
    let mut seen = HashSet::new();
    for round in 0..200 {
        let revision = file.put(&name, Bytes::from("same size"), Expect::Any).await.unwrap();
        assert!(seen.insert(revision), "round {round}");
        if round % 3 == 0 {
            file.delete(&name, Expect::Any).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_by_another_program_is_another_revision() {
    let folder = tempfile::tempdir().unwrap();
    let file = open(folder.path()).await;
    let name = key("edited");
    let before = file.put(&name, Bytes::from("one"), Expect::Absent).await.unwrap();
    let found = files(folder.path());
    let path = found.keys().find(|path| path.ends_with("/edited")).unwrap();
    fs::write(folder.path().join(path), "two").unwrap();

    let error = file.put(&name, Bytes::from("three"), Expect::Revision(before)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(error.key(), Some(&name));
    assert!(error.location().is_some());
    let object = file.get_all(&name).await.unwrap().unwrap();
    assert_eq!(object.value, "two");
    file.put(&name, Bytes::from("three"), Expect::Revision(object.revision)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_files_are_neither_listed_nor_touched() {
    let folder = tempfile::tempdir().unwrap();
    let file = open(folder.path()).await;
    file.put(&key("mine"), Bytes::from("1"), Expect::Any).await.unwrap();
    let shard = folder.path().join("00");
    for name in ["README.md", "Mine", ".hidden", "a%2fb", "mine~", "%zz", "%c3"] {
        fs::write(shard.join(name), "foreign").unwrap();
    }
    fs::create_dir(shard.join("a-folder")).unwrap();
    fs::create_dir(shard.join(format!("{}~", "x".repeat(200)))).unwrap();
    fs::write(folder.path().join("LICENSE"), "foreign").unwrap();
    // A pipe must not be waited for, and a link not be followed, even under a right name.
    file.put(&key("pipe"), Bytes::from("1"), Expect::Any).await.unwrap();
    let pipe = files(folder.path()).into_keys().find(|path| path.ends_with("/pipe")).unwrap();
    let pipe = folder.path().join(pipe);
    let home = files(folder.path()).into_keys().find(|path| path.ends_with("/mine")).unwrap();
    let home = folder.path().join(home);
    fs::remove_file(&home).unwrap();
    fs::remove_file(&pipe).unwrap();
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    std::os::unix::fs::symlink(folder.path().join("LICENSE"), &home).unwrap();

    // README.md has upper case, so it cannot be a name of ours in any shard.
    assert_eq!(file.list_all("", true).await.unwrap(), []);
    assert_eq!(value(&file, "mine").await, None);
    assert_eq!(value(&file, "pipe").await, None);
    fs::remove_file(&pipe).unwrap();
    file.delete(&key("mine"), Expect::Any).await.unwrap();
    assert!(home.is_symlink());
    file.put(&key("mine"), Bytes::from("2"), Expect::Absent).await.unwrap();
    assert_eq!(fs::read(folder.path().join("LICENSE")).unwrap(), b"foreign");
    assert_eq!(value(&file, "mine").await.unwrap(), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn long_keys_nest_and_leave_no_folders_behind() {
    let folder = tempfile::tempdir().unwrap();
    let file = open(folder.path()).await;
    let names = ["A".repeat(1024), "a".repeat(1024), "a".repeat(201), ".".repeat(1024)];
    for name in &names {
        file.put(&key(name), Bytes::from(name.clone()), Expect::Absent).await.unwrap();
    }
    let listed = file.list_all("", true).await.unwrap();
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort();
    assert_eq!(listed.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), sorted);
    for name in &names {
        assert_eq!(value(&file, name).await.unwrap(), *name);
        file.delete(&key(name), Expect::Any).await.unwrap();
    }
    for shard in 0..256 {
        let shard = folder.path().join(format!("{shard:02x}"));
        assert_eq!(fs::read_dir(shard).unwrap().count(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_any_size_make_the_whole_list() {
    let folder = tempfile::tempdir().unwrap();
    let file = open(folder.path()).await;
    let mut model = BTreeMap::new();
    for number in 0..150_u32 {
        let name =
            format!("{}/{}", ["a", "B", "ä", "b"][number as usize % 4], number * 7919 % 1000);
        file.put(&key(&name), Bytes::from(name.clone()), Expect::Any).await.unwrap();
        model.insert(name.clone(), name);
    }
    for limit in [1, 2, 7, 149, 150, 151, usize::MAX] {
        let mut list = List::prefix("").limit(limit).with_values();
        let mut keys = Vec::new();
        loop {
            let page = file.list(&list).await.unwrap();
            assert!(page.rows.len() <= limit);
            for row in &page.rows {
                assert_eq!(row.object.as_ref().unwrap().value, row.key.as_str());
                assert_eq!(row.size, row.key.as_str().len() as u64);
                keys.push(row.key.as_str().to_owned());
            }
            if !page.more {
                break;
            }
            list = list.after(keys.last().unwrap());
        }
        assert!(keys.iter().eq(model.keys()), "{limit}");
    }
    let page = file.list(&List::prefix("a/").at("a/5").limit(3)).await.unwrap();
    let expected: Vec<&String> = model
        .keys()
        .filter(|name| name.starts_with("a/") && *name >= &"a/5".to_owned())
        .take(3)
        .collect();
    assert_eq!(page.rows.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_old_leftovers_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).await);
    let temporary = folder.path().join(".tmp");
    fs::write(temporary.join("young"), "x").unwrap();
    fs::write(temporary.join("old"), "x").unwrap();
    let two_days_ago = fs::metadata(temporary.join("old")).unwrap().modified().unwrap()
        - Duration::from_secs(2 * 24 * 60 * 60);
    let old = fs::File::options().write(true).open(temporary.join("old")).unwrap();
    old.set_times(fs::FileTimes::new().set_modified(two_days_ago)).unwrap();

    drop(open(folder.path()).await);
    assert!(temporary.join("young").exists());
    assert!(!temporary.join("old").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_that_someone_removed_are_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = open(folder.path()).await;
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            fs::remove_dir(path).unwrap();
        }
    }
    assert_eq!(file.list_all("", false).await.unwrap(), []);
    file.delete(&key("gone"), Expect::Any).await.unwrap();
    file.put(&key("back"), Bytes::from("1"), Expect::Absent).await.unwrap();
    file.put(&key("b".repeat(900)), Bytes::from("2"), Expect::Absent).await.unwrap();
    assert_eq!(file.list_all("", false).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_and_wrong_places_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = open(folder.path()).await;
    let error = file.apply(Batch::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);

    let plain = folder.path().join("plain");
    fs::write(&plain, "x").unwrap();
    let error =
        File::open(Config::new(plain.join("below")), &holdall_runtime::env()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");

    let location = Location::from_path("file", folder.path().to_str().unwrap());
    let file = File::open(Config::from_location(&location).unwrap(), &holdall_runtime::env())
        .await
        .unwrap();
    assert!(file.health().await.unwrap().bytes_free.unwrap() > 0);
}

//! Damaged and missing files, foreign databases, full disks.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "a small disk is mounted by another program")]

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use holdall_core::{Backend, BackendExt, Bytes, Error, ErrorKind, Expect, Key, Location};
use holdall_rocksdb::{Compression, Config, RocksDb};
use rocksdb::{DB, Options};

async fn try_open(config: Config) -> Result<RocksDb, Error> {
    RocksDb::open(config, &holdall_runtime::env()).await
}

fn key(text: impl AsRef<str>) -> Key {
    Key::parse(text).unwrap()
}

/// Uncompressed, so that a byte of a file is a byte of a value.
fn plain(path: &Path) -> Config {
    Config { compression: Compression::None, ..Config::new(path) }
}

fn value(number: usize, size: usize) -> Bytes {
    (0..size).map(|place| (place * 31 + number * 7) as u8).collect()
}

/// Fills a folder with small and large values, and leaves them in files and not in the log.
async fn fill(path: &Path) -> BTreeMap<Key, Bytes> {
    let backend = try_open(plain(path)).await.unwrap();
    let mut written = BTreeMap::new();
    for number in 0..100 {
        let size = if number % 10 == 0 { 200_000 } else { 1000 };
        let (key, value) = (key(format!("{number:03}")), value(number, size));
        backend.put(&key, value.clone(), Expect::Absent).await.unwrap();
        written.insert(key, value);
    }
    drop(backend);
    let raw = raw(path);
    for family in ["holdall-rows-1", "holdall-parts-1"] {
        raw.flush_cf(raw.cf_handle(family).unwrap()).unwrap();
    }
    written
}

/// Opens a database of ours with the library alone, once the backend has closed it.
fn raw(path: &Path) -> DB {
    let mut parts = Options::default();
    parts.set_enable_blob_files(true);
    loop {
        let families = [("holdall-rows-1", Options::default()), ("holdall-parts-1", parts.clone())];
        match DB::open_cf_with_opts(&Options::default(), path, families) {
            Ok(raw) => return raw,
            Err(error) => assert!(error.to_string().contains("lock hold"), "{error}"),
        }
    }
}

fn files(path: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    files.sort();
    files
}

fn flip(path: &Path, place: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[place] ^= 0x40;
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn flipped_bytes_are_corrupt_and_never_a_value() {
    let folder = tempfile::tempdir().unwrap();
    for (extension, at_least) in [("sst", 1), ("blob", 1)] {
        let path = folder.path().join(extension);
        let written = fill(&path).await;
        let found = files(&path, extension);
        assert!(!found.is_empty(), "{extension}");
        for file in &found {
            // In the first rows or blobs, not in what says where they are.
            flip(file, 300);
        }
        let backend = match try_open(plain(&path)).await {
            Ok(backend) => backend,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{extension}: {error:?}");
                continue;
            }
        };
        let mut damaged = 0;
        for (key, value) in &written {
            match backend.get_all(key).await {
                Ok(found) => assert!(found.unwrap().value == value, "{key}"),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corrupt, "{extension}: {error:?}");
                    assert!(error.message().contains("restore it from a copy"), "{error}");
                    assert_eq!(error.key(), Some(key));
                    damaged += 1;
                }
            }
        }
        assert!(damaged >= at_least, "{extension}: {damaged}");
        assert!(damaged < written.len(), "{extension}: {damaged}");
        let error = backend.list_all("", true).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{extension}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_and_destroyed_files_are_corrupt_at_opening() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["sst", "CURRENT", "MANIFEST", "nonsense"] {
        let path = folder.path().join(name);
        fill(&path).await;
        match name {
            "CURRENT" => std::fs::remove_file(path.join(name)).unwrap(),
            "nonsense" => std::fs::write(path.join("CURRENT"), "nonsense").unwrap(),
            "MANIFEST" => {
                let current = std::fs::read_to_string(path.join("CURRENT")).unwrap();
                flip(&path.join(current.trim()), 20);
            }
            extension => std::fs::remove_file(&files(&path, extension)[0]).unwrap(),
        }
        let before = files(&path, "sst");
        let location = Location::from_path("rocksdb", path.to_str().unwrap());
        let config = Config::from_location(&location).unwrap();
        let error = try_open(config).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}: {error:?}");
        assert_eq!(error.location(), Some(&location));
        // What there is stays for who restores it.
        assert_eq!(files(&path, "sst"), before, "{name}");
    }
}

/// A blob file is looked for when it is read.
#[tokio::test(flavor = "multi_thread")]
async fn missing_blobs_are_corrupt_where_they_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let written = fill(folder.path()).await;
    files(folder.path(), "blob").into_iter().for_each(|file| std::fs::remove_file(file).unwrap());
    let backend = try_open(plain(folder.path())).await.unwrap();
    for (key, value) in &written {
        match backend.get_all(key).await {
            Ok(found) => assert!(value.len() == 1000 && found.unwrap().value == value, "{key}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
                assert_eq!((error.key(), value.len()), (Some(key), 200_000));
            }
        }
    }
    assert_eq!(backend.list_all("", false).await.unwrap().len(), written.len());
}

/// RocksDB cannot tell damage within the log from a log that ends there because the power went.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_log_ends_there_and_leaves_a_whole_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let backend = try_open(plain(&path)).await.unwrap();
    for number in 0..50 {
        let (key, value) = (key(format!("{number:02}")), value(number, 1000));
        backend.put(&key, value, Expect::Absent).await.unwrap();
    }
    // What a machine that stops now would find.
    let copy = folder.path().join("copy");
    copy_files(&path, &copy);
    drop(backend);
    let path = copy;
    let log = files(&path, "log").pop().unwrap();
    flip(&log, std::fs::metadata(&log).unwrap().len().min(50_000) as usize / 2);
    let backend = try_open(plain(&path)).await.unwrap();
    let rows = backend.list_all("", true).await.unwrap();
    assert!(!rows.is_empty() && rows.len() < 50, "{}", rows.len());
    for (number, row) in rows.iter().enumerate() {
        assert_eq!(row.key.as_str(), format!("{number:02}"));
        assert!(row.object.as_ref().unwrap().value == value(number, 1000));
    }
    backend.put(&key("goes on"), Bytes::new(), Expect::Absent).await.unwrap();
}

fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_files_and_databases_are_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let plain_file = folder.path().join("plain");
    std::fs::write(&plain_file, "x").unwrap();
    for path in [plain_file.join("below"), plain_file] {
        let error = try_open(Config::new(path)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    }
    for (name, hint) in
        [("default", "another program"), ("theirs", "another program"), ("holdall-rows-2", "newer")]
    {
        let path = folder.path().join(name);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        let theirs = DB::open_cf(&options, &path, [name]).unwrap();
        theirs.put_cf(theirs.cf_handle(name).unwrap(), "key", "value").unwrap();
        drop(theirs);
        let error = try_open(Config::new(&path)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{name}: {error:?}");
        assert!(error.message().contains(hint), "{name}: {error}");
        let theirs = DB::open_cf(&Options::default(), &path, [name]).unwrap();
        assert!(theirs.get_cf(theirs.cf_handle(name).unwrap(), "key").unwrap().is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_making_that_was_cut_off_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    for families in [&[][..], &["holdall-rows-1"][..]] {
        let path = folder.path().join(families.len().to_string());
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        drop(DB::open_cf(&options, &path, families).unwrap());
        let backend = try_open(Config::new(&path)).await.unwrap();
        backend.put(&key("a"), value(1, 100_000), Expect::Absent).await.unwrap();
        assert!(backend.get_all(&key("a")).await.unwrap().unwrap().value == value(1, 100_000));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_open_by_other_means_in_this_process_is_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    drop(try_open(Config::new(folder.path())).await.unwrap());
    let other = raw(folder.path());
    let error = try_open(Config::new(folder.path())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.message().contains("other means"), "{error}");
    drop(other);
    try_open(Config::new(folder.path())).await.unwrap();
}

fn small(path: &Path) -> Config {
    Config { write_buffer_size: 1 << 20, max_write_buffer_number: 2, ..plain(path) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_full_and_room_can_be_made() {
    let folder = tempfile::tempdir().unwrap();
    let disk = SmallDisk::new(&folder.path().join("small"), "48m");
    let ballast = disk.0.join("ballast");
    std::fs::write(&ballast, vec![1; 12 << 20]).unwrap();
    let path = disk.0.join("data");
    let backend = try_open(small(&path)).await.unwrap();
    let name = |number: usize| key(format!("{number:04}"));
    let mut written = 0;
    let error = loop {
        match backend.put(&name(written), value(written, 100_000), Expect::Absent).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Full, "{error:?}");
    assert!(error.message().contains("free some room"), "{error}");
    assert!(written > 20, "{written}");
    assert!(backend.get_all(&name(written)).await.unwrap().is_none());
    // Removing goes on, and a batch that does not fit holds up nobody.
    let (first, last) = (name(0), name(9999));
    let (refused, deleted) = futures::join!(
        backend.put(&last, value(1, 30 << 20), Expect::Any),
        backend.delete(&first, Expect::Any)
    );
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Full);
    deleted.unwrap();
    let health = backend.health().await.unwrap();
    assert!(health.bytes_free.unwrap() < 8 << 20, "{health:?}");

    std::fs::remove_file(&ballast).unwrap();
    backend.put(&name(written), value(written, 100_000), Expect::Absent).await.unwrap();
    drop(backend);
    let backend = try_open(small(&path)).await.unwrap();
    assert!(backend.get_all(&first).await.unwrap().is_none());
    for number in 1..=written {
        let found = backend.get_all(&name(number)).await.unwrap().unwrap();
        assert!(found.value == value(number, 100_000), "{number}");
    }
    drop(backend);
    drop(disk);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_room_for_an_empty_database_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let disk = SmallDisk::new(&folder.path().join("tiny"), "16k");
    std::fs::write(disk.0.join("ballast"), vec![1; 8 << 10]).unwrap();
    let error = try_open(small(&disk.0.join("data"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full, "{error:?}");
}

/// A file system of its own, in memory.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(path: &Path, size: &str) -> Self {
        std::fs::create_dir(path).unwrap();
        let options = format!("size={size},mode=0777");
        as_root(&["mount", "-t", "tmpfs", "-o", &options, "holdall-test", path.to_str().unwrap()]);
        Self(path.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        as_root(&["umount", "--lazy", self.0.to_str().unwrap()]);
    }
}

fn as_root(command: &[&str]) {
    let root = std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
    let command = if root { command.to_vec() } else { [&["sudo"], command].concat() };
    let status = Command::new(command[0]).args(&command[1..]).status();
    assert!(status.unwrap().success(), "{command:?}");
}

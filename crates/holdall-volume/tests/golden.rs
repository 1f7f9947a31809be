//! Golden volumes: every version of the format that was ever written is read whole by today's
//! code. `fixtures/volumes/README.md` says how they are stored.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdall_core::{Backend, BackendExt, Expect, Key, Memory, Timestamp};
use holdall_volume::format::FORMAT_VERSION;
use holdall_volume::format::entry::Entry;
use holdall_volume::format::history::HistoryRow;
use holdall_volume::format::keys::{CatalogKeys, DataKeys, VolumeId};
use holdall_volume::verify::{VerifyContext, VerifyOptions, verify};
use support::maker::make;

fn volumes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/volumes")
}

/// The key with everything but the plainest characters as `%` and two digits.
fn escape(key: &str) -> String {
    key.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' => text.push(char::from(byte)),
            _ => write!(text, "%{byte:02x}").unwrap(),
        }
        text
    })
}

fn unescape(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.extend(unhex(&part[..2]));
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = (0..text.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// What the entries and versions of a volume are, a line each.
async fn contents(context: &VerifyContext) -> String {
    let mut text = String::new();
    for class in ['e', 'h'] {
        let prefix = context.catalog_keys.class(class);
        for row in context.catalog.list_all(&prefix, true).await.unwrap() {
            let bytes = row.object.unwrap().value;
            let entry = match class {
                'h' => HistoryRow::decode(&row.key, &bytes).unwrap().entry,
                _ => Entry::decode(&row.key, &bytes).unwrap(),
            };
            let name = escape(&row.key.as_str()[context.catalog_keys.root().len()..]);
            let (version, size, digest) = (entry.version, entry.size, entry.digest);
            let expires = entry.expires.map_or(0, Timestamp::as_micros);
            let attributes: Vec<String> =
                entry.attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let (nodes, attributes) = (entry.content.nodes().len(), attributes.join(","));
            let rest = format!("[{attributes}] expires {expires} in {nodes} nodes");
            writeln!(text, "{name} version {version} {size} bytes {digest} {rest}").unwrap();
        }
    }
    text
}

async fn write(folder: &Path, context: &VerifyContext) {
    std::fs::create_dir_all(folder).unwrap();
    let mut catalog = String::new();
    for row in context.catalog.list_all("", true).await.unwrap() {
        let value = hex(&row.object.unwrap().value);
        writeln!(catalog, "{} {value}", escape(row.key.as_str())).unwrap();
    }
    std::fs::write(folder.join("catalog.txt"), catalog).unwrap();
    for object in context.data.list_all("", true).await.unwrap() {
        let path = folder.join("data").join(escape(object.key.as_str()));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, object.object.unwrap().value).unwrap();
    }
    std::fs::write(folder.join("contents.txt"), contents(context).await).unwrap();
}

async fn read(folder: &Path) -> VerifyContext {
    let (catalog, data) = (Memory::new(), Memory::new());
    let text = std::fs::read_to_string(folder.join("catalog.txt")).unwrap();
    for line in text.lines() {
        let (key, value) = line.split_once(' ').unwrap();
        let key = Key::parse(unescape(key)).unwrap();
        catalog.put(&key, unhex(value).into(), Expect::Absent).await.unwrap();
    }
    let root = folder.join("data");
    let mut folders = vec![root.clone()];
    while let Some(next) = folders.pop() {
        for found in std::fs::read_dir(next).unwrap() {
            let path = found.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
            let key = Key::parse(unescape(&name)).unwrap();
            data.put(&key, std::fs::read(&path).unwrap().into(), Expect::Absent).await.unwrap();
        }
    }
    let volume = VolumeId::parse(text.split_once('/').unwrap().0).unwrap();
    VerifyContext {
        env: holdall_runtime::env(),
        catalog: Arc::new(catalog),
        data: Arc::new(data),
        catalog_keys: CatalogKeys::new(volume),
        data_keys: DataKeys::new(volume),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_that_was_ever_written_is_read_whole() {
    for version in 1..=FORMAT_VERSION {
        let folder = volumes().join(version.to_string());
        assert!(folder.is_dir(), "there is no golden volume of version {version}; see the README");
        let context = read(&folder).await;
        let report = verify(&context, VerifyOptions::default()).await.unwrap();
        assert!(report.complete && report.findings.is_empty(), "{version}: {report:#?}");
        let counts = report.counts;
        assert!(counts.entries_read > 5 && counts.frames > 3 && counts.checkpoints > 0);
        let expected = std::fs::read_to_string(folder.join("contents.txt")).unwrap();
        assert_eq!(contents(&context).await, expected, "{version}");
    }
}

#[allow(clippy::disallowed_methods, reason = "whether to write is said from outside")]
fn told_to_write() -> bool {
    std::env::var_os("HOLDALL_GOLDEN_WRITE").is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_golden_volume_comes_back_as_it_was_written() {
    let (context, _) = make().await;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &context).await;
    let again = read(folder.path()).await;
    for (was, is) in [(&context.catalog, &again.catalog), (&context.data, &again.data)] {
        let rows = |rows: Vec<holdall_core::Row>| -> Vec<_> {
            rows.into_iter().map(|row| (row.key, row.object.unwrap().value)).collect()
        };
        let (was, is) = (was.list_all("", true).await, is.list_all("", true).await);
        assert_eq!(rows(was.unwrap()), rows(is.unwrap()));
    }
    let golden = volumes().join(FORMAT_VERSION.to_string());
    if told_to_write() && !golden.exists() {
        write(&golden, &context).await;
    }
}

//! What the tests share.
#![allow(clippy::unwrap_used, clippy::panic, dead_code, reason = "tests, each uses a part")]

use std::path::Path;
use std::time::Duration;

use holdall_core::{Backend, BackendExt, Bytes, Expect, Key, Location, Result, Revision};
use holdall_slatedb::{Config, SlateDb};
use holdall_testkit::conformance::random_prefix;

/// How often something that happens in the background is looked for.
const LOOKS: usize = 3000;

/// The emulator's key is published in its manual.
pub(crate) const AZURITE_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVEr\
                                      Cz4I6tq%2FK1SZFPTOtr%2FKBHBeksoGMGw%3D%3D";

pub(crate) async fn open(location: &str) -> Result<SlateDb> {
    let config = Config::from_location(&Location::parse(location)?)?;
    SlateDb::open(config, &holdall_runtime::env()).await
}

/// A location in this directory.
pub(crate) fn at(path: &Path, options: &str) -> String {
    format!("slatedb://{}?{options}", path.display())
}

/// A prefix that no other test uses.
pub(crate) fn prefix() -> String {
    random_prefix(&holdall_runtime::env()).trim_end_matches('/').to_owned()
}

pub(crate) fn s3(port: u16, prefix: &str, more: &str) -> String {
    format!(
        "slatedb+s3://holdall/{prefix}?endpoint=http://127.0.0.1:{port}&access_key_id=holdallkey\
         &secret_access_key=holdallsecret{more}"
    )
}

pub(crate) fn gcs(port: u16, prefix: &str, more: &str) -> String {
    format!("slatedb+gs://holdall/{prefix}?endpoint=http://127.0.0.1:{port}&anonymous=true{more}")
}

pub(crate) fn azure(port: u16, prefix: &str, more: &str) -> String {
    format!(
        "slatedb+az://holdall/{prefix}?endpoint=http://127.0.0.1:{port}/devstoreaccount1\
         &account=devstoreaccount1&access_key={AZURITE_KEY}{more}"
    )
}

pub(crate) fn key(name: impl AsRef<str>) -> Key {
    Key::parse(name).unwrap()
}

pub(crate) async fn put(store: &SlateDb, name: &str, value: &str) -> Result<Revision> {
    store.put(&key(name), Bytes::from(value.to_owned()), Expect::Any).await
}

pub(crate) async fn text(store: &SlateDb, name: &str) -> Option<String> {
    let found = store.get_all(&key(name)).await.unwrap();
    found.map(|found| String::from_utf8(found.value.to_vec()).unwrap())
}

/// Waits until this is so; fails if it never is.
pub(crate) async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let env = holdall_runtime::env();
    for _ in 0..LOOKS {
        if holds().await {
            return;
        }
        env.sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came to be that {what}");
}

/// The files below a folder of the store, such as `wal`.
pub(crate) fn files(path: &Path, folder: &str) -> Vec<std::path::PathBuf> {
    let Ok(listed) = std::fs::read_dir(path.join(folder)) else { return Vec::new() };
    let mut files: Vec<_> = listed.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

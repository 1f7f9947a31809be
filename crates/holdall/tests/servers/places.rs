//! Where a volume may keep its catalog and its data: one line a backend.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use holdall_services::{
    AZURITE, DYNAMODB, GCS, MARIADB, MOTO, POSTGRES, RCLONE, REDIS, S3S_FS, Service, shared,
};

/// Makes a location that nothing uses yet; what lies on this machine is in this folder.
pub(crate) type Place = fn(&Path) -> String;

// Those that can hold a catalog.
pub(crate) const SQLITE: Place = |folder| format!("sqlite://{}.db", in_folder(folder));
pub(crate) const LMDB: Place = |folder| format!("lmdb://{}", in_folder(folder));
pub(crate) const JOURNAL: Place = |folder| format!("journal+lmdb://{}", in_folder(folder));
pub(crate) const IN_POSTGRES: Place =
    |_| format!("postgres://holdall@127.0.0.1:{}/postgres?schema={}", port(&POSTGRES), word());
pub(crate) const IN_MARIADB: Place = |_| {
    let (port, table) = (port(&MARIADB), word());
    format!("mysql://holdall@127.0.0.1:{port}/holdall?password=holdall&table={table}")
};
pub(crate) const IN_REDIS: Place =
    |_| format!("redis://127.0.0.1:{}/8?prefix={}", port(&REDIS), word());

pub(crate) const IN_DYNAMODB: Place = |_| {
    let endpoint = format!("http://127.0.0.1:{}", port(&DYNAMODB));
    let key = "access_key_id=holdall&secret_access_key=holdall";
    format!("dynamodb://holdall/{}?region=us-east-1&endpoint={endpoint}&{key}", word())
};
pub(crate) const SLATEDB: Place = |folder| format!("slatedb://{}", in_folder(folder));
pub(crate) const SLATEDB_IN_S3: Place = |_| {
    let endpoint = format!("http://127.0.0.1:{}", port(&MOTO));
    let key = "access_key_id=holdallkey&secret_access_key=holdallsecret";
    format!("slatedb+s3://holdall/{}?endpoint={endpoint}&{key}&flush_interval=0s", word())
};
#[cfg(feature = "rocksdb")]
pub(crate) const ROCKSDB: Place = |folder| format!("rocksdb://{}", in_folder(folder));

// Those that hold data alone. What they keep was found out by their own tests.
pub(crate) const FILE: Place = |folder| format!("file://{}", in_folder(folder));
pub(crate) const S3: Place = |_| s3(&MOTO, "conditional=revision");
pub(crate) const S3_WITHOUT_CONDITIONS: Place = |_| s3(&RCLONE, "conditional=none&names=flat");
pub(crate) const S3_WITH_RACES: Place = |_| s3(&S3S_FS, "conditional=none&names=flat");
pub(crate) const GOOGLE: Place = |_| {
    let endpoint = format!("http://127.0.0.1:{}", port(&GCS));
    format!("gs://holdall/{}?endpoint={endpoint}&anonymous=true&{KNOWN}", word())
};
pub(crate) const AZURE: Place = |_| {
    let endpoint = format!("http://127.0.0.1:{}/devstoreaccount1", port(&AZURITE));
    let account = format!("account=devstoreaccount1&access_key={AZURITE_KEY}");
    format!("az://holdall/{}?{account}&endpoint={endpoint}&{KNOWN}", word())
};

/// Each opening would try the store out anew, which takes longer than a round of these tests.
const KNOWN: &str = "probe=off&conditional=revision";

/// The emulator's key is published in its manual.
const AZURITE_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVEr\
                           Cz4I6tq%2FK1SZFPTOtr%2FKBHBeksoGMGw%3D%3D";

fn port(service: &'static Service) -> u16 {
    shared(service).unwrap().port
}

fn s3(service: &'static Service, more: &str) -> String {
    let endpoint = format!("http://127.0.0.1:{}", port(service));
    let key = "access_key_id=holdallkey&secret_access_key=holdallsecret";
    format!("s3://holdall/{}?endpoint={endpoint}&{key}&probe=off&{more}", word())
}

fn in_folder(folder: &Path) -> String {
    folder.join(word()).display().to_string()
}

/// A word that nobody else uses.
fn word() -> String {
    format!("s{:016x}", u64::from_le_bytes(holdall::env().random()))
}

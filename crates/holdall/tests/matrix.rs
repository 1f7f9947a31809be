//! Volumes with catalog and data on every kind of backend, on real servers: what is written is
//! there when it is opened again, whole, and again when the catalog is lost.
#![allow(clippy::unwrap_used, reason = "tests")]

mod agreement;

use std::path::Path;

use bytes_of::noise;
use holdall::{Engine, Name, PutItem, PutOptions, ReadOptions, WriteOptions};
use holdall::{rebuild::RebuildOptions, verify::VerifyOptions};
use holdall_services::{
    AZURITE, DYNAMODB, GCS, MARIADB, MOTO, POSTGRES, RCLONE, REDIS, Service, shared,
};

/// The emulator's key is published in its manual.
const AZURITE_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVEr\
                           Cz4I6tq%2FK1SZFPTOtr%2FKBHBeksoGMGw%3D%3D";

mod bytes_of {
    /// Bytes that do not compress.
    pub(crate) fn noise(mut state: u64, bytes: usize) -> Vec<u8> {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        (0..bytes).map(|_| next()).collect()
    }
}

fn port(service: &'static Service) -> u16 {
    shared(service).unwrap().port
}

/// A word that no other test uses.
fn word() -> String {
    format!("m{:016x}", u64::from_le_bytes(holdall::env().random()))
}

fn s3(port: u16) -> String {
    let prefix = word();
    format!(
        "s3://holdall/{prefix}?endpoint=http://127.0.0.1:{port}&access_key_id=holdallkey\
         &secret_access_key=holdallsecret"
    )
}

/// Writes, opens again, verifies, loses the catalog, and rebuilds it in `second`.
async fn lives(catalog: &str, second: &str, data: &str) {
    let open = async |catalog: &str| {
        Engine::builder().catalog(catalog).data(data).holder("matrix test").open().await.unwrap()
    };
    let engine = open(catalog).await;
    agreement::assert_listed_as(catalog, engine.catalog().profile());
    agreement::assert_listed_as(data, engine.data().profile());
    let volume = engine.create_volume("v").await.unwrap();
    let large = noise(1, 3 << 20);
    engine.write("v", "large", large.clone(), WriteOptions::default()).await.unwrap();
    let item = |n: u8| PutItem {
        name: Name::parse(format!("small/{n}")).unwrap(),
        bytes: noise(u64::from(n), 700).into(),
        options: PutOptions::default(),
    };
    for written in volume.put_many((0..50).map(item).collect()).await.unwrap() {
        written.unwrap();
    }
    engine.write("v", "inline", "few bytes", WriteOptions::default()).await.unwrap();
    assert!(engine.delete("v", "small/7").await.unwrap());
    volume.seal().await.unwrap();
    let id = volume.id().to_string();
    drop(volume);
    engine.close().await.unwrap();

    for (catalog, rebuilt) in [(catalog, false), (second, true)] {
        let engine = open(catalog).await;
        if rebuilt {
            engine.rebuild(&id, RebuildOptions::default()).await.unwrap();
        }
        let volume = engine.volume("v").await.unwrap();
        let read = async |name: &str| engine.read("v", name, ReadOptions::default()).await.unwrap();
        assert!(read("large").await.unwrap() == large, "{catalog}");
        assert_eq!(read("inline").await.unwrap(), "few bytes", "{catalog}");
        assert_eq!(read("small/7").await, None, "{catalog}");
        assert_eq!(read("small/8").await.unwrap(), noise(8, 700), "{catalog}");
        let report = volume.verify(VerifyOptions::default()).await.unwrap();
        assert!(report.is_clean(), "{catalog}: {report:?}");
        drop(volume);
        engine.close().await.unwrap();
    }
}

fn folder(root: &Path, name: &str) -> String {
    root.join(name).display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn catalog_in_postgres_data_in_s3() {
    let catalog = |schema| {
        format!("postgres://holdall@127.0.0.1:{}/postgres?schema={schema}", port(&POSTGRES))
    };
    lives(&catalog(word()), &catalog(word()), &s3(port(&MOTO))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn catalog_in_redis_data_in_azure() {
    let catalog = |prefix| format!("redis://127.0.0.1:{}/7?prefix={prefix}", port(&REDIS));
    let (prefix, port) = (word(), port(&AZURITE));
    let data = format!(
        "az://holdall/{prefix}?account=devstoreaccount1&access_key={AZURITE_KEY}\
         &endpoint=http://127.0.0.1:{port}/devstoreaccount1"
    );
    lives(&catalog(word()), &catalog(word()), &data).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn catalog_in_sqlite_data_in_google_cloud_storage() {
    let root = tempfile::tempdir().unwrap();
    let catalog = |name| format!("sqlite://{}", folder(root.path(), name));
    let data =
        format!("gs://holdall/{}?endpoint=http://127.0.0.1:{}&anonymous=true", word(), port(&GCS));
    lives(&catalog("one.db"), &catalog("two.db"), &data).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn catalog_in_lmdb_data_on_a_server_that_ignores_conditions() {
    let root = tempfile::tempdir().unwrap();
    let catalog = |name| format!("lmdb://{}", folder(root.path(), name));
    lives(&catalog("one"), &catalog("two"), &format!("{}&names=flat", s3(port(&RCLONE)))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn catalog_in_mariadb_data_in_files() {
    let root = tempfile::tempdir().unwrap();
    let port = port(&MARIADB);
    let database = format!("mysql://holdall@127.0.0.1:{port}/holdall?password=holdall");
    let catalog = |table: String| format!("{database}&table={table}");
    let data = format!("file://{}", folder(root.path(), "data"));
    lives(&catalog(word()), &catalog(word()), &data).await;
}

fn slatedb() -> String {
    format!("slatedb+{}&flush_interval=0s", s3(port(&MOTO)))
}

#[tokio::test(flavor = "multi_thread")]
async fn catalog_in_dynamodb_data_in_slatedb() {
    let endpoint = format!("http://127.0.0.1:{}", port(&DYNAMODB));
    let key = "access_key_id=holdall&secret_access_key=holdall";
    let catalog =
        |prefix| format!("dynamodb://holdall/{prefix}?region=us-east-1&endpoint={endpoint}&{key}");
    lives(&catalog(word()), &catalog(word()), &slatedb()).await;
}

#[cfg(feature = "rocksdb")]
#[tokio::test(flavor = "multi_thread")]
async fn catalog_in_slatedb_data_in_rocksdb() {
    let root = tempfile::tempdir().unwrap();
    let data = format!("rocksdb://{}", folder(root.path(), "data"));
    lives(&slatedb(), &slatedb(), &data).await;
}

//! The volume's own tests with its catalog and its segments on every kind of backend, on real
//! servers: random operations beside a model, a process that is killed, many writers from two
//! processes, and a server that loses what it had acknowledged.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod distributed;
mod killed;
#[path = "../../../holdall-volume/tests/support/killed.rs"]
mod killing;
mod lost;
#[path = "../../../holdall-volume/tests/support/model.rs"]
mod model;
mod places;
#[path = "../../../holdall-volume/tests/support/world.rs"]
mod world;
mod writers;

use holdall::{Engine, Result};
use places::Place;

/// A line a volume: its name, where its catalog is, and where its segments are.
macro_rules! volumes {
    ($($name:ident: $catalog:ident, $data:ident;)+) => {$(
        mod $name {
            #[test]
            fn answers_as_a_model() {
                crate::answers_as_a_model(crate::places::$catalog, crate::places::$data);
            }

            #[test]
            fn survives_being_killed() {
                crate::killed::survives(crate::places::$catalog, crate::places::$data);
            }
        }
    )+};
}

volumes! {
    sqlite_and_google: SQLITE, GOOGLE;
    postgres_and_s3: IN_POSTGRES, S3;
    mariadb_and_files: IN_MARIADB, FILE;
    redis_and_azure: IN_REDIS, AZURE;
    lmdb_and_s3_without_conditions: LMDB, S3_WITHOUT_CONDITIONS;
    journal_and_s3_with_races: JOURNAL, S3_WITH_RACES;
    sqlite_and_redis: SQLITE, IN_REDIS;
    redis_and_sqlite: IN_REDIS, SQLITE;
    postgres_and_mariadb: IN_POSTGRES, IN_MARIADB;
    mariadb_and_postgres: IN_MARIADB, IN_POSTGRES;
    lmdb_and_lmdb: LMDB, LMDB;
    dynamodb_and_files: IN_DYNAMODB, FILE;
    sqlite_and_dynamodb: SQLITE, IN_DYNAMODB;
    slatedb_and_slatedb: SLATEDB, SLATEDB;
    slatedb_in_s3_and_s3: SLATEDB_IN_S3, S3;
}

#[cfg(feature = "rocksdb")]
volumes! {
    rocksdb_and_files: ROCKSDB, FILE;
    lmdb_and_rocksdb: LMDB, ROCKSDB;
}

/// How many operations are tried on a volume.
const STEPS: usize = 60;

async fn open(catalog: &str, data: &str) -> Result<Engine> {
    Engine::builder().catalog(catalog).data(data).holder("a test").open().await
}

fn stores(engine: &Engine) -> world::Stores {
    world::Stores { env: engine.env().clone(), catalog: engine.catalog(), data: engine.data() }
}

/// What is checked at its end includes a rebuild from the segments' side alone.
fn answers_as_a_model(catalog: Place, data: Place) {
    holdall_testkit::sim::seeds(1, |seed| {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let (catalog, data) = (catalog(folder.path()), data(folder.path()));
            let engine = open(&catalog, &data).await.unwrap();
            model::run(stores(&engine), seed, STEPS).await;
            engine.close().await.unwrap();
        });
    });
}

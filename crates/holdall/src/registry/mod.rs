//! The only list of backends: from the scheme of a location to an opened backend.

mod known;
mod later;
mod nearer;

use std::sync::Arc;

use futures::FutureExt;
use holdall_core::{Backend, Env, Error, Location, Memory, Operation, Result};
use holdall_file::File;
use holdall_layers::{Limits, Stack, Stacked};

pub use known::{BACKENDS, KnownBackend};
pub(crate) use later::Later;

use crate::config::BackendConfig;
use crate::secrets::look_up;

/// A backend with its layers.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) stacked: Stacked,
    /// What stands in front of it, if something does.
    pub(crate) front: Option<Stacked>,
}

/// Opens what a location names, with limits and counts round it.
///
/// # Errors
/// `Invalid` for an unknown scheme, naming the nearest, or a wrong option; otherwise what opening
/// the backend returns.
pub(crate) async fn open(
    location: &Location,
    holder: &str,
    limits: Limits,
    env: &Env,
) -> Result<Stacked> {
    let config = BackendConfig::new(location.clone());
    Ok(open_configured(&config, &[], holder, limits, env).await?.stacked)
}

/// As [`open`], with what the configuration puts in front of it. Keys with these beginnings are
/// written once and never again with another value.
///
/// # Errors
/// As [`open`]; and what opening the front or the cache returns.
pub(crate) async fn open_configured(
    config: &BackendConfig,
    written_once: &[String],
    holder: &str,
    limits: Limits,
    env: &Env,
) -> Result<Opened> {
    let stack = engine(&config.location, holder, env).await?;
    let (stack, front) = nearer::add(stack, config, written_once, holder, env).await?;
    let opened = stack.with_limits(config.limits(limits)).with_metrics().open(env).await;
    let stacked = opened.map_err(|error| match error.location() {
        Some(_) => error,
        None => error.with_location(&config.location),
    })?;
    Ok(Opened { stacked, front })
}

/// The engine of a location, with the layers that belong to it. Each is opened in a box of its own:
/// together the futures of all of them would be more than the compiler looks into.
async fn engine(location: &Location, holder: &str, env: &Env) -> Result<Stack> {
    let location = &look_up(location)?;
    // Only the journal has a holder.
    #[cfg(not(feature = "lmdb"))]
    let _ = holder;
    let stack = match location.scheme() {
        "memory" => {
            location.allow_options(&[])?;
            Stack::new(Arc::new(Memory::new()))
        }
        "file" => {
            let config = holdall_file::Config::from_location(location)?;
            Stack::new(Arc::new(File::open(config, env).boxed().await?))
        }
        #[cfg(feature = "lmdb")]
        "lmdb" => {
            let config = holdall_lmdb::Config::from_location(location)?;
            refuse_journaled(&config.path, location)?;
            Stack::new(Arc::new(holdall_lmdb::Lmdb::open(config, env).boxed().await?))
        }
        #[cfg(feature = "lmdb")]
        "journal+lmdb" => journaled_lmdb(location, holder, env).await?,
        #[cfg(feature = "sqlite")]
        "sqlite" => {
            let config = holdall_sqlite::Config::from_location(location)?;
            Stack::new(Arc::new(holdall_sqlite::Sqlite::open(config, env).boxed().await?))
        }
        #[cfg(feature = "rocksdb")]
        "rocksdb" => {
            let config = holdall_rocksdb::Config::from_location(location)?;
            Stack::new(Arc::new(holdall_rocksdb::RocksDb::open(config, env).boxed().await?))
        }
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => {
            let config = holdall_postgres::Config::from_location(location)?;
            remote(holdall_postgres::Postgres::open(config, env).boxed().await?)
        }
        #[cfg(feature = "mysql")]
        "mysql" => {
            let config = holdall_mysql::Config::from_location(location)?;
            remote(holdall_mysql::Mysql::open(config, env).boxed().await?)
        }
        #[cfg(feature = "redis")]
        "redis" | "rediss" => {
            let config = holdall_redis::Config::from_location(location)?;
            remote(holdall_redis::Redis::open(config, env).boxed().await?)
        }
        #[cfg(feature = "dynamodb")]
        "dynamodb" => {
            let config = holdall_dynamodb::Config::from_location(location)?;
            remote(holdall_dynamodb::DynamoDb::open(config, env).boxed().await?)
        }
        #[cfg(feature = "slatedb")]
        "slatedb" | "slatedb+s3" | "slatedb+gs" | "slatedb+az" => {
            let config = holdall_slatedb::Config::from_location(location)?;
            remote(holdall_slatedb::SlateDb::open(config, env).boxed().await?)
        }
        #[cfg(feature = "object-store")]
        "s3" | "gs" | "az" => {
            let config = holdall_object_store::Config::from_location(location)?;
            remote(holdall_object_store::ObjectBackend::open(config, env).boxed().await?)
        }
        scheme => {
            let message = known::why_not(scheme);
            return Err(Error::invalid(Operation::Open, message).with_location(location));
        }
    };
    Ok(stack)
}

/// Puts layers round a backend of the caller's own.
pub(crate) async fn wrap(backend: Arc<dyn Backend>, limits: Limits, env: &Env) -> Result<Stacked> {
    Stack::new(backend).with_limits(limits).with_metrics().open(env).await
}

/// The journal and the engine have a folder each, so that neither is opened without the other.
#[cfg(feature = "lmdb")]
async fn journaled_lmdb(location: &Location, holder: &str, env: &Env) -> Result<Stack> {
    let plain = location.clone().with_scheme("lmdb");
    let mut config = holdall_lmdb::Config::from_location(&plain)?;
    let journal = config.path.join("journal");
    config.path.push("engine");
    let engine = holdall_lmdb::Lmdb::open(config, env).boxed().await?;
    let settings =
        holdall_layers::JournalSettings { holder: holder.to_owned(), ..Default::default() };
    Ok(Stack::new(Arc::new(engine)).with_journal(&journal, settings))
}

/// A store that has a journal is half there without it, so it must not look empty.
#[cfg(feature = "lmdb")]
fn refuse_journaled(path: &std::path::Path, location: &Location) -> Result<()> {
    if path.join("journal").is_dir() && path.join("engine").is_dir() {
        let message = "this folder holds a store with a journal; write journal+lmdb:// instead";
        return Err(Error::invalid(Operation::Open, message).with_location(location));
    }
    Ok(())
}

/// A backend across a network: what did not happen is tried again.
#[cfg(any(
    feature = "postgres",
    feature = "mysql",
    feature = "redis",
    feature = "dynamodb",
    feature = "object-store",
    feature = "slatedb"
))]
fn remote(backend: impl Backend) -> Stack {
    Stack::new(Arc::new(backend)).with_retries(holdall_layers::Retries::default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use holdall_core::{BackendExt, Bytes, ErrorKind, Expect, Key};

    use super::*;
    use crate::settings::parse_location;

    async fn try_open(text: &str) -> Result<Stacked> {
        let location = parse_location(text).unwrap();
        open(&location, "test", Limits::default(), &holdall_runtime::env()).await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_embedded_backend_opens_and_keeps_a_value() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_str().unwrap();
        for scheme in ["memory", "file", "lmdb", "journal+lmdb", "sqlite"] {
            let location = Location::from_path(scheme, &format!("{root}/{scheme}")).expose();
            let store = try_open(&location).await.unwrap();
            let key = Key::parse("key").unwrap();
            store.backend.put(&key, Bytes::from("value"), Expect::Absent).await.unwrap();
            assert_eq!(store.backend.get_all(&key).await.unwrap().unwrap().value, "value");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn unknown_schemes_and_options_name_the_nearest() {
        for (text, hint) in [
            ("fiel:///srv", "did you mean `file`"),
            ("carrierpigeon:///srv", "this build knows memory"),
            ("memory://?size=1", "no option `size`"),
        ] {
            let error = try_open(text).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
            assert!(error.message().contains(hint), "{error}");
        }
    }

    #[cfg(feature = "lmdb")]
    #[tokio::test(flavor = "multi_thread")]
    async fn a_store_with_a_journal_is_not_opened_without_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog");
        let path = path.to_str().unwrap();
        drop(try_open(&format!("journal+lmdb://{path}")).await.unwrap());
        let error = try_open(&format!("lmdb://{path}")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains("journal+lmdb://"), "{error}");
    }
}

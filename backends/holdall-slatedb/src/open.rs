//! Opening: the store underneath is asked and tried out, then the library opens what is there.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};
use futures::pin_mut;
use holdall_core::{
    Conditions, Durability, Env, Error, ErrorKind, KEY_BYTES_MAX, Operation, Profile, Reach, Result,
};
use slatedb::config::{FlushOptions, FlushType};
use slatedb::db_cache::DbCache;
use slatedb::db_cache::moka::{MokaCache, MokaCacheOptions};
use slatedb::{Db, DbReader, DbReaderMode};

use crate::config::{Config, Place};
use crate::read::Engine;
use crate::store::Store;
use crate::write::Flushes;
use crate::{SlateDb, probe};

/// How many timeouts opening may take: it reads all log files since the last table.
const TIMEOUTS: u32 = 10;
/// How often is tried to make a store that another makes at the same time.
const TRIES: usize = 3;
/// From how many log files on opening makes a table of them, so that the next is short.
const LOGS_MAX: u64 = 100;

pub(crate) async fn open(config: Config, env: &Env) -> Result<SlateDb> {
    let store = Store::open(&config, env).await?;
    store.ask(Operation::Open).await?;
    if config.read_only && !store.is_there().await? {
        let message = "there is no store here; open it once without read_only";
        return Err(Error::invalid(Operation::Open, message));
    }
    let is_directory = matches!(config.place, Place::Directory(_));
    if !config.read_only && config.probe {
        probe::probe(&store, env, !is_directory).await?;
    }
    let engine = open_in_time(&config, &store, env).await?;
    Ok(SlateDb {
        profile: profile(is_directory, config.read_only),
        engine,
        store,
        flushes: Flushes::new(config.flush_interval()),
        timeout: config.timeout,
        location: config.location(),
        env: env.clone(),
    })
}

fn profile(is_directory: bool, read_only: bool) -> Profile {
    Profile {
        engine: "slatedb",
        key_bytes_max: KEY_BYTES_MAX,
        value_bytes_max: 64 << 20,
        batch_ops_max: 100_000,
        batch_bytes_max: 128 << 20,
        atomic: true,
        metadata: false,
        conditions: Conditions::Revision,
        reach: match (read_only, is_directory) {
            // Nobody writes beside a writer: whoever tries takes the store over.
            (false, _) => Reach::Process,
            (true, true) => Reach::Machine,
            (true, false) => Reach::Network,
        },
        durability: if is_directory { Durability::Machine } else { Durability::Store },
    }
}

async fn open_in_time(config: &Config, store: &Store, env: &Env) -> Result<Engine> {
    let engine = open_engine(config, store);
    pin_mut!(engine);
    match select(engine, env.sleep(config.timeout.saturating_mul(TIMEOUTS))).await {
        Either::Left((engine, _)) => engine,
        Either::Right(_) => {
            store.ask(Operation::Open).await?;
            let message = "the store did not open in time; try again, with a longer timeout if it \
                           is far away";
            Err(Error::unavailable(Operation::Open, message))
        }
    }
}

async fn open_engine(config: &Config, store: &Store) -> Result<Engine> {
    if config.read_only {
        return open_reader(config, store).await;
    }
    let mut tries = 1;
    loop {
        let error = match build(config, store).await {
            Ok(db) => return Ok(Engine::Writer(db)),
            Err(error) => error,
        };
        // Two that make a store at once, or fence each other off: the later one stays.
        let raced = error.to_string().contains("already exists");
        let failed = crate::error::slate(Operation::Open, &error, &store.missing);
        if failed.kind() == ErrorKind::Closed || (raced && tries == TRIES) {
            let message = "another opens this store to write at the same time; let one write, and \
                           try again";
            return Err(Error::unavailable(Operation::Open, message).with_source(failed));
        }
        if !raced {
            return Err(failed);
        }
        tries += 1;
    }
}

async fn build(config: &Config, store: &Store) -> Result<Db, slatedb::Error> {
    let client = Arc::clone(&store.client);
    let builder = Db::builder(store.root.clone(), client)
        .with_settings(config.settings())
        .with_sst_block_size(config.block_size());
    let builder = match block_cache(config) {
        Some(cache) => builder.with_db_cache(cache, 0),
        None => builder.with_db_cache_disabled(),
    };
    let db = builder.build().await?;
    let manifest = db.manifest();
    let logs = manifest.next_wal_sst_id().saturating_sub(manifest.replay_after_wal_id());
    if logs > LOGS_MAX {
        db.flush_with_options(FlushOptions { flush_type: FlushType::MemTable }).await?;
    }
    Ok(db)
}

async fn open_reader(config: &Config, store: &Store) -> Result<Engine> {
    let client = Arc::clone(&store.client);
    let builder = DbReader::builder(store.root.clone(), client)
        .with_options(config.reader_settings())
        // It leaves no trace, so that credentials to read suffice.
        .with_reader_mode(DbReaderMode::FollowLatest);
    let builder = match block_cache(config) {
        Some(cache) => builder.with_db_cache(cache, 0),
        None => builder.with_db_cache_disabled(),
    };
    let reader = builder.build().await;
    let failed = |error| crate::error::slate(Operation::Open, &error, &store.missing);
    Ok(Engine::Reader(Arc::new(reader.map_err(failed)?)))
}

fn block_cache(config: &Config) -> Option<Arc<dyn DbCache>> {
    let options = MokaCacheOptions {
        max_capacity: config.block_cache,
        time_to_live: None,
        time_to_idle: None::<Duration>,
    };
    (config.block_cache > 0).then(|| Arc::new(MokaCache::new_with_opts(options)) as _)
}

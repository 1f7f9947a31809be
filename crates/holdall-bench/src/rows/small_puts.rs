//! Durable puts of 1 KiB under random keys, with one writer and with 64.
//!
//! Every contender begins each round with an empty folder.

use std::path::Path;
use std::sync::Arc;

use crate::Result;
use crate::contenders::group::Grouped;
use crate::contenders::lmdb::Lmdb;
use crate::contenders::log::{Growing, Preallocated};
use crate::contenders::ours::Ours;
use crate::contenders::redb::Redb;
use crate::contenders::sqlite::Sqlite;
use crate::contenders::{Store, check};
use crate::drive::{Done, steps};
use crate::report::{Measured, Unit};
use crate::sample::{self, Values};
use crate::setting::{Setting, turns};

/// The row's name.
pub const NAME: &str = "small_puts";

const VALUE_BYTES: usize = 1024;
const POOL_BYTES: usize = 16 << 20;
const WRITERS: usize = 64;
const LOG: &str = "bare log, growing file";

/// The contenders, in the order of their turns.
#[derive(Clone, Copy, Debug)]
enum Contender {
    Ours,
    Growing,
    Preallocated,
    Lmdb,
    Redb,
    Sqlite,
}

const CONTENDERS: [Contender; 6] = [
    Contender::Ours,
    Contender::Growing,
    Contender::Preallocated,
    Contender::Lmdb,
    Contender::Redb,
    Contender::Sqlite,
];

/// Measures the row.
///
/// # Errors
/// If a contender fails, or does not have what was written.
pub async fn run(setting: &Setting) -> Result<Vec<Measured>> {
    let seconds = setting.scale.time.as_secs_f64();
    let about = |writers: &str| {
        format!("durable puts of 1 KiB, random keys, {writers}, {seconds} s each from empty")
    };
    let mut many = Measured::new(NAME, about("64 writers"), Unit::PerSecond)
        .times(0.5, LOG)
        .ahead("raw LMDB")
        .ahead("redb")
        .ahead("SQLite")
        .note("a thread of their own commits for all writers of the peers, as many as wait");
    let mut one = Measured::new(NAME, about("one writer"), Unit::PerSecond)
        .times(0.6, LOG)
        .note("the peers commit in the writer's own thread");
    let values = Values::new(VALUE_BYTES, POOL_BYTES);
    for round in 0..setting.rounds {
        for contender in turns(&CONTENDERS, round) {
            turn(setting, contender, WRITERS, &values, &mut many).await?;
        }
        for contender in turns(&CONTENDERS, round) {
            turn(setting, contender, 1, &values, &mut one).await?;
        }
    }
    Ok(vec![many, one])
}

async fn turn(
    setting: &Setting,
    contender: Contender,
    writers: usize,
    values: &Values,
    measured: &mut Measured,
) -> Result<()> {
    let scratch = setting.fresh(NAME)?;
    let folder = scratch.path();
    let (name, durability, done) = match contender {
        Contender::Ours => {
            let ours = Arc::new(Ours::open(folder, &setting.env).await?);
            let found = puts(setting, &ours, writers, values).await?;
            check(&*ours, values, found.2.count).await?;
            let ours = Arc::into_inner(ours).ok_or("a writer still has the volume")?;
            ours.close().await?;
            found
        }
        Contender::Preallocated => {
            // It writes over what is old, so there is nothing to look for.
            let log = Arc::new(Grouped::new(Preallocated::create(folder)?, writers));
            puts(setting, &log, writers, values).await?
        }
        other => peer(setting, other, folder, writers, values).await?,
    };
    measured.add(name, durability, done.rate());
    Ok(())
}

async fn peer(
    setting: &Setting,
    contender: Contender,
    folder: &Path,
    writers: usize,
    values: &Values,
) -> Result<(&'static str, &'static str, Done)> {
    let store: Arc<dyn Store> = match contender {
        Contender::Lmdb => Arc::new(Grouped::new(Lmdb::create(folder)?, writers)),
        Contender::Redb => Arc::new(Grouped::new(Redb::create(folder)?, writers)),
        Contender::Sqlite => Arc::new(Grouped::new(Sqlite::create(folder)?, writers)),
        _ => Arc::new(Grouped::new(Growing::create(folder)?, writers)),
    };
    let found = puts(setting, &store, writers, values).await?;
    check(&*store, values, found.2.count).await?;
    Ok(found)
}

/// Puts until the time is over. Also says whose puts they were.
async fn puts<S: Store + ?Sized>(
    setting: &Setting,
    store: &Arc<S>,
    writers: usize,
    values: &Values,
) -> Result<(&'static str, &'static str, Done)> {
    let (name, durability) = (store.name(), store.durability());
    setting.quiet().await?;
    let (store, values) = (Arc::clone(store), values.clone());
    let step = move |number: u64| {
        let (store, value) = (Arc::clone(&store), values.get(number));
        async move { store.put(&sample::key(number), value).await }
    };
    let done = steps(&setting.env, writers, setting.scale.time, step).await?;
    Ok((name, durability, done))
}

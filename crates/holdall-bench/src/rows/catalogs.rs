//! Volumes whose catalogs are across a network: puts of 1 KiB beside plain inserts into the same
//! PostgreSQL, and how long one put takes on SlateDB over a bucket that is 50 ms away.

use std::sync::Arc;
use std::time::Duration;

use holdall_services::{MOTO, POSTGRES, Proxy, Trouble, shared, start};

use crate::Result;
use crate::contenders::ours::Ours;
use crate::contenders::postgres::{self, Inserts};
use crate::contenders::{Store, check};
use crate::drive::steps;
use crate::report::{Measured, Unit};
use crate::sample::{self, Values};
use crate::setting::{Setting, turns};
use crate::statistics::median;

/// The row's name.
pub const NAME: &str = "catalogs";

const VALUE_BYTES: usize = 1024;
const POOL_BYTES: usize = 16 << 20;
const WRITERS: usize = 64;
/// How long the bucket takes to answer a request, and how often SlateDB may flush.
const REQUEST: Duration = Duration::from_millis(50);
const FLUSH: Duration = Duration::from_millis(100);
const PUTS: u64 = 20;

const ONE: &str = "one insert a commit";
const MANY: &str = "one insert a commit, 64 connections";

/// Measures the row.
///
/// # Errors
/// If a server cannot be started, or a contender fails.
pub async fn run(setting: &Setting) -> Result<Vec<Measured>> {
    Ok(vec![on_postgres(setting).await?, on_slatedb(setting).await?])
}

async fn on_postgres(setting: &Setting) -> Result<Measured> {
    let seconds = setting.scale.time.as_secs_f64();
    let about = format!("catalog on PostgreSQL: puts of 1 KiB, 64 writers, {seconds} s each");
    let mut measured = Measured::new(NAME, about, Unit::PerSecond)
        .times(5.0, ONE)
        .ahead(MANY)
        .note("the server syncs its log at each commit; it runs on the same two processors");
    let server = start(&POSTGRES)?;
    let values = Values::new(VALUE_BYTES, POOL_BYTES);
    for round in 0..setting.rounds {
        for connections in turns(&[0, 1, WRITERS], round) {
            let scratch = setting.fresh(NAME)?;
            let (name, store): (_, Arc<dyn Store>) = match connections {
                0 => {
                    let catalog = format!(
                        "postgres://holdall@127.0.0.1:{}/postgres?schema=round{round}",
                        server.port
                    );
                    let data = format!("file://{}", scratch.path().display());
                    let ours = Ours::on(&catalog, &data, &setting.env).await?;
                    ("holdall", Arc::new(ours))
                }
                1 => (ONE, Arc::new(Inserts::connect(server.port, 1).await?)),
                many => (MANY, Arc::new(Inserts::connect(server.port, many).await?)),
            };
            let writers = if connections == 1 { 1 } else { WRITERS };
            let done = puts(setting, &store, writers, &values).await?;
            check(&*store, &values, done.0).await?;
            store.settle().await?;
            measured.add(name, postgres::DURABILITY, done.1);
        }
    }
    Ok(measured)
}

/// How many were put, and how many a second.
async fn puts(
    setting: &Setting,
    store: &Arc<dyn Store>,
    writers: usize,
    values: &Values,
) -> Result<(u64, f64)> {
    setting.quiet().await?;
    let (store, values) = (Arc::clone(store), values.clone());
    let step = move |number: u64| {
        let (store, value) = (Arc::clone(&store), values.get(number));
        async move { store.put(&sample::key(number), value).await }
    };
    let done = steps(&setting.env, writers, setting.scale.time, step).await?;
    Ok((done.count, done.rate()))
}

async fn on_slatedb(setting: &Setting) -> Result<Measured> {
    let reach = FLUSH + 2 * REQUEST;
    let mut measured = Measured::new(
        NAME,
        "catalog on SlateDB, 50 ms a request, a flush each 100 ms: one durable put of 1 KiB",
        Unit::Seconds,
    )
    .figure(reach.as_secs_f64())
    .note("median of 20 puts a round, one writer; the target is one flush interval and 2 requests");
    let proxy = Proxy::new(shared(&MOTO)?.port)?;
    let values = Values::new(VALUE_BYTES, POOL_BYTES);
    for _ in 0..setting.rounds {
        let scratch = setting.fresh(NAME)?;
        let run = u64::from_le_bytes(setting.env.random());
        let catalog = format!(
            "slatedb+s3://holdall/bench-{run}?endpoint=http://127.0.0.1:{}&access_key_id=any\
             &secret_access_key=any&flush_interval={}ms",
            proxy.port,
            FLUSH.as_millis()
        );
        proxy.set(Trouble::None);
        let data = format!("file://{}", scratch.path().display());
        let ours = Ours::on(&catalog, &data, &setting.env).await?;
        // The first takes the writer's epoch.
        ours.put(&sample::key(0), values.get(0)).await?;
        proxy.set(Trouble::Delay(REQUEST));
        let mut times = Vec::new();
        for number in 1..=PUTS {
            let watch = setting.env.stopwatch();
            ours.put(&sample::key(number), values.get(number)).await?;
            times.push(watch.elapsed().as_secs_f64());
        }
        check(&ours, &values, PUTS + 1).await?;
        measured.add("holdall", "in the bucket", median(&times).ok_or("nothing was put")?);
        proxy.set(Trouble::None);
        ours.close().await?;
    }
    Ok(measured)
}

//! Beside the libraries that make a folder an object store: small and large, put and get.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::Result;
use crate::contenders::folders::{Dal, Objects};
use crate::contenders::ours::Ours;
use crate::contenders::{Store, check};
use crate::drive::{Done, steps};
use crate::report::{Measured, Unit};
use crate::sample::{self, Values};
use crate::setting::{Setting, turns};

/// The row's name.
pub const NAME: &str = "object_stores";

const VALUE_BYTES: usize = 1024;
const POOL_BYTES: usize = 16 << 20;
const MANY: usize = 64;

/// Measures the row.
///
/// # Errors
/// If a contender fails, or does not return what was written.
pub async fn run(setting: &Setting) -> Result<Vec<Measured>> {
    let scratches = [setting.fresh("ours")?, setting.fresh("objects")?, setting.fresh("dal")?];
    let ours = Arc::new(Ours::open(scratches[0].path(), &setting.env).await?);
    let stores: [Arc<dyn Store>; 3] = [
        Arc::<Ours>::clone(&ours),
        Arc::new(Objects::new(scratches[1].path())?),
        Arc::new(Dal::new(scratches[2].path())?),
    ];
    let mut all = small(setting, &stores).await?;
    all.extend(large(setting, &stores).await?);
    drop(stores);
    let ours = Arc::into_inner(ours).ok_or("a task still has the volume")?;
    ours.close().await?;
    Ok(all)
}

fn against(work: String, unit: Unit) -> Measured {
    Measured::new(NAME, work, unit).ahead("object_store").ahead("OpenDAL fs")
}

async fn small(setting: &Setting, stores: &[Arc<dyn Store>]) -> Result<Vec<Measured>> {
    let each = format!("{} s each", (setting.scale.time / 2).as_secs_f64());
    let put = |tasks: &str| against(format!("put 1 KiB, {tasks}, {each}"), Unit::PerSecond);
    let mut alone = put("one at a time");
    let mut many = put("64 at once");
    let mut get = against(format!("get 1 KiB, one at a time, {each}"), Unit::PerSecond);
    let values = Values::new(VALUE_BYTES, POOL_BYTES);
    for round in 0..setting.rounds as u64 {
        let mut written = vec![0; stores.len()];
        let places: Vec<usize> = (0..stores.len()).collect();
        for at in turns(&places, round as usize) {
            let store = &stores[at];
            let (first, behind) = (round << 33, round << 33 | 1 << 32);
            setting.quiet().await?;
            let done = puts(setting, store, 1, &values, first).await?;
            alone.add(store.name(), store.durability(), done.rate());
            written[at] = done.count;
            setting.quiet().await?;
            let done = puts(setting, store, MANY, &values, behind).await?;
            many.add(store.name(), store.durability(), done.rate());
            if round == 0 {
                check(&**store, &values, written[at]).await?;
            }
            store.settle().await?;
        }
        for (store, count) in stores.iter().zip(written) {
            let done = gets(setting, store, round << 33, count).await?;
            get.add(store.name(), "", done.rate());
        }
    }
    Ok(vec![alone, many, get])
}

/// Puts the numbers from this one on, until the time is over.
async fn puts(
    setting: &Setting,
    store: &Arc<dyn Store>,
    tasks: usize,
    values: &Values,
    first: u64,
) -> Result<Done> {
    let (store, values) = (Arc::clone(store), values.clone());
    let step = move |number: u64| {
        let (store, value) = (Arc::clone(&store), values.get(first + number));
        async move { store.put(&sample::key(first + number), value).await }
    };
    steps(&setting.env, tasks, setting.scale.time / 2, step).await
}

/// Gets some of `count` numbers from this one on, in no order, until the time is over.
async fn gets(setting: &Setting, store: &Arc<dyn Store>, first: u64, count: u64) -> Result<Done> {
    let store = Arc::clone(store);
    let step = move |number: u64| {
        let (store, mut state) = (Arc::clone(&store), number);
        async move {
            let name = sample::key(first + sample::mix(&mut state) % count);
            let bytes = store.get(&name).await?.ok_or("an entry is missing")?;
            black_box(bytes);
            Ok(())
        }
    };
    steps(&setting.env, 1, setting.scale.time / 2, step).await
}

async fn large(setting: &Setting, stores: &[Arc<dyn Store>]) -> Result<Vec<Measured>> {
    let (size, count) = (setting.scale.large_bytes, setting.scale.large_count);
    let about = |what: &str| format!("{what} {} MiB, {count} a round", size >> 20);
    let mut put = against(about("put"), Unit::BytesPerSecond);
    let mut get = against(about("get"), Unit::BytesPerSecond);
    // The first round only warms up.
    for round in 0..=setting.rounds as u64 {
        let objects: Vec<(String, Bytes)> = (0..count)
            .map(|number| (format!("{round}-{number}"), sample::noise(round << 8 | number, size)))
            .collect();
        let bytes = (size as u64 * count) as f64;
        for store in turns(&stores.iter().collect::<Vec<_>>(), round as usize) {
            setting.quiet().await?;
            let watch = setting.env.stopwatch();
            for (name, bytes) in &objects {
                store.put(name, bytes.clone()).await?;
            }
            let time = watch.elapsed().as_secs_f64();
            if round > 0 {
                put.add(store.name(), store.durability(), bytes / time);
            }
        }
        for store in stores {
            let mut time = Duration::ZERO;
            for (name, bytes) in &objects {
                let watch = setting.env.stopwatch();
                let read = store.get(name).await?;
                time += watch.elapsed();
                if read.as_ref() != Some(bytes) {
                    let who = store.name();
                    return Err(format!("{who}: {name} has other bytes than were written").into());
                }
            }
            if round > 0 {
                get.add(store.name(), "", bytes / time.as_secs_f64());
            }
        }
        for store in stores {
            for (name, _) in &objects {
                store.remove(name).await?;
            }
        }
    }
    Ok(vec![put, get])
}

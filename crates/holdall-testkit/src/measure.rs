//! A short measurement of a live store: how many puts, gets and listed rows a second, how late.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use holdall_core::{Backend, BackendExt, Bytes, Env, Error, Expect, Key, List, Operation, Result};

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// How many values are written and read.
    pub values: usize,
    /// How large each is, in bytes.
    pub value_bytes: usize,
    /// How many callers there are at once.
    pub callers: usize,
    /// After this time a part of the measurement ends, finished or not.
    pub time_max: Duration,
}

impl Default for Load {
    /// 400 values of 1 KiB, 8 callers, at most 3 s for each part.
    fn default() -> Self {
        Self { values: 400, value_bytes: 1024, callers: 8, time_max: Duration::from_secs(3) }
    }
}

/// How fast one kind of call was.
#[derive(Clone, Debug, PartialEq)]
pub struct Rate {
    /// What was called.
    pub name: &'static str,
    /// How many calls at once.
    pub callers: usize,
    /// How many calls ended; for a listing, how many rows.
    pub count: usize,
    /// How long all of them took together.
    pub took: Duration,
    /// Value bytes moved.
    pub bytes: u64,
    /// The time within which half of the calls ended.
    pub half: Duration,
    /// The time within which 99 of 100 ended.
    pub most: Duration,
    /// The time of the slowest.
    pub slowest: Duration,
}

impl Rate {
    /// Calls, or rows, in a second.
    pub fn per_second(&self) -> f64 {
        self.count as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// Value bytes in a second.
    pub fn bytes_per_second(&self) -> f64 {
        self.bytes as f64 / self.took.as_secs_f64().max(1e-9)
    }

    fn new(
        name: &'static str,
        callers: usize,
        mut times: Vec<Duration>,
        took: Duration,
        bytes: u64,
    ) -> Self {
        times.sort_unstable();
        let at = |per_cent: usize| {
            let place = (times.len() * per_cent).div_ceil(100).saturating_sub(1);
            times.get(place).copied().unwrap_or_default()
        };
        let (half, most, slowest) = (at(50), at(99), at(100));
        Self { name, callers, count: times.len(), took, bytes, half, most, slowest }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<5} x{:<3} {:>10.0}/s {:>9.2} MiB/s  p50 {:?}  p99 {:?}  max {:?}",
            self.name,
            self.callers,
            self.per_second(),
            self.bytes_per_second() / f64::from(1 << 20),
            self.half,
            self.most,
            self.slowest
        )
    }
}

/// Measures puts and gets, by one caller and by many, and a listing, under `prefix`; removes what
/// it wrote.
///
/// # Errors
/// The first error of the store. What was written until then is still removed, if that works.
pub async fn measure(
    backend: Arc<dyn Backend>,
    prefix: &str,
    env: &Env,
    load: Load,
) -> Result<Vec<Rate>> {
    let run = Run { backend, env: env.clone(), load, keys: keys(prefix, load.values)? };
    let measured = run.all(prefix).await;
    let mut cleaned = Ok(());
    for key in &run.keys {
        cleaned = cleaned.and(run.backend.delete(key, Expect::Any).await);
    }
    measured.and_then(|rates| cleaned.map(|()| rates))
}

fn keys(prefix: &str, count: usize) -> Result<Vec<Key>> {
    (0..count).map(|at| Key::parse(format!("{prefix}{at:08}"))).collect()
}

struct Run {
    backend: Arc<dyn Backend>,
    env: Env,
    load: Load,
    keys: Vec<Key>,
}

/// What one call of one key did: value bytes moved.
type Act = fn(Arc<dyn Backend>, Key, Bytes) -> BoxFuture<'static, Result<u64>>;

fn put(backend: Arc<dyn Backend>, key: Key, value: Bytes) -> BoxFuture<'static, Result<u64>> {
    async move {
        let bytes = value.len() as u64;
        backend.put(&key, value, Expect::Any).await?;
        Ok(bytes)
    }
    .boxed()
}

fn get(backend: Arc<dyn Backend>, key: Key, _: Bytes) -> BoxFuture<'static, Result<u64>> {
    async move { Ok(backend.get_all(&key).await?.map_or(0, |object| object.size)) }.boxed()
}

impl Run {
    async fn all(&self, prefix: &str) -> Result<Vec<Rate>> {
        let callers = self.load.callers.max(1);
        Ok(vec![
            self.calls("put", put, 1).await?,
            self.calls("put", put, callers).await?,
            self.calls("get", get, 1).await?,
            self.calls("get", get, callers).await?,
            self.list(prefix).await?,
        ])
    }

    /// So many callers, each with its share of the keys, until these or the time end.
    async fn calls(&self, name: &'static str, act: Act, callers: usize) -> Result<Rate> {
        let value = Bytes::from(vec![0x5a; self.load.value_bytes]);
        let watch = self.env.stopwatch();
        let mut receivers = Vec::new();
        for caller in 0..callers {
            let keys: Vec<Key> = self.keys.iter().skip(caller).step_by(callers).cloned().collect();
            let (backend, env) = (Arc::clone(&self.backend), self.env.clone());
            let (value, watch, time_max) = (value.clone(), watch.clone(), self.load.time_max);
            let (sender, receiver) = oneshot::channel();
            receivers.push(receiver);
            self.env.spawn(async move {
                let mut done = Ok((Vec::new(), 0));
                for key in keys {
                    let Ok((times, bytes)) = &mut done else { break };
                    if watch.elapsed() > time_max {
                        break;
                    }
                    let call = env.stopwatch();
                    match act(Arc::clone(&backend), key, value.clone()).await {
                        Ok(moved) => {
                            times.push(call.elapsed());
                            *bytes += moved;
                        }
                        Err(error) => done = Err(error),
                    }
                }
                // Nobody waits any more if another caller has failed.
                let _ = sender.send(done);
            });
        }
        let (mut times, mut bytes) = (Vec::new(), 0);
        for receiver in receivers {
            let lost = |_| Error::closed(Operation::Compute, "a measuring caller did not end");
            let (more, moved) = receiver.await.map_err(lost)??;
            times.extend::<Vec<Duration>>(more);
            bytes += moved;
        }
        Ok(Rate::new(name, callers, times, watch.elapsed(), bytes))
    }

    /// All rows in pages of 1,000; the times are those of pages.
    async fn list(&self, prefix: &str) -> Result<Rate> {
        let (watch, mut times, mut rows) = (self.env.stopwatch(), Vec::new(), 0);
        let mut list = List::prefix(prefix);
        loop {
            let call = self.env.stopwatch();
            let page = self.backend.list(&list).await?;
            times.push(call.elapsed());
            rows += page.rows.len();
            match page.rows.last() {
                Some(last) if page.more && watch.elapsed() < self.load.time_max => {
                    list = list.after(last.key.as_str());
                }
                _ => break,
            }
        }
        Ok(Rate { count: rows, ..Rate::new("list", 1, times, watch.elapsed(), 0) })
    }
}

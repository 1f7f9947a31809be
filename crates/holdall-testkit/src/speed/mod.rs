//! Measures a backend beside the bare client library, on one server, in turns.
//!
//! Each backend's example `NAME_speed` makes its contenders and calls [`compare`]; `cargo x bench
//! backends` runs them all, and OpenDAL beside them with the very same [`workload`].

pub mod workload;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::try_join_all;
use holdall_core::{Backend, ByteRange, Env, Expect, Key};

use workload::{Kind, Noise, ROUNDS, WORKS, Work};

/// What a contender's call returns.
pub type Outcome<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Something that keeps values on the server: the backend, or the client library alone.
#[async_trait]
pub trait Contender: Send + Sync {
    /// Writes a value, as durably as the backend does.
    async fn put(&self, key: &str, value: Bytes) -> Outcome<()>;

    /// Reads a value, or this part of it, in the best way that the library has. Returns how many
    /// bytes came; where the library reads values whole, that is more than was asked for.
    async fn get(&self, key: &str, range: Option<std::ops::Range<u64>>) -> Outcome<usize>;
}

/// The backend itself, as a contender.
struct Ours(Arc<dyn Backend>);

#[async_trait]
impl Contender for Ours {
    async fn put(&self, key: &str, value: Bytes) -> Outcome<()> {
        self.0.put(&Key::parse(key)?, value, Expect::Any).await?;
        Ok(())
    }

    async fn get(&self, key: &str, range: Option<std::ops::Range<u64>>) -> Outcome<usize> {
        let range = range.map_or(ByteRange::ALL, |range| ByteRange::new(range.start, range.end));
        let found = self.0.get(&Key::parse(key)?, range).await?;
        Ok(found.ok_or("the value is missing")?.value.len())
    }
}

/// One row of the figures: a contender at a work.
struct Row {
    contender: String,
    work: &'static Work,
    rounds: Vec<Duration>,
    error: Option<String>,
}

impl Row {
    /// One more round.
    async fn take(
        &mut self,
        env: &Env,
        contender: &dyn Contender,
        round: usize,
        noise: &Noise,
        value_bytes_max: u64,
    ) {
        let largest = if self.work.is_of_large() { workload::LARGE } else { self.work.bytes };
        if largest as u64 > value_bytes_max {
            self.error = Some(format!("values of {largest} bytes are over the limit"));
        }
        if self.error.is_none() {
            match measure(env, contender, self.work, round, noise).await {
                Ok(took) => self.rounds.push(took),
                Err(error) => self.error = Some(error.to_string()),
            }
        }
    }

    fn seconds(&self) -> Option<f64> {
        let mut rounds = self.rounds.clone();
        rounds.sort_unstable();
        let median = rounds.get(rounds.len() / 2).filter(|_| self.error.is_none());
        median.map(Duration::as_secs_f64)
    }

    fn per_second(&self) -> Option<f64> {
        Some(self.work.operations as f64 / self.seconds()?)
    }

    /// The row as one line of JSON. Its texts are the program's own, but for the error.
    fn json(&self, backend: &str) -> String {
        let Work { name, at_once, bytes, operations, .. } = self.work;
        let begin = format!(
            "{{\"service\":\"{backend}\",\"contender\":\"{}\",\"work\":\"{name}\",\
             \"at_once\":{at_once}",
            self.contender
        );
        match (self.seconds(), &self.error) {
            (Some(seconds), _) => format!(
                "{begin},\"bytes\":{bytes},\"operations\":{operations},\"seconds\":{seconds},\
                 \"per_second\":{}}}",
                *operations as f64 / seconds
            ),
            (None, error) => {
                let kept = |c: &char| !c.is_control() && *c != '"' && *c != '\\';
                let error = error.as_deref().unwrap_or("no round");
                let error: String = error.chars().filter(kept).take(300).collect();
                format!("{begin},\"error\":\"{error}\"}}")
            }
        }
    }
}

/// Measures the backend and the contenders in turns at every work of the [`workload`], and returns
/// what a person, or with `--json` among the program's arguments a program, reads: medians of
/// five rounds.
///
/// A work whose values the backend does not take is left out, and says so.
pub async fn compare(
    env: &Env,
    backend: Arc<dyn Backend>,
    others: &[(&str, &dyn Contender)],
    json: bool,
) -> String {
    let (engine, value_bytes_max) = (backend.profile().engine, backend.profile().value_bytes_max);
    let ours = Ours(backend);
    let mut contenders: Vec<(&str, &dyn Contender)> = vec![("holdall", &ours)];
    contenders.extend(others);
    let noise = Noise::new();
    let row = |(name, _): &(&str, &dyn Contender), work| Row {
        contender: (*name).to_owned(),
        work,
        rounds: Vec::new(),
        error: None,
    };
    let mut rows: Vec<Row> =
        WORKS.iter().flat_map(|work| contenders.iter().map(move |one| row(one, work))).collect();
    for round in 0..ROUNDS {
        for rows in rows.chunks_mut(contenders.len()) {
            let mut turns: Vec<_> = rows.iter_mut().zip(&contenders).collect();
            // Who comes second finds the disk and the server busy with what the first has left.
            if round % 2 == 1 {
                turns.reverse();
            }
            for (row, (_, contender)) in turns {
                row.take(env, *contender, round, &noise, value_bytes_max).await;
            }
        }
    }
    let shown = rows.chunks(contenders.len());
    if json {
        return shown.flatten().map(|row| row.json(engine) + "\n").collect();
    }
    let title = format!("{engine}: medians of {ROUNDS}, in turns; calls a second\n");
    shown.fold(title, |text, rows| text + &table(rows))
}

/// The rows of one work, the backend's first, each other with how much longer the backend takes.
fn table(rows: &[Row]) -> String {
    let Some((ours, others)) = rows.split_first() else { return String::new() };
    let figure = |row: &Row| match (row.per_second(), &row.error) {
        (Some(rate), _) => format!("{} {rate:.0}/s", row.contender),
        (None, error) => format!("{}: {}", row.contender, error.as_deref().unwrap_or("nothing")),
    };
    let mut text = format!("{:<10} x{:<3} {:<20}", ours.work.name, ours.work.at_once, figure(ours));
    for other in others {
        text += &format!("  {}", figure(other));
        if let (Some(theirs), Some(ours)) = (other.per_second(), ours.per_second()) {
            text += &format!(" ({:.2} x its time)", theirs / ours);
        }
    }
    text + "\n"
}

/// How long one round of a work takes.
async fn measure(
    env: &Env,
    contender: &dyn Contender,
    work: &Work,
    round: usize,
    noise: &Noise,
) -> Outcome<Duration> {
    let (watch, next) = (env.stopwatch(), AtomicUsize::new(0));
    let caller = async || -> Outcome<()> {
        loop {
            let operation = next.fetch_add(1, Ordering::Relaxed);
            if operation >= work.operations {
                return Ok(());
            }
            let key = work.key(round, operation);
            let bytes = match work.kind {
                Kind::Put => {
                    contender.put(&key, noise.value(round, operation, work.bytes)).await?;
                    work.bytes
                }
                Kind::Get => contender.get(&key, None).await?,
                Kind::Range => {
                    let start = work.start(operation);
                    contender.get(&key, Some(start..start + work.bytes as u64)).await?
                }
            };
            let whole = work.kind == Kind::Range && bytes == workload::LARGE;
            if bytes != work.bytes && !whole {
                return Err(format!("{bytes} bytes came instead of {}", work.bytes).into());
            }
        }
    };
    try_join_all((0..work.at_once).map(|_| caller())).await?;
    Ok(watch.elapsed())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use holdall_core::Memory;

    use super::*;

    /// Reads values whole, whatever is asked for.
    #[derive(Default)]
    struct Map(Mutex<BTreeMap<String, Bytes>>);

    #[async_trait]
    impl Contender for Map {
        async fn put(&self, key: &str, value: Bytes) -> Outcome<()> {
            self.0.lock().unwrap().insert(key.to_owned(), value);
            Ok(())
        }

        async fn get(&self, key: &str, _: Option<std::ops::Range<u64>>) -> Outcome<usize> {
            Ok(self.0.lock().unwrap().get(key).ok_or("it is missing")?.len())
        }
    }

    /// Answers with half of every value.
    struct Half;

    #[async_trait]
    impl Contender for Half {
        async fn put(&self, _: &str, _: Bytes) -> Outcome<()> {
            Ok(())
        }

        async fn get(&self, _: &str, _: Option<std::ops::Range<u64>>) -> Outcome<usize> {
            Ok(512)
        }
    }

    #[tokio::test]
    async fn every_contender_has_a_row_at_every_work_and_wrong_ones_no_figure() {
        let env = holdall_runtime::env();
        let map = Map::default();
        let others: [(&str, &dyn Contender); 2] = [("map", &map), ("half", &Half)];
        let text = compare(&env, Arc::new(Memory::new()), &others, true).await;
        assert_eq!(text.lines().count(), 3 * WORKS.len());
        for line in text.lines() {
            let honest = !line.contains("half") || line.contains("\"work\":\"put_");
            assert_eq!(line.contains("\"per_second\":"), honest, "{line}");
            assert_eq!(line.contains("bytes came instead"), !honest, "{line}");
            assert!(line.starts_with("{\"service\":\"memory\",\"contender\":"), "{line}");
        }
    }

    #[tokio::test]
    async fn what_the_backend_does_not_take_is_left_out() {
        let env = holdall_runtime::env();
        let backend = crate::Strict::new().with_value_bytes_max(4096);
        let text = compare(&env, Arc::new(backend), &[], false).await;
        assert_eq!(text.lines().count(), 1 + WORKS.len());
        assert!(text.contains("over the limit"), "{text}");
        assert!(text.lines().nth(1).unwrap().contains("/s"), "{text}");
    }
}

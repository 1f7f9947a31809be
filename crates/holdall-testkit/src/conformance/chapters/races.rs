//! Chapter R: what holds when many write at once.
//!
//! `Unavailable` (nothing was written, try again) is a fair answer to a crowd; every actor here
//! tries again, a bounded number of times.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use holdall_core::{
    Backend, BackendExt, Batch, Bytes, Env, Error, ErrorKind, Expect, Key, Operation, Result,
};

use super::expect::{foreign, refused};
use super::harness::{Check, Failure, Harness, Verdict, ensure, together};
use crate::method::suspend;

const ACTORS: usize = 6;
const ROUNDS: usize = 5;
const ATTEMPTS_MAX: usize = 200;

/// Calls, and calls again while the answer is `Unavailable`, a little later each time.
async fn patiently<T, F>(env: &Env, mut call: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut attempt = 0;
    loop {
        // Without a pause, an actor on a backend that never suspends would run alone.
        suspend().await;
        match call().await {
            Err(error) if error.kind() == ErrorKind::Unavailable && attempt < ATTEMPTS_MAX => {
                attempt += 1;
                env.sleep(Duration::from_millis(1 + env.random_below(20))).await;
            }
            answer => return answer,
        }
    }
}

/// One answer for each actor; anything but success and `Conflict` fails. Returns who succeeded.
fn winners<T>(answers: Vec<Result<T>>) -> Check<Vec<usize>> {
    let mut winners = Vec::new();
    for (actor, answer) in answers.into_iter().enumerate() {
        match answer {
            Ok(_) => winners.push(actor),
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            Err(error) => {
                return Err(Failure::new(format!("losing a race must be conflict, was {error:?}")));
            }
        }
    }
    Ok(winners)
}

/// R1: of many that create one key at once, exactly one succeeds, and its value is there.
pub(super) async fn one_creator_wins(harness: &Harness) -> Check {
    if !harness.can(&Expect::Absent) {
        return refused(harness, &Expect::Absent).await;
    }
    for round in 0..ROUNDS {
        let key = harness.key(format!("round-{round}"))?;
        let create = |actor: usize| {
            let (backend, env, key) = (harness.backend(), harness.env().clone(), key.clone());
            let value = Bytes::from(format!("actor {actor}"));
            async move {
                patiently(&env, || backend.put(&key, value.clone(), Expect::Absent)).await
            }
            .boxed()
        };
        let answers = together(harness.env(), (0..ACTORS).map(create).collect()).await?;
        let winners = winners(answers)?;
        ensure!(winners.len() == 1, "of {ACTORS} racing creators, {} succeeded", winners.len());
        harness.must_hold(&key, format!("actor {}", winners[0])).await?;
    }
    Ok(Verdict::Kept)
}

/// Reads a decimal number, adds one, and writes it if nothing has changed; until that succeeds.
async fn increment(backend: &dyn Backend, env: &Env, key: &Key, by: usize) -> Result<()> {
    for _ in 0..ATTEMPTS_MAX {
        let seen = patiently(env, || backend.get_all(key)).await?;
        let (count, expect) = match seen {
            Some(object) => (number(&object.value), Expect::Revision(object.revision)),
            None => (0, Expect::Absent),
        };
        // The actor's number is its nonce: no two actors ever write the same bytes.
        let value = Bytes::from(format!("{} {by}", count + 1));
        match patiently(env, || backend.put(key, value.clone(), expect.clone())).await {
            Err(error) if error.kind() == ErrorKind::Conflict => {
                env.sleep(Duration::from_millis(env.random_below(5))).await;
            }
            answer => return answer.map(drop),
        }
    }
    Err(Error::unavailable(Operation::Put, "an increment lost every race"))
}

fn number(value: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(value);
    text.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(u64::MAX / 2)
}

/// R2: racing read-modify-writes that expect the revision they read lose no update.
pub(super) async fn no_update_is_lost(harness: &Harness) -> Check {
    if !harness.can(&foreign()) {
        return refused(harness, &foreign()).await;
    }
    let key = harness.key("counter")?;
    let actor = |actor: usize| {
        let (backend, env, key) = (harness.backend(), harness.env().clone(), key.clone());
        async move {
            for _ in 0..ROUNDS {
                increment(&*backend, &env, &key, actor).await?;
            }
            Ok::<_, Error>(())
        }
        .boxed()
    };
    for answer in together(harness.env(), (0..ACTORS).map(actor).collect()).await? {
        answer?;
    }
    let count = number(&harness.must_get(&key).await?.value);
    let wanted = (ACTORS * ROUNDS) as u64;
    ensure!(count == wanted, "{wanted} increments that succeeded counted to {count}");
    Ok(Verdict::Kept)
}

/// R3: of many that delete one revision at once, exactly one succeeds.
pub(super) async fn one_deleter_wins(harness: &Harness) -> Check {
    if !harness.can(&foreign()) {
        return refused(harness, &foreign()).await;
    }
    for round in 0..ROUNDS {
        let key = harness.key("value")?;
        let revision = harness.put(&key, format!("round {round}")).await?;
        let remove = |_| {
            let (backend, env, key) = (harness.backend(), harness.env().clone(), key.clone());
            let expect = Expect::Revision(revision.clone());
            async move { patiently(&env, || backend.delete(&key, expect.clone())).await }.boxed()
        };
        let answers = together(harness.env(), (0..ACTORS).map(remove).collect()).await?;
        let winners = winners(answers)?;
        ensure!(winners.len() == 1, "of {ACTORS} racing deleters, {} succeeded", winners.len());
        harness.must_miss(&key).await?;
    }
    Ok(Verdict::Kept)
}

/// R4: a reader among writers sees one value whole, never a mix of two or a part of one.
pub(super) async fn values_are_seen_whole(harness: &Harness) -> Check {
    let key = harness.key("value")?;
    let lengths = [1, 700, 5_000, 60_000].map(|len| harness.size(len));
    harness.put(&key, vec![b'0'; lengths[0]]).await?;
    let mut tasks: Vec<BoxFuture<'static, Result<Vec<Bytes>>>> = Vec::new();
    for (actor, len) in lengths.into_iter().enumerate().skip(1) {
        let (backend, env, key) = (harness.backend(), harness.env().clone(), key.clone());
        let value = Bytes::from(vec![b'0' + actor as u8; len]);
        tasks.push(Box::pin(async move {
            for _ in 0..2 * ROUNDS {
                patiently(&env, || backend.put(&key, value.clone(), Expect::Any)).await?;
            }
            Ok(Vec::new())
        }));
    }
    for _ in 0..2 {
        let (backend, env, key) = (harness.backend(), harness.env().clone(), key.clone());
        tasks.push(Box::pin(async move {
            let mut seen = Vec::new();
            for _ in 0..4 * ROUNDS {
                let object = patiently(&env, || backend.get_all(&key)).await?;
                seen.push(object.map_or_else(Bytes::new, |object| object.value));
            }
            Ok(seen)
        }));
    }
    for answer in together(harness.env(), tasks).await? {
        for value in answer? {
            let first = value.first().copied().unwrap_or_default();
            let writer = usize::from(first.wrapping_sub(b'0'));
            let whole = lengths.get(writer) == Some(&value.len());
            ensure!(
                whole && value.iter().all(|byte| *byte == first),
                "a reader saw {} bytes that begin with {first:#x}: nobody wrote that",
                value.len()
            );
        }
    }
    Ok(Verdict::Kept)
}

fn generation(keys: &[Key], generation: u64) -> Batch {
    let mut batch = Batch::new();
    for key in keys {
        batch.put(key.clone(), generation.to_string(), Expect::Any);
    }
    batch
}

/// R5: `get_many` on an atomic backend is of one moment: it sees a batch whole or not at all.
pub(super) async fn batches_are_seen_whole(harness: &Harness) -> Check {
    if !harness.profile().atomic {
        return super::apply::none_happen_on_conflict(harness).await;
    }
    let count = harness.profile().batch_ops_max.min(5);
    let mut keys = Vec::new();
    for at in 0..count {
        keys.push(harness.key(format!("row-{at}"))?);
    }
    harness.backend().apply(generation(&keys, 0)).await?;
    let mut tasks: Vec<BoxFuture<'static, Result<()>>> = Vec::new();
    for actor in 0..2u64 {
        let (backend, env, keys) = (harness.backend(), harness.env().clone(), keys.clone());
        tasks.push(Box::pin(async move {
            for round in 0..4 * ROUNDS as u64 {
                let batch = generation(&keys, 2 * round + actor);
                patiently(&env, || backend.apply(batch.clone())).await?;
            }
            Ok(())
        }));
    }
    for _ in 0..2 {
        let (backend, env, keys) = (harness.backend(), harness.env().clone(), keys.clone());
        tasks.push(Box::pin(async move {
            for _ in 0..6 * ROUNDS {
                let found = patiently(&env, || backend.get_many(&keys)).await?;
                let values: Vec<_> = found.into_iter().flatten().map(|o| o.value).collect();
                if values.len() != keys.len() || values.iter().any(|v| *v != values[0]) {
                    let message = format!("one get_many saw rows of several batches: {values:?}");
                    return Err(Error::corrupt(Operation::Get, message));
                }
            }
            Ok(())
        }));
    }
    for answer in together(harness.env(), tasks).await? {
        answer?;
    }
    Ok(Verdict::Kept)
}

/// Moves one from an account to the other, in one batch that expects both as they were read.
async fn transfer(backend: &dyn Backend, env: &Env, keys: &[Key], nonce: &str) -> Result<()> {
    for _ in 0..ATTEMPTS_MAX {
        let found = patiently(env, || backend.get_many(keys)).await?;
        let mut batch = Batch::new();
        for (at, (key, object)) in keys.iter().zip(&found).enumerate() {
            let count = object.as_ref().map_or(0, |object| number(&object.value));
            let count = if at == 0 { count.wrapping_sub(1) } else { count.wrapping_add(1) };
            let expect = Expect::from(object.as_ref().map(|object| object.revision.clone()));
            batch.put(key.clone(), format!("{count} {nonce}"), expect);
        }
        match patiently(env, || backend.apply(batch.clone())).await {
            Err(error) if error.kind() == ErrorKind::Conflict => {
                env.sleep(Duration::from_millis(env.random_below(5))).await;
            }
            answer => return answer.map(drop),
        }
    }
    Err(Error::unavailable(Operation::Apply, "a transfer lost every race"))
}

/// R6: racing batches that expect what they read lose no update, and none is applied twice.
pub(super) async fn no_batch_is_lost(harness: &Harness) -> Check {
    if !harness.profile().atomic {
        return super::apply::none_happen_on_conflict(harness).await;
    }
    if !harness.can(&foreign()) {
        return refused(harness, &foreign()).await;
    }
    let keys = [harness.key("from")?, harness.key("to")?];
    harness.put(&keys[0], "1000 start").await?;
    harness.put(&keys[1], "0 start").await?;
    let actor = |actor: usize| {
        let (backend, env, keys): (Arc<dyn Backend>, _, _) =
            (harness.backend(), harness.env().clone(), keys.clone());
        async move {
            for round in 0..ROUNDS {
                transfer(&*backend, &env, &keys, &format!("{actor}-{round}")).await?;
            }
            Ok::<_, Error>(())
        }
        .boxed()
    };
    for answer in together(harness.env(), (0..ACTORS).map(actor).collect()).await? {
        answer?;
    }
    let from = number(&harness.must_get(&keys[0]).await?.value);
    let to = number(&harness.must_get(&keys[1]).await?.value);
    let moved = (ACTORS * ROUNDS) as u64;
    ensure!(
        to == moved && from == 1000 - moved,
        "{moved} transfers from 1000 left {from} and {to}"
    );
    Ok(Verdict::Kept)
}

/// R7: of two batches that each check what the other writes, at most one happens.
pub(super) async fn one_of_two_crossing_batches_wins(harness: &Harness) -> Check {
    if !harness.profile().atomic {
        return super::apply::none_happen_on_conflict(harness).await;
    }
    if !harness.can(&Expect::Absent) {
        return refused(harness, &Expect::Absent).await;
    }
    for round in 0..2 * ROUNDS {
        let keys = [harness.key(format!("{round}-a"))?, harness.key(format!("{round}-b"))?];
        let cross = |actor: usize| {
            let (backend, env) = (harness.backend(), harness.env().clone());
            let mut batch = Batch::new();
            batch.check(keys[1 - actor].clone(), Expect::Absent);
            batch.put(keys[actor].clone(), "x", Expect::Absent);
            async move { patiently(&env, || backend.apply(batch.clone())).await }.boxed()
        };
        let answers = together(harness.env(), (0..2).map(cross).collect()).await?;
        let winners = winners(answers)?;
        ensure!(winners.len() == 1, "of two crossing batches, {} happened", winners.len());
        harness.must_hold(&keys[winners[0]], "x").await?;
        harness.must_miss(&keys[1 - winners[0]]).await?;
    }
    Ok(Verdict::Kept)
}

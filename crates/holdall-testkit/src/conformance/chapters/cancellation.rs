//! Chapter C: a write whose future is dropped happens wholly or not at all.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures::future::{poll_fn, select};
use holdall_core::{BackendExt, Batch, Bytes, Env, ErrorKind, Expect, Key};

use super::expect::refused;
use super::harness::{Check, Failure, Harness, Verdict, ensure, pattern};

/// Drops the future at moments from "never polled" to "after some milliseconds".
const MOMENTS: u64 = 12;

/// Starts the future and drops it: after some polls at the even moments, after some time at the
/// odd.
async fn abandon<T>(env: &Env, moment: u64, future: impl Future<Output = T>) {
    let mut future = pin!(future);
    if moment % 2 == 1 {
        select(future, env.sleep(Duration::from_micros(moment * moment * 40))).await;
        return;
    }
    let mut polls = moment / 2;
    poll_fn(|context| {
        if polls == 0 || future.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        polls -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Time for what was abandoned to land, if it does.
async fn settle(env: &Env) {
    env.sleep(Duration::from_millis(20)).await;
}

/// C1: after a dropped put the old value is there, or the new one: whole.
pub(super) async fn put_is_whole_or_not_at_all(harness: &Harness) -> Check {
    for moment in 0..MOMENTS {
        let key = harness.key(format!("value-{moment}"))?;
        let old = pattern(harness.size(3_000), 1);
        let new = pattern(harness.size(50_000), 2);
        harness.put(&key, old.clone()).await?;
        let backend = harness.backend();
        abandon(harness.env(), moment, backend.put(&key, new.clone(), Expect::Any)).await;
        for _ in 0..3 {
            let found = harness.must_get(&key).await?.value;
            ensure!(
                found == old || found == new,
                "a dropped put left {} bytes, neither the old value nor the new",
                found.len()
            );
        }
        settle(harness.env()).await;
    }
    Ok(Verdict::Kept)
}

/// C2: after a dropped batch all of its steps have happened, or none.
pub(super) async fn batch_is_whole_or_not_at_all(harness: &Harness) -> Check {
    if !harness.profile().atomic {
        return super::apply::none_happen_on_conflict(harness).await;
    }
    let keys = [harness.key("a")?, harness.key("b")?, harness.key("c")?];
    let count = keys.len().min(harness.profile().batch_ops_max);
    for moment in 0..MOMENTS {
        let mut batch = Batch::new();
        for key in &keys[..count] {
            batch.put(key.clone(), format!("moment {moment}"), Expect::Any);
        }
        let backend = harness.backend();
        abandon(harness.env(), moment, backend.apply(batch)).await;
        for _ in 0..3 {
            whole(harness, &keys[..count]).await?;
        }
        settle(harness.env()).await;
        whole(harness, &keys[..count]).await?;
    }
    Ok(Verdict::Kept)
}

async fn whole(harness: &Harness, keys: &[Key]) -> Check<()> {
    let found = harness.backend().get_many(keys).await?;
    let values: Vec<Option<Bytes>> =
        found.into_iter().map(|object| object.map(|object| object.value)).collect();
    ensure!(
        values.len() == keys.len() && values.iter().all(|value| *value == values[0]),
        "a dropped batch happened in part: {values:?}"
    );
    Ok(())
}

/// C3: after a dropped create, creating again succeeds, or conflicts with the dropped one's value.
pub(super) async fn create_can_be_asked_again(harness: &Harness) -> Check {
    if !harness.can(&Expect::Absent) {
        return refused(harness, &Expect::Absent).await;
    }
    for moment in 0..MOMENTS {
        let key = harness.key(format!("value-{moment}"))?;
        let (first, second) = (Bytes::from("first"), Bytes::from("second"));
        let backend = harness.backend();
        abandon(harness.env(), moment, backend.put(&key, first.clone(), Expect::Absent)).await;
        settle(harness.env()).await;
        match backend.put(&key, second.clone(), Expect::Absent).await {
            Ok(_) => harness.must_hold(&key, &second).await?,
            Err(error) if error.kind() == ErrorKind::Conflict => {
                harness.must_hold(&key, &first).await?
            }
            Err(error) => return Err(error.into()),
        };
    }
    Ok(Verdict::Kept)
}

/// C4: dropping the future of a read has no effect.
pub(super) async fn dropped_reads_have_no_effect(harness: &Harness) -> Check {
    let key = harness.key("value")?;
    harness.put(&key, "still").await?;
    let before = harness.must_get(&key).await?;
    let list = holdall_core::List::prefix(harness.prefix()).with_values();
    for moment in 0..MOMENTS {
        let backend = harness.backend();
        abandon(harness.env(), moment, backend.get_all(&key)).await;
        abandon(harness.env(), moment, backend.get_many(std::slice::from_ref(&key))).await;
        abandon(harness.env(), moment, backend.list(&list)).await;
        abandon(harness.env(), moment, backend.health()).await;
        // Looked at after each moment: a later read that ends could hide what a dropped one left.
        let after = harness.must_get(&key).await?;
        ensure!(after == before, "dropped reads changed {before:?} to {after:?}");
        let names = harness.names("").await?;
        ensure!(names == ["value"], "after dropped reads the listing has {names:?}");
    }
    Ok(Verdict::Kept)
}

/// C5: after many dropped calls the backend still serves: no lock, slot or transaction is lost.
pub(super) async fn backend_serves_on(harness: &Harness) -> Check {
    let key = harness.key("value")?;
    for round in 0..40 {
        let other = harness.key(format!("dropped-{}", round % 4))?;
        let backend = harness.backend();
        abandon(harness.env(), 2, backend.put(&other, Bytes::from("x"), Expect::Any)).await;
        abandon(harness.env(), 2, backend.delete(&other, Expect::Any)).await;
        abandon(harness.env(), 2, backend.get_all(&other)).await;
        if harness.profile().atomic {
            let mut batch = Batch::new();
            batch.put(other.clone(), "y", Expect::Any);
            abandon(harness.env(), 2, backend.apply(batch)).await;
        }
    }
    for other in 0..4 {
        let other = harness.key(format!("dropped-{other}"))?;
        // What it holds is open: a dropped write may still land.
        harness.put(&other, "served").await?;
        harness.get(&other).await?;
    }
    for round in 0..3 {
        harness.put(&key, format!("round {round}")).await?;
        harness.must_hold(&key, format!("round {round}")).await?;
    }
    harness.backend().delete(&key, Expect::Any).await?;
    harness.must_miss(&key).await?;
    let names = harness.names("value").await?;
    if names.is_empty() { Ok(Verdict::Kept) } else { Err(Failure::new("a deleted key is listed")) }
}

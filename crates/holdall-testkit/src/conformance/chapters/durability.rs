//! Chapter S: what survives when the backend is closed and opened again.
//!
//! A kill in the middle of a write is the crash tests' matter; here the backend is dropped.

use holdall_core::{Batch, Durability, ErrorKind, Expect, Revision};

use super::expect::foreign;
use super::harness::{Check, Harness, Verdict, ensure, must_fail, pattern};

/// Why reopening has nothing to show, if it has nothing.
fn not_durable(harness: &Harness) -> Option<Verdict> {
    (harness.profile().durability == Durability::Process).then(|| {
        Verdict::Refused("the profile says durability Process: nothing is promised".to_owned())
    })
}

fn cannot_reopen() -> Check {
    Ok(Verdict::Untested("nothing here can reopen the backend".to_owned()))
}

/// S1: after reopening, every write that had returned is there, whole, and every delete still
/// holds.
pub(super) async fn writes_survive_reopening(harness: &Harness) -> Check {
    if let Some(verdict) = not_durable(harness) {
        return Ok(verdict);
    }
    let big = pattern(harness.size(300_000), 9);
    harness.put(&harness.key("small")?, "old").await?;
    harness.put(&harness.key("small")?, "new").await?;
    harness.put(&harness.key("empty")?, "").await?;
    harness.put(&harness.key("deep/er/big")?, big.clone()).await?;
    harness.put(&harness.key("gone")?, "x").await?;
    harness.backend().delete(&harness.key("gone")?, Expect::Any).await?;
    let mut wanted = vec!["deep/er/big", "empty", "small"];
    if harness.profile().atomic {
        let mut batch = Batch::new();
        batch.put(harness.key("batched")?, "b", Expect::Any);
        batch.delete(harness.key("empty")?, Expect::Any);
        harness.backend().apply(batch).await?;
        wanted = vec!["batched", "deep/er/big", "small"];
    }
    for _ in 0..2 {
        if !harness.reopen().await? {
            return cannot_reopen();
        }
        let names = harness.names("").await?;
        ensure!(names == wanted, "after reopening there are {names:?}, not {wanted:?}");
        harness.must_hold(&harness.key("small")?, "new").await?;
        harness.must_hold(&harness.key("deep/er/big")?, &big).await?;
        harness.must_miss(&harness.key("gone")?).await?;
    }
    Ok(Verdict::Kept)
}

/// S2: a revision is the same after reopening: a current one is taken, a stale one conflicts.
pub(super) async fn revisions_survive_reopening(harness: &Harness) -> Check {
    if let Some(verdict) = not_durable(harness) {
        return Ok(verdict);
    }
    let key = harness.key("value")?;
    let stale = harness.put(&key, "first").await?;
    let current = harness.put(&key, "second").await?;
    if !harness.reopen().await? {
        return cannot_reopen();
    }
    let found = harness.must_hold(&key, "second").await?.revision;
    ensure!(found == current, "reopening changed the revision from {current:?} to {found:?}");
    if !harness.can(&foreign()) {
        return Ok(Verdict::Kept);
    }
    let put = harness.backend().put(&key, "third".into(), Expect::Revision(stale)).await;
    must_fail(put, ErrorKind::Conflict, "a put with a revision stale before reopening")?;
    harness.backend().put(&key, "fourth".into(), Expect::Revision(current)).await?;
    harness.must_hold(&key, "fourth").await?;
    Ok(Verdict::Kept)
}

/// S3: revisions given out after reopening differ from those before, deleted values' included.
pub(super) async fn revisions_go_on_after_reopening(harness: &Harness) -> Check {
    if let Some(verdict) = not_durable(harness) {
        return Ok(verdict);
    }
    let key = harness.key("value")?;
    let mut seen: Vec<Revision> = Vec::new();
    for round in 0..4 {
        for step in 0..2 {
            let revision = harness.put(&key, format!("round {round} step {step}")).await?;
            ensure!(!seen.contains(&revision), "{revision:?} was given out twice");
            seen.push(revision);
        }
        if round % 2 == 1 {
            harness.backend().delete(&key, Expect::Any).await?;
        }
        if !harness.reopen().await? {
            return cannot_reopen();
        }
    }
    Ok(Verdict::Kept)
}

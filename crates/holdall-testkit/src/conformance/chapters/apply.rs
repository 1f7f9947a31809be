//! Chapter A: several writes that happen together or not at all.

use holdall_core::{BackendExt, Batch, ErrorKind, Expect, Revision};

use super::expect::{foreign, refused};
use super::harness::{Check, Failure, Harness, Verdict, ensure, must_fail};

/// What must be refused instead of the clause, if the profile lacks batches or the expectation.
async fn lacking(harness: &Harness, expect: &Expect) -> Check<Option<Verdict>> {
    if !harness.profile().atomic {
        return Ok(Some(without_batches(harness).await?));
    }
    if !harness.can(expect) {
        return Ok(Some(refused(harness, expect).await?));
    }
    Ok(None)
}

/// For a backend without batches: every batch is refused and writes nothing.
async fn without_batches(harness: &Harness) -> Check {
    let (there, missing) = (harness.key("refused-there")?, harness.key("refused-missing")?);
    harness.put(&there, "old").await?;
    let mut batches = vec![Batch::new(), Batch::new(), Batch::new(), Batch::new()];
    batches[1].put(missing.clone(), "new", Expect::Any);
    batches[2].put(missing.clone(), "new", Expect::Any).delete(there.clone(), Expect::Any);
    batches[3].check(there.clone(), Expect::Any);
    for batch in batches {
        let result = harness.backend().apply(batch.clone()).await;
        must_fail(result, ErrorKind::Unsupported, &format!("{batch:?}"))?;
    }
    harness.must_hold(&there, "old").await?;
    harness.must_miss(&missing).await?;
    let reason = "the profile says not atomic; batches were refused and nothing was written";
    Ok(Verdict::Refused(reason.to_owned()))
}

/// A1: every step of a batch happens, and every later read sees it.
pub(super) async fn all_happen(harness: &Harness) -> Check {
    if let Some(verdict) = lacking(harness, &Expect::Any).await? {
        return Ok(verdict);
    }
    let key = |name| harness.key(name);
    harness.put(&key("changed")?, "old").await?;
    harness.put(&key("gone")?, "old").await?;
    harness.put(&key("kept")?, "old").await?;
    let asked = [key("new")?, key("changed")?, key("empty")?, key("gone")?, key("kept")?];
    harness.backend().get_many(&asked).await?;
    let mut batch = Batch::new();
    batch
        .put(key("new")?, "1", Expect::Any)
        .put(key("changed")?, "2", Expect::Any)
        .put(key("empty")?, "", Expect::Any)
        .delete(key("gone")?, Expect::Any)
        .check(key("kept")?, Expect::Any);
    harness.backend().apply(batch).await?;
    for (name, value) in [("new", "1"), ("changed", "2"), ("empty", ""), ("kept", "old")] {
        harness.must_hold(&key(name)?, value).await?;
    }
    harness.must_miss(&key("gone")?).await?;
    for (key, many) in asked.iter().zip(harness.backend().get_many(&asked).await?) {
        let one = harness.get(key).await?;
        ensure!(many == one, "after a batch get_many of {key:?} gives {many:?}, get {one:?}");
    }
    let names = harness.names("").await?;
    ensure!(names == ["changed", "empty", "kept", "new"], "the listing has {names:?}");
    Ok(Verdict::Kept)
}

/// A2: if one expectation does not hold, in whatever place, the batch is `Conflict` and no step
/// happens.
pub(super) async fn none_happen_on_conflict(harness: &Harness) -> Check {
    if let Some(verdict) = lacking(harness, &Expect::Absent).await? {
        return Ok(verdict);
    }
    let (there, gone) = (harness.key("there")?, harness.key("gone")?);
    harness.put(&there, "old").await?;
    harness.put(&gone, "old").await?;
    for failing in 0..4 {
        for kind in 0..3 {
            let mut batch = Batch::new();
            for at in 0..4 {
                if at == failing {
                    match kind {
                        0 => batch.put(there.clone(), "new", Expect::Absent),
                        1 => batch.delete(there.clone(), Expect::Absent),
                        _ => batch.check(there.clone(), Expect::Absent),
                    };
                }
                batch.put(harness.key(format!("new-{at}"))?, "new", Expect::Absent);
            }
            batch.delete(gone.clone(), Expect::Any);
            let result = harness.backend().apply(batch.clone()).await;
            must_fail(result, ErrorKind::Conflict, &format!("{batch:?}"))?;
            let names = harness.names("").await?;
            ensure!(names == ["gone", "there"], "a refused batch left {names:?}");
            harness.must_hold(&there, "old").await?;
            harness.must_hold(&gone, "old").await?;
        }
    }
    Ok(Verdict::Kept)
}

/// A3: the conflict names the first key, in the batch's order, whose expectation does not hold.
pub(super) async fn conflict_names_the_first_key(harness: &Harness) -> Check {
    if let Some(verdict) = lacking(harness, &Expect::Absent).await? {
        return Ok(verdict);
    }
    for name in ["x", "y", "z"] {
        harness.put(&harness.key(name)?, "old").await?;
    }
    let orders = [["y", "x", "z"], ["z", "y", "x"], ["x", "z", "y"]];
    // Puts alone, then each kind of step in each place.
    for (order, turn) in orders.into_iter().flat_map(|order| (0..4).map(move |turn| (order, turn)))
    {
        let mut batch = Batch::new();
        batch.put(harness.key("a")?, "new", Expect::Absent);
        for (at, name) in order.into_iter().enumerate() {
            let key = harness.key(name)?;
            match (turn, (at + turn) % 3) {
                (0, _) | (_, 0) => batch.put(key, "new", Expect::Absent),
                (_, 1) => batch.delete(key, Expect::Absent),
                _ => batch.check(key, Expect::Absent),
            };
        }
        let result = harness.backend().apply(batch.clone()).await;
        let error = must_fail(result, ErrorKind::Conflict, "creating what is there")?;
        let wanted = harness.key(order[0])?;
        ensure!(
            error.key() == Some(&wanted),
            "the conflict must name {wanted:?} first, but names {:?}",
            error.key()
        );
    }
    Ok(Verdict::Kept)
}

/// A4: a batch that names a key twice is `Invalid`, and no step happens.
pub(super) async fn key_twice_is_invalid(harness: &Harness) -> Check {
    if let Some(verdict) = lacking(harness, &Expect::Any).await? {
        return Ok(verdict);
    }
    let (key, other) = (harness.key("twice")?, harness.key("other")?);
    // Each two kinds of step, beside each other and with another between them.
    for case in 0..18 {
        let mut batch = Batch::new();
        for (at, kind) in [case % 3, case / 3 % 3].into_iter().enumerate() {
            match kind {
                0 => batch.put(key.clone(), format!("{at}"), Expect::Any),
                1 => batch.delete(key.clone(), Expect::Any),
                _ => batch.check(key.clone(), Expect::Any),
            };
            if (at == 0) == (case < 9) {
                batch.put(other.clone(), "new", Expect::Any);
            }
        }
        let result = harness.backend().apply(batch.clone()).await;
        must_fail(result, ErrorKind::Invalid, &format!("{batch:?}"))?;
        harness.must_miss(&key).await?;
        harness.must_miss(&other).await?;
    }
    Ok(Verdict::Kept)
}

/// A5: a check lets the batch happen only if it holds, and leaves its own key as it is.
pub(super) async fn check_guards_and_changes_nothing(harness: &Harness) -> Check {
    if let Some(verdict) = lacking(harness, &foreign()).await? {
        return Ok(verdict);
    }
    let (lease, row) = (harness.key("lease")?, harness.key("row")?);
    let first = harness.put(&lease, "first").await?;
    let revision = harness.put(&lease, "second").await?;
    let mut batch = Batch::new();
    batch.check(lease.clone(), Expect::Revision(revision.clone()));
    batch.put(row.clone(), "1", Expect::Absent);
    harness.backend().apply(batch).await?;
    harness.must_hold(&row, "1").await?;
    let found = harness.must_hold(&lease, "second").await?;
    ensure!(found.revision == revision, "a check changed the revision of its key");
    for expect in [Expect::Revision(first), Expect::Absent, foreign()] {
        let (mut batch, mut alone) = (Batch::new(), Batch::new());
        batch.put(row.clone(), "2", Expect::Any).check(lease.clone(), expect.clone());
        let result = harness.backend().apply(batch).await;
        must_fail(result, ErrorKind::Conflict, &format!("a check of {expect:?}"))?;
        alone.check(lease.clone(), expect.clone());
        let result = harness.backend().apply(alone).await;
        must_fail(result, ErrorKind::Conflict, &format!("a check of {expect:?} alone"))?;
    }
    let (mut batch, missing) = (Batch::new(), harness.key("missing")?);
    batch.check(missing.clone(), Expect::Revision(revision)).put(row.clone(), "2", Expect::Any);
    let result = harness.backend().apply(batch).await;
    must_fail(result, ErrorKind::Conflict, "a check of a missing key's revision")?;
    harness.must_hold(&row, "1").await?;
    let mut batch = Batch::new();
    batch.check(missing, Expect::Absent).put(row.clone(), "3", Expect::Any);
    harness.backend().apply(batch).await?;
    harness.must_hold(&row, "3").await?;
    let names = harness.names("").await?;
    ensure!(names == ["lease", "row"], "a check of a missing key left {names:?}");
    Ok(Verdict::Kept)
}

/// A6: a batch without steps, or of checks alone, succeeds and changes nothing.
pub(super) async fn empty_is_ok(harness: &Harness) -> Check {
    if let Some(verdict) = lacking(harness, &Expect::Any).await? {
        return Ok(verdict);
    }
    let key = harness.key("value")?;
    harness.put(&key, "old").await?;
    let before = harness.must_get(&key).await?;
    harness.backend().apply(Batch::new()).await?;
    let mut batch = Batch::new();
    batch.check(key.clone(), Expect::Any);
    harness.backend().apply(batch).await?;
    let after = harness.must_get(&key).await?;
    ensure!(after == before, "batches without writes changed {before:?} to {after:?}");
    Ok(Verdict::Kept)
}

/// A7: every row that the batch puts has the revision that `apply` returned.
pub(super) async fn rows_get_the_returned_revision(harness: &Harness) -> Check {
    if let Some(verdict) = lacking(harness, &Expect::Any).await? {
        return Ok(verdict);
    }
    let mut seen: Vec<Revision> = Vec::new();
    for round in 0..4 {
        let mut batch = Batch::new();
        for at in 0..3 {
            let value = format!("round {round} row {at}");
            batch.put(harness.key(format!("row-{at}"))?, value, Expect::Any);
        }
        let revision = harness.backend().apply(batch).await?;
        for row in harness.backend().list_all(harness.prefix(), true).await? {
            let object = row.object.ok_or_else(|| Failure::new("a row lacks its value"))?;
            ensure!(
                object.revision == revision,
                "apply returned {revision:?}, but {:?} has {:?}",
                row.key,
                object.revision
            );
        }
        ensure!(!seen.contains(&revision), "{revision:?} was given to two different states");
        seen.push(revision);
    }
    Ok(Verdict::Kept)
}

/// A8: revisions from puts hold in batches and the other way round; stale ones conflict.
pub(super) async fn revisions_are_checked(harness: &Harness) -> Check {
    if let Some(verdict) = lacking(harness, &foreign()).await? {
        return Ok(verdict);
    }
    let (backend, key, other) = (harness.backend(), harness.key("value")?, harness.key("other")?);
    let first = harness.put(&key, "1").await?;
    let mut batch = Batch::new();
    batch.put(key.clone(), "2", Expect::Revision(first.clone()));
    batch.put(other.clone(), "2", Expect::Absent);
    let second = backend.apply(batch).await?;
    let third = backend.put(&key, "3".into(), Expect::Revision(second.clone())).await?;
    for stale in [first, second.clone()] {
        let (mut delete, mut put) = (Batch::new(), Batch::new());
        delete.put(other.clone(), "4", Expect::Any);
        delete.delete(key.clone(), Expect::Revision(stale.clone()));
        must_fail(backend.apply(delete).await, ErrorKind::Conflict, "a stale revision's delete")?;
        put.put(other.clone(), "4", Expect::Any).put(key.clone(), "4", Expect::Revision(stale));
        must_fail(backend.apply(put).await, ErrorKind::Conflict, "a stale revision's put")?;
    }
    harness.must_hold(&key, "3").await?;
    harness.must_hold(&other, "2").await?;
    let mut batch = Batch::new();
    batch.delete(key.clone(), Expect::Revision(third));
    batch.put(other.clone(), "5", Expect::Revision(second));
    backend.apply(batch).await?;
    harness.must_miss(&key).await?;
    harness.must_hold(&other, "5").await?;
    Ok(Verdict::Kept)
}

/// A9: deleting a missing key inside a batch is Ok.
pub(super) async fn deletes_missing_keys(harness: &Harness) -> Check {
    if let Some(verdict) = lacking(harness, &Expect::Any).await? {
        return Ok(verdict);
    }
    let mut batch = Batch::new();
    batch.delete(harness.key("missing")?, Expect::Any);
    batch.put(harness.key("value")?, "x", Expect::Any);
    harness.backend().apply(batch).await?;
    let names = harness.names("").await?;
    ensure!(names == ["value"], "the listing has {names:?}");
    Ok(Verdict::Kept)
}

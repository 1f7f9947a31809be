//! Chapter E: writes that happen only if what is there is as expected.

use holdall_core::{Batch, Bytes, ErrorKind, Expect, Revision};

use super::harness::{Check, Harness, Verdict, ensure, must_fail};

/// For a backend that cannot check `expect`: every write with it is refused and writes nothing.
pub(super) async fn refused(harness: &Harness, expect: &Expect) -> Check {
    let backend = harness.backend();
    let (there, missing) = (harness.key("refused-there")?, harness.key("refused-missing")?);
    harness.put(&there, "old").await?;
    for key in [&there, &missing] {
        let put = backend.put(key, Bytes::from("new"), expect.clone()).await;
        must_fail(put, ErrorKind::Unsupported, &format!("a put with {expect:?}"))?;
        let delete = backend.delete(key, expect.clone()).await;
        must_fail(delete, ErrorKind::Unsupported, &format!("a delete with {expect:?}"))?;
        if harness.profile().atomic {
            let mut batch = Batch::new();
            batch.put(key.clone(), "new", expect.clone());
            let apply = backend.apply(batch).await;
            must_fail(apply, ErrorKind::Unsupported, &format!("a batch with {expect:?}"))?;
        }
    }
    harness.must_hold(&there, "old").await?;
    harness.must_miss(&missing).await?;
    Ok(Verdict::Refused(format!(
        "the profile says conditions {:?}; what it lacks was refused and nothing was written",
        harness.profile().conditions
    )))
}

/// A revision that no backend gives out.
pub(super) fn foreign() -> Expect {
    Expect::Revision(Revision::text("never given out by any backend"))
}

/// E1: `Absent` writes once; the second time it is `Conflict` and the first value stays.
pub(super) async fn absent_creates_once(harness: &Harness) -> Check {
    if !harness.can(&Expect::Absent) {
        return refused(harness, &Expect::Absent).await;
    }
    let (backend, key) = (harness.backend(), harness.key("value")?);
    let revision = backend.put(&key, Bytes::from("first"), Expect::Absent).await?;
    for value in ["second", "first", ""] {
        let again = backend.put(&key, Bytes::from(value), Expect::Absent).await;
        must_fail(again, ErrorKind::Conflict, "creating what is there")?;
        let found = harness.must_hold(&key, "first").await?;
        ensure!(found.revision == revision, "the refused put changed the revision");
    }
    let empty = harness.key("empty")?;
    backend.put(&empty, Bytes::new(), Expect::Absent).await?;
    let again = backend.put(&empty, Bytes::from("second"), Expect::Absent).await;
    must_fail(again, ErrorKind::Conflict, "creating what is there, but empty")?;
    harness.must_hold(&empty, "").await?;
    Ok(Verdict::Kept)
}

/// E2: `Absent` holds again once the key was deleted.
pub(super) async fn absent_after_delete(harness: &Harness) -> Check {
    if !harness.can(&Expect::Absent) {
        return refused(harness, &Expect::Absent).await;
    }
    let (backend, key) = (harness.backend(), harness.key("value")?);
    for round in 0..3 {
        let value = Bytes::from(format!("round {round}"));
        backend.put(&key, value.clone(), Expect::Absent).await?;
        harness.must_hold(&key, &value).await?;
        backend.delete(&key, Expect::Any).await?;
    }
    Ok(Verdict::Kept)
}

/// E3: the current revision, from whichever call it came, is taken.
pub(super) async fn current_revision_is_taken(harness: &Harness) -> Check {
    if !harness.can(&foreign()) {
        return refused(harness, &foreign()).await;
    }
    let (backend, key) = (harness.backend(), harness.key("value")?);
    let first = harness.put(&key, "0").await?;
    let second = backend.put(&key, Bytes::from("1"), Expect::Revision(first)).await?;
    let third = backend.put(&key, Bytes::from("2"), Expect::Revision(second)).await?;
    let read = harness.must_hold(&key, "2").await?.revision;
    ensure!(read == third, "the put returned {third:?}, the get {read:?}");
    backend.put(&key, Bytes::from("3"), Expect::Revision(read)).await?;
    harness.must_hold(&key, "3").await?;
    Ok(Verdict::Kept)
}

/// E4: a revision that is no longer current is `Conflict`, and nothing is written.
pub(super) async fn stale_revision_conflicts(harness: &Harness) -> Check {
    if !harness.can(&foreign()) {
        return refused(harness, &foreign()).await;
    }
    let (backend, key) = (harness.backend(), harness.key("value")?);
    let first = harness.put(&key, "first").await?;
    let second = harness.put(&key, "second").await?;
    let stale = backend.put(&key, Bytes::from("third"), Expect::Revision(first.clone())).await;
    must_fail(stale, ErrorKind::Conflict, "a put with a stale revision")?;
    let found = harness.must_hold(&key, "second").await?;
    ensure!(found.revision == second, "the refused put changed the revision");
    // Deleted and written anew, the old revisions stay stale.
    backend.delete(&key, Expect::Any).await?;
    harness.put(&key, "fourth").await?;
    for old in [first, second] {
        let stale = backend.put(&key, Bytes::from("fifth"), Expect::Revision(old)).await;
        must_fail(stale, ErrorKind::Conflict, "a put with a revision from before a delete")?;
    }
    harness.must_hold(&key, "fourth").await?;
    Ok(Verdict::Kept)
}

/// E5: a revision of a key that is missing now is `Conflict`, and nothing is created.
pub(super) async fn revision_of_missing_conflicts(harness: &Harness) -> Check {
    if !harness.can(&foreign()) {
        return refused(harness, &foreign()).await;
    }
    let (backend, key) = (harness.backend(), harness.key("value")?);
    let gone = harness.put(&key, "gone").await?;
    backend.delete(&key, Expect::Any).await?;
    let put = backend.put(&key, Bytes::from("gone"), Expect::Revision(gone)).await;
    must_fail(put, ErrorKind::Conflict, "a put with the revision of a deleted value")?;
    harness.must_miss(&key).await?;
    Ok(Verdict::Kept)
}

/// E6: a revision that this backend never gave out is `Conflict`, and nothing is written.
pub(super) async fn foreign_revision_conflicts(harness: &Harness) -> Check {
    if !harness.can(&foreign()) {
        return refused(harness, &foreign()).await;
    }
    let (backend, key, other) = (harness.backend(), harness.key("value")?, harness.key("other")?);
    harness.put(&key, "kept").await?;
    let foreign = [Revision::number(u64::MAX), Revision::text("\"x\""), Revision::text("")];
    for revision in foreign {
        for key in [&key, &other] {
            let expect = Expect::Revision(revision.clone());
            let put = backend.put(key, Bytes::from("new"), expect.clone()).await;
            must_fail(put, ErrorKind::Conflict, &format!("a put expecting {revision:?}"))?;
            let delete = backend.delete(key, expect.clone()).await;
            must_fail(delete, ErrorKind::Conflict, &format!("a delete expecting {revision:?}"))?;
            if harness.profile().atomic {
                let mut batch = Batch::new();
                batch.put(key.clone(), "new", expect);
                let apply = backend.apply(batch).await;
                must_fail(apply, ErrorKind::Conflict, &format!("a batch expecting {revision:?}"))?;
            }
        }
    }
    harness.must_hold(&key, "kept").await?;
    harness.must_miss(&other).await?;
    Ok(Verdict::Kept)
}

/// E7: a delete that expects the current revision removes.
pub(super) async fn delete_of_current_revision(harness: &Harness) -> Check {
    if !harness.can(&foreign()) {
        return refused(harness, &foreign()).await;
    }
    let key = harness.key("value")?;
    harness.put(&key, "first").await?;
    let revision = harness.put(&key, "second").await?;
    harness.backend().delete(&key, Expect::Revision(revision)).await?;
    harness.must_miss(&key).await?;
    Ok(Verdict::Kept)
}

/// E8: a delete that expects a stale revision, or one of a missing key, is `Conflict`.
pub(super) async fn delete_of_stale_revision_conflicts(harness: &Harness) -> Check {
    if !harness.can(&foreign()) {
        return refused(harness, &foreign()).await;
    }
    let (backend, key) = (harness.backend(), harness.key("value")?);
    let first = harness.put(&key, "first").await?;
    let second = harness.put(&key, "second").await?;
    let stale = backend.delete(&key, Expect::Revision(first)).await;
    must_fail(stale, ErrorKind::Conflict, "a delete with a stale revision")?;
    harness.must_hold(&key, "second").await?;
    backend.delete(&key, Expect::Any).await?;
    let missing = backend.delete(&key, Expect::Revision(second)).await;
    must_fail(missing, ErrorKind::Conflict, "a delete with the revision of a missing key")?;
    Ok(Verdict::Kept)
}

/// E9: a delete that expects `Absent` is Ok on a missing key and `Conflict` on one that is there.
pub(super) async fn delete_expecting_absent(harness: &Harness) -> Check {
    if !harness.can(&Expect::Absent) {
        return refused(harness, &Expect::Absent).await;
    }
    let (backend, key) = (harness.backend(), harness.key("value")?);
    backend.delete(&key, Expect::Absent).await?;
    harness.put(&key, "kept").await?;
    let there = backend.delete(&key, Expect::Absent).await;
    must_fail(there, ErrorKind::Conflict, "a delete that expects absence of what is there")?;
    harness.must_hold(&key, "kept").await?;
    harness.put(&key, "").await?;
    let there = backend.delete(&key, Expect::Absent).await;
    must_fail(there, ErrorKind::Conflict, "a delete that expects absence of an empty value")?;
    harness.must_hold(&key, "").await?;
    Ok(Verdict::Kept)
}

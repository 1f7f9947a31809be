//! Chapter D: removing one value.

use holdall_core::Expect;

use super::harness::{Check, Harness, Verdict, ensure};

/// D1: once a delete has returned, `get`, `get_many` and `list` no longer see the key.
pub(super) async fn removes(harness: &Harness) -> Check {
    let key = harness.key("value")?;
    harness.put(&key, "x").await?;
    harness.backend().delete(&key, Expect::Any).await?;
    harness.must_miss(&key).await?;
    let many = harness.backend().get_many(std::slice::from_ref(&key)).await?;
    ensure!(many == [None], "get_many still gives {many:?}");
    let names = harness.names("").await?;
    ensure!(names.is_empty(), "the listing still has {names:?}");
    Ok(Verdict::Kept)
}

/// D2: deleting a missing key is Ok, as often as one likes.
pub(super) async fn missing_is_ok(harness: &Harness) -> Check {
    let key = harness.key("value")?;
    harness.backend().delete(&key, Expect::Any).await?;
    harness.put(&key, "x").await?;
    for _ in 0..3 {
        harness.backend().delete(&key, Expect::Any).await?;
    }
    harness.backend().delete(&harness.key("no/such/folder/value")?, Expect::Any).await?;
    harness.must_miss(&key).await?;
    Ok(Verdict::Kept)
}

/// D3: a delete removes its key alone: not what continues it, and not its siblings.
pub(super) async fn neighbours_are_untouched(harness: &Harness) -> Check {
    let names = ["m", "m/", "m/a", "m/a/b", "m0", "ma", "l", "n"];
    for name in names {
        harness.put(&harness.key(name)?, name).await?;
    }
    harness.backend().delete(&harness.key("m")?, Expect::Any).await?;
    harness.backend().delete(&harness.key("m/a")?, Expect::Any).await?;
    let left = harness.names("").await?;
    ensure!(
        left == ["l", "m/", "m/a/b", "m0", "ma", "n"],
        "after deleting m and m/a there are {left:?}"
    );
    for name in left {
        harness.must_hold(&harness.key(&name)?, &name).await?;
    }
    Ok(Verdict::Kept)
}

/// D4: a deleted key can be written again.
pub(super) async fn key_can_be_written_again(harness: &Harness) -> Check {
    let key = harness.key("a/value")?;
    for round in 0..3 {
        harness.put(&key, format!("round {round}")).await?;
        harness.must_hold(&key, format!("round {round}")).await?;
        harness.backend().delete(&key, Expect::Any).await?;
        harness.must_miss(&key).await?;
    }
    Ok(Verdict::Kept)
}

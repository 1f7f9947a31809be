//! Chapter G: reading one value, whole or in part.

use holdall_core::{BackendExt, ByteRange, ErrorKind};

use super::harness::{Check, Failure, Harness, Verdict, ensure, must_fail, pattern, shown};

/// G1: a missing key is `None`.
pub(super) async fn missing_is_none(harness: &Harness) -> Check {
    harness.must_miss(&harness.key("missing")?).await?;
    harness.put(&harness.key("missing/below")?, "x").await?;
    harness.must_miss(&harness.key("missing")?).await?;
    harness.must_miss(&harness.key("missing/belo")?).await?;
    Ok(Verdict::Kept)
}

/// G2: the whole value comes with its size and the revision that the put returned.
pub(super) async fn returns_value_size_and_revision(harness: &Harness) -> Check {
    let key = harness.key("value")?;
    let value = pattern(harness.size(1000), 1);
    let revision = harness.put(&key, value.clone()).await?;
    let found = harness.must_hold(&key, &value).await?;
    ensure!(
        found.revision == revision,
        "the put returned {revision:?}, the get {:?}",
        found.revision
    );
    Ok(Verdict::Kept)
}

/// G3: a range gives its bytes, clipped to the value, with the whole value's size and revision.
pub(super) async fn range_is_clipped(harness: &Harness) -> Check {
    let key = harness.key("value")?;
    let value = pattern(harness.size(10_000), 2);
    let revision = harness.put(&key, value.clone()).await?;
    let len = value.len() as u64;
    let ranges = [
        ByteRange::ALL,
        ByteRange::new(0, 1),
        ByteRange::new(0, len),
        ByteRange::new(1, len / 2),
        ByteRange::new(len / 2, len),
        ByteRange::new(len - 1, len),
        ByteRange::new(len - 1, len + 1),
        ByteRange::new(3.min(len), u64::MAX),
        ByteRange::from(0),
        ByteRange::from(len / 3),
        ByteRange::from(len - 1),
        ByteRange::new(len / 2, len / 2),
        ByteRange::new(0, 0),
    ];
    for range in ranges {
        let clipped = range.clip(len)?;
        let wanted = &value[clipped.start as usize..clipped.end as usize];
        let found = harness.backend().get(&key, range).await?;
        let found =
            found.ok_or_else(|| Failure::new(format!("{range:?} of a present value is None")))?;
        ensure!(
            found.value == wanted,
            "{range:?} of {len} bytes gave {}, not {}",
            shown(&found.value),
            shown(wanted)
        );
        ensure!(found.size == len, "{range:?} says size {}, the value has {len} bytes", found.size);
        ensure!(
            found.revision == revision,
            "{range:?} has revision {:?}, not {revision:?}",
            found.revision
        );
    }
    Ok(Verdict::Kept)
}

/// G4: a range that starts at or past the end gives no bytes and no error.
pub(super) async fn range_past_the_end_is_empty(harness: &Harness) -> Check {
    for (name, len) in [("empty", 0u64), ("value", harness.size(100) as u64)] {
        let key = harness.key(name)?;
        harness.put(&key, pattern(len as usize, 3)).await?;
        let ranges = [
            ByteRange::new(len, len + 10),
            ByteRange::from(len),
            ByteRange::from(len + 1),
            ByteRange::new(len + 5, u64::MAX),
            ByteRange::from(u64::MAX),
        ];
        for range in ranges {
            let found = harness.backend().get(&key, range).await?;
            let found = found
                .ok_or_else(|| Failure::new(format!("{range:?} of a present value is None")))?;
            ensure!(
                found.value.is_empty() && found.size == len,
                "{range:?} of {len} bytes gave {} and size {}",
                shown(&found.value),
                found.size
            );
        }
    }
    Ok(Verdict::Kept)
}

/// G5: a range that ends before it starts is `Invalid`.
pub(super) async fn range_backwards_is_invalid(harness: &Harness) -> Check {
    let key = harness.key("value")?;
    harness.put(&key, "0123456789").await?;
    for range in [ByteRange::new(5, 4), ByteRange::new(1, 0), ByteRange::new(100, 99)] {
        let result = harness.backend().get(&key, range).await;
        must_fail(result, ErrorKind::Invalid, &format!("a get of {range:?}"))?;
    }
    Ok(Verdict::Kept)
}

/// G6: a range of a missing key is `None`.
pub(super) async fn range_of_missing_is_none(harness: &Harness) -> Check {
    let key = harness.key("missing")?;
    for range in [ByteRange::new(0, 10), ByteRange::from(5), ByteRange::new(0, 0)] {
        let found = harness.backend().get(&key, range).await?;
        ensure!(found.is_none(), "{range:?} of a missing key gave {found:?}");
    }
    Ok(Verdict::Kept)
}

/// G7: reading changes neither value nor revision.
pub(super) async fn reading_changes_nothing(harness: &Harness) -> Check {
    let key = harness.key("value")?;
    harness.put(&key, "still").await?;
    let first = harness.must_hold(&key, "still").await?;
    for _ in 0..3 {
        harness.backend().get(&key, ByteRange::new(1, 3)).await?;
        harness.backend().get_many(std::slice::from_ref(&key)).await?;
        harness.names("").await?;
        harness.backend().list_all(harness.prefix(), true).await?;
        let again = harness.must_hold(&key, "still").await?;
        ensure!(again == first, "reading changed {first:?} to {again:?}");
    }
    Ok(Verdict::Kept)
}

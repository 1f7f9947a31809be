//! Chapter P: writing one value.

use holdall_core::{BackendExt, Batch, Bytes, Expect};

use super::harness::{Check, Harness, Verdict, ensure, pattern};

/// P1: once a put has returned, `get`, `get_many` and `list` see it.
pub(super) async fn later_reads_see_it(harness: &Harness) -> Check {
    let backend = harness.backend();
    let key = harness.key("value")?;
    for round in 0..5 {
        let value = Bytes::from(format!("round {round}"));
        let revision = harness.put(&key, value.clone()).await?;
        let one = harness.must_hold(&key, &value).await?;
        ensure!(one.revision == revision, "get shows {:?}, not {revision:?}", one.revision);
        let many = backend.get_many(std::slice::from_ref(&key)).await?;
        ensure!(many == [Some(one.clone())], "get_many shows {many:?} after {one:?} was written");
        let rows = backend.list_all(key.as_str(), true).await?;
        ensure!(
            rows.len() == 1 && rows[0].object.as_ref() == Some(&one),
            "list shows {rows:?} after {one:?} was written"
        );
    }
    Ok(Verdict::Kept)
}

/// P2: a put replaces the value whole; nothing of a longer one remains.
pub(super) async fn replaces_whole(harness: &Harness) -> Check {
    let key = harness.key("value")?;
    for len in [100_000, 10, 5_000, 0, 300, 1] {
        let value = pattern(harness.size(len), len as u64);
        harness.put(&key, value.clone()).await?;
        harness.must_hold(&key, &value).await?;
    }
    Ok(Verdict::Kept)
}

/// P3: an empty value is a value: found, listed, and not missing.
pub(super) async fn empty_value_is_a_value(harness: &Harness) -> Check {
    let key = harness.key("empty")?;
    harness.put(&key, Bytes::new()).await?;
    harness.must_hold(&key, b"").await?;
    let names = harness.names("").await?;
    ensure!(names == ["empty"], "the listing has {names:?}");
    if harness.can(&Expect::Absent) {
        let again = harness.backend().put(&key, Bytes::from("x"), Expect::Absent).await;
        ensure!(again.is_err(), "an empty value counted as absent");
    }
    Ok(Verdict::Kept)
}

/// P4: bytes come back as they are, whatever they are and however many, also from a batch.
pub(super) async fn bytes_are_not_touched(harness: &Harness) -> Check {
    let mut values: Vec<Bytes> = vec![
        (0..=255u8).collect(),
        Bytes::from_static(b"\r\n\r\n\0\0"),
        Bytes::from_static(b"\xff\xfe\xc3\x28"),
        Bytes::from_static(b"  spaces and a line end \n"),
        Bytes::from(vec![0; 4096]),
    ];
    for len in [1, 127, 128, 4095, 4096, 4097, 65_535, 65_536, 65_537, 300_000] {
        values.push(pattern(len, len as u64));
    }
    for (at, value) in values.iter().enumerate() {
        let value = value.slice(..harness.size(value.len()));
        let key = harness.key(format!("value-{at}"))?;
        harness.put(&key, value.clone()).await?;
        harness.must_hold(&key, &value).await?;
        let (mut batch, key) = (Batch::new(), harness.key(format!("batched-{at}"))?);
        batch.put(key.clone(), value.clone(), Expect::Any);
        if harness.profile().batch_bytes_max >= batch.bytes() as u64 {
            harness.backend().apply(batch).await?;
            harness.must_hold(&key, &value).await?;
        }
    }
    Ok(Verdict::Kept)
}

/// P5: different values that were ever under one key have different revisions.
pub(super) async fn different_values_have_different_revisions(harness: &Harness) -> Check {
    let key = harness.key("value")?;
    let mut seen = Vec::new();
    for round in 0..12 {
        let revision = harness.put(&key, format!("value {round}")).await?;
        ensure!(!seen.contains(&revision), "{revision:?} was given to two different values");
        let shown = harness.must_get(&key).await?.revision;
        ensure!(shown == revision, "the put returned {revision:?}, the get {shown:?}");
        seen.push(revision);
        if round % 3 == 2 {
            harness.backend().delete(&key, Expect::Any).await?;
        }
    }
    Ok(Verdict::Kept)
}

/// P6: writing equal bytes again succeeds, and the revision it returns is the current one, whether
/// it is a new one or not.
pub(super) async fn equal_bytes_are_current(harness: &Harness) -> Check {
    let key = harness.key("value")?;
    for _ in 0..3 {
        let revision = harness.put(&key, "same").await?;
        let found = harness.must_hold(&key, "same").await?;
        ensure!(
            found.revision == revision,
            "the put returned {revision:?}, the get {:?}",
            found.revision
        );
    }
    Ok(Verdict::Kept)
}

/// P7: a put changes no other key.
pub(super) async fn neighbours_are_untouched(harness: &Harness) -> Check {
    let names = ["m", "m/", "m0", "ma", "l", "n"];
    let mut before = Vec::new();
    for name in names {
        let key = harness.key(name)?;
        harness.put(&key, name).await?;
        before.push((key.clone(), harness.must_get(&key).await?));
    }
    let (changed, _) = before.remove(0);
    harness.put(&changed, "changed").await?;
    for (key, object) in before {
        let now = harness.must_get(&key).await?;
        ensure!(now == object, "writing {changed:?} changed {key:?} to {now:?}");
    }
    Ok(Verdict::Kept)
}

//! Chapter B: the bounds that the profile states are the bounds that hold.

use holdall_core::{Batch, Bytes, ErrorKind, Expect, KEY_BYTES_MAX, Key};

use super::harness::{Check, Harness, Verdict, ensure, must_fail, pattern};

/// The largest value that the suite writes to reach a limit.
const WRITE_BYTES_MAX: u64 = 8 << 20;
/// The largest value that the suite makes in memory to go over a limit.
const MAKE_BYTES_MAX: u64 = 64 << 20;
/// The most steps of a batch that the suite applies to reach a limit.
const APPLY_STEPS_MAX: usize = 1000;
/// The most steps of a batch that the suite makes to go over a limit.
const MAKE_STEPS_MAX: usize = 200_000;

fn untested(reason: String) -> Check {
    Ok(Verdict::Untested(reason))
}

fn no_batches(harness: &Harness) -> Option<Verdict> {
    let reason = "the profile says not atomic, and its batch limits are 0";
    (!harness.profile().atomic).then(|| Verdict::Refused(reason.to_owned()))
}

/// B1: the profile's facts fit each other.
pub(super) async fn profile_agrees_with_itself(harness: &Harness) -> Check {
    let profile = harness.profile();
    ensure!(!profile.engine.is_empty(), "the engine has no name");
    ensure!(
        profile.key_bytes_max <= KEY_BYTES_MAX,
        "key_bytes_max is {}, above {KEY_BYTES_MAX}",
        profile.key_bytes_max
    );
    ensure!(
        profile.key_bytes_max >= 128 && profile.value_bytes_max >= 4096,
        "every backend takes keys of 128 and values of 4,096 bytes, but this profile is {profile:?}"
    );
    ensure!(
        profile.atomic || !profile.metadata,
        "descriptions are given in batches, but this backend has none: {profile:?}"
    );
    ensure!(
        profile.atomic == (profile.batch_ops_max > 0)
            && profile.atomic == (profile.batch_bytes_max > 0),
        "batch limits must be above 0 exactly if atomic: {profile:?}"
    );
    ensure!(
        !profile.atomic || (profile.batch_ops_max >= 16 && profile.batch_bytes_max >= 16_384),
        "every batch may have 16 steps and 16 KiB, but this profile is {profile:?}"
    );
    Ok(Verdict::Kept)
}

/// B2: a value of exactly `value_bytes_max` is taken, also in a batch that has room for it. Tried
/// up to 8 MiB.
pub(super) async fn value_at_the_limit(harness: &Harness) -> Check {
    let max = harness.profile().value_bytes_max;
    if max > WRITE_BYTES_MAX {
        return untested(format!("value_bytes_max is {max}, too much to write in a test"));
    }
    let key = harness.key("value")?;
    let value = pattern(max as usize, 1);
    harness.put(&key, value.clone()).await?;
    harness.must_hold(&key, &value).await?;
    let (mut batch, key) = (Batch::new(), harness.key("batched")?);
    batch.put(key.clone(), value.clone(), Expect::Any);
    if harness.profile().batch_bytes_max >= batch.bytes() as u64 {
        harness.backend().apply(batch).await?;
        harness.must_hold(&key, &value).await?;
    }
    Ok(Verdict::Kept)
}

/// B3: a value of one byte more is `Invalid` and nothing is written. Tried up to 64 MiB + 1.
pub(super) async fn value_over_the_limit(harness: &Harness) -> Check {
    let max = harness.profile().value_bytes_max;
    if max > MAKE_BYTES_MAX {
        return untested(format!("value_bytes_max is {max}, too much to exceed in a test"));
    }
    let (there, missing) = (harness.key("there")?, harness.key("missing")?);
    harness.put(&there, "old").await?;
    let value = Bytes::from(vec![7; max as usize + 1]);
    for key in [&there, &missing] {
        let put = harness.backend().put(key, value.clone(), Expect::Any).await;
        must_fail(put, ErrorKind::Invalid, "a put of a value over the limit")?;
        if harness.profile().atomic {
            let mut batch = Batch::new();
            batch.put(harness.key("beside")?, "x", Expect::Any);
            batch.put(key.clone(), value.clone(), Expect::Any);
            let apply = harness.backend().apply(batch).await;
            must_fail(apply, ErrorKind::Invalid, "a batch with a value over the limit")?;
        }
    }
    harness.must_hold(&there, "old").await?;
    harness.must_miss(&missing).await?;
    harness.must_miss(&harness.key("beside")?).await?;
    Ok(Verdict::Kept)
}

/// A key of exactly this many bytes, if the prefix leaves room.
fn key_of(harness: &Harness, bytes: usize, last: &str) -> Check<Option<Key>> {
    let room = bytes.checked_sub(harness.prefix().len() + last.len());
    room.map(|room| harness.key(format!("{}{last}", "k".repeat(room)))).transpose()
}

/// B4: a key of exactly `key_bytes_max` bytes is written, read, listed, batched and deleted.
pub(super) async fn key_at_the_limit(harness: &Harness) -> Check {
    let max = harness.profile().key_bytes_max;
    for last in ["1", "/2"] {
        let Some(key) = key_of(harness, max, last)? else {
            return untested(format!("the prefix is longer than key_bytes_max, {max}"));
        };
        harness.put(&key, last).await?;
        harness.must_hold(&key, last).await?;
        let names = harness.names("").await?;
        ensure!(
            names == [&key.as_str()[harness.prefix().len()..]],
            "a key of {max} bytes is listed as {names:?}"
        );
        if harness.profile().atomic {
            let mut batch = Batch::new();
            batch.put(key.clone(), "batched", Expect::Any);
            harness.backend().apply(batch).await?;
            harness.must_hold(&key, "batched").await?;
        }
        harness.backend().delete(&key, Expect::Any).await?;
        harness.must_miss(&key).await?;
    }
    Ok(Verdict::Kept)
}

/// B5: a key of one byte more is `Invalid` for every write, and nothing is written.
pub(super) async fn key_over_the_limit(harness: &Harness) -> Check {
    let max = harness.profile().key_bytes_max;
    let key = if max < KEY_BYTES_MAX { key_of(harness, max + 1, "x")? } else { None };
    let Some(key) = key else {
        return untested(format!("key_bytes_max is {max}; no longer key can be made here"));
    };
    let put = harness.backend().put(&key, Bytes::from("x"), Expect::Any).await;
    must_fail(put, ErrorKind::Invalid, "a put under a key over the limit")?;
    if harness.profile().atomic {
        let mut batch = Batch::new();
        batch.put(harness.key("beside")?, "x", Expect::Any).put(key, "x", Expect::Any);
        let apply = harness.backend().apply(batch).await;
        must_fail(apply, ErrorKind::Invalid, "a batch with a key over the limit")?;
    }
    let names = harness.names("").await?;
    ensure!(names.is_empty(), "refused writes left {names:?}");
    Ok(Verdict::Kept)
}

fn steps(harness: &Harness, count: usize) -> Check<Batch> {
    let mut batch = Batch::new();
    for at in 0..count {
        batch.put(Key::parse(format!("{}{at}", harness.prefix()))?, "", Expect::Any);
    }
    Ok(batch)
}

/// B6: a batch of `batch_ops_max` steps is taken. Tried with up to 1,000 steps.
pub(super) async fn batch_at_the_step_limit(harness: &Harness) -> Check {
    if let Some(verdict) = no_batches(harness) {
        return Ok(verdict);
    }
    let max = harness.profile().batch_ops_max;
    let batch = steps(harness, max.min(APPLY_STEPS_MAX))?;
    let (count, bytes) = (batch.len(), batch.bytes());
    if bytes as u64 > harness.profile().batch_bytes_max {
        return untested("batch_bytes_max is reached before batch_ops_max".to_owned());
    }
    harness.backend().apply(batch).await?;
    let found = harness.names("").await?.len();
    ensure!(found == count, "a batch of {count} steps left {found} keys");
    Ok(Verdict::Kept)
}

/// B7: a batch of one step more is `Invalid`, and no step happens. Tried up to 200,000 steps.
pub(super) async fn batch_over_the_step_limit(harness: &Harness) -> Check {
    if let Some(verdict) = no_batches(harness) {
        return Ok(verdict);
    }
    let max = harness.profile().batch_ops_max;
    if max >= MAKE_STEPS_MAX {
        return untested(format!("batch_ops_max is {max}, too much to exceed in a test"));
    }
    let apply = harness.backend().apply(steps(harness, max + 1)?).await;
    must_fail(apply, ErrorKind::Invalid, &format!("a batch of {} steps", max + 1))?;
    let names = harness.names("").await?;
    ensure!(names.is_empty(), "a refused batch left {} keys", names.len());
    Ok(Verdict::Kept)
}

/// B8: a batch of one byte more than `batch_bytes_max` is `Invalid`, and no step happens. Tried up
/// to 64 MiB.
pub(super) async fn batch_over_the_byte_limit(harness: &Harness) -> Check {
    if let Some(verdict) = no_batches(harness) {
        return Ok(verdict);
    }
    let profile = harness.profile();
    let max = profile.batch_bytes_max;
    if max >= MAKE_BYTES_MAX {
        return untested(format!("batch_bytes_max is {max}, too much to exceed in a test"));
    }
    let mut batch = Batch::new();
    while batch.bytes() as u64 <= max && batch.len() < profile.batch_ops_max {
        let key = harness.key(format!("{:06}", batch.len()))?;
        let missing = (max + 1).saturating_sub((batch.bytes() + key.as_bytes().len()) as u64);
        let value = vec![1; missing.min(profile.value_bytes_max) as usize];
        batch.put(key, value, Expect::Any);
    }
    if batch.bytes() as u64 <= max {
        return untested("batch_ops_max is reached before batch_bytes_max".to_owned());
    }
    let bytes = batch.bytes();
    let apply = harness.backend().apply(batch).await;
    must_fail(apply, ErrorKind::Invalid, &format!("a batch of {bytes} bytes"))?;
    let names = harness.names("").await?;
    ensure!(names.is_empty(), "a refused batch left {names:?}");
    Ok(Verdict::Kept)
}

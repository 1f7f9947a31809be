//! Chapter M: reading many values at once.

use super::harness::{Check, Harness, Verdict, ensure, pattern};

/// M1: the answer has one place for each key, in the order asked, `None` where one is missing.
pub(super) async fn one_place_for_each_key(harness: &Harness) -> Check {
    let mut keys = Vec::new();
    // Asked in neither ascending nor descending order: 0, 37, 74, 11, …
    for at in 0..100 {
        keys.push(harness.key(format!("k{:03}", at * 37 % 100))?);
    }
    for key in keys.iter().step_by(3) {
        harness.put(key, key.as_str().to_owned()).await?;
    }
    let found = harness.backend().get_many(&keys).await?;
    ensure!(found.len() == keys.len(), "{} keys gave {} places", keys.len(), found.len());
    for (at, (key, found)) in keys.iter().zip(&found).enumerate() {
        let wanted = (at % 3 == 0).then_some(key.as_bytes());
        let value = found.as_ref().map(|object| object.value.as_ref());
        ensure!(value == wanted, "place {at}, {key:?}, holds {found:?}");
    }
    Ok(Verdict::Kept)
}

/// M2: a key asked twice is answered twice.
pub(super) async fn key_asked_twice_is_answered_twice(harness: &Harness) -> Check {
    let (there, missing) = (harness.key("there")?, harness.key("missing")?);
    harness.put(&there, "x").await?;
    let asked = [there.clone(), missing.clone(), there.clone(), missing, there];
    let found = harness.backend().get_many(&asked).await?;
    let present: Vec<bool> = found.iter().map(Option::is_some).collect();
    ensure!(
        present == [true, false, true, false, true],
        "asking present, missing, present, missing, present gave {found:?}"
    );
    Ok(Verdict::Kept)
}

/// M3: asking for no keys gives no places.
pub(super) async fn nothing_asked_is_nothing(harness: &Harness) -> Check {
    let found = harness.backend().get_many(&[]).await?;
    ensure!(found.is_empty(), "asking for nothing gave {found:?}");
    Ok(Verdict::Kept)
}

/// M4: each place is what `get` of that key returns: value, size and revision.
pub(super) async fn agrees_with_get(harness: &Harness) -> Check {
    let mut keys = Vec::new();
    for (at, len) in [0, 1, 100, 5_000, 70_000].into_iter().enumerate() {
        let key = harness.key(format!("k{at}"))?;
        harness.put(&key, pattern(harness.size(len), at as u64)).await?;
        keys.push(key);
    }
    keys.push(harness.key("missing")?);
    let many = harness.backend().get_many(&keys).await?;
    ensure!(many.len() == keys.len(), "{} keys gave {} places", keys.len(), many.len());
    for (key, found) in keys.iter().zip(many) {
        let one = harness.get(key).await?;
        ensure!(one == found, "{key:?}: get gives {one:?}, get_many {found:?}");
    }
    Ok(Verdict::Kept)
}

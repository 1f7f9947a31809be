//! Chapter H: what the backend says about itself.

use holdall_core::Expect;

use super::harness::{Check, Harness, Verdict, ensure};

/// H1: while reads and writes succeed, `health` is Ok, and its notes are single lines.
pub(super) async fn answers_while_serving(harness: &Harness) -> Check {
    let key = harness.key("value")?;
    for _ in 0..2 {
        let health = harness.backend().health().await?;
        for note in &health.notes {
            ensure!(
                !note.trim().is_empty() && !note.contains('\n'),
                "a note is not a line: {note:?}"
            );
        }
        harness.put(&key, "x").await?;
    }
    Ok(Verdict::Kept)
}

/// H2: the profile does not change while the backend is open.
pub(super) async fn profile_does_not_change(harness: &Harness) -> Check {
    let key = harness.key("value")?;
    harness.put(&key, "x").await?;
    harness.backend().delete(&key, Expect::Any).await?;
    let now = harness.backend().profile().clone();
    ensure!(now == *harness.profile(), "the profile was {:?} and is {now:?}", harness.profile());
    Ok(Verdict::Kept)
}

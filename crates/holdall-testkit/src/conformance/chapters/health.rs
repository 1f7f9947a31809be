//! Chapter H: what the backend says about itself.

use holdall_core::{Batch, Expect};

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
    let (backend, key) = (harness.backend(), harness.key("value")?);
    // Looked at after each call, so that no later one can change it back.
    for call in 0..7 {
        match call {
            0 => drop(harness.put(&key, "x").await?),
            1 => drop(harness.get(&key).await?),
            2 => drop(backend.get_many(std::slice::from_ref(&key)).await?),
            3 => drop(harness.names("").await?),
            4 => drop(backend.health().await?),
            // Where there are no batches it is refused, and that changes no profile either.
            5 => drop(backend.apply(Batch::new()).await),
            _ => backend.delete(&key, Expect::Any).await?,
        }
        let (was, is) = (harness.profile(), backend.profile());
        ensure!(is == was, "the profile was {was:?} and is {is:?}");
    }
    Ok(Verdict::Kept)
}

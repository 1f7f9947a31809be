//! Chapter F: failures say what, where and what to do, and nothing secret.

use holdall_core::{Batch, ByteRange, Bytes, Error, ErrorKind, Expect, List, Operation, Result};

use super::expect::foreign;
use super::harness::{Check, Harness, Verdict, ensure, must_fail};

/// Bytes that stand for a user's secret; as text, so that a message could hold it.
const SECRET: &str = "s3cr3t-of-the-value";

fn keep<T>(errors: &mut Vec<Error>, result: Result<T>) {
    errors.extend(result.err());
}

/// Every error that can be provoked without breaking anything.
async fn provoke(harness: &Harness) -> Check<Vec<Error>> {
    let (backend, key) = (harness.backend(), harness.key("value")?);
    harness.put(&key, SECRET).await?;
    let mut errors = Vec::new();
    for expect in [Expect::Absent, foreign()] {
        keep(&mut errors, backend.put(&key, Bytes::from(SECRET), expect.clone()).await);
        keep(&mut errors, backend.delete(&key, expect.clone()).await);
        let mut batch = Batch::new();
        batch.put(key.clone(), SECRET, expect);
        keep(&mut errors, backend.apply(batch).await);
    }
    let mut twice = Batch::new();
    twice.put(key.clone(), SECRET, Expect::Any).put(key.clone(), SECRET, Expect::Any);
    keep(&mut errors, backend.apply(twice).await);
    keep(&mut errors, backend.get(&key, ByteRange::new(2, 1)).await);
    keep(&mut errors, backend.list(&List::prefix(harness.prefix()).limit(0)).await);
    Ok(errors)
}

/// F1: a conflict says which operation met it and which key it is about.
pub(super) async fn conflict_says_where(harness: &Harness) -> Check {
    if !harness.can(&Expect::Absent) {
        return super::expect::refused(harness, &Expect::Absent).await;
    }
    let (backend, key) = (harness.backend(), harness.key("value")?);
    harness.put(&key, "x").await?;
    let mut batch = Batch::new();
    batch.put(key.clone(), "y", Expect::Absent);
    let mut met = vec![
        (Operation::Put, backend.put(&key, "y".into(), Expect::Absent).await.map(drop)),
        (Operation::Delete, backend.delete(&key, Expect::Absent).await),
    ];
    if harness.profile().atomic {
        met.push((Operation::Apply, backend.apply(batch).await.map(drop)));
    }
    for (operation, result) in met {
        let error = must_fail(result, ErrorKind::Conflict, operation.as_str())?;
        ensure!(
            error.operation() == operation,
            "a conflict of {operation} says it was {}",
            error.operation()
        );
        ensure!(error.key() == Some(&key), "a conflict of {operation} names {:?}", error.key());
    }
    Ok(Verdict::Kept)
}

/// F2: a message is one line, not empty, and does not begin with a capital letter.
pub(super) async fn messages_are_one_sentence(harness: &Harness) -> Check {
    for error in provoke(harness).await? {
        let message = error.message();
        let first = message.chars().next();
        ensure!(
            !message.trim().is_empty()
                && !message.contains(['\n', '\r'])
                && !first.is_some_and(char::is_uppercase),
            "this message is not one lower-case sentence: {message:?}"
        );
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            let text = cause.to_string();
            ensure!(
                text.is_empty() || !message.contains(&text),
                "the message {message:?} repeats its source"
            );
            source = cause.source();
        }
    }
    Ok(Verdict::Kept)
}

/// F3: no error shows bytes of a value.
pub(super) async fn messages_do_not_show_values(harness: &Harness) -> Check {
    for error in provoke(harness).await? {
        ensure!(
            !format!("{error} {error:?}").contains(SECRET),
            "an error of {} shows the value",
            error.operation()
        );
    }
    Ok(Verdict::Kept)
}

//! Between times and commits: the catalog's log rows, and the sealed log where these are gone.

use holdall_core::{Error, List, Operation, Result, Timestamp};

use super::ReadContext;
use crate::format::entry::Version;
use crate::format::head::Head;
use crate::format::log::{Commit, decode_commits};
use crate::log_reader::{LogItem, read_log};

/// The time of a commit; nothing if no log has it any more.
pub(super) async fn commit_time(
    context: &ReadContext,
    commit: Version,
) -> Result<Option<Timestamp>> {
    let group = group_of(context, commit).await?;
    let found = group.iter().flatten().find(|found| found.sequence == commit);
    Ok(found.map(|found| found.time))
}

/// The newest commit that is not younger than `time`, which must be before the head's.
///
/// Halves the numbers, so it reads about as many rows as the volume's commits have binary digits.
///
/// # Errors
/// `Invalid` if no log goes back to that time.
pub(super) async fn commit_at(
    context: &ReadContext,
    head: &Head,
    time: Timestamp,
) -> Result<Version> {
    // The commit `low` is not younger than `time`, or not known; `high` is younger.
    let (mut low, mut high) = (0, head.sequence);
    let mut low_is_known = true;
    let mut oldest = head.time;
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        let Some(group) = group_of(context, middle).await? else {
            // Logs are forgotten from their beginning, so what is missing is old.
            (low, low_is_known) = (middle, false);
            continue;
        };
        let upto = group.partition_point(|commit| commit.time <= time);
        if let Some(younger) = group.get(upto) {
            high = high.min(younger.sequence);
            oldest = younger.time;
        }
        if let Some(older) = upto.checked_sub(1).and_then(|last| group.get(last))
            && older.sequence >= low
        {
            (low, low_is_known) = (older.sequence, true);
        }
    }
    if low_is_known {
        return Ok(low);
    }
    let message = format!(
        "the log no longer goes back to {time}; it begins at {oldest} (seconds since 1970): ask \
         for a later time or a snapshot"
    );
    Err(Error::invalid(Operation::Get, message))
}

/// Consecutive commits, this one among them; nothing if no log has it any more.
async fn group_of(context: &ReadContext, commit: Version) -> Result<Option<Vec<Commit>>> {
    // A row is named for its last commit, so the first row from here on holds this one.
    let list = List::prefix(context.keys.class('l'))
        .at(context.keys.log(commit).as_str())
        .limit(1)
        .with_values();
    let page = context.catalog.list(&list).await?;
    if let Some(row) = page.rows.first()
        && let Some(object) = &row.object
    {
        let group = decode_commits(&row.key, &object.value)?;
        if group.iter().any(|found| found.sequence == commit) {
            return Ok(Some(group));
        }
    }
    sealed_group(context, commit).await
}

async fn sealed_group(context: &ReadContext, commit: Version) -> Result<Option<Vec<Commit>>> {
    let data = std::sync::Arc::clone(&context.data);
    let mut log = read_log(data, context.data_keys.clone(), commit);
    while let Some(item) = log.next().await? {
        match item {
            LogItem::Commits(group) => return Ok(Some(group)),
            LogItem::Gap { .. } => return Ok(None),
            // Another run may have it.
            LogItem::Missing { .. } | LogItem::Damage { .. } => {}
        }
    }
    Ok(None)
}

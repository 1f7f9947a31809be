//! Which commit a view of the past shows, and whether history still has all of it.

use std::sync::OnceLock;

use holdall_core::{BackendExt, Error, List, Operation, Result, Timestamp};

use super::{ReadContext, moment};
use crate::format::entry::{Name, Version};
use crate::format::head::Head;
use crate::format::history::SnapshotRow;
use crate::format::policy::VolumeRow;
use crate::format::row;

/// A point in the life of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// The present, which moves on.
    Latest,
    /// The state that this commit left. One that is yet to come is the newest there is.
    Commit(Version),
    /// The state at this time. One that is yet to come is the newest there is.
    Time(Timestamp),
    /// The state that this snapshot pins.
    Snapshot(Name),
}

/// The commit that a view shows.
#[derive(Debug)]
pub(super) struct Pin {
    /// Its number.
    pub(super) commit: Version,
    /// The time at which entries must not have ended.
    pub(super) time: Timestamp,
    /// A snapshot that pins the commit, once one was looked for and found.
    snapshot: OnceLock<Name>,
    /// The time of the commit behind it, once that is known.
    replaced: OnceLock<Timestamp>,
}

impl Pin {
    fn at(commit: Version, time: Timestamp) -> Self {
        Self { commit, time, snapshot: OnceLock::new(), replaced: OnceLock::new() }
    }

    /// Finds the commit; nothing for the present.
    pub(super) async fn new(context: &ReadContext, at: At) -> Result<Option<Self>> {
        let head = context.head().await?;
        let pin = match at {
            At::Latest => return Ok(None),
            At::Commit(commit) if commit >= head.sequence => Self::at(head.sequence, head.time),
            At::Commit(commit) => Self::at_commit(context, commit).await?,
            At::Time(time) if time >= head.time => {
                Self::at(head.sequence, time.min(context.env.now()).max(head.time))
            }
            At::Time(time) => Self::at(moment::commit_at(context, &head, time).await?, time),
            At::Snapshot(name) => {
                let Some(row) = snapshot(context, &name).await? else {
                    let message = format!("there is no snapshot {name:?}; list the snapshots");
                    return Err(Error::invalid(Operation::Get, message));
                };
                let pin = Self::at(row.sequence, row.time);
                pin.snapshot.get_or_init(|| name);
                pin
            }
        };
        pin.check(context).await?;
        Ok(Some(pin))
    }

    async fn at_commit(context: &ReadContext, commit: Version) -> Result<Self> {
        if commit == 0 {
            return Ok(Self::at(0, Timestamp::EPOCH));
        }
        if let Some(time) = moment::commit_time(context, commit).await? {
            return Ok(Self::at(commit, time));
        }
        // The log no longer goes back so far, but a snapshot remembers the time of its commit.
        match snapshot_of(context, commit).await? {
            Some((name, row)) => {
                let pin = Self::at(commit, row.time);
                pin.snapshot.get_or_init(|| name);
                Ok(pin)
            }
            None => Err(too_old(context, commit).await?),
        }
    }

    /// Refuses to go on if something that the commit shows may have been forgotten: asked after
    /// each reading.
    ///
    /// The commit shows what was superseded behind it. That is kept for the policy's history from
    /// then on, so all of it is there if the very next commit is younger than that, and than the
    /// time from which on the policy's history has been that long.
    pub(super) async fn check(&self, context: &ReadContext) -> Result<()> {
        let keys = [context.keys.head(), context.keys.volume()];
        let rows = context.catalog.get_many(&keys).await?;
        let [Some(head), Some(volume)] = rows.as_slice() else {
            let message = "the volume's catalog has no head; run `holdall rebuild`";
            return Err(Error::corrupt(Operation::Get, message).with_key(&keys[0]));
        };
        let head: Head = row::decode(&keys[0], &head.value)?;
        if self.commit >= head.sequence {
            return Ok(());
        }
        let volume: VolumeRow = row::decode(&keys[1], &volume.value)?;
        let history = volume.policy.history;
        if !history.is_zero()
            && let Some(replaced) = self.replaced(context).await?
            && context.env.now().since(replaced) < history
            && replaced >= volume.history_from
        {
            return Ok(());
        }
        if self.is_pinned(context).await? {
            return Ok(());
        }
        Err(too_old(context, self.commit).await?)
    }

    async fn replaced(&self, context: &ReadContext) -> Result<Option<Timestamp>> {
        if let Some(time) = self.replaced.get() {
            return Ok(Some(*time));
        }
        let time = moment::commit_time(context, self.commit + 1).await?;
        Ok(time.map(|time| *self.replaced.get_or_init(|| time)))
    }

    async fn is_pinned(&self, context: &ReadContext) -> Result<bool> {
        if let Some(name) = self.snapshot.get() {
            let row = snapshot(context, name).await?;
            if row.is_some_and(|row| row.sequence == self.commit) {
                return Ok(true);
            }
        }
        let found = snapshot_of(context, self.commit).await?;
        Ok(found.map(|(name, _)| self.snapshot.get_or_init(|| name)).is_some())
    }
}

async fn snapshot(context: &ReadContext, name: &Name) -> Result<Option<SnapshotRow>> {
    let key = context.keys.snapshot(name);
    let found = context.catalog.get_all(&key).await?;
    found.map(|found| row::decode(&key, &found.value)).transpose()
}

/// A snapshot that pins this commit.
async fn snapshot_of(
    context: &ReadContext,
    commit: Version,
) -> Result<Option<(Name, SnapshotRow)>> {
    let class = context.keys.class('p');
    let mut list = List::prefix(class.as_str()).with_values();
    loop {
        let page = context.catalog.list(&list).await?;
        for listed in &page.rows {
            let Some(object) = &listed.object else { continue };
            let row: SnapshotRow = row::decode(&listed.key, &object.value)?;
            if row.sequence == commit {
                let name = listed.key.as_str().strip_prefix(&class).unwrap_or_default();
                return Ok(Some((Name::parse(name)?, row)));
            }
        }
        match page.rows.last() {
            Some(last) if page.more => list = list.after(last.key.as_str()),
            _ => return Ok(None),
        }
    }
}

/// Says that a commit can no longer be seen, and since when they can.
async fn too_old(context: &ReadContext, commit: Version) -> Result<Error> {
    let key = context.keys.volume();
    let Some(found) = context.catalog.get_all(&key).await? else {
        let message = "the volume's catalog has no identity; run `holdall rebuild`";
        return Err(Error::corrupt(Operation::Get, message).with_key(&key));
    };
    let VolumeRow { policy, history_from, .. } = row::decode(&key, &found.value)?;
    let message = if policy.history.is_zero() {
        format!(
            "commit {commit} can no longer be seen: the volume keeps no history; give its policy \
             a history, or take snapshots"
        )
    } else {
        let since = context.env.now().minus(policy.history).max(history_from);
        format!(
            "commit {commit} can no longer be seen: history is kept since {since} (seconds since \
             1970); ask for a later state or a snapshot"
        )
    };
    Ok(Error::invalid(Operation::Get, message))
}

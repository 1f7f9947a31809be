//! Snapshots: named commits whose entries are kept until the snapshot is deleted.

use holdall_core::{BackendExt, Result, Timestamp};
use serde::Serialize;

use crate::commit::{Request, Write};
use crate::format::entry::{Name, Version};
use crate::format::history::SnapshotRow;
use crate::format::keys::CatalogKeys;
use crate::format::row;
use crate::volume::Volume;

/// A snapshot of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SnapshotInfo {
    /// Its name.
    pub name: Name,
    /// The commit that it pins.
    pub version: Version,
    /// When it was made.
    pub created: Timestamp,
}

impl Volume {
    /// Pins what the volume holds now under a name.
    ///
    /// # Errors
    /// `Conflict` if there is a snapshot of that name.
    pub async fn snapshot(&self, name: &Name) -> Result<SnapshotInfo> {
        let write = Write::Snapshot { name: name.clone() };
        let committed = self.shared.commit(Request::one(write)).await?;
        Ok(SnapshotInfo { name: name.clone(), version: committed.version, created: committed.time })
    }

    /// Deletes a snapshot and says whether there was one. What only it has kept is collected.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn delete_snapshot(&self, name: &Name) -> Result<bool> {
        let write = Write::Unsnapshot { name: name.clone() };
        let committed = self.shared.commit(Request::one(write)).await?;
        Ok(committed.before.first().is_some_and(Option::is_some))
    }

    /// All snapshots, by name.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn snapshots(&self) -> Result<Vec<SnapshotInfo>> {
        let prefix = CatalogKeys::new(self.shared.id).class('p');
        let rows = self.shared.resources.catalog.list_all(&prefix, true).await?;
        let mut snapshots = Vec::with_capacity(rows.len());
        for found in rows {
            let Some(object) = found.object else { continue };
            let snapshot: SnapshotRow = row::decode(&found.key, &object.value)?;
            let name = Name::parse(found.key.as_str().get(prefix.len()..).unwrap_or_default())?;
            let (version, created) = (snapshot.sequence, snapshot.created);
            snapshots.push(SnapshotInfo { name, version, created });
        }
        Ok(snapshots)
    }
}

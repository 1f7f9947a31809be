//! A volume: named store with a policy; a transactional catalog and its immutable segments.

// What the tests of this crate share with those in `tests/` names it by this name.
#[cfg(test)]
extern crate self as holdall_volume;

pub mod checkpoint;
mod commit;
pub(crate) mod data;
pub mod format;
pub mod gc;
pub mod log_reader;
mod placement;
pub mod read;
pub mod rebuild;
pub mod seal;
pub mod verify;
mod volume;
mod write;

pub use commit::{Committed, Condition};
pub use placement::{
    Place, PlaceHealth, PlaceInfo, Places, RepairOptions, RepairProgressFn, RepairReport,
    ReplicasReport, ScrubOptions, ScrubProgressFn, ScrubReport, ZoneLoss,
};
pub use read::{
    At, ChangePage, EntryPage, ListOptions, Query, ReadLevel, Reading, VersionInfo, VersionPage,
    View,
};
pub use volume::{Lost, Resources, Usage, Volume};
pub use write::{PartInfo, PutItem, PutOptions, SnapshotInfo, Transaction, Upload, UploadInfo};

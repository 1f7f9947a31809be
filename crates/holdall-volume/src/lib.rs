//! A volume: named store with a policy; a transactional catalog and its immutable segments.

pub mod checkpoint;
pub(crate) mod data;
pub mod format;
pub mod log_reader;
pub mod seal;
pub mod verify;

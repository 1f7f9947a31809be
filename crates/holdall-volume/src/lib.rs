//! A volume: named store with a policy; a transactional catalog and its immutable segments.

// What the tests of this crate share with those in `tests/` names it by this name.
#[cfg(test)]
extern crate self as holdall_volume;

pub mod checkpoint;
pub(crate) mod data;
pub mod format;
pub mod log_reader;
pub mod seal;
pub mod verify;

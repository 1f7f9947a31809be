//! The bytes of a volume: pure functions between records and bytes, apart from all I/O.
//!
//! `docs/format.md` specifies them; golden files in `fixtures/volumes` hold every version that was
//! ever written. Two shells carry everything: a [`row`] in the catalog, a [`frame`] on a data
//! backend. Both carry a version, and a checksum that also covers where they belong, so that a
//! row or frame in a wrong place is noticed like a damaged one.

pub mod checkpoint;
pub mod chunk;
pub mod entry;
pub mod frame;
pub mod head;
pub mod history;
pub mod keys;
pub mod log;
pub mod policy;
pub mod row;
pub mod segment;
pub mod upload;
mod zstd_context;

/// The version of the format that this program writes. It reads this one and every earlier one.
pub const FORMAT_VERSION: u8 = 2;

//! The contract: what a backend is, and the few types that everything else is built from.
//!
//! ```text
//!   volume, jobs, models        callers: comfort through BackendExt
//!            │
//!         Backend               this crate: nine methods, no defaults
//!            │
//!   layers ─ layers ─ backend   wrappers and engines, all with one written contract
//! ```
//!
//! The contract itself is `docs/contract.md`: numbered clauses, each with the name of its test.
//! Nothing here does I/O, reads a clock or rolls a die: [`Env`] is the only door to those.
//!
//! ```
//! use holdall_core::{Backend, BackendExt, Bytes, Expect, Key, Memory};
//! # futures::executor::block_on(async {
//! let backend = Memory::new();
//! let key = Key::parse("greeting")?;
//! backend.put(&key, Bytes::from("hello"), Expect::Absent).await?;
//! assert_eq!(backend.get_all(&key).await?.unwrap().value, "hello");
//! # Ok::<(), holdall_core::Error>(()) }).unwrap();
//! ```

mod backend;
mod batch;
mod description;
mod env;
mod error;
mod ext;
mod key;
mod location;
mod memory;
mod page;
mod profile;
mod revision;
pub mod units;
pub mod waiting;

pub use backend::Backend;
pub use batch::{Batch, Op};
pub use bytes::Bytes;
pub use description::{ContentType, Description, Filter, Find};
pub use env::{Env, Environment, Stopwatch, Throttle, Timestamp};
pub use error::{Error, ErrorKind, Operation, Result};
pub use ext::BackendExt;
pub use key::{KEY_BYTES_MAX, Key};
pub use location::Location;
pub use memory::Memory;
pub use page::{ByteRange, List, Object, Page, Row};
pub use profile::{Conditions, Durability, Health, Profile, Reach};
pub use revision::{Expect, Revision};

/// Re-exported so that implementing [`Backend`] needs no dependency of one's own.
pub use async_trait::async_trait;

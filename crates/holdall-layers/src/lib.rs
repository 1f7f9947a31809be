//! Backends wrapped round backends. Every layer implements the whole contract and is itself a
//! backend; `stack.rs` alone knows their order.
//!
//! ```text
//!          callers: volume, jobs, commands
//!                     │
//!      ┌──────────────▼──────────────┐
//!      │ Metered     counts, times   │  what the caller feels
//!      ├─────────────────────────────┤
//!      │ Limited     turns, deadline │  no call without an end
//!      ├─────────────────────────────┤
//!      │ Readonly    nothing changes │
//!      ├─────────────────────────────┤
//!      │ Prefixed    a part of it    │
//!      ├─────────────────────────────┤   ┌────────────────────┐
//!      │ Cached      copies, nearer  ├──▶│ memory, disk, front│
//!      ├─────────────────────────────┤   ├────────────────────┤
//!      │ Behind      written later   ├──▶│ a front            │
//!      ├─────────────────────────────┤   └────────────────────┘
//!      │ Retrying    once more       │  across a network
//!      ├─────────────────────────────┤   ┌────────────────────┐
//!      │ Journaled   durable, quick  ├──▶│ folder of journals │
//!      └──────────────┬──────────────┘   └────────────────────┘
//!                     │  in sorted batches, behind
//!      ┌──────────────▼──────────────┐
//!      │ the engine: LMDB, …         │
//!      └─────────────────────────────┘
//! ```
//!
//! ```
//! use std::sync::Arc;
//! use holdall_core::{Backend, Bytes, Expect, Key, Memory};
//! use holdall_layers::{Call, Limits, Stack};
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let env = holdall_runtime::env();
//! let stack = Stack::new(Arc::new(Memory::new()))
//!     .with_limits(Limits::default())
//!     .with_metrics()
//!     .open(&env)
//!     .await?;
//! stack.backend.put(&Key::parse("greeting")?, Bytes::from("hello"), Expect::Any).await?;
//! assert_eq!(stack.metrics.unwrap().of(Call::Put).count, 1);
//! # Ok::<(), holdall_core::Error>(()) }).unwrap();
//! ```

mod behind;
mod cached;
mod histogram;
mod journaled;
mod limited;
mod metered;
mod prefixed;
mod readonly;
mod retrying;
mod revision_text;
mod stack;

pub use behind::{Backlog, Behind, BehindSettings};
pub use cached::{CacheCounts, CacheDisk, CacheSettings, Cached, Writes};
pub use histogram::{Latency, Times};
#[doc(hidden)]
pub use journaled::fuzz_journal;
pub use journaled::{Disk, JournalSettings, Journaled, MARKER_KEY, RealDisk};
pub use limited::{Limited, Limits};
pub use metered::{Call, CallMetrics, Metered, Metrics};
pub use prefixed::Prefixed;
pub use readonly::Readonly;
pub use retrying::{Retries, Retrying};
pub use stack::{Stack, Stacked};

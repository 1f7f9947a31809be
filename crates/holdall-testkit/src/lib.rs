//! How we know: conformance suite, strict and faulty backends, simulation, damage, model.
//!
//! A backend's `tests/conformance.rs`, whole (dev-dependencies: `holdall-testkit`,
//! `holdall-runtime`, `tokio` with `macros` and `rt-multi-thread`, `tempfile`):
//!
//! ```ignore
//! //! The contract on the file backend.
//! use std::sync::Arc;
//!
//! use holdall_core::{Backend, Result, async_trait};
//! use holdall_testkit::conformance::Fixture;
//!
//! /// A folder that outlives the backend, so that reopening finds the same data.
//! struct Folder(tempfile::TempDir);
//!
//! #[async_trait]
//! impl Fixture for Folder {
//!     async fn open(&self) -> Result<Arc<dyn Backend>> {
//!         Ok(Arc::new(File::open(self.0.path(), holdall_runtime::env()).await?))
//!     }
//! }
//!
//! holdall_testkit::conformance!(Folder(tempfile::tempdir().unwrap()));
//! ```
//!
//! That makes one test for each clause of `docs/contract.md`: `get::range_is_clipped` and so on. A
//! backend that needs nothing to be made is its own fixture: `conformance!(Memory::new)`. Several
//! fixtures in one file (a backend under each layer, say) go into one module each.

//!
//! The rest, one file each: doubles ([`Strict`], [`Faulty`], [`Recording`], [`Crashing`]), the
//! attach [`probe()`] and a short [`measure()`]ment for live stores, [`damage`], the [`Model`] that
//! volumes are compared with, and the [`sim`]ulation runner. `docs/testing.md` says when to use
//! which.

mod chance;
pub mod conformance;
mod crash;
pub mod damage;
mod faulty;
mod measure;
mod method;
mod model;
mod probe;
mod recording;
pub mod sim;
pub mod speed;
mod strict;

pub use chance::Chance;
pub use crash::{CRASH_VARIABLE, Crash, CrashPoints, Crashing};
pub use faulty::{Fault, Faulty, Injected, Plan};
pub use measure::{Load, Rate, measure};
pub use method::{Method, suspend};
pub use model::Model;
pub use probe::{Probe, probe};
pub use recording::{Call, Recording};
pub use strict::Strict;

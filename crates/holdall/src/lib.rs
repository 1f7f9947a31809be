//! A storage engine that keeps any kind of data on a backend you already have, and checks every
//! byte it gives back.
//!
//! An [`Engine`] has two backends: one holds the catalogs of its volumes, one their data. The
//! shortest way to both is a folder:
//!
//! ```no_run
//! use holdall::{Engine, ReadOptions, WriteOptions};
//! # #[tokio::main] async fn main() -> holdall::Result<()> {
//! let engine = Engine::builder().home("/srv/holdall").holder("my-service").open().await?;
//! engine.create_volume("data-volume").await?;
//! engine.write("data-volume", "key1", "some bytes", WriteOptions::default()).await?;
//! let bytes = engine.read("data-volume", "key1", ReadOptions::default()).await?;
//! assert_eq!(bytes.unwrap(), "some bytes");
//! engine.close().await
//! # }
//! ```
//!
//! # Volumes
//!
//! A volume has a name, a policy, and entries. What it may hold and how it keeps it is said when
//! it is made, and may be changed at any time:
//!
//! ```
//! use std::time::Duration;
//! use holdall::{Compression, Engine, VolumeSpec};
//! # #[tokio::main] async fn main() -> holdall::Result<()> {
//! let engine = Engine::builder().catalog("memory:").data("memory:").open().await?;
//! let volume = engine
//!     .create_volume(
//!         VolumeSpec::new("data-volume")
//!             .quota(100 << 30)
//!             .history(Duration::from_secs(7 * 86_400))
//!             .compression(Compression::Zstd { level: 3 }),
//!     )
//!     .await?;
//! assert_eq!(volume.name(), "data-volume");
//! engine.resize_volume("data-volume", Some(200 << 30)).await?;
//! assert_eq!(engine.list_volumes().await?[0].policy.quota_bytes, Some(200 << 30));
//! assert!(engine.get_volume("another").await?.is_none());
//! assert!(engine.delete_volume("data-volume").await?);
//! # Ok(()) }
//! ```
//!
//! # Entries
//!
//! [`Engine::write`] and [`Engine::read`] are for those who think in keys. A [`Volume`] has more:
//! conditions, attributes, ranges, streams, many at once, transactions, versions, snapshots.
//!
//! ```
//! use holdall::{Condition, Engine, Name, PutItem, PutOptions};
//! # #[tokio::main] async fn main() -> holdall::Result<()> {
//! let engine = Engine::builder().open().await?; // in memory
//! let volume = engine.create_volume("data-volume").await?;
//!
//! let name = Name::parse("reports/2026/november")?;
//! let first = volume
//!     .put(&name, "a report", PutOptions { condition: Condition::Absent, ..Default::default() })
//!     .await?;
//!
//! // Nobody has changed it since: or this is a `Conflict`, and nothing was written.
//! let unchanged = Condition::Version(first.version);
//! let options = PutOptions { condition: unchanged, ..Default::default() };
//! volume.put(&name, "a better report", options).await?;
//!
//! let reading = volume.get(&name).await?.unwrap();
//! assert_eq!(reading.entry().size, 15);
//! assert_eq!(reading.range(2..8).await?, "better");
//!
//! // Many small entries share the cost of one commit.
//! let items = (0..100).map(|number| {
//!     let name = Name::parse(format!("numbers/{number:03}"))?;
//!     let bytes = holdall::Bytes::from(number.to_string());
//!     Ok(PutItem { name, bytes, options: PutOptions::default() })
//! });
//! let items = items.collect::<holdall::Result<Vec<_>>>()?;
//! for committed in volume.put_many(items).await? {
//!     committed?;
//! }
//! # Ok(()) }
//! ```
//!
//! # Streams
//!
//! What is larger than memory goes in and comes out as a stream of [`Bytes`]; how long it is need
//! not be known.
//!
//! ```
//! use futures::{StreamExt, TryStreamExt, stream};
//! use holdall::{Bytes, Engine, Name, PutOptions};
//! # #[tokio::main] async fn main() -> holdall::Result<()> {
//! let engine = Engine::builder().open().await?;
//! let volume = engine.create_volume("data-volume").await?;
//! let name = Name::parse("large")?;
//! let source = stream::iter(0..64_u8).map(|number| Ok(Bytes::from(vec![number; 64 << 10])));
//! volume.put_stream(&name, source, PutOptions::default()).await?;
//!
//! let reading = volume.get(&name).await?.unwrap();
//! let stream = reading.stream();
//! futures::pin_mut!(stream);
//! let mut bytes = 0;
//! while let Some(piece) = stream.try_next().await? {
//!     bytes += piece.len(); // every piece was verified against its digest
//! }
//! assert_eq!(bytes, 4 << 20);
//! # Ok(()) }
//! ```
//!
//! # Listing, and the past
//!
//! ```
//! use std::time::Duration;
//! use holdall::{At, Engine, ListOptions, ReadOptions, VolumeSpec, WriteOptions};
//! # #[tokio::main] async fn main() -> holdall::Result<()> {
//! let engine = Engine::builder().open().await?;
//! let kept = VolumeSpec::new("data-volume").history(Duration::from_secs(3600));
//! engine.create_volume(kept).await?;
//! let write = async |key: &str, text: &'static str| {
//!     engine.write("data-volume", key, text, WriteOptions::default()).await
//! };
//! let before = write("photos/a", "first").await?;
//! write("photos/a", "second").await?;
//! write("photos/2026/b", "another").await?;
//!
//! let page = engine.list("data-volume", ListOptions::prefix("photos/").delimiter("/")).await?;
//! assert_eq!(page.prefixes, ["photos/2026/"]);
//! assert_eq!(page.entries[0].0.as_str(), "photos/a");
//!
//! let then = ReadOptions { at: Some(At::Commit(before.version)), ..Default::default() };
//! assert_eq!(engine.read("data-volume", "photos/a", then).await?.unwrap(), "first");
//! # Ok(()) }
//! ```
//!
//! # Backends
//!
//! [`BACKENDS`] are those that are known by location; anything that implements [`Backend`]
//! serves as well, through [`EngineBuilder::data_backend`]: `examples/own_backend.rs` is one in
//! one file. [`open_backend`] opens a backend alone.
//!
//! # Errors
//!
//! Everything returns one [`Error`], whose [`ErrorKind`] says how to react. A missing entry is not
//! an error but `None`.
//!
//! # Features
//!
//! `lmdb` (on by default): the embedded engine, `lmdb://` and `journal+lmdb://`.

mod config;
mod engine;
mod health;
mod jobs;
mod registry;
mod secrets;
mod settings;
mod stats;
mod volumes;

pub use config::{
    BackendConfig, CacheConfig, Config, Examined, FrontConfig, FrontPolicy, VolumeConfig,
};
pub use engine::{Engine, EngineBuilder, EngineMetrics, ReadOptions, WriteOptions};
pub use health::{BackendHealth, EngineHealth, HealthPolicy, HealthState, ask as ask_health};
pub use registry::{BACKENDS, KnownBackend};
pub use secrets::refuse_literal;
pub use settings::{
    Settings, format_compression, parse_compression, parse_location, set_policy_field,
};
pub use stats::{BackendStats, CallStats, KeptStats, ProcessStats, read_stats};
pub use volumes::{FoundVolume, VolumeInfo, VolumeSpec};

pub use holdall_core::{
    Backend, BackendExt, Batch, ByteRange, Bytes, Conditions, ContentType, Description, Durability,
    Env, Environment, Error, ErrorKind, Expect, Filter, Find, Health, KEY_BYTES_MAX, Key, List,
    Location, Memory, Object, Op, Operation, Page, Profile, Reach, Result, Revision, Row,
    Stopwatch, Throttle, Timestamp, async_trait, units,
};
pub use holdall_jobs::{Event as JobEvent, JobState, JobStatus, Ran, Runner, Schedule};
pub use holdall_layers::{CallMetrics, Latency, Limits, Metrics, Stacked, Writes};
/// The real clock, chance and threads, on the tokio runtime that this is called in.
pub use holdall_runtime::env;
pub use holdall_volume::format::chunk::{Content, Digest};
pub use holdall_volume::format::entry::{Entry, NAME_BYTES_MAX, Name, Version};
pub use holdall_volume::format::keys::VolumeId;
pub use holdall_volume::format::log::{Change, Commit};
pub use holdall_volume::format::policy::{
    Acknowledge, Compression, JobPolicy, JobRow, JobRun, LifecycleRule, PlaceRow, PlaceState,
    Policy, Tier,
};
pub use holdall_volume::{
    At, ChangePage, Committed, Condition, EntryPage, ListOptions, Lost, PartInfo, Place,
    PlaceHealth, PlaceInfo, Places, PutItem, PutOptions, Query, ReadLevel, Reading, RepairOptions,
    RepairReport, ReplicasReport, ScrubOptions, ScrubReport, SnapshotInfo, Transaction, Upload,
    UploadInfo, Usage, VersionInfo, VersionPage, View, Volume, ZoneLoss, gc, rebuild, verify,
};

/// Opens the backend of a location, with limits and counts round it.
///
/// # Errors
/// `Invalid` for an unknown scheme, naming the nearest, or a wrong option; otherwise what opening
/// the backend returns.
pub async fn open_backend(location: &Location, holder: &str, env: &Env) -> Result<Stacked> {
    registry::open(location, holder, Limits::default(), env).await
}

//! A volume as an `object_store::ObjectStore`: what works on a bucket works on a volume, and every
//! byte it reads is checked against its digest.
//!
//! ```
//! use std::sync::Arc;
//! use holdall_core::{Backend, Memory};
//! use holdall_object_store_volume::VolumeStore;
//! use holdall_volume::{Resources, Volume, format::policy::Policy};
//! use object_store::{ObjectStore, ObjectStoreExt, path::Path};
//!
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let backend: Arc<dyn Backend> = Arc::new(Memory::new());
//! let resources = Resources {
//!     env: holdall_runtime::env(),
//!     catalog: Arc::clone(&backend),
//!     data: backend.into(),
//!     holder: "an example".to_owned(),
//! };
//! let volume = Volume::create(resources, "tables", Policy::default()).await?;
//! let store: Arc<dyn ObjectStore> = Arc::new(VolumeStore::new(volume));
//! store.put(&Path::from("a/b"), "some bytes".into()).await?;
//! assert_eq!(store.get(&Path::from("a/b")).await?.bytes().await?, "some bytes");
//! # Ok(()) }
//! ```
//!
//! | of an object | of the volume |
//! |---|---|
//! | location | the entry's name, as it is |
//! | ETag and version | the entry's version |
//! | content type, metadata | content type, attributes |
//! | cache control, content disposition and the like | attributes `Cache-Control` and so on |
//! | an upload in parts | an upload of the volume |
//! | copy, rename | one commit; no bytes move |
//!
//! Storage classes and tags are refused: where bytes lie is the policy's matter.

mod attributes;
mod error;
mod list;
mod multipart;

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use holdall_core::{Bytes, Timestamp};
use holdall_volume::format::entry::{Entry, Name, Version};
use holdall_volume::{Committed, Condition, Reading, Volume};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, GetOptions, GetRange, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, RenameOptions, RenameTargetMode, Result, UpdateVersion,
};

use error::Context;

/// How many deletes of one stream are under way at once: they share commits.
const DELETES_AT_ONCE: usize = 64;

/// A volume as an object store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct VolumeStore {
    volume: Volume,
}

impl VolumeStore {
    /// The entries of this volume as objects.
    pub fn new(volume: Volume) -> Self {
        Self { volume }
    }

    /// The volume itself.
    pub fn volume(&self) -> &Volume {
        &self.volume
    }

    /// The bytes that an object has, or had in the version asked for.
    async fn reading(&self, location: &Path, version: Option<&str>) -> Result<Reading> {
        let name = name(location)?;
        let found = match version {
            None => self.volume.get(&name).await,
            Some(version) => match version.parse() {
                Ok(version) => self.volume.get_version(&name, version).await,
                Err(_) => Ok(None),
            },
        };
        let found = found.map_err(|error| Context::read(location).turn(error))?;
        found.ok_or_else(|| error::missing(location))
    }

    /// What a copy or a rename that was refused is called: the volume says the same of a missing
    /// source and a target in the way, which only is where the target is to be absent.
    async fn refused(
        &self,
        from: &Path,
        to: &Path,
        condition: Condition,
        error: holdall_core::Error,
    ) -> object_store::Error {
        if error.kind() != holdall_core::ErrorKind::Conflict {
            return Context::read(from).turn(error);
        }
        if condition == Condition::Always {
            return error::missing(from);
        }
        match self.reading(from, None).await {
            Ok(_) => Context::create(to).turn(error),
            Err(missing) => missing,
        }
    }
}

impl From<Volume> for VolumeStore {
    fn from(volume: Volume) -> Self {
        Self::new(volume)
    }
}

impl fmt::Display for VolumeStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Volume({})", self.volume.name())
    }
}

/// The entry of an object.
fn name(location: &Path) -> Result<Name> {
    Name::parse(location.as_ref()).map_err(|error| Context::read(location).turn(error))
}

/// A version as an ETag; any word does, in quotes.
fn e_tag(version: Version) -> String {
    format!("\"{version}\"")
}

fn meta(location: Path, entry: &Entry) -> ObjectMeta {
    ObjectMeta {
        location,
        last_modified: time(entry.written),
        size: entry.size,
        e_tag: Some(e_tag(entry.version)),
        version: Some(entry.version.to_string()),
    }
}

fn time(time: Timestamp) -> DateTime<Utc> {
    let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}

fn put_result(committed: &Committed) -> PutResult {
    let version = committed.version;
    let (e_tag, version) = (Some(e_tag(version)), Some(version.to_string()));
    PutResult { e_tag, version, extensions: Default::default() }
}

/// The version that an update expects; one that no entry ever has, if it is none of ours.
fn expected(update: &UpdateVersion) -> Condition {
    let tag = update.e_tag.as_deref().map(|tag| tag.trim_matches('"'));
    let words = [tag, update.version.as_deref()];
    let mut versions = words.into_iter().flatten().map(|word| word.parse().unwrap_or(Version::MAX));
    let first = versions.next().unwrap_or(Version::MAX);
    let agreed = versions.all(|version| version == first);
    Condition::Version(if agreed { first } else { Version::MAX })
}

#[async_trait]
impl ObjectStore for VolumeStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let mut put = attributes::store(&options.attributes, &options.tags)?;
        let context = match &options.mode {
            PutMode::Overwrite => Context::read(location),
            PutMode::Create => {
                put.condition = Condition::Absent;
                Context::create(location)
            }
            PutMode::Update(version) => {
                put.condition = expected(version);
                Context::update(location)
            }
        };
        let put = self.volume.put(&name(location)?, Bytes::from(payload), put).await;
        put.map(|committed| put_result(&committed)).map_err(|error| context.turn(error))
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let options = attributes::store(&options.attributes, &options.tags)?;
        multipart::begin(&self.volume, location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let reading = self.reading(location, options.version.as_deref()).await?;
        let meta = meta(location.clone(), reading.entry());
        options.check_preconditions(&meta)?;
        let range = match &options.range {
            Some(range) => within(range, meta.size)?,
            None => 0..meta.size,
        };
        let attributes = attributes::load(reading.entry());
        let context = Context::read(location);
        let stream = if options.head {
            stream::empty().boxed()
        } else {
            let stream = reading.stream_range(range.clone());
            stream.map_err(move |error| context.turn(error)).boxed()
        };
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream),
            meta,
            range,
            attributes,
            extensions: Default::default(),
        })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let reading = self.reading(location, None).await?;
        let size = reading.entry().size;
        let clip = |range: &Range<u64>| within(&GetRange::Bounded(range.clone()), size);
        let ranges = ranges.iter().map(clip).collect::<Result<Vec<_>>>()?;
        reading.ranges(ranges).await.map_err(|error| Context::read(location).turn(error))
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let deletes = locations.map(move |location| {
            let store = store.clone();
            async move {
                let location = location?;
                let deleted = store.volume.delete(&name(&location)?, Condition::Always).await;
                deleted.map_err(|error| Context::read(&location).turn(error))?;
                Ok(location)
            }
        });
        deletes.buffered(DELETES_AT_ONCE).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        list::stream(&self.volume, prefix, None)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        list::stream(&self.volume, prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        list::folder(&self.volume, prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let condition = match options.mode {
            CopyMode::Overwrite => Condition::Always,
            CopyMode::Create => Condition::Absent,
        };
        if from == to {
            return self.onto_itself(from, condition).await;
        }
        match self.volume.copy(&name(from)?, &name(to)?, condition).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.refused(from, to, condition, error).await),
        }
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let condition = match options.target_mode {
            RenameTargetMode::Overwrite => Condition::Always,
            RenameTargetMode::Create => Condition::Absent,
        };
        if from == to {
            return self.onto_itself(from, condition).await;
        }
        match self.volume.rename(&name(from)?, &name(to)?, condition).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.refused(from, to, condition, error).await),
        }
    }
}

impl VolumeStore {
    /// Copying or renaming an object onto itself changes nothing, if it is there.
    async fn onto_itself(&self, location: &Path, condition: Condition) -> Result<()> {
        self.reading(location, None).await?;
        if condition == Condition::Always { Ok(()) } else { Err(error::in_the_way(location)) }
    }
}

/// The positions of a range of so many bytes.
fn within(range: &GetRange, size: u64) -> Result<Range<u64>> {
    range.as_range(size).map_err(|source| error::generic(source.into()))
}

//! What the tests of a whole volume share: bytes to write, what may be there, and whether a volume
//! is whole.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "tests, each of which uses a part"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use holdall_core::{Backend, BackendExt, Bytes, Env, ErrorKind, Result};
use holdall_testkit::Chance;
use holdall_volume::format::entry::Name;
use holdall_volume::format::keys::VolumeId;
use holdall_volume::format::policy::{Compression, Policy};
use holdall_volume::rebuild::{RebuildOptions, RebuildReport};
use holdall_volume::verify::{Finding, Report, Severity, VerifyOptions};
use holdall_volume::{ListOptions, Resources, Volume};

pub fn name(name: &str) -> Name {
    Name::parse(name).unwrap()
}

/// Bytes that a seed gives; half of them can be compressed.
pub fn noise(seed: u64, bytes: usize) -> Bytes {
    let mut noise = vec![0; bytes];
    let half = if seed.is_multiple_of(2) { bytes } else { bytes / 2 };
    Chance::new(seed).fill(&mut noise[..half]);
    noise.into()
}

/// How long garbage waits.
pub const GRACE: Duration = Duration::from_secs(120);

/// A policy under which little data is enough to fill segments.
pub fn small_policy() -> Policy {
    Policy {
        inline_bytes_max: 256,
        segment_bytes: 64 << 10,
        compression: Compression::Lz4,
        grace: GRACE,
        lease: Duration::from_secs(60),
        ..Policy::default()
    }
}

/// The backends of a volume, and with whose time it is opened.
#[derive(Clone, Debug)]
pub struct Stores {
    pub env: Env,
    pub catalog: Arc<dyn Backend>,
    pub data: Arc<dyn Backend>,
}

impl Stores {
    pub fn resources(&self) -> Resources {
        Resources {
            env: self.env.clone(),
            catalog: Arc::clone(&self.catalog),
            data: Arc::clone(&self.data).into(),
            holder: "test".to_owned(),
        }
    }

    pub async fn open(&self, id: VolumeId) -> Result<Volume> {
        Volume::open(self.resources(), id).await
    }
}

/// What is wrong with a volume, apart from notices.
pub async fn faults(volume: &Volume) -> Vec<Finding> {
    let report = volume.verify(VerifyOptions::default()).await.unwrap();
    assert!(report.complete);
    assert_eq!(report.findings_dropped, 0);
    bad(report)
}

pub fn bad(report: Report) -> Vec<Finding> {
    let findings = report.findings.into_iter();
    findings.filter(|finding| finding.severity > Severity::Notice).collect()
}

pub async fn assert_clean(volume: &Volume) {
    let faults = faults(volume).await;
    assert!(faults.is_empty(), "{faults:#?}");
}

/// The bytes of an entry, if there is one.
pub async fn read(volume: &Volume, name: &Name) -> Result<Option<Bytes>> {
    match volume.get(name).await? {
        Some(reading) => reading.bytes().await.map(Some),
        None => Ok(None),
    }
}

/// Everything that a volume holds now.
pub async fn present(volume: &Volume) -> Result<BTreeMap<String, Bytes>> {
    let (mut all, mut options) = (BTreeMap::new(), ListOptions::default().limit(50));
    loop {
        let page = volume.list(options.clone()).await?;
        for (name, entry) in page.entries {
            // What was deleted since the page was read is not there.
            let Some(reading) = volume.get(&name).await? else { continue };
            let bytes = reading.bytes().await?;
            assert_eq!(bytes.len() as u64, reading.entry().size, "{name}");
            if reading.entry().version == entry.version {
                assert_eq!(reading.entry(), &entry, "{name}");
            }
            all.insert(name.into_string(), bytes);
        }
        match page.next {
            Some(next) => options = options.after(next),
            None => return Ok(all),
        }
    }
}

/// Everything that a volume has ever held under these names and still keeps: name, version, bytes,
/// and the commit that ended it.
pub async fn kept(volume: &Volume, names: &[String]) -> Result<Kept> {
    let mut all = BTreeMap::new();
    for text in names {
        let name = name(text);
        for info in volume.versions(&name, None, 100_000).await?.versions {
            let version = info.entry.version;
            let reading = volume.get_version(&name, version).await?;
            let reading = reading.unwrap_or_else(|| panic!("{name} {version} is listed"));
            let ended = info.superseded.map(|(version, _)| version);
            all.insert((text.clone(), version), (ended, reading.bytes().await?));
        }
    }
    Ok(all)
}

/// See [`kept`].
pub type Kept = BTreeMap<(String, u64), (Option<u64>, Bytes)>;

/// Copies everything that one backend holds to another.
pub async fn copy(from: &dyn Backend, to: &dyn Backend) {
    for row in from.list_all("", true).await.unwrap() {
        let value = row.object.unwrap().value;
        to.put(&row.key, value, holdall_core::Expect::Any).await.unwrap();
    }
}

/// Rebuilds the catalog in an empty backend, on the same data.
pub async fn rebuild(
    stores: &Stores,
    empty: Arc<dyn Backend>,
    id: VolumeId,
) -> Result<(Volume, RebuildReport)> {
    let stores = Stores { catalog: empty, ..stores.clone() };
    Volume::rebuild(stores.resources(), id, RebuildOptions::default()).await
}

/// A stream of these bytes in uneven pieces.
pub fn pieces(bytes: Bytes) -> impl futures::Stream<Item = Result<Bytes>> + Send + 'static {
    let sizes = [1, 4096, 70_000, 13];
    let cut = futures::stream::unfold((bytes, 0), move |(mut rest, turn)| async move {
        if rest.is_empty() {
            return None;
        }
        let piece = rest.split_to(rest.len().min(sizes[turn % sizes.len()]));
        Some((Ok(piece), (rest, turn + 1)))
    });
    cut.boxed()
}

/// What each name may hold. Each name has one writer at a time.
#[derive(Debug, Default)]
pub struct Oracle(Mutex<BTreeMap<String, Track>>);

#[derive(Debug)]
struct Track {
    /// What was written, in order; the first is what was there before.
    attempts: Vec<Attempt>,
    /// The newest that was acknowledged: none before it can come back.
    floor: usize,
}

#[derive(Debug)]
struct Attempt {
    bytes: Option<Bytes>,
    refused: bool,
}

/// A write under way.
#[derive(Clone, Debug)]
pub struct Ticket(Vec<(String, usize)>);

impl Oracle {
    /// Begins with what is there already.
    pub fn from(present: &BTreeMap<String, Bytes>) -> Self {
        let track = |bytes: &Bytes| Track {
            attempts: vec![Attempt { bytes: Some(bytes.clone()), refused: false }],
            floor: 0,
        };
        let tracks = present.iter().map(|(name, bytes)| (name.clone(), track(bytes)));
        Self(Mutex::new(tracks.collect()))
    }

    /// Notes a write that is about to begin.
    pub fn begin(&self, changes: &[(&str, Option<Bytes>)]) -> Ticket {
        let mut tracks = self.0.lock().unwrap();
        let mut ticket = Vec::new();
        for (name, bytes) in changes {
            let track = tracks.entry((*name).to_owned()).or_insert_with(|| Track {
                attempts: vec![Attempt { bytes: None, refused: false }],
                floor: 0,
            });
            track.attempts.push(Attempt { bytes: bytes.clone(), refused: false });
            ticket.push(((*name).to_owned(), track.attempts.len() - 1));
        }
        Ticket(ticket)
    }

    /// Notes how it ended. Only `Unknown` leaves open whether it has happened.
    pub fn end<T>(&self, ticket: Ticket, result: &Result<T>) {
        let mut tracks = self.0.lock().unwrap();
        for (name, index) in ticket.0 {
            let track = tracks.get_mut(&name).unwrap();
            match result {
                Ok(_) => track.floor = index,
                Err(error) if error.kind() == ErrorKind::Unknown => {}
                Err(_) => track.attempts[index].refused = true,
            }
        }
    }

    /// What no later reading may go behind.
    pub fn floor(&self, name: &str) -> usize {
        self.0.lock().unwrap().get(name).map_or(0, |track| track.floor)
    }

    /// Checks what was read after this floor was taken.
    pub fn check(&self, name: &str, floor: usize, read: Option<&Bytes>) {
        let tracks = self.0.lock().unwrap();
        let Some(track) = tracks.get(name) else {
            assert!(read.is_none(), "{name} holds what nobody wrote");
            return;
        };
        // A write may be read before its writer hears that it was refused? No: refused is refused.
        let may = |attempt: &Attempt| !attempt.refused && attempt.bytes.as_ref() == read;
        if track.attempts[floor..].iter().any(may) {
            return;
        }
        let show = |bytes: Option<&Bytes>| {
            bytes.map(|b| (b.len(), blake3::hash(b).to_hex().as_str()[..8].to_owned()))
        };
        let attempts: Vec<_> =
            track.attempts.iter().map(|a| (show(a.bytes.as_ref()), a.refused)).collect();
        panic!("{name} holds {:?}, floor {floor} of {attempts:?}", show(read));
    }

    /// All names that were ever written.
    pub fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().keys().cloned().collect()
    }

    /// Checks everything that a volume holds, at rest.
    pub async fn check_all(&self, volume: &Volume) {
        let present = present(volume).await.unwrap();
        for name in self.names() {
            self.check(&name, self.floor(&name), present.get(&name));
        }
        let names = self.names();
        for name in present.keys() {
            assert!(names.contains(name), "{name} is there, and nobody wrote it");
        }
    }
}

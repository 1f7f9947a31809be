//! Opening: take the folder, find out what the inner backend lacks, and go on where it ended.
//!
//! A store begins with the file of generation 1, then the marker row is written. So where there is
//! a marker that says "n applied", there must be a file n + 1; if it is missing, acknowledged
//! writes may be missing, and opening refuses rather than lose them silently.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use holdall_core::{
    Backend, BackendExt, Conditions, Durability, Env, Error, Expect, List, Operation, Profile,
    Reach, Result,
};

use super::commit::Writer;
use super::disk::{Disk, RealDisk};
use super::file::{JournalFile, open_for_writing};
use super::flush::Flush;
use super::folder::{Folder, Refusal, open_error};
use super::format::{Marker, REVISION_BYTES};
use super::overlay::{Generation, Overlay};
use super::settings::JournalSettings;
use super::spare::Spare;
use super::{Flushes, Journaled, MARKER_ROW_BYTES, Shared, marker_key};

/// How long to wait for this process itself to let go of the folder: a journal that was dropped
/// finishes the batch it is at.
const OWN_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long to wait for another process: one that is about to end, or a short command.
const OTHER_WAIT_MAX: Duration = Duration::from_secs(1);
const WAIT_STEP: Duration = Duration::from_millis(5);
/// No batch through the journal is larger, whatever the inner backend takes: its record is made
/// in memory.
const BATCH_BYTES_MAX: u64 = 1 << 30;
const BATCH_OPS_MAX: usize = 1_000_000;

impl Journaled {
    /// Opens the journal in `folder` before `inner`, and makes both ready if they are new. Rows
    /// that the journal has and `inner` has not are served at once and flushed in the background.
    ///
    /// # Errors
    /// `Unavailable` while another process has the folder, naming it; `Corrupt` if the journal is
    /// damaged, or does not belong to `inner`; `Unsupported` if `inner` cannot apply batches;
    /// `Invalid` if `inner` holds rows that were written without a journal.
    pub async fn open(
        inner: Arc<dyn Backend>,
        folder: &Path,
        settings: JournalSettings,
        env: &Env,
    ) -> Result<Arc<Self>> {
        Self::open_on(inner, folder, settings, env, Arc::new(RealDisk)).await
    }

    /// As [`open`](Self::open), on a disk of one's own: for tests that make it fail.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_on(
        inner: Arc<dyn Backend>,
        folder: &Path,
        settings: JournalSettings,
        env: &Env,
        disk: Arc<dyn Disk>,
    ) -> Result<Arc<Self>> {
        settings.check()?;
        let profile = profile(inner.profile())?;
        let folder = take(folder, &settings, env).await?;
        let marker = match inner.get_all(&marker_key()).await? {
            Some(object) => Some(Marker::decode(&object.value)?),
            None => refuse_foreign_rows(inner.as_ref()).await.map(|()| None)?,
        };
        let new = marker.is_none();
        let marker = marker.unwrap_or_else(|| Marker {
            journal: u64::from_le_bytes(env.random()),
            applied: 0,
            sequence: 0,
            revision: 0,
        });
        let loader = Arc::clone(&disk);
        let (folder, loaded) = env
            .blocking(move || {
                load(&folder, loader.as_ref(), marker, new).map(|found| (folder, found))
            })
            .await??;
        if new {
            inner.put(&marker_key(), marker.encode(), Expect::Absent).await?;
        }
        let Loaded { writer, overlay, flush, spare } = loaded;
        let shared = Arc::new(Shared {
            inner,
            env: env.clone(),
            settings,
            profile,
            folder,
            disk,
            overlay: RwLock::new(overlay),
            queue: Mutex::default(),
            writer: Mutex::new(writer),
            spare: Mutex::new(spare),
            flushes: Mutex::new(Flushes::default()),
            abandoned: AtomicBool::new(false),
        });
        if let Some(flush) = flush {
            env.spawn(flush.run(Arc::clone(&shared)));
        }
        Ok(Arc::new(Self { shared }))
    }
}

/// Takes the folder. Another process is refused at once; this one is waited for.
async fn take(path: &Path, settings: &JournalSettings, env: &Env) -> Result<Folder> {
    let watch = env.stopwatch();
    loop {
        let (path, holder, now) = (path.to_owned(), settings.holder.clone(), env.now());
        match env.blocking(move || Folder::take(&path, &holder, now)).await? {
            Err(Refusal::OwnProcess(_)) if watch.elapsed() < OWN_WAIT_MAX => {}
            Err(Refusal::OtherProcess(_)) if watch.elapsed() < OTHER_WAIT_MAX => {}
            taken => return Ok(taken?),
        }
        env.sleep(WAIT_STEP).await;
    }
}

async fn refuse_foreign_rows(inner: &dyn Backend) -> Result<()> {
    let page = inner.list(&List::prefix("").limit(1)).await?;
    let Some(row) = page.rows.first() else {
        return Ok(());
    };
    let message = "this store holds rows that were written without a journal; open it without one, \
                   or copy its rows to a new store";
    Err(Error::invalid(Operation::Open, message).with_key(&row.key))
}

fn profile(inner: &Profile) -> Result<Profile> {
    if !inner.atomic {
        let message = format!(
            "{} cannot apply a batch all or nothing, so it cannot have a journal",
            inner.engine
        );
        return Err(Error::unsupported(Operation::Open, message));
    }
    // One row and the marker must fit into a batch.
    let room =
        inner.batch_bytes_max.saturating_sub((MARKER_ROW_BYTES + inner.key_bytes_max) as u64);
    let value_bytes_max = inner.value_bytes_max.min(room).min(BATCH_BYTES_MAX);
    Ok(Profile {
        engine: match inner.engine {
            "lmdb" => "journal+lmdb",
            "memory" => "journal+memory",
            _ => "journal",
        },
        key_bytes_max: inner.key_bytes_max,
        value_bytes_max: value_bytes_max.saturating_sub(REVISION_BYTES as u64),
        batch_ops_max: inner.batch_ops_max.min(BATCH_OPS_MAX),
        batch_bytes_max: inner.batch_bytes_max.min(BATCH_BYTES_MAX),
        atomic: true,
        // Its records hold rows alone.
        metadata: false,
        conditions: Conditions::Revision,
        reach: Reach::Process,
        // The journal cannot make an engine durable that forgets what was flushed to it.
        durability: inner.durability.min(Durability::Machine),
    })
}

/// What a folder holds.
struct Loaded {
    writer: Writer,
    overlay: Overlay,
    flush: Option<Flush>,
    spare: Spare,
}

fn load(folder: &Folder, disk: &dyn Disk, marker: Marker, new: bool) -> Result<Loaded> {
    let failed = |error| open_error("cannot read the journal's folder", error);
    drop(fs::remove_file(folder.filling()));
    let mut spare = Spare::default();
    if folder.spare().exists() {
        spare.ready = Some(open_for_writing(&folder.spare()).map_err(failed)?);
    }
    let mut numbers = folder.generations().map_err(failed)?;
    let live = numbers.partition_point(|number| *number <= marker.applied);
    for applied in numbers.drain(..live) {
        retire(folder, applied, &mut spare).map_err(failed)?;
    }
    if new && numbers.is_empty() {
        let made = JournalFile::create(folder, 1, &mut spare.ready);
        drop(made.map_err(|error| open_error("cannot make a journal file", error))?);
        numbers.push(1);
    }
    consecutive(folder, &numbers, marker.applied)?;
    let mut loaded = replay(folder, disk, marker, &numbers)?;
    if new && loaded.writer.sequence > 0 {
        let message = "the journal holds writes, but its store is new; put back the store that \
                       belongs to it, or empty the journal's folder";
        return Err(Error::corrupt(Operation::Open, message));
    }
    loaded.spare = spare;
    Ok(loaded)
}

/// Makes an applied file the spare one, or removes it.
fn retire(folder: &Folder, number: u64, spare: &mut Spare) -> std::io::Result<()> {
    let path = folder.journal(number);
    if spare.ready.is_some() {
        return fs::remove_file(path);
    }
    fs::rename(path, folder.spare())?;
    spare.ready = Some(open_for_writing(&folder.spare())?);
    Ok(())
}

fn consecutive(folder: &Folder, numbers: &[u64], applied: u64) -> Result<()> {
    let mut expected = applied + 1;
    for number in numbers {
        if *number != expected {
            break;
        }
        expected += 1;
    }
    if numbers.last().is_some_and(|last| last + 1 == expected) {
        return Ok(());
    }
    let message = format!(
        "the journal file {} is missing, and with it perhaps acknowledged writes; put back the \
         journal's folder, or rebuild the volume",
        folder.journal(expected).display()
    );
    Err(Error::corrupt(Operation::Open, message))
}

/// Reads all files. The last one goes on as the active generation; those before it, in practice at
/// most one, are the generation being flushed.
fn replay(folder: &Folder, disk: &dyn Disk, marker: Marker, numbers: &[u64]) -> Result<Loaded> {
    let active = numbers.last().copied().expect("the files were found to be consecutive");
    let mut at = marker;
    let mut flushing = Generation::new(active - 1);
    let mut rows = Generation::new(active);
    let mut files = Vec::new();
    let mut before = marker;
    for number in numbers {
        before = at;
        let (file, records) =
            JournalFile::replay(folder, disk, marker.journal, *number, at.sequence + 1)?;
        let generation = if *number == active { &mut rows } else { &mut flushing };
        for (bytes, record) in records {
            at.sequence = record.header.sequence;
            at.revision = at.revision.max(record.revision);
            generation.insert(&bytes, record.rows);
        }
        files.push(file);
    }
    let file = files.pop().expect("there is one file at least");
    let writer =
        Writer { file, journal: marker.journal, sequence: at.sequence, revision: at.revision };
    let flushing = (!files.is_empty()).then(|| Arc::new(flushing));
    let flush = flushing.clone().map(|generation| Flush {
        generation,
        marker: Marker { applied: active - 1, ..before },
        files,
    });
    let overlay = Overlay::new(rows, flushing, marker.applied);
    Ok(Loaded { writer, overlay, flush, spare: Spare::default() })
}

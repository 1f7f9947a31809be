//! An opened database: one for each folder and process, however often it is opened.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use heed::types::Bytes as Raw;
use heed::{Database, EnvOpenOptions, RoTxn, WithoutTls};
use holdall_core::waiting::Queue;
use holdall_core::{Error, Health, KEY_BYTES_MAX, Operation, Result};

use crate::config::Config;
use crate::error;
use crate::row::REVISION_KEY;

const MAP_SIZE_DEFAULT: u64 = if cfg!(target_pointer_width = "64") { 1 << 40 } else { 1 << 30 };
/// Below this the search for a map that fits into the process ends.
const MAP_SIZE_LEAST: u64 = 1 << 28;
/// Maps must be whole pages; no system has larger ones.
const PAGE_BYTES_MAX: u64 = 64 << 10;
/// How long opening waits for the last user of the same folder in this process to go.
const CLOSING: Duration = Duration::from_secs(5);

/// LMDB must not be opened twice in one process: its file locks do not know two openings apart,
/// and closing one frees the locks of both. So all openings of a folder share one store.
static OPENED: Mutex<BTreeMap<PathBuf, Weak<Handle>>> = Mutex::new(BTreeMap::new());

/// What the users of a store share. A leader may hold the store a moment longer than they do.
#[derive(Debug)]
pub(crate) struct Handle(pub(crate) Arc<Store>);

impl Handle {
    /// Opens the folder, or joins those in this process who have.
    pub(crate) fn open(config: Config) -> Result<Arc<Self>> {
        let failed = |source| error::os(Operation::Open, source);
        create_synced(&config.path).map_err(failed)?;
        let path = config.path.canonicalize().map_err(failed)?;
        let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
        opened.retain(|_, handle| handle.strong_count() > 0);
        if let Some(handle) = opened.get(&path).and_then(Weak::upgrade) {
            handle.0.check_joinable(&config)?;
            return Ok(handle);
        }
        let handle = Arc::new(Self(Arc::new(Store::open(&path, config)?)));
        opened.insert(path, Arc::downgrade(&handle));
        Ok(handle)
    }
}

/// An opened database. All of its methods block at most for the disk.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) env: heed::Env<WithoutTls>,
    pub(crate) rows: Database<Raw, Raw>,
    /// How many bytes the pages of all rows may take.
    pub(crate) rows_bytes_max: u64,
    pub(crate) queue: Queue,
    config: Config,
    closed: AtomicBool,
}

impl Store {
    fn open(path: &Path, config: Config) -> Result<Self> {
        let failed = |source| error::lmdb(Operation::Open, source);
        let (env, rows_bytes_max) = map(path, &config).map_err(failed)?;
        // Readers that were killed would keep pages from being used again.
        env.clear_stale_readers().map_err(failed)?;
        if env.max_key_size() < KEY_BYTES_MAX {
            let message = "this LMDB was built without longer keys; build it with them";
            return Err(Error::unsupported(Operation::Open, message));
        }
        let txn = env.read_txn().map_err(failed)?;
        let rows: Option<Database<Raw, Raw>> = env.open_database(&txn, None).map_err(failed)?;
        let rows = rows.ok_or_else(|| foreign(Operation::Open))?;
        let has_revision = rows.get(&txn, REVISION_KEY).map_err(failed)?.is_some();
        if !has_revision && !rows.is_empty(&txn).map_err(failed)? {
            return Err(foreign(Operation::Open));
        }
        txn.commit().map_err(failed)?;
        // The names of the files that LMDB has made are as durable as what they will hold.
        fs::File::open(path)
            .and_then(|folder| folder.sync_all())
            .map_err(|source| error::os(Operation::Open, source))?;
        Ok(Self {
            env,
            rows,
            rows_bytes_max,
            queue: Queue::default(),
            config,
            closed: AtomicBool::new(false),
        })
    }

    fn check_joinable(&self, config: &Config) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            let message = "this process has the database open after a failed sync; drop all \
                handles on it, then open it again";
            return Err(Error::closed(Operation::Open, message));
        }
        if self.config.map_size == config.map_size && self.config.readers == config.readers {
            return Ok(());
        }
        let message = format!(
            "this process has the database open as {}; open it with the same options",
            self.config.location()
        );
        Err(Error::invalid(Operation::Open, message))
    }

    /// Begins to read. What is read is of one moment.
    pub(crate) fn read(&self, operation: Operation) -> Result<RoTxn<'_, WithoutTls>> {
        let failed = |source| error::lmdb(operation, source);
        match self.env.read_txn() {
            Err(heed::Error::Mdb(heed::MdbError::ReadersFull)) => {
                // Perhaps only killed processes hold the places.
                self.env.clear_stale_readers().map_err(failed)?;
                self.env.read_txn().map_err(failed)
            }
            begun => begun.map_err(failed),
        }
    }

    /// Refuses writes once one could not be synced.
    pub(crate) fn check_open(&self, operation: Operation) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            let message = "an earlier write could not be synced; look at the disk and open again";
            return Err(Error::closed(operation, message));
        }
        Ok(())
    }

    /// Takes no more writes.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// The bytes that the pages of all rows take, as this transaction sees them.
    pub(crate) fn rows_bytes(&self, txn: &RoTxn<'_>) -> heed::Result<u64> {
        let stat = self.rows.stat(txn)?;
        let pages = stat.branch_pages + stat.leaf_pages + stat.overflow_pages;
        Ok(pages as u64 * u64::from(stat.page_size))
    }

    /// The bytes that the file system still has.
    pub(crate) fn disk_free(&self) -> std::io::Result<u64> {
        let system = rustix::fs::statvfs(self.env.path())?;
        Ok(system.f_bavail.saturating_mul(system.f_frsize))
    }

    /// How much room is taken and left.
    pub(crate) fn health(&self) -> Result<Health> {
        const OPERATION: Operation = Operation::Health;
        let failed = |source| error::lmdb(OPERATION, source);
        self.check_open(OPERATION)?;
        let dead = self.env.clear_stale_readers().map_err(failed)?;
        let txn = self.read(OPERATION)?;
        let used = self.rows_bytes(&txn).map_err(failed)?;
        let file = self.env.real_disk_size().map_err(failed)?;
        let disk = self.disk_free().map_err(|source| error::os(OPERATION, source))?;
        // Pages of the file that hold no row are used before it grows.
        let free = disk.saturating_add(file.saturating_sub(used));
        let mut notes = vec![heed::lmdb_version().string.to_owned()];
        if dead > 0 {
            notes.push(format!("{dead} readers of killed processes were removed"));
        }
        Ok(Health {
            bytes_free: Some(free.min(self.rows_bytes_max.saturating_sub(used))),
            bytes_used: Some(used),
            notes,
        })
    }
}

/// Maps the database into memory, and says how many bytes its rows may take.
fn map(path: &Path, config: &Config) -> heed::Result<(heed::Env<WithoutTls>, u64)> {
    let mut size = config.map_size.unwrap_or(MAP_SIZE_DEFAULT);
    loop {
        // The map is larger than the rows may be: LMDB never writes over a page in use, so even
        // removing rows from a full database needs pages to write the change on.
        let wanted = size.saturating_add(size / 4).next_multiple_of(PAGE_BYTES_MAX);
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.max_readers(config.readers).map_size(usize::try_from(wanted).unwrap_or(usize::MAX));
        // SAFETY: the file must change only through LMDB while it is mapped. Its own lock sees to
        // that between processes, `OPENED` within this one, and the README forbids other programs
        // and network file systems. None of the flags that weaken its locks or syncs is set.
        #[allow(unsafe_code, reason = "a memory map is unsafe to open")]
        let opened = unsafe { options.open(path) };
        match opened {
            Err(heed::Error::Io(source))
                if source.kind() == std::io::ErrorKind::OutOfMemory
                    && config.map_size.is_none()
                    && size / 2 >= MAP_SIZE_LEAST =>
            {
                size /= 2;
            }
            Err(heed::Error::EnvAlreadyOpened) => match heed::env_closing_event(path) {
                Some(event) if !event.wait_timeout(CLOSING) => {
                    return Err(heed::Error::EnvAlreadyOpened);
                }
                _ => {}
            },
            opened => return opened.map(|env| (env, size)),
        }
    }
}

fn foreign(operation: Operation) -> Error {
    let message = "the folder holds an LMDB database of another program; choose another folder";
    Error::invalid(operation, message)
}

/// Makes a folder and all above it that are missing, and syncs every folder that got a new entry.
fn create_synced(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        create_synced(parent)?;
    }
    match fs::create_dir(path) {
        Err(source) if source.kind() == std::io::ErrorKind::AlreadyExists => {
            // Another process was faster, or a file is in the folder's place.
            if !path.is_dir() {
                return Err(rustix::io::Errno::NOTDIR.into());
            }
        }
        made => made?,
    }
    fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

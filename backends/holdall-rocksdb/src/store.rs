//! An opened database: one for each folder and process, however often it is opened.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use holdall_core::waiting::Queue;
use holdall_core::{Error, Health, Operation, Result};
use rocksdb::{ColumnFamily, DB, WriteOptions};

use crate::config::{Config, OnPowerLoss};
use crate::error::{self, Failure};
use crate::layout::{self, PARTS, REVISION_KEY, ROWS};
use crate::{folder, tuning};

/// RocksDB takes a folder once, so all who open it in this process share one store. A folder stays
/// here, with nobody to share it, from when it is about to be opened until it has been closed.
static OPENED: Mutex<BTreeMap<PathBuf, Weak<Handle>>> = Mutex::new(BTreeMap::new());

fn opened() -> MutexGuard<'static, BTreeMap<PathBuf, Weak<Handle>>> {
    // Nothing panics while it holds the list.
    OPENED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What opening came to.
pub(crate) enum Opened {
    /// It is open.
    Now(Arc<Handle>),
    /// This process is still opening or closing the folder, or has closed it after a failed write
    /// while others hold on to it.
    Later,
}

/// What the users of a store share. A leader may hold the store a moment longer than they do.
#[derive(Debug)]
pub(crate) struct Handle(pub(crate) Arc<Store>);

/// A folder's place in the list of those that this process has open. It is given back when the
/// database is closed.
#[derive(Debug)]
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        opened().remove(&self.0);
    }
}

/// An opened database. All of its methods block at most for the disk.
pub(crate) struct Store {
    pub(crate) db: DB,
    pub(crate) config: Config,
    pub(crate) write_options: WriteOptions,
    pub(crate) queue: Queue,
    /// The last revision given out. Only the leader changes it.
    pub(crate) revision: AtomicU64,
    version: String,
    closed: AtomicBool,
    // The last of all, because it is dropped when the database is closed.
    place: Place,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Handle {
    /// Opens the folder, or joins those in this process who have.
    pub(crate) fn open(config: Config) -> Result<Opened> {
        let failed = |source| error::os(Operation::Open, source);
        folder::create_synced(&config.path).map_err(failed)?;
        let path = config.path.canonicalize().map_err(failed)?;
        let found = {
            let mut opened = opened();
            let found = opened.get(&path).map(Weak::upgrade);
            if found.is_none() {
                // Whoever comes while this one is opening waits.
                opened.insert(path.clone(), Weak::new());
            }
            found
        };
        match found {
            None => {
                let store = Store::open(Place(path.clone()), config)?;
                let handle = Arc::new(Self(Arc::new(store)));
                opened().insert(path, Arc::downgrade(&handle));
                Ok(Opened::Now(handle))
            }
            Some(Some(handle)) if handle.0.is_open() => {
                handle.0.check_joinable(&config)?;
                Ok(Opened::Now(handle))
            }
            Some(_) => Ok(Opened::Later),
        }
    }
}

impl Store {
    fn open(place: Place, config: Config) -> Result<Self> {
        let path = place.0.clone();
        folder::check(&path)?;
        let families = tuning::families(&config);
        let db = DB::open_cf_descriptors(&tuning::database(&config), &path, families)
            .map_err(|source| folder::refused(&path, source))?;
        let store = Self {
            db,
            write_options: tuning::write(&config),
            config,
            queue: Queue::default(),
            revision: AtomicU64::new(0),
            version: folder::version(&path).unwrap_or_else(|| "of unknown version".to_owned()),
            closed: AtomicBool::new(false),
            place,
        };
        let last = store.last_revision().map_err(|failure| failure.into_error(Operation::Open))?;
        store.revision.store(last, Ordering::Release);
        // The names of the files that RocksDB has made are as durable as what they will hold.
        fs::File::open(&path)
            .and_then(|folder| folder.sync_all())
            .map_err(|source| error::os(Operation::Open, source))?;
        Ok(store)
    }

    fn check_joinable(&self, config: &Config) -> Result<()> {
        if (Config { path: self.config.path.clone(), ..config.clone() }) == self.config {
            return Ok(());
        }
        let message = format!(
            "this process has the database open as {}; open it with the same options",
            self.config.location()
        );
        Err(Error::invalid(Operation::Open, message))
    }

    /// The last revision given out, from the database.
    fn last_revision(&self) -> Result<u64, Failure> {
        let found = self.db.get_pinned_cf(self.rows()?, REVISION_KEY)?;
        let last = found.map(|row| layout::last_revision(Operation::Open, &row));
        Ok(last.transpose()?.unwrap_or(0))
    }

    /// The family of rows.
    pub(crate) fn rows(&self) -> Result<&ColumnFamily> {
        self.family(ROWS)
    }

    /// The family of parts.
    pub(crate) fn parts(&self) -> Result<&ColumnFamily> {
        self.family(PARTS)
    }

    fn family(&self, name: &str) -> Result<&ColumnFamily> {
        // Both were opened with the database, so they are there.
        self.db.cf_handle(name).ok_or_else(|| layout::damaged(Operation::Open))
    }

    fn is_open(&self) -> bool {
        !self.closed.load(Ordering::Acquire)
    }

    /// Refuses writes once one has failed.
    pub(crate) fn check_open(&self, operation: Operation) -> Result<()> {
        if self.is_open() {
            return Ok(());
        }
        let message = "an earlier write could not be finished; look at the disk and open again";
        Err(Error::closed(operation, message))
    }

    /// Takes no more writes.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Where the database is, with no links in it.
    pub(crate) fn path(&self) -> &Path {
        &self.place.0
    }

    /// The bytes that the file system still has.
    pub(crate) fn disk_free(&self) -> std::io::Result<u64> {
        let system = rustix::fs::statvfs(self.path())?;
        Ok(system.f_bavail.saturating_mul(system.f_frsize))
    }

    /// How much room is taken and left.
    pub(crate) fn health(&self) -> Result<Health> {
        const OPERATION: Operation = Operation::Health;
        self.check_open(OPERATION)?;
        let disk = self.disk_free().map_err(|source| error::os(OPERATION, source))?;
        let mut used = 0;
        for family in [self.rows()?, self.parts()?] {
            for name in [
                c"rocksdb.total-sst-files-size",
                c"rocksdb.total-blob-file-size",
                c"rocksdb.size-all-mem-tables",
            ] {
                let size = self.db.property_int_value_cf(family, name);
                used += size.map_err(|source| error::rocks(OPERATION, source))?.unwrap_or(0);
            }
        }
        let mut notes = vec![format!("RocksDB {}", self.version)];
        if self.config.on_power_loss == OnPowerLoss::LoseLastWrites {
            let note = "a loss of power may take the last writes; set on_power_loss=keep_writes";
            notes.push(note.to_owned());
        }
        Ok(Health {
            bytes_free: Some(disk.saturating_sub(self.reserve())),
            bytes_used: Some(used),
            notes,
        })
    }

    /// The room that is left free on the disk, so that what is in the write buffers can always be
    /// written out.
    pub(crate) fn reserve(&self) -> u64 {
        self.config.buffers() as u64
    }
}

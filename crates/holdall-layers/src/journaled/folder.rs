//! The journal's folder: who may use it, and which files lie in it.
//!
//! ```text
//!   lock                       held while the journal is open; its text names the holder
//!   journal-0000000000000007   the records of generation 7
//!   spare                      a file whose records were applied, or a new one: the next journal
//!   spare.filling              a new one, not yet written from end to end
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use holdall_core::{Error, Operation, Result, Timestamp};

const LOCK: &str = "lock";
const JOURNAL: &str = "journal-";
const SPARE: &str = "spare";
const FILLING: &str = "spare.filling";

/// A folder that this process holds. The kernel lets go of it when this is dropped, or the
/// process ends in any way.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    _lock: File,
}

/// Why a folder was not taken.
pub(crate) enum Refusal {
    /// This process has it open already, or is just about to let go of it.
    OwnProcess(Error),
    /// Another process has it open, or is just about to end.
    OtherProcess(Error),
    /// Anything else.
    Other(Error),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::OwnProcess(error) | Refusal::OtherProcess(error) | Refusal::Other(error) => {
                error
            }
        }
    }
}

impl Folder {
    /// Takes the folder for this process, and makes it if it is missing.
    pub(crate) fn take(path: &Path, holder: &str, now: Timestamp) -> Result<Self, Refusal> {
        let failed = |error| Refusal::Other(open_error("cannot use the journal's folder", error));
        create(path).map_err(failed)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut lock = options.open(path.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(refuse(&mut lock)),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // The text is for people only, so it need not be synced.
        let text = format!("process {} ({holder}), since {}\n", std::process::id(), utc(now));
        lock.set_len(0).and_then(|()| lock.write_all(text.as_bytes())).map_err(failed)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Where the file of a generation lies.
    pub(crate) fn journal(&self, number: u64) -> PathBuf {
        self.path.join(format!("{JOURNAL}{number:016}"))
    }

    /// Where the spare file lies.
    pub(crate) fn spare(&self) -> PathBuf {
        self.path.join(SPARE)
    }

    /// Where the spare file lies until it is ready.
    pub(crate) fn filling(&self) -> PathBuf {
        self.path.join(FILLING)
    }

    /// The generations that have a file, in order.
    pub(crate) fn generations(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(JOURNAL));
            numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Makes new and changed names durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

/// Makes the folder and those above it, each name durable.
fn create(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create(parent)?;
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => result?,
        }
        return File::open(parent)?.sync_all();
    }
    fs::create_dir_all(path)
}

fn refuse(lock: &mut File) -> Refusal {
    let mut text = String::new();
    // The holder may be writing its text just now; then it stays unnamed.
    let read = lock.take(1024).read_to_string(&mut text);
    let text = text.trim();
    let holder = if read.is_err() || text.is_empty() { "another process" } else { text };
    let message = format!(
        "the journal is in use by {holder}; only one process at a time can open this store: wait \
         for that one to end, or end it"
    );
    let error = Error::unavailable(Operation::Open, message);
    let own = format!("process {} ", std::process::id());
    if text.starts_with(&own) { Refusal::OwnProcess(error) } else { Refusal::OtherProcess(error) }
}

/// An error of opening files.
pub(crate) fn open_error(message: &str, source: io::Error) -> Error {
    Error::io(Operation::Open, message, source)
}

/// A point in time as people write it, to the second, in UTC. Days are counted in years that begin
/// in March, so that the leap day is the last of its year.
fn utc(time: Timestamp) -> String {
    let seconds = time.as_micros() / 1_000_000;
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z", second % 60)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use holdall_core::ErrorKind;

    use super::*;

    #[test]
    fn times_are_shown_as_people_write_them() {
        let show = |seconds: u64| utc(Timestamp::from_micros(seconds * 1_000_000));
        assert_eq!(show(0), "1970-01-01T00:00:00Z");
        assert_eq!(show(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(show(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(show(1_709_210_096), "2024-02-29T12:34:56Z");
        assert_eq!(show(4_107_542_400), "2100-03-01T00:00:00Z");
    }

    #[test]
    fn a_folder_has_one_holder_and_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let held = Folder::take(&path, "holdall serve", Timestamp::EPOCH).ok().unwrap();
        let refusal = Folder::take(&path, "second", Timestamp::EPOCH).unwrap_err();
        assert!(matches!(refusal, Refusal::OwnProcess(_)));
        let error = Error::from(refusal);
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(
            error.message().contains(&format!("process {} (holdall serve)", std::process::id()))
        );
        assert!(error.message().contains("since 1970-01-01T00:00:00Z"));
        drop(held);
        assert!(Folder::take(&path, "third", Timestamp::EPOCH).is_ok());
    }

    impl std::fmt::Debug for Refusal {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            match self {
                Self::OwnProcess(error) | Self::OtherProcess(error) | Self::Other(error) => {
                    error.fmt(f)
                }
            }
        }
    }
}

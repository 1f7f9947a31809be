//! One journal file: appending records, and reading them back after a crash.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use holdall_core::{Error, Operation, Result};

use super::disk::Disk;
use super::folder::{Folder, open_error};
use super::format::{self, BLOCK, HEADER_BYTES, Header, Record};

/// A file that was not filled beforehand gets its room in steps of this, so that a small store
/// stays small.
const RESERVE_BYTES: u64 = 4 << 20;

/// The file of one generation, open for appending.
#[derive(Debug)]
pub(crate) struct JournalFile {
    file: File,
    number: u64,
    /// Where the next record goes.
    end: u64,
    /// How far the file can be written without needing room: its length.
    reserved: u64,
}

impl JournalFile {
    /// Makes the file of a generation, of the spare one if there is one. Its name is durable when
    /// this returns.
    pub(crate) fn create(
        folder: &Folder,
        number: u64,
        spare: &mut Option<File>,
    ) -> io::Result<Self> {
        let path = folder.journal(number);
        if spare.is_some() {
            std::fs::rename(folder.spare(), &path)?;
        }
        let file = spare.take().map_or_else(|| open_for_writing(&path), Ok)?;
        folder.sync()?;
        let reserved = file.metadata()?.len();
        Ok(Self { file, number, end: 0, reserved })
    }

    /// The number of the generation.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Where the next record goes.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Gives back the open file.
    pub(crate) fn into_file(self) -> File {
        self.file
    }

    /// Gives the room back if there is no record in it. The empty file stays, because opening
    /// looks for it. Nothing is lost by a crash at any moment, and nothing needs syncing: with its
    /// room or without, the file holds nothing. One that cannot be cut is used by the next opening.
    pub(crate) fn give_back(&mut self) {
        if self.end == 0 && self.file.set_len(0).is_ok() {
            self.reserved = 0;
        }
    }

    /// Makes room for a record, so that writing it cannot fail for want of room.
    pub(crate) fn reserve(&mut self, disk: &dyn Disk, bytes: u64) -> Result<()> {
        let need = self.end + bytes;
        if need <= self.reserved {
            return Ok(());
        }
        let to = need.next_multiple_of(RESERVE_BYTES);
        // Near the end of the disk the step may not fit where the record does.
        let reserved = disk
            .reserve(&self.file, self.reserved, to)
            .map(|()| to)
            .or_else(|_| disk.reserve(&self.file, self.reserved, need).map(|()| need));
        self.reserved = reserved.map_err(|source| {
            let message = "there is no room for the journal; free some on its disk";
            Error::io(Operation::Apply, message, source)
        })?;
        Ok(())
    }

    /// Writes a record and waits for the disk. After an error nobody knows what the disk has.
    pub(crate) fn append(&mut self, disk: &dyn Disk, record: &[u8]) -> io::Result<()> {
        disk.write(&self.file, record, self.end)?;
        disk.sync(&self.file)?;
        self.end += record.len() as u64;
        Ok(())
    }

    /// Opens the file of a generation and reads its records, the first of which must have the
    /// sequence number `next`. The file's end is then behind the last whole record.
    ///
    /// A record is written only when the one before is on the disk, so a broken one can only be
    /// the last; where whole ones follow, the file was damaged.
    pub(crate) fn replay(
        folder: &Folder,
        disk: &dyn Disk,
        journal: u64,
        number: u64,
        mut next: u64,
    ) -> Result<(Self, Vec<(Bytes, Record)>)> {
        let failed = |error| open_error("cannot read a journal file", error);
        let path = folder.journal(number);
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut this = Self { file, number, end: 0, reserved: length };
        let mut records: Vec<(Bytes, Record)> = Vec::new();
        while let Some(bytes) = this.record_at(this.end).map_err(failed)? {
            let record = format::decode(&bytes)
                .map_err(|error| damage(&path, this.end, "cannot be decoded").with_source(error))?;
            this.belongs(&path, journal, &record.header)?;
            if record.header.sequence != next {
                return Err(damage(&path, this.end, "does not follow the one before it"));
            }
            next += 1;
            this.end += format::padded(bytes.len()) as u64;
            records.push((bytes, record));
        }
        if let Some(at) = this.later_record().map_err(failed)? {
            let what = format!("is damaged, and a later one at byte {at} is not");
            return Err(damage(&path, this.end, &what));
        }
        if let Some((bytes, _)) = records.last() {
            this.settle(disk, bytes).map_err(failed)?;
        }
        Ok((this, records))
    }

    /// The last record may have reached only the page cache, and a page cache that failed to write
    /// says so once: what readers will see is written again and waited for.
    fn settle(&self, disk: &dyn Disk, last: &Bytes) -> io::Result<()> {
        let mut block = last.to_vec();
        block.resize(format::padded(last.len()), 0);
        disk.write(&self.file, &block, self.end - block.len() as u64)?;
        disk.sync(&self.file)
    }

    fn belongs(&self, path: &Path, journal: u64, header: &Header) -> Result<()> {
        if header.journal == journal {
            return Ok(());
        }
        let message = format!(
            "the journal file {} belongs to another store; put back the folder that belongs to \
             this one",
            path.display()
        );
        Err(Error::corrupt(Operation::Open, message))
    }

    /// The whole record of this generation that begins here, without its filling, if there is one.
    fn record_at(&self, at: u64) -> io::Result<Option<Bytes>> {
        let mut header = [0; HEADER_BYTES];
        if at + HEADER_BYTES as u64 > self.reserved {
            return Ok(None);
        }
        self.file.read_exact_at(&mut header, at)?;
        let found = format::peek(&header).filter(|found| found.generation == self.number);
        let Some(found) = found else { return Ok(None) };
        let bytes = HEADER_BYTES as u64 + u64::from(found.payload_bytes);
        if at + bytes > self.reserved {
            return Ok(None);
        }
        let mut record = vec![0; bytes as usize];
        self.file.read_exact_at(&mut record, at)?;
        Ok(format::is_whole(&record).then(|| Bytes::from(record)))
    }

    /// Looks behind the end for a whole record of this generation.
    fn later_record(&self) -> io::Result<Option<u64>> {
        let mut at = self.end + BLOCK as u64;
        while at < self.reserved {
            if self.record_at(at)?.is_some() {
                return Ok(Some(at));
            }
            at += BLOCK as u64;
        }
        Ok(None)
    }
}

/// Opens a file for writing, and makes it if it is missing.
pub(crate) fn open_for_writing(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

fn damage(path: &Path, at: u64, what: &str) -> Error {
    let message = format!(
        "the journal's record at byte {at} of {} {what}; restore the file from a backup, or \
         rebuild the volume",
        path.display()
    );
    Error::corrupt(Operation::Open, message)
}

//! A bare append log with an index in memory: the least that a durable put can be.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;

use super::group::{Engine, Record};
use crate::Result;

/// Length of the name, length of the bytes, checksum.
const HEAD_BYTES: usize = 12;

/// The preallocated log goes round in a file of this size.
const RING_BYTES: u64 = 256 << 20;

/// Records behind one another in a file, and where each of them is.
struct Log {
    file: File,
    end: u64,
    buffer: Vec<u8>,
    index: HashMap<String, (u64, usize)>,
}

impl Log {
    fn create(path: &Path) -> Result<Self> {
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        Ok(Self { file, end: 0, buffer: Vec::new(), index: HashMap::new() })
    }

    fn fill(&mut self, records: &[Record]) {
        self.buffer.clear();
        for (name, bytes) in records {
            let checksum = crc32c::crc32c_append(crc32c::crc32c(name.as_bytes()), bytes);
            self.buffer.extend_from_slice(&(name.len() as u32).to_le_bytes());
            self.buffer.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            self.buffer.extend_from_slice(&checksum.to_le_bytes());
            self.buffer.extend_from_slice(name.as_bytes());
            self.buffer.extend_from_slice(bytes);
        }
    }

    fn append(&mut self, records: &[Record]) -> Result<()> {
        self.file.write_all_at(&self.buffer, self.end)?;
        self.file.sync_data()?;
        for (name, bytes) in records {
            let at = self.end + (HEAD_BYTES + name.len()) as u64;
            self.index.insert(name.clone(), (at, bytes.len()));
            self.end = at + bytes.len() as u64;
        }
        Ok(())
    }

    fn get(&self, name: &str) -> Result<Option<Bytes>> {
        let Some((at, bytes)) = self.index.get(name) else {
            return Ok(None);
        };
        let mut read = vec![0; *bytes];
        self.file.read_exact_at(&mut read, *at)?;
        Ok(Some(Bytes::from(read)))
    }
}

/// The log as most are: its file grows with every record.
pub struct Growing(Log);

impl Growing {
    /// A new log in this folder.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub fn create(folder: &Path) -> Result<Self> {
        Ok(Self(Log::create(&folder.join("log"))?))
    }
}

impl Engine for Growing {
    const NAME: &'static str = "bare log, growing file";
    const DURABILITY: &'static str = "one write and fdatasync a group";

    fn commit(&mut self, records: &[Record]) -> Result<()> {
        self.0.fill(records);
        self.0.append(records)
    }

    fn get(&mut self, name: &str) -> Result<Option<Bytes>> {
        self.0.get(name)
    }
}

/// The log in a file that has been written full of zeros beforehand, and is gone round in: no
/// sync has to make the file longer. It forgets what it writes over.
pub struct Preallocated(Log);

impl Preallocated {
    /// A new log in this folder.
    ///
    /// # Errors
    /// If the file cannot be made and filled.
    pub fn create(folder: &Path) -> Result<Self> {
        let log = Log::create(&folder.join("log"))?;
        let zeros = vec![0; 1 << 20];
        for at in (0..RING_BYTES).step_by(zeros.len()) {
            log.file.write_all_at(&zeros, at)?;
        }
        log.file.sync_all()?;
        Ok(Self(log))
    }
}

impl Engine for Preallocated {
    const NAME: &'static str = "bare log, preallocated ring";
    const DURABILITY: &'static str = "one write and fdatasync a group";

    fn commit(&mut self, records: &[Record]) -> Result<()> {
        self.0.fill(records);
        if self.0.end + self.0.buffer.len() as u64 > RING_BYTES {
            self.0.end = 0;
            self.0.index.clear();
        }
        self.0.append(records)
    }

    fn get(&mut self, name: &str) -> Result<Option<Bytes>> {
        self.0.get(name)
    }
}

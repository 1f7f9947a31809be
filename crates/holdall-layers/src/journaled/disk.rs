//! What the journal asks of its disk: three calls, so that tests can make each of them fail.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

/// The calls on which the journal's safety rests. Users have [`RealDisk`].
pub trait Disk: Send + Sync + Debug + 'static {
    /// Writes all the bytes at this place of the file.
    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Returns once all bytes that were written are on the disk.
    fn sync(&self, file: &File) -> io::Result<()>;

    /// Makes sure that the bytes from `from` up to `to` can be written without more room.
    fn reserve(&self, file: &File, from: u64, to: u64) -> io::Result<()>;
}

/// The machine's own disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn reserve(&self, file: &File, from: u64, to: u64) -> io::Result<()> {
        match fallocate(file, FallocateFlags::empty(), from, to - from) {
            // Not every file system can; writing zeros reserves as well.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.fill(file, from, to),
            result => result.map_err(Into::into),
        }
    }
}

impl RealDisk {
    fn fill(self, file: &File, from: u64, to: u64) -> io::Result<()> {
        let zeros = vec![0; FILL_BYTES as usize];
        let mut at = from;
        while at < to {
            let count = (to - at).min(FILL_BYTES);
            self.write(file, &zeros[..count as usize], at)?;
            at += count;
        }
        Ok(())
    }
}

/// How many zeros are written at once.
pub(crate) const FILL_BYTES: u64 = 1 << 20;

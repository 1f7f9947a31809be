//! Reading values.

use std::fs;
use std::ops::Range;
use std::sync::Arc;

use holdall_core::{ByteRange, Bytes, Error, Key, Object, Operation, Result, Revision};
use rustix::buffer::spare_capacity;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::buffers::Buffers;
use crate::error;
use crate::folder::Folder;
use crate::{names, revision};

/// How often a file that another program cuts while it is read is opened again.
const ATTEMPTS: usize = 3;
/// From this size on the memory of a value is used again.
const RECYCLED_BYTES_MIN: usize = 1 << 20;

impl Folder {
    /// Reads a value, or a range of it.
    pub(crate) fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        for _ in 0..ATTEMPTS {
            let Some((file, metadata)) = self.find(Operation::Get, key)? else {
                // Also a missing key has no range that ends before it starts.
                return range.clip(0).map(|_| None);
            };
            let size = metadata.len();
            let value = read(&file, range.clip(size)?, &self.buffers)
                .map_err(|errno| error::os(Operation::Get, "read a value", errno).with_key(key))?;
            if let Some(value) = value {
                return Ok(Some(Object { value, revision: revision::of(&metadata), size }));
            }
        }
        let message = "a file is shorter than the file system says; check the file system";
        Err(Error::corrupt(Operation::Get, message).with_key(key))
    }

    /// The revision that a key has now.
    pub(crate) fn current(&self, operation: Operation, key: &Key) -> Result<Option<Revision>> {
        let found = self.find(operation, key)?;
        Ok(found.map(|(_, metadata)| revision::of(&metadata)))
    }

    /// Opens the file of a key. Folders, links and pipes in its place are not ours: they count as
    /// absent, and are not waited for.
    fn find(&self, operation: Operation, key: &Key) -> Result<Option<(fs::File, fs::Metadata)>> {
        let failed = |source| error::os(operation, "open a value", source).with_key(key);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let path = names::place(key).path;
        let file: fs::File = match rustix::fs::openat(&self.root, &path, flags, Mode::empty()) {
            Ok(file) => file.into(),
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(None),
            Err(errno) => return Err(failed(errno.into())),
        };
        let metadata = file.metadata().map_err(failed)?;
        Ok(metadata.is_file().then_some((file, metadata)))
    }
}

/// Reads a range into a buffer, or nothing if the file ends before.
fn read(
    file: &fs::File,
    range: Range<u64>,
    buffers: &Arc<Buffers>,
) -> Result<Option<Bytes>, Errno> {
    let length = usize::try_from(range.end - range.start).map_err(|_| Errno::NOMEM)?;
    if length < RECYCLED_BYTES_MIN {
        return Ok(read_new(file, range.start, length)?.map(Bytes::from));
    }
    let Some(mut buffer) = buffers.take(length) else {
        let new = read_new(file, range.start, length)?;
        return Ok(new.map(|buffer| buffers.lend(buffer, length)));
    };
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..length).filter(|rest| !rest.is_empty()) {
        match rustix::io::pread(file, rest, range.start + filled as u64) {
            Ok(0) => return Ok(None),
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(Some(buffers.lend(buffer, length)))
}

/// Reads into new memory, which is not set before.
fn read_new(file: &fs::File, start: u64, length: usize) -> Result<Option<Vec<u8>>, Errno> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(|_| Errno::NOMEM)?;
    while bytes.len() < length {
        let offset = start + bytes.len() as u64;
        match rustix::io::pread(file, spare_capacity(&mut bytes), offset) {
            Ok(0) => return Ok(None),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    // The allocator may have given more than was asked for, and the file may have grown.
    bytes.truncate(length);
    Ok(Some(bytes))
}

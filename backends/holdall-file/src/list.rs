//! Listing keys in order, though the shards hold them in none.
//!
//! Every page reads the names of all files and keeps the smallest that it needs: the memory is
//! that of a page, the time that of all names.

use std::collections::BinaryHeap;
use std::ops::Bound;
use std::os::fd::OwnedFd;

use holdall_core::{ByteRange, Key, List, Operation, Page, Result, Row};
use rustix::fs::{AtFlags, Dir, FileType};
use rustix::io::Errno;

use crate::error;
use crate::folder::{Folder, open_folder};
use crate::names;

/// When a page with values has this many bytes it ends, however few rows it has.
const PAGE_BYTES: u64 = 32 << 20;

/// The smallest keys seen so far, one more than the page needs: that one says there is more.
struct Smallest<'a> {
    list: &'a List,
    keys: BinaryHeap<Key>,
}

impl Smallest<'_> {
    fn add(&mut self, key: Key) {
        if !self.list.contains(key.as_str()) {
            return;
        }
        if self.keys.len() <= self.list.limit {
            self.keys.push(key);
        } else if let Some(mut largest) = self.keys.peek_mut()
            && key < *largest
        {
            *largest = key;
        }
    }
}

impl Folder {
    /// One page of keys in ascending order.
    pub(crate) fn list(&self, mut list: List) -> Result<Page> {
        list.check()?;
        loop {
            let mut smallest = Smallest { list: &list, keys: BinaryHeap::new() };
            for shard in 0..=u8::MAX {
                match open_folder(&self.root, &names::shard_name(shard)) {
                    Ok(folder) => self.walk(shard, &folder, "", &mut smallest),
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(()),
                    Err(errno) => Err(errno),
                }
                .map_err(|errno| error::os(Operation::List, "read a folder", errno))?;
            }
            let mut keys = smallest.keys.into_sorted_vec();
            let more = keys.len() > list.limit;
            keys.truncate(list.limit);
            let last = keys.last().map(|key| key.as_str().to_owned());
            let page = self.rows(keys, more, list.values)?;
            match last {
                // All of them were removed since: a page must not be empty and promise more.
                Some(last) if page.rows.is_empty() && more => list.start = Bound::Excluded(last),
                _ => return Ok(page),
            }
        }
    }

    /// Adds the keys of the files in a folder, which lies behind these pieces in its shard.
    fn walk(
        &self,
        shard: u8,
        folder: &OwnedFd,
        pieces: &str,
        smallest: &mut Smallest<'_>,
    ) -> Result<(), Errno> {
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else {
                continue;
            };
            // The root's handle is not needed here: names are relative to the folder's.
            let kind = match entry.file_type() {
                FileType::Unknown => {
                    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                        Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                        Err(Errno::NOENT) => continue,
                        Err(errno) => return Err(errno),
                    }
                }
                kind => kind,
            };
            match (kind, names::folder_piece(name)) {
                (FileType::Directory, Some(piece)) => match open_folder(folder, name) {
                    Ok(inner) => {
                        self.walk(shard, &inner, &format!("{pieces}{piece}"), smallest)?;
                    }
                    Err(Errno::NOENT) => {}
                    Err(errno) => return Err(errno),
                },
                (FileType::RegularFile, None) => {
                    if let Some(key) = names::key_at(shard, pieces, name) {
                        smallest.add(key);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn rows(&self, keys: Vec<Key>, more: bool, values: bool) -> Result<Page> {
        let mut page = Page { rows: Vec::with_capacity(keys.len()), more };
        let mut bytes = 0;
        for key in keys {
            if bytes >= PAGE_BYTES {
                page.more = true;
                break;
            }
            if values {
                // A file that has gone since its name was read is not a row.
                let Some(object) = self.get(&key, ByteRange::ALL)? else {
                    continue;
                };
                bytes += object.size;
                page.rows.push(Row { key, size: object.size, object: Some(object) });
                continue;
            }
            let path = names::place(&key).path;
            match rustix::fs::statat(&self.root, &path, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => {
                    let size = u64::try_from(stat.st_size).unwrap_or(0);
                    page.rows.push(Row { key, size, object: None });
                }
                Err(Errno::NOENT) => {}
                Err(errno) => {
                    return Err(error::os(Operation::List, "look at a value", errno).with_key(&key));
                }
            }
        }
        Ok(page)
    }
}

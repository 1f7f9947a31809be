//! Copies in a backend in front of the back: LMDB before S3, say.
//!
//! A row's key is the length of the value's key, a colon, that key, and the revision as text; its
//! value is what the back held, in blocks with checksums (`blocks.rs`), which are compared at each
//! read. Which rows there are stands in memory too, about 200 bytes each, and which was used last;
//! the least recently used make room. Rows of before there were checksums are removed unread.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdall_core::{
    Backend, ByteRange, Error, ErrorKind, Expect, Key, List, Operation, Result, Revision,
    async_trait,
};

use super::blocks::{Span, row_bytes, value_bytes, with_checksums};
use super::held::{Copies, Held};
use crate::revision_text::{from_text, to_text};

/// What the keys of all copies began with before they had checksums.
const PREFIX_1: &str = "cache/";
/// What the keys of all copies begin with. No other row of the backend in front is touched.
const PREFIX: &str = "cache/2/";

/// Copies in a backend.
#[derive(Debug)]
pub(super) struct Front {
    backend: Arc<dyn Backend>,
    bytes_max: u64,
    index: Mutex<Index>,
}

#[derive(Debug, Default)]
struct Index {
    places: HashMap<Key, Place>,
    /// Keys by when they were used last.
    uses: BTreeMap<u64, Key>,
    clock: u64,
    /// Bytes of all rows, those on their way included.
    bytes: u64,
}

#[derive(Clone, Debug)]
struct Place {
    row: Key,
    revision: Revision,
    size: u64,
    used: u64,
    earlier: bool,
}

impl Place {
    fn bytes(&self) -> u64 {
        row_bytes(self.size) + self.row.as_bytes().len() as u64
    }
}

impl Index {
    fn insert(&mut self, key: Key, mut place: Place) -> Option<Place> {
        self.clock += 1;
        place.used = self.clock;
        self.uses.insert(self.clock, key.clone());
        let old = self.places.insert(key, place)?;
        self.uses.remove(&old.used);
        Some(old)
    }

    fn touch(&mut self, key: &Key) -> Option<Place> {
        let place = self.places.get_mut(key)?;
        self.uses.remove(&place.used);
        self.clock += 1;
        place.used = self.clock;
        self.uses.insert(self.clock, key.clone());
        Some(place.clone())
    }

    /// Takes the place out if it is still that of this row.
    fn remove(&mut self, key: &Key, row: &Key) {
        if self.places.get(key).is_some_and(|place| place.row == *row)
            && let Some(place) = self.places.remove(key)
        {
            self.uses.remove(&place.used);
            self.bytes = self.bytes.saturating_sub(place.bytes());
        }
    }

    /// Takes out what was not used for longest until so many bytes more have room.
    fn make_room(&mut self, more: u64, bytes_max: u64) -> Vec<Key> {
        let mut out = Vec::new();
        while self.bytes + more > bytes_max
            && let Some((_, key)) = self.uses.pop_first()
        {
            if let Some(place) = self.places.remove(&key) {
                self.bytes = self.bytes.saturating_sub(place.bytes());
                out.push(place.row);
            }
        }
        out
    }
}

/// The key of a copy's row, unless it is too long for a key.
fn row_of(key: &Key, revision: &Revision) -> Option<Key> {
    let length = key.as_str().len();
    Key::parse(format!("{PREFIX}{length}:{key}{}", to_text(revision))).ok()
}

/// The key and revision of which a row is a copy, by what the keys of copies begin with.
fn parse_row(row: &Key, prefix: &str) -> Option<(Key, Revision)> {
    let (length, rest) = row.as_str().strip_prefix(prefix)?.split_once(':')?;
    let (key, revision) = rest.split_at_checked(length.parse().ok()?)?;
    Some((Key::parse(key).ok()?, from_text(revision)?))
}

impl Front {
    /// Finds what was kept earlier, and makes it fit.
    pub(super) async fn open(backend: Arc<dyn Backend>, bytes_max: u64) -> Result<Self> {
        if bytes_max == 0 {
            let message = "front_bytes is 0; give the cache's front at least 1 byte";
            return Err(Error::invalid(Operation::Configure, message));
        }
        let front = Self { backend, bytes_max, index: Mutex::default() };
        let mut list = List::prefix(PREFIX_1);
        loop {
            let page = front.backend.list(&list).await?;
            let Some(last) = page.rows.last().map(|row| row.key.clone()) else { break };
            let useless = page.rows.into_iter().filter_map(|row| front.found(row.key, row.size));
            front.drop_rows(useless.collect()).await?;
            if !page.more {
                break;
            }
            list = list.after(last.as_str());
        }
        let too_many = front.index().make_room(0, front.bytes_max);
        front.drop_rows(too_many).await?;
        Ok(front)
    }

    /// Notes a row that was kept earlier; gives the row that is of no use, if there is one: an
    /// older one of the same key, or one that no checksum can be in.
    fn found(&self, row: Key, stored: u64) -> Option<Key> {
        let Some((key, revision)) = parse_row(&row, PREFIX) else {
            return parse_row(&row, PREFIX_1).map(|_| row);
        };
        let Some(size) = value_bytes(stored) else { return Some(row) };
        let place = Place { row, revision, size, used: 0, earlier: true };
        let mut index = self.index();
        index.bytes += place.bytes();
        let old = index.insert(key, place)?;
        index.bytes = index.bytes.saturating_sub(old.bytes());
        Some(old.row)
    }

    // Nothing panics while it holds the lock.
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn drop_rows(&self, rows: Vec<Key>) -> Result<()> {
        let mut first = Ok(());
        for row in rows {
            let dropped = self.backend.delete(&row, Expect::Any).await;
            first = first.and(dropped);
        }
        first
    }

    /// Bytes of all rows.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.index().bytes
    }
}

#[async_trait]
impl Copies for Front {
    async fn load(&self, key: &Key, range: ByteRange) -> Result<Option<Held>> {
        let Some(place) = self.index().touch(key) else { return Ok(None) };
        let span = Span::of(range.clip(place.size)?, place.size);
        let bytes = match self.backend.get(&place.row, span.in_row()).await {
            Ok(Some(found)) if found.size == row_bytes(place.size) => {
                span.take(&place.row, &found.value)
            }
            Ok(None) => {
                self.index().remove(key, &place.row);
                return Ok(None);
            }
            Ok(Some(_)) => None,
            Err(error) if error.kind() == ErrorKind::Corrupt => None,
            Err(error) => return Err(error),
        };
        let Some(bytes) = bytes else {
            self.index().remove(key, &place.row);
            // What stays there is not in the index, and is written over with the next copy.
            drop(self.backend.delete(&place.row, Expect::Any).await);
            let message = "a copy in the cache's front was damaged and is dropped; look after \
                           the front's disk";
            return Err(Error::corrupt(Operation::Get, message).with_key(&place.row));
        };
        let Place { revision, size, earlier, .. } = place;
        Ok(Some(Held { revision, size, start: span.start(), bytes, earlier }))
    }

    async fn keep(&self, key: &Key, held: &Held) -> Result<()> {
        let profile = self.backend.profile();
        let row = row_of(key, &held.revision);
        let Some(row) = row.filter(|row| row.as_bytes().len() <= profile.key_bytes_max) else {
            return Ok(());
        };
        let place = Place {
            row: row.clone(),
            revision: held.revision.clone(),
            size: held.size,
            used: 0,
            earlier: false,
        };
        let bytes = place.bytes();
        if row_bytes(held.size) > profile.value_bytes_max || bytes > self.bytes_max {
            return Ok(());
        }
        let out = {
            let mut index = self.index();
            if index.places.get(key).is_some_and(|found| found.row == row && !found.earlier) {
                return Ok(());
            }
            let out = index.make_room(bytes, self.bytes_max);
            index.bytes += bytes;
            out
        };
        let kept = async {
            self.drop_rows(out).await?;
            self.backend.put(&row, with_checksums(&row, &held.bytes), Expect::Any).await
        };
        if let Err(error) = kept.await {
            let mut index = self.index();
            index.bytes = index.bytes.saturating_sub(bytes);
            return Err(error);
        }
        let old = {
            let mut index = self.index();
            let old = index.insert(key.clone(), place);
            index.bytes = index.bytes.saturating_sub(old.as_ref().map_or(0, Place::bytes));
            old
        };
        self.drop_rows(old.into_iter().map(|old| old.row).filter(|old| *old != row).collect()).await
    }

    fn note(&self) -> String {
        format!("{} bytes in front", self.index().bytes)
    }

    /// Every row is written when `keep` returns.
    async fn flush(&self) {}

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use futures::executor::block_on;
    use holdall_core::{Bytes, Memory};

    use super::*;

    fn key(name: &str) -> Key {
        Key::parse(name).unwrap()
    }

    fn held(revision: u64, size: usize) -> Held {
        let bytes = Bytes::from(vec![revision as u8; size]);
        let revision = Revision::number(revision);
        Held { revision, size: size as u64, start: 0, bytes, earlier: false }
    }

    #[test]
    fn rows_say_what_they_are_copies_of() {
        let odd = ["a", "3:an1", "ü\u{0}n2", "cache/1:an1"];
        for name in odd {
            let row = row_of(&key(name), &Revision::text("n1t")).unwrap();
            let parsed = parse_row(&row, PREFIX).unwrap();
            assert_eq!(parsed, (key(name), Revision::text("n1t")), "{row}");
        }
        for foreign in ["", "1", "2:an1", "x:an1", "a/1:an1"] {
            let (row, old) = (format!("{PREFIX}{foreign}"), format!("{PREFIX_1}{foreign}"));
            assert_eq!(parse_row(&key(&row), PREFIX), None, "{row}");
            assert_eq!(parse_row(&key(&row), PREFIX_1), None, "{row}");
            assert_eq!(parse_row(&key(&old), PREFIX_1), None, "{old}");
        }
        assert!(row_of(&key(&"k".repeat(1020)), &Revision::number(1)).is_none());
    }

    #[test]
    fn the_least_recently_used_make_room_and_foreign_rows_stay() {
        block_on(async {
            let memory = Arc::new(Memory::new());
            memory.put(&key("mine"), Bytes::from("x"), Expect::Any).await.unwrap();
            memory.put(&key("cache/odd"), Bytes::from("x"), Expect::Any).await.unwrap();
            let backend: Arc<dyn Backend> = Arc::<Memory>::clone(&memory);
            let front = Front::open(Arc::clone(&backend), 360).await.unwrap();
            for name in ["a", "b", "c"] {
                front.keep(&key(name), &held(1, 100)).await.unwrap();
            }
            assert!(front.load(&key("a"), ByteRange::ALL).await.unwrap().is_some());
            front.keep(&key("d"), &held(1, 100)).await.unwrap();
            assert!(front.load(&key("b"), ByteRange::ALL).await.unwrap().is_none());
            front.keep(&key("a"), &held(2, 90)).await.unwrap();
            let found = front.load(&key("a"), ByteRange::new(10, 20)).await.unwrap().unwrap();
            assert_eq!(found.revision, Revision::number(2));
            assert_eq!(found.object(ByteRange::new(10, 20)).unwrap().value, vec![2; 10]);
            front.keep(&key("huge"), &held(1, 400)).await.unwrap();
            assert!(front.load(&key("huge"), ByteRange::ALL).await.unwrap().is_none());
            assert!(front.bytes() <= 360, "{}", front.bytes());
            let used = front.bytes();

            let again = Front::open(backend, 360).await.unwrap();
            assert_eq!(again.bytes(), used);
            let found = again.load(&key("a"), ByteRange::ALL).await.unwrap().unwrap();
            assert!(found.earlier && found.bytes == vec![2; 90]);
            assert!(memory.get(&key("mine"), ByteRange::ALL).await.unwrap().is_some());
            assert!(memory.get(&key("cache/odd"), ByteRange::ALL).await.unwrap().is_some());
        });
    }
    #[test]
    fn rows_without_checksums_are_removed_unread() {
        block_on(async {
            let backend: Arc<dyn Backend> = Arc::new(Memory::new());
            let short = format!("{PREFIX}1:bn1");
            for row in ["cache/1:an1", &short, "cache/odd"] {
                backend.put(&key(row), Bytes::from("old"), Expect::Any).await.unwrap();
            }
            let front = Front::open(Arc::clone(&backend), 360).await.unwrap();
            for name in ["a", "b"] {
                assert_eq!(front.load(&key(name), ByteRange::ALL).await.unwrap(), None);
            }
            assert_eq!(front.bytes(), 0);
            let left = backend.list(&List::prefix("")).await.unwrap().rows;
            assert_eq!(left.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), ["cache/odd"]);
        });
    }
}

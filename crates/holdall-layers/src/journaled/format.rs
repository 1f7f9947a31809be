//! The bytes of the journal: records, the rows in them, and the marker row. Pure functions.
//!
//! ```text
//!   record, begins at a multiple of BLOCK, filled up with zeros to the next one
//!   ┌───────┬────────┬─────────┬────────────┬──────────┬──────────────┬──────┬─────────┐
//!   │ magic │ crc32c │ journal │ generation │ sequence │ payload size │ sets │ payload │
//!   │   4   │   4    │    8    │     8      │    8     │      4       │  4   │    …    │
//!   └───────┴────────┴─────────┴────────────┴──────────┴──────────────┴──────┴─────────┘
//!   payload: for each set   revision 8 · rows 4 · row…
//!            a row          1 · key size 2 · stored size 4 · key · stored     (a put)
//!                           2 · key size 2 · key                              (a delete)
//!            stored         revision 8 · value       as it will lie in the inner backend
//!   marker:  magic 4 · crc32c 4 · journal 8 · applied 8 · sequence 8 · revision 8
//! ```
//!
//! All numbers are little-endian. The checksum covers everything behind it. `journal` is a random
//! number given once to a store and its journal, so that neither is taken for another's.
//! `generation` is the number of the file, so that what a recycled file held before is never
//! replayed. Whole blocks are written, so that no later write touches a page with an acknowledged
//! record in it, and so that overwriting never has to read the page first.

use std::ops::Range;

use bytes::Bytes;
use holdall_core::{Error, Key, Op, Operation, Result};

/// Records begin at multiples of this: the page of the machine, and of most disks.
pub(crate) const BLOCK: usize = 4096;
/// The bytes in front of a record's payload.
pub(crate) const HEADER_BYTES: usize = 40;
/// The bytes in front of every value: its revision.
pub(crate) const REVISION_BYTES: usize = 8;
/// The size of the marker row.
pub(crate) const MARKER_BYTES: usize = 40;

const RECORD_MAGIC: [u8; 4] = *b"HJR1";
const MARKER_MAGIC: [u8; 4] = *b"HJM1";
/// Magic and checksum: what the checksum does not cover.
const SUM_END: usize = 8;
const SET_BYTES: usize = 12;
const PUT: u8 = 1;
const DELETE: u8 = 2;

/// What a record says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Which store's journal this is.
    pub(crate) journal: u64,
    /// The number of the file that the record was written to.
    pub(crate) generation: u64,
    /// Counts records across files, without a gap.
    pub(crate) sequence: u64,
    /// The size of the payload in bytes.
    pub(crate) payload_bytes: u32,
    /// How many op-sets the payload holds.
    pub(crate) sets: u32,
}

/// One row of a record: a key, and where its stored value lies in the record; `None` is a delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlacedRow {
    pub(crate) key: Key,
    pub(crate) stored: Option<Range<usize>>,
}

/// A decoded record.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) header: Header,
    /// The highest revision in it.
    pub(crate) revision: u64,
    pub(crate) rows: Vec<PlacedRow>,
}

/// Fills up to whole blocks.
pub(crate) fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(BLOCK)
}

/// The size of an op-set in a payload.
pub(crate) fn set_bytes(ops: &[Op]) -> usize {
    SET_BYTES + ops.iter().map(row_bytes).sum::<usize>()
}

fn row_bytes(op: &Op) -> usize {
    match op {
        Op::Put { key, value, .. } => 7 + key.as_bytes().len() + REVISION_BYTES + value.len(),
        Op::Delete { key, .. } => 3 + key.as_bytes().len(),
        Op::Check { .. } => 0,
    }
}

/// Builds one record.
#[derive(Debug)]
pub(crate) struct Encoder {
    bytes: Vec<u8>,
    sets: u32,
    rows: Vec<PlacedRow>,
}

impl Encoder {
    /// Room for a payload of this size.
    pub(crate) fn with_capacity(payload_bytes: usize) -> Self {
        let mut bytes = Vec::with_capacity(padded(HEADER_BYTES + payload_bytes));
        bytes.resize(HEADER_BYTES, 0);
        Self { bytes, sets: 0, rows: Vec::new() }
    }

    /// Whether nothing was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.sets == 0
    }

    /// Adds an op-set; its checks leave no trace.
    pub(crate) fn set(&mut self, revision: u64, ops: &[Op]) {
        let rows = ops.iter().filter(|op| !matches!(op, Op::Check { .. })).count();
        self.sets += 1;
        self.bytes.extend_from_slice(&revision.to_le_bytes());
        self.bytes.extend_from_slice(&(rows as u32).to_le_bytes());
        for op in ops {
            self.row(revision, op);
        }
    }

    fn row(&mut self, revision: u64, op: &Op) {
        let bytes = &mut self.bytes;
        match op {
            Op::Put { key, value, .. } => {
                let stored_bytes = REVISION_BYTES + value.len();
                bytes.push(PUT);
                bytes.extend_from_slice(&(key.as_bytes().len() as u16).to_le_bytes());
                bytes.extend_from_slice(&(stored_bytes as u32).to_le_bytes());
                bytes.extend_from_slice(key.as_bytes());
                let start = bytes.len();
                bytes.extend_from_slice(&revision.to_le_bytes());
                bytes.extend_from_slice(value);
                let stored = Some(start..start + stored_bytes);
                self.rows.push(PlacedRow { key: key.clone(), stored });
            }
            Op::Delete { key, .. } => {
                bytes.push(DELETE);
                bytes.extend_from_slice(&(key.as_bytes().len() as u16).to_le_bytes());
                bytes.extend_from_slice(key.as_bytes());
                self.rows.push(PlacedRow { key: key.clone(), stored: None });
            }
            Op::Check { .. } => {}
        }
    }

    /// Ends the record: its bytes, filled up to whole blocks, and its rows. Sizes and sets in the
    /// header are those of what was added.
    pub(crate) fn seal(self, journal: u64, generation: u64, sequence: u64) -> Sealed {
        let Self { mut bytes, sets, rows } = self;
        let used = bytes.len();
        let payload_bytes = (used - HEADER_BYTES) as u32;
        bytes[..4].copy_from_slice(&RECORD_MAGIC);
        bytes[8..16].copy_from_slice(&journal.to_le_bytes());
        bytes[16..24].copy_from_slice(&generation.to_le_bytes());
        bytes[24..32].copy_from_slice(&sequence.to_le_bytes());
        bytes[32..36].copy_from_slice(&payload_bytes.to_le_bytes());
        bytes[36..40].copy_from_slice(&sets.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[SUM_END..]);
        bytes[4..8].copy_from_slice(&sum.to_le_bytes());
        bytes.resize(padded(used), 0);
        Sealed { bytes, used, rows }
    }
}

/// A record ready to be written.
#[derive(Debug)]
pub(crate) struct Sealed {
    /// Whole blocks.
    pub(crate) bytes: Vec<u8>,
    /// How many of the bytes are not filling.
    pub(crate) used: usize,
    pub(crate) rows: Vec<PlacedRow>,
}

/// Reads a header, if these bytes begin with something that looks like one.
pub(crate) fn peek(bytes: &[u8]) -> Option<Header> {
    let header = bytes.get(..HEADER_BYTES)?;
    (header[..4] == RECORD_MAGIC).then(|| Header {
        journal: u64_at(header, 8),
        generation: u64_at(header, 16),
        sequence: u64_at(header, 24),
        payload_bytes: u32_at(header, 32),
        sets: u32_at(header, 36),
    })
}

/// Whether these bytes, a header and its payload and no more, are as they were written.
pub(crate) fn is_whole(record: &[u8]) -> bool {
    let Some(header) = peek(record) else {
        return false;
    };
    record.len() == HEADER_BYTES + header.payload_bytes as usize
        && u32_at(record, 4) == crc32c::crc32c(&record[SUM_END..])
}

/// Decodes a record that [`is_whole`].
///
/// # Errors
/// `Corrupt` if the checksum does not hold, or holds over something that no version wrote.
pub(crate) fn decode(record: &[u8]) -> Result<Record> {
    let header = peek(record).filter(|_| is_whole(record));
    let Some(header) = header else {
        return Err(corrupt("a journal record's checksum does not match its bytes"));
    };
    let malformed = || corrupt("a journal record has a right checksum over wrong contents");
    let mut reader = Reader { bytes: record, at: HEADER_BYTES };
    let mut rows = Vec::new();
    let mut highest = 0;
    for _ in 0..header.sets {
        let revision = u64::from_le_bytes(reader.array().ok_or_else(malformed)?);
        highest = highest.max(revision);
        let count = u32::from_le_bytes(reader.array().ok_or_else(malformed)?);
        for _ in 0..count {
            rows.push(reader.row(revision).ok_or_else(malformed)?);
        }
    }
    if reader.at != record.len() {
        return Err(malformed());
    }
    Ok(Record { header, revision: highest, rows })
}

/// Walks a payload. Every step is `None` at its end.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, count: usize) -> Option<Range<usize>> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len())?;
        let taken = self.at..end;
        self.at = end;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let taken = self.take(N)?;
        self.bytes[taken].try_into().ok()
    }

    fn key(&mut self, count: usize) -> Option<Key> {
        let taken = self.take(count)?;
        Key::parse(std::str::from_utf8(&self.bytes[taken]).ok()?).ok()
    }

    fn row(&mut self, revision: u64) -> Option<PlacedRow> {
        let [kind] = self.array()?;
        let key_bytes = usize::from(u16::from_le_bytes(self.array()?));
        match kind {
            PUT => {
                let stored_bytes = u32::from_le_bytes(self.array()?) as usize;
                let key = self.key(key_bytes)?;
                let stored = self.take(stored_bytes)?;
                let (own, _) = split_stored(&self.bytes[stored.clone()])?;
                (own == revision).then_some(PlacedRow { key, stored: Some(stored) })
            }
            DELETE => Some(PlacedRow { key: self.key(key_bytes)?, stored: None }),
            _ => None,
        }
    }
}

/// Revision and value of a stored value.
pub(crate) fn split_stored(stored: &[u8]) -> Option<(u64, &[u8])> {
    let (revision, value) = stored.split_first_chunk::<REVISION_BYTES>()?;
    Some((u64::from_le_bytes(*revision), value))
}

/// What the inner backend knows about the journal: written in the same batch as the last rows of
/// a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    /// Which journal belongs to this store.
    pub(crate) journal: u64,
    /// The highest generation whose rows are all in the inner backend.
    pub(crate) applied: u64,
    /// The sequence number of the last record of that generation.
    pub(crate) sequence: u64,
    /// The highest revision given out up to that record.
    pub(crate) revision: u64,
}

impl Marker {
    /// The marker row's value.
    pub(crate) fn encode(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(MARKER_BYTES);
        bytes.extend_from_slice(&MARKER_MAGIC);
        bytes.extend_from_slice(&[0; 4]);
        for number in [self.journal, self.applied, self.sequence, self.revision] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        let sum = crc32c::crc32c(&bytes[SUM_END..]);
        bytes[4..8].copy_from_slice(&sum.to_le_bytes());
        Bytes::from(bytes)
    }

    /// Reads the marker row's value.
    ///
    /// # Errors
    /// `Corrupt` if it is not one, or is damaged.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let whole = bytes.len() == MARKER_BYTES
            && bytes[..4] == MARKER_MAGIC
            && u32_at(bytes, 4) == crc32c::crc32c(&bytes[SUM_END..]);
        if !whole {
            return Err(corrupt("the journal's marker row is damaged; restore it from a backup"));
        }
        Ok(Self {
            journal: u64_at(bytes, 8),
            applied: u64_at(bytes, 16),
            sequence: u64_at(bytes, 24),
            revision: u64_at(bytes, 32),
        })
    }
}

/// Puts any bytes through the decoders, with right checksums too, as the fuzz target does.
pub(crate) fn decode_anything(bytes: &[u8]) {
    drop((decode(bytes), Marker::decode(bytes)));
    if bytes.len() < MARKER_BYTES.max(HEADER_BYTES) {
        return;
    }
    let mut forged = bytes.to_vec();
    let payload_bytes = (bytes.len() - HEADER_BYTES) as u32;
    forged[..4].copy_from_slice(&RECORD_MAGIC);
    forged[32..36].copy_from_slice(&payload_bytes.to_le_bytes());
    let sum = crc32c::crc32c(&forged[SUM_END..]);
    forged[4..8].copy_from_slice(&sum.to_le_bytes());
    if let Ok(record) = decode(&forged) {
        for stored in record.rows.into_iter().filter_map(|row| row.stored) {
            assert!(split_stored(&forged[stored]).is_some(), "a row lies outside its record");
        }
    }
}

fn corrupt(message: &str) -> Error {
    Error::corrupt(Operation::Decode, message)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use holdall_core::Expect;

    use super::*;

    fn key(name: &str) -> Key {
        Key::parse(name).unwrap()
    }

    fn put(name: &str, value: &str) -> Op {
        let value = Bytes::copy_from_slice(value.as_bytes());
        Op::put(key(name), value, Expect::Any)
    }

    fn sample() -> Sealed {
        let sets = [
            (41, vec![put("a", "first"), Op::Delete { key: key("gone"), expect: Expect::Any }]),
            (42, vec![put("ä/b", ""), Op::Check { key: key("seen"), expect: Expect::Absent }]),
        ];
        let bytes = sets.iter().map(|(_, ops)| set_bytes(ops)).sum();
        let mut encoder = Encoder::with_capacity(bytes);
        for (revision, ops) in &sets {
            encoder.set(*revision, ops);
        }
        let sealed = encoder.seal(7, 8, 9);
        assert_eq!(sealed.used, HEADER_BYTES + bytes, "set_bytes tells the size beforehand");
        sealed
    }

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        let sealed = sample();
        assert_eq!(sealed.bytes.len(), BLOCK);
        let record = decode(&sealed.bytes[..sealed.used]).unwrap();
        assert_eq!((record.header.journal, record.header.generation), (7, 8));
        assert_eq!((record.header.sequence, record.header.sets, record.revision), (9, 2, 42));
        assert_eq!(record.rows, sealed.rows);
        let stored = record.rows[0].stored.clone().unwrap();
        assert_eq!(split_stored(&sealed.bytes[stored]), Some((41, b"first".as_slice())));
        assert_eq!(record.rows[1], PlacedRow { key: key("gone"), stored: None });
        assert_eq!(record.rows.len(), 3, "a check leaves no trace");
    }

    #[test]
    fn every_flipped_bit_and_every_cut_of_a_record_is_noticed() {
        let sealed = sample();
        let whole = &sealed.bytes[..sealed.used];
        for at in 0..whole.len() {
            assert!(!is_whole(&whole[..at]), "cut at {at}");
            assert!(decode(&whole[..at]).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut damaged = whole.to_vec();
                damaged[at] ^= 1 << bit;
                assert!(!is_whole(&damaged), "bit {bit} of byte {at}");
                assert!(decode(&damaged).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn contents_that_nobody_writes_are_refused_even_with_a_right_checksum() {
        let sealed = sample();
        let whole = &sealed.bytes[..sealed.used];
        for at in HEADER_BYTES..whole.len() {
            let mut forged = whole.to_vec();
            forged[at] = !forged[at];
            let sum = crc32c::crc32c(&forged[SUM_END..]);
            forged[4..8].copy_from_slice(&sum.to_le_bytes());
            // It may decode to other rows (a value's bytes are free), but never beyond the record.
            if let Ok(record) = decode(&forged) {
                for stored in record.rows.iter().filter_map(|row| row.stored.clone()) {
                    assert!(stored.end <= forged.len() && stored.len() >= REVISION_BYTES);
                }
            }
        }
    }

    #[test]
    fn no_bytes_make_the_decoders_fall_over() {
        let sealed = sample();
        for cut in 0..sealed.used {
            decode_anything(&sealed.bytes[..cut]);
            let mut damaged = sealed.bytes[..sealed.used].to_vec();
            damaged[cut] = damaged[cut].wrapping_add(101);
            decode_anything(&damaged);
        }
    }

    #[test]
    fn a_marker_comes_back_and_damage_to_it_is_noticed() {
        let marker = Marker { journal: 1, applied: 2, sequence: 3, revision: u64::MAX };
        let bytes = marker.encode();
        assert_eq!(Marker::decode(&bytes).unwrap(), marker);
        for at in 0..bytes.len() {
            assert!(Marker::decode(&bytes[..at]).is_err());
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 0x10;
            assert!(Marker::decode(&damaged).is_err(), "byte {at}");
        }
        assert!(Marker::decode(&[bytes.as_ref(), b"x"].concat()).is_err());
    }
}

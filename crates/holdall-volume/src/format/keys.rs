//! Where rows and objects lie: keys of the catalog and of the data backend.
//!
//! A catalog row's key is `<volume>/<shard>/<class>/<rest>`; an object's key on a data backend is
//! `<volume>/<class>/<rest>`. Numbers are 16 hexadecimal digits, so that their order as text is
//! their order.

use std::fmt;

use holdall_core::{Key, Timestamp};

use super::chunk::ChunkId;
use super::entry::{Name, Version};
use super::segment::SegmentId;

/// The most bytes of an indexed attribute's name and value together; longer ones are not indexed.
pub const INDEX_BYTES_MAX: usize = 96;

const VOLUME_ID_BYTES: usize = 12;
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// A volume's identity: twelve letters and digits, made at random.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeId([u8; VOLUME_ID_BYTES]);

impl VolumeId {
    /// Makes an id from random bytes.
    pub fn from_random(random: [u8; VOLUME_ID_BYTES]) -> Self {
        Self(random.map(|byte| ALPHABET[usize::from(byte) % ALPHABET.len()]))
    }

    /// Parses what [`as_str`](Self::as_str) shows.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; VOLUME_ID_BYTES] = text.as_bytes().try_into().ok()?;
        bytes.iter().all(|byte| ALPHABET.contains(byte)).then_some(Self(bytes))
    }

    /// The id's characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("the alphabet is ASCII")
    }

    /// The id's bytes, as they stand in frames.
    pub fn as_bytes(&self) -> &[u8; VOLUME_ID_BYTES] {
        &self.0
    }
}

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn key(text: String) -> Key {
    Key::parse(text).expect("names are limited so that every row's key fits")
}

/// The keys of one volume's catalog rows. The shard is 0 until catalogs are split.
#[derive(Clone, Debug)]
pub struct CatalogKeys {
    root: String,
}

impl CatalogKeys {
    /// The keys of this volume.
    pub fn new(volume: VolumeId) -> Self {
        Self { root: format!("{volume}/00/") }
    }

    /// What all rows of the volume begin with.
    pub fn root(&self) -> &str {
        &self.root
    }

    fn row(&self, class: char, rest: &str) -> Key {
        let mut text = String::with_capacity(self.root.len() + 2 + rest.len());
        text.push_str(&self.root);
        text.push(class);
        text.push('/');
        text.push_str(rest);
        key(text)
    }

    /// What all rows of a class begin with.
    pub fn class(&self, class: char) -> String {
        format!("{}{class}/", self.root)
    }

    /// The volume's identity and policy.
    pub fn volume(&self) -> Key {
        self.row('m', "volume")
    }

    /// The newest commit and the counters.
    pub fn head(&self) -> Key {
        self.row('m', "head")
    }

    /// How far log and checkpoints reach.
    pub fn sealed(&self) -> Key {
        self.row('m', "sealed")
    }

    /// A current entry.
    pub fn entry(&self, name: &Name) -> Key {
        self.row('e', name.as_str())
    }

    /// What the keys of entries with this prefix begin with.
    pub fn entries(&self, prefix: &str) -> String {
        format!("{}e/{prefix}", self.root)
    }

    /// The name in the key of an entry.
    pub fn entry_name<'a>(&self, key: &'a Key) -> Option<&'a str> {
        key.as_str().strip_prefix(&self.root)?.strip_prefix("e/")
    }

    /// A superseded version. Versions of one name are in ascending order.
    pub fn history(&self, name: &Name, version: Version) -> Key {
        self.row('h', &format!("{name}\0{version:016x}"))
    }

    /// What the keys of superseded versions of names with this prefix begin with.
    pub fn histories(&self, prefix: &str) -> String {
        format!("{}h/{prefix}", self.root)
    }

    /// What the keys of superseded versions of this one name begin with.
    pub fn history_of(&self, name: &Name) -> String {
        format!("{}h/{name}\0", self.root)
    }

    /// The name and version in the key of a superseded version.
    pub fn history_parts<'a>(&self, key: &'a Key) -> Option<(&'a str, Version)> {
        let rest = key.as_str().strip_prefix(&self.root)?.strip_prefix("h/")?;
        let (name, version) = rest.rsplit_once('\0')?;
        Some((name, u64::from_str_radix(version, 16).ok()?))
    }

    /// Finds superseded versions by when they were superseded.
    pub fn retention(&self, superseded: Version, ordinal: u32) -> Key {
        self.row('r', &format!("{superseded:016x}/{ordinal:08x}"))
    }

    /// The changes of a group of commits, by the number of its last.
    ///
    /// By the last, so that the first row at or behind a number is the one that holds it.
    pub fn log(&self, last: Version) -> Key {
        self.row('l', &format!("{last:016x}"))
    }

    /// The inline bytes of a group of commits that are not yet in the log on the data backend.
    pub fn unsealed(&self, last: Version) -> Key {
        self.row('v', &format!("{last:016x}"))
    }

    /// The number in the key of a log row or an unsealed row.
    pub fn log_sequence(&self, key: &Key) -> Option<Version> {
        let (_, number) = key.as_str().rsplit_once('/')?;
        u64::from_str_radix(number, 16).ok()
    }

    /// A chunk.
    pub fn chunk(&self, id: &ChunkId) -> Key {
        self.row('c', blake3::Hash::from_bytes(id.0).to_hex().as_str())
    }

    /// The chunk in the key of a chunk row or an idle row.
    pub fn chunk_id(&self, key: &Key) -> Option<ChunkId> {
        let (_, hex) = key.as_str().rsplit_once('/')?;
        Some(ChunkId(*blake3::Hash::from_hex(hex).ok()?.as_bytes()))
    }

    /// Finds chunks that nothing names by since when.
    pub fn idle(&self, since: Timestamp, id: &ChunkId) -> Key {
        self.row('i', &format!("{:016x}/{id}", since.as_micros()))
    }

    /// A segment.
    pub fn segment(&self, id: SegmentId) -> Key {
        self.row('s', &id.to_string())
    }

    /// The segment in the key of a segment row.
    pub fn segment_id(&self, key: &Key) -> Option<SegmentId> {
        SegmentId::parse(key.as_str().rsplit_once('/')?.1)
    }

    /// A copy of a segment that is left over in a place, until it is deleted.
    pub fn left_over(&self, id: SegmentId, place: u16) -> Key {
        self.row('d', &format!("{id}/{place:04x}"))
    }

    /// The segment and place in the key of a copy that is left over.
    pub fn left_over_parts(&self, key: &Key) -> Option<(SegmentId, u16)> {
        let rest = key.as_str().strip_prefix(&self.root)?.strip_prefix("d/")?;
        let (id, place) = rest.split_once('/')?;
        Some((SegmentId::parse(id)?, u16::from_str_radix(place, 16).ok()?))
    }

    /// A writer.
    pub fn writer(&self, epoch: u64) -> Key {
        self.row('w', &format!("{epoch:016x}"))
    }

    /// The epoch in the key of a writer.
    pub fn writer_epoch(&self, key: &Key) -> Option<u64> {
        u64::from_str_radix(key.as_str().rsplit_once('/')?.1, 16).ok()
    }

    /// A snapshot.
    pub fn snapshot(&self, name: &Name) -> Key {
        self.row('p', name.as_str())
    }

    /// Finds entries by when the rules of the policy may end them.
    pub fn end(&self, end: Timestamp, name: &Name) -> Key {
        self.row('t', &format!("{:016x}/{name}", end.as_micros()))
    }

    /// What is remembered of a job.
    pub fn job(&self, name: &str) -> Key {
        self.row('j', name)
    }

    /// An upload.
    pub fn upload(&self, id: &str) -> Key {
        self.row('u', id)
    }

    /// A part of an upload.
    pub fn part(&self, id: &str, number: u32) -> Key {
        self.row('q', &format!("{id}/{number:08x}"))
    }

    /// What the keys of the parts of an upload begin with.
    pub fn parts(&self, id: &str) -> String {
        format!("{}q/{id}/", self.root)
    }

    /// Finds entries by when they end.
    pub fn expiry(&self, expires: Timestamp, name: &Name) -> Key {
        self.row('x', &format!("{:016x}/{name}", expires.as_micros()))
    }

    /// Finds entries by an attribute; nothing if it is too long for the index.
    pub fn attribute(&self, attribute: &str, value: &str, name: &Name) -> Option<Key> {
        let prefix = self.attributes(attribute, value)?;
        Some(key(format!("{prefix}{name}")))
    }

    /// What the keys of entries with this attribute begin with; nothing if it is too long.
    pub fn attributes(&self, attribute: &str, value: &str) -> Option<String> {
        let fits = attribute.len() + value.len() <= INDEX_BYTES_MAX && !value.contains('\0');
        fits.then(|| format!("{}a/{attribute}\0{value}\0", self.root))
    }
}

/// The keys of one volume's objects on a data backend.
#[derive(Clone, Debug)]
pub struct DataKeys {
    volume: VolumeId,
}

impl DataKeys {
    /// The keys of this volume.
    pub fn new(volume: VolumeId) -> Self {
        Self { volume }
    }

    /// The volume.
    pub fn volume_id(&self) -> VolumeId {
        self.volume
    }

    /// What all objects of the volume begin with.
    pub fn root(&self) -> String {
        format!("{}/", self.volume)
    }

    /// The volume's identity and policy, for rebuilding.
    pub fn volume(&self) -> Key {
        key(format!("{}/volume", self.volume))
    }

    /// A segment.
    pub fn segment(&self, id: SegmentId) -> Key {
        key(format!("{}/segment/{id}", self.volume))
    }

    /// What all segments begin with.
    pub fn segments(&self) -> String {
        format!("{}/segment/", self.volume)
    }

    /// The segment in the key of a segment.
    pub fn segment_id(&self, key: &Key) -> Option<SegmentId> {
        SegmentId::parse(key.as_str().strip_prefix(&self.segments())?)
    }

    /// One part of a run of the commit log. The epoch keeps two writers' runs apart.
    pub fn log(&self, first: Version, last: Version, epoch: u64, part: u32) -> Key {
        key(format!("{}/log/{first:016x}-{last:016x}-{epoch:016x}/{part:08x}", self.volume))
    }

    /// What all parts of the commit log begin with.
    pub fn logs(&self) -> String {
        format!("{}/log/", self.volume)
    }

    /// One part of a checkpoint. The epoch keeps two writers' checkpoints apart.
    pub fn checkpoint(&self, sequence: Version, epoch: u64, part: u32) -> Key {
        let volume = self.volume;
        key(format!("{volume}/checkpoint/{sequence:016x}-{epoch:016x}/{part:08x}"))
    }

    /// The manifest of a checkpoint, written last.
    pub fn manifest(&self, sequence: Version, epoch: u64) -> Key {
        let volume = self.volume;
        key(format!("{volume}/checkpoint/{sequence:016x}-{epoch:016x}/manifest"))
    }

    /// What all checkpoints begin with.
    pub fn checkpoints(&self) -> String {
        format!("{}/checkpoint/", self.volume)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_names_fit() {
        let keys = CatalogKeys::new(VolumeId::from_random([7; 12]));
        let name = Name::parse("n".repeat(super::super::entry::NAME_BYTES_MAX)).unwrap();
        keys.entry(&name);
        keys.history(&name, u64::MAX);
        keys.expiry(Timestamp::from_micros(u64::MAX), &name);
        keys.end(Timestamp::from_micros(u64::MAX), &name);
        keys.snapshot(&name);
        let half = "v".repeat(INDEX_BYTES_MAX / 2);
        assert!(keys.attribute(&half, &half, &name).is_some());
        assert!(keys.attribute(&half, &format!("{half}v"), &name).is_none());
    }

    #[test]
    fn keys_give_back_what_they_were_made_from() {
        let keys = CatalogKeys::new(VolumeId::from_random([1; 12]));
        let name = Name::parse("a/ü b").unwrap();
        assert_eq!(keys.entry_name(&keys.entry(&name)), Some("a/ü b"));
        assert_eq!(keys.history_parts(&keys.history(&name, 77)), Some(("a/ü b", 77)));
        assert_eq!(keys.log_sequence(&keys.log(9)), Some(9));
        let id = ChunkId([9; 32]);
        assert_eq!(keys.chunk_id(&keys.chunk(&id)), Some(id));
        assert_eq!(keys.chunk_id(&keys.idle(Timestamp::from_micros(5), &id)), Some(id));
        let segment = SegmentId { epoch: 3, counter: 4 };
        assert_eq!(keys.segment_id(&keys.segment(segment)), Some(segment));
        assert_eq!(keys.left_over_parts(&keys.left_over(segment, 77)), Some((segment, 77)));
        let data = DataKeys::new(VolumeId::from_random([1; 12]));
        assert_eq!(data.segment_id(&data.segment(segment)), Some(segment));
        assert_eq!(keys.writer_epoch(&keys.writer(12)), Some(12));
    }
}

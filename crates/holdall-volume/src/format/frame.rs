//! Frames: the shell of everything on a data backend.
//!
//! ```text
//! magic "HFRM" | version u8 | kind u8 | codec u8 | level u8 | key id u32 | volume [u8; 12]
//! owner u64, u64 | position u32 | raw bytes u32 | stored bytes u32 | chunks u32
//! salt [u8; 16] | CRC32C u32
//! chunk lengths u32 × chunks | payload
//! ```
//!
//! All numbers are little-endian. The checksum covers header (itself as zero), chunk lengths and
//! payload. Volume, owner and position bind a frame to its place: a frame that was moved, or came
//! from another volume, does not decode there. The salt is room for sealing: zeros where the key id
//! is 0.

use bytes::Bytes;
use holdall_core::{Error, Operation, Result};

use super::FORMAT_VERSION;
use super::keys::VolumeId;
use super::policy::Compression;
use super::zstd_context;

/// The length of a frame's header in bytes, without the chunk lengths.
pub const HEADER_BYTES: usize = 76;

/// The most bytes a frame may decode to: a bound on memory, whatever a damaged header says.
pub const RAW_BYTES_MAX: usize = 64 << 20;

const MAGIC: [u8; 4] = *b"HFRM";
const SALT_AT: usize = 56;
const CHECKSUM_AT: usize = HEADER_BYTES - 4;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// Chunks.
    Chunks = 0,
    /// A segment's directory.
    Directory = 1,
    /// A part of the commit log.
    Log = 2,
    /// A part of a checkpoint.
    Checkpoint = 3,
    /// A checkpoint's manifest.
    Manifest = 4,
    /// A volume's identity and policy.
    Volume = 5,
}

impl FrameKind {
    fn parse(byte: u8) -> Option<Self> {
        use FrameKind::{Checkpoint, Chunks, Directory, Log, Manifest, Volume};
        [Chunks, Directory, Log, Checkpoint, Manifest, Volume]
            .into_iter()
            .find(|k| *k as u8 == byte)
    }
}

/// To what a frame belongs. It must be given again to decode it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FramePlace {
    /// What it holds.
    pub kind: FrameKind,
    /// The volume.
    pub volume: VolumeId,
    /// The object it lies in: a segment's epoch and counter, a run's or checkpoint's numbers.
    pub owner: (u64, u64),
    /// Where in that object it begins.
    pub position: u32,
}

/// A frame, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The version of the format that wrote it.
    pub version: u8,
    /// The level of its chunks.
    pub level: u8,
    /// With which key it was sealed; 0 is none.
    pub key_id: u32,
    /// The lengths of its chunks.
    pub chunks: Vec<u32>,
    /// The chunks' bytes, one after the other.
    pub raw: Bytes,
}

/// Appends a frame to `out` and says how long it is. Bytes that do not shrink are stored as they
/// are.
///
/// # Errors
/// `Invalid` if there are more than [`RAW_BYTES_MAX`] bytes.
pub fn encode(
    place: FramePlace,
    level: u8,
    chunks: &[u32],
    raw: &[u8],
    compression: Compression,
    out: &mut Vec<u8>,
) -> Result<u32> {
    if raw.len() > RAW_BYTES_MAX {
        let message = format!("a frame has {} bytes; at most {RAW_BYTES_MAX} fit", raw.len());
        return Err(Error::invalid(Operation::Put, message));
    }
    let start = out.len();
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&MAGIC);
    header[4] = FORMAT_VERSION;
    header[5] = place.kind as u8;
    header[7] = level;
    header[12..24].copy_from_slice(place.volume.as_bytes());
    header[24..32].copy_from_slice(&place.owner.0.to_le_bytes());
    header[32..40].copy_from_slice(&place.owner.1.to_le_bytes());
    header[40..44].copy_from_slice(&place.position.to_le_bytes());
    header[44..48].copy_from_slice(&(raw.len() as u32).to_le_bytes());
    header[52..56].copy_from_slice(&(chunks.len() as u32).to_le_bytes());
    out.extend_from_slice(&header);
    chunks.iter().for_each(|bytes| out.extend_from_slice(&bytes.to_le_bytes()));
    let payload_at = out.len();
    let codec = compress(raw, compression, out);
    out[start + 6] = codec as u8;
    let stored = (out.len() - payload_at) as u32;
    out[start + 48..start + 52].copy_from_slice(&stored.to_le_bytes());
    let checksum = crc32c::crc32c(&out[start..]);
    out[start + CHECKSUM_AT..start + HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
    Ok((out.len() - start) as u32)
}

/// Makes an encoded frame belong to another place: frames are compressed side by side, before it
/// is known where each will begin.
pub fn rebind(frame: &mut [u8], place: FramePlace) {
    frame[5] = place.kind as u8;
    frame[12..24].copy_from_slice(place.volume.as_bytes());
    frame[24..32].copy_from_slice(&place.owner.0.to_le_bytes());
    frame[32..40].copy_from_slice(&place.owner.1.to_le_bytes());
    frame[40..44].copy_from_slice(&place.position.to_le_bytes());
    frame[CHECKSUM_AT..HEADER_BYTES].fill(0);
    let checksum = crc32c::crc32c(frame);
    frame[CHECKSUM_AT..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
}

/// Decodes the frame at the front of `bytes`, which must belong to `place`.
///
/// # Errors
/// `Corrupt`, saying what is wrong; `Unsupported` if a newer program wrote it.
pub fn decode(place: FramePlace, bytes: &Bytes) -> Result<Frame> {
    let header = Header::parse_at(place, bytes)?;
    header.check(bytes)?;
    header.open(bytes)
}

/// Decodes as [`decode`] does, but for the checksum: for readers that check each chunk against its
/// digest, which is stronger and which they must do anyway.
///
/// # Errors
/// As [`decode`], as far as it is noticed.
pub fn decode_unchecked(place: FramePlace, bytes: &Bytes) -> Result<Frame> {
    Header::parse_at(place, bytes)?.open(bytes)
}

/// Decodes the frame that is all of `bytes`, which must belong to `place`, if it decodes to at
/// most so many bytes.
///
/// # Errors
/// As [`decode`]; `Corrupt` too if anything stands behind the frame, or it is longer.
pub fn decode_whole(place: FramePlace, bytes: &Bytes, raw_bytes_max: usize) -> Result<Frame> {
    let header = Header::parse(bytes)?;
    if header.frame_bytes() != bytes.len() {
        return Err(corrupt("is not as long as its object"));
    }
    if header.raw_bytes > raw_bytes_max {
        return Err(corrupt("has impossible lengths"));
    }
    decode(place, bytes)
}

/// Checks the frame that is all of `bytes`, whatever place it belongs to, without decoding it.
///
/// # Errors
/// As [`decode`], as far as form and checksum tell.
pub fn check_whole(bytes: &[u8]) -> Result<Header> {
    let header = Header::parse(bytes)?;
    if header.frame_bytes() != bytes.len() {
        return Err(corrupt("is not as long as its object"));
    }
    header.check(bytes)?;
    Ok(header)
}

/// A frame's header. Reading it checks its form but not its checksum.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// To what the frame says it belongs.
    pub place: FramePlace,
    version: u8,
    level: u8,
    codec: Codec,
    key_id: u32,
    raw_bytes: usize,
    stored_bytes: usize,
    chunks: usize,
}

impl Header {
    /// Parses the header at the front of `bytes`.
    ///
    /// # Errors
    /// As [`decode`].
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let header = bytes.get(..HEADER_BYTES).ok_or_else(|| corrupt("is cut short"))?;
        if header[..4] != MAGIC {
            return Err(corrupt("does not begin like one"));
        }
        if !(1..=FORMAT_VERSION).contains(&header[4]) {
            let message = "a frame was written by a newer program; update holdall";
            return Err(Error::unsupported(Operation::Decode, message));
        }
        let mut volume = [0; 12];
        volume.copy_from_slice(&header[12..24]);
        let volume = std::str::from_utf8(&volume).ok().and_then(VolumeId::parse);
        let parsed = Self {
            place: FramePlace {
                kind: FrameKind::parse(header[5]).ok_or_else(|| corrupt("has no known kind"))?,
                volume: volume.ok_or_else(|| corrupt("names no volume"))?,
                owner: (u64_at(header, 24), u64_at(header, 32)),
                position: u32_at(header, 40),
            },
            version: header[4],
            level: header[7],
            codec: Codec::parse(header[6]).ok_or_else(|| corrupt("has no known codec"))?,
            key_id: u32_at(header, 8),
            raw_bytes: u32_at(header, 44) as usize,
            stored_bytes: u32_at(header, 48) as usize,
            chunks: u32_at(header, 52) as usize,
        };
        let plain = parsed.codec != Codec::None || parsed.raw_bytes == parsed.stored_bytes;
        if parsed.raw_bytes > RAW_BYTES_MAX || parsed.chunks > RAW_BYTES_MAX / 4 || !plain {
            return Err(corrupt("has impossible lengths"));
        }
        if parsed.key_id == 0 && header[SALT_AT..CHECKSUM_AT].iter().any(|byte| *byte != 0) {
            return Err(corrupt("has a salt but no key"));
        }
        Ok(parsed)
    }

    /// Parses a header that must say that it belongs to `place`.
    fn parse_at(place: FramePlace, bytes: &[u8]) -> Result<Self> {
        let header = Self::parse(bytes)?;
        if header.place == place { Ok(header) } else { Err(corrupt("belongs somewhere else")) }
    }

    /// How long the whole frame is in bytes.
    pub fn frame_bytes(&self) -> usize {
        HEADER_BYTES + self.chunks * 4 + self.stored_bytes
    }

    /// The frame at the front of `bytes`.
    fn frame<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8]> {
        bytes.get(..self.frame_bytes()).ok_or_else(|| corrupt("is cut short"))
    }

    /// Compares the checksum.
    fn check(&self, bytes: &[u8]) -> Result<()> {
        let frame = self.frame(bytes)?;
        let mut checksum = crc32c::crc32c(&frame[..CHECKSUM_AT]);
        checksum = crc32c::crc32c_append(checksum, &[0; 4]);
        checksum = crc32c::crc32c_append(checksum, &frame[HEADER_BYTES..]);
        if checksum != u32_at(frame, CHECKSUM_AT) {
            return Err(corrupt("does not match its checksum"));
        }
        Ok(())
    }

    fn open(&self, bytes: &Bytes) -> Result<Frame> {
        let frame = self.frame(bytes)?;
        let payload_at = HEADER_BYTES + self.chunks * 4;
        let lengths = frame[HEADER_BYTES..payload_at].chunks_exact(4);
        let chunks: Vec<u32> = lengths.map(|length| u32_at(length, 0)).collect();
        let total: u64 = chunks.iter().map(|length| u64::from(*length)).sum();
        if !chunks.is_empty() && total != self.raw_bytes as u64 {
            return Err(corrupt("has chunks that do not fill it"));
        }
        let payload = bytes.slice(payload_at..self.frame_bytes());
        let raw = decompress(self.codec, payload, self.raw_bytes)?;
        Ok(Frame { version: self.version, level: self.level, key_id: self.key_id, chunks, raw })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Codec {
    None = 0,
    Lz4 = 1,
    Zstd = 2,
}

impl Codec {
    fn parse(byte: u8) -> Option<Self> {
        [Self::None, Self::Lz4, Self::Zstd].into_iter().find(|codec| *codec as u8 == byte)
    }
}

/// Appends `raw`, compressed if that makes it shorter by at least a 32nd.
fn compress(raw: &[u8], compression: Compression, out: &mut Vec<u8>) -> Codec {
    let start = out.len();
    let room = raw.len() - raw.len() / 32;
    let written = match compression {
        Compression::None => None,
        Compression::Lz4 => {
            out.resize(start + lz4_flex::block::get_maximum_output_size(raw.len()), 0);
            lz4_flex::block::compress_into(raw, &mut out[start..]).ok().map(|n| (n, Codec::Lz4))
        }
        Compression::Zstd { level } => {
            // Only as much room as would be worth it: incompressible bytes are given up early.
            out.resize(start + room, 0);
            zstd_context::compress(raw, &mut out[start..], level).map(|n| (n, Codec::Zstd))
        }
    };
    match written {
        Some((bytes, codec)) if bytes < room => {
            out.truncate(start + bytes);
            codec
        }
        _ => {
            out.truncate(start);
            out.extend_from_slice(raw);
            Codec::None
        }
    }
}

fn decompress(codec: Codec, payload: Bytes, raw_bytes: usize) -> Result<Bytes> {
    let raw = match codec {
        Codec::None => return Ok(payload),
        Codec::Lz4 => lz4_flex::block::decompress(&payload, raw_bytes)
            .map_err(|e| corrupt("cannot be decompressed").with_source(e))?,
        Codec::Zstd => zstd_context::decompress(&payload, raw_bytes)
            .map_err(|e| corrupt("cannot be decompressed").with_source(e))?,
    };
    if raw.len() != raw_bytes {
        return Err(corrupt("decompresses to another length"));
    }
    Ok(Bytes::from(raw))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

fn corrupt(what: &str) -> Error {
    Error::corrupt(Operation::Decode, format!("a frame {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> FramePlace {
        let volume = VolumeId::from_random([3; 12]);
        FramePlace { kind: FrameKind::Chunks, volume, owner: (1, 2), position: 99 }
    }

    fn sample(compression: Compression) -> (Vec<u8>, Bytes) {
        let raw: Vec<u8> = (0..3000_u32).map(|i| (i / 100) as u8).collect();
        let mut out = b"before".to_vec();
        let bytes = encode(place(), 0, &[1000, 2000], &raw, compression, &mut out).unwrap();
        assert_eq!(bytes as usize, out.len() - 6);
        (raw, Bytes::from(out).slice(6..))
    }

    #[test]
    fn every_codec_gives_the_bytes_back() {
        for compression in [Compression::None, Compression::Lz4, Compression::Zstd { level: 3 }] {
            let (raw, bytes) = sample(compression);
            let frame = decode(place(), &bytes).unwrap();
            assert_eq!((&frame.raw[..], &frame.chunks[..]), (&raw[..], &[1000, 2000][..]));
            assert_eq!(bytes.len() < raw.len(), compression != Compression::None);
        }
    }

    #[test]
    fn incompressible_and_empty_bytes_are_stored_as_they_are() {
        let mut state = 1_u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        let noise: Vec<u8> = (0..10_000).map(|_| noise()).collect();
        for raw in [&noise[..], &[]] {
            for compression in [Compression::Lz4, Compression::Zstd { level: 1 }] {
                let mut out = Vec::new();
                encode(place(), 0, &[], raw, compression, &mut out).unwrap();
                assert_eq!(out.len(), HEADER_BYTES + raw.len());
                assert_eq!(decode(place(), &Bytes::from(out)).unwrap().raw, raw);
            }
        }
    }

    #[test]
    fn a_frame_that_is_bound_to_another_place_is_as_if_encoded_there() {
        let (raw, bytes) = sample(Compression::Lz4);
        let mut moved = bytes.to_vec();
        let owner = (7, 8);
        let other = FramePlace { owner, position: 1234, kind: FrameKind::Log, ..place() };
        rebind(&mut moved, other);
        let mut expected = Vec::new();
        encode(other, 0, &[1000, 2000], &raw, Compression::Lz4, &mut expected).unwrap();
        assert_eq!(moved, expected);
    }

    #[test]
    fn every_flip_and_cut_is_noticed() {
        let (_, bytes) = sample(Compression::Lz4);
        for position in 0..bytes.len() {
            let mut damaged = bytes.to_vec();
            damaged[position] ^= 4;
            assert!(decode(place(), &Bytes::from(damaged)).is_err(), "flip at {position}");
            assert!(decode(place(), &bytes.slice(..position)).is_err(), "cut at {position}");
        }
    }

    #[test]
    fn a_frame_without_a_key_has_no_salt() {
        let (_, bytes) = sample(Compression::Lz4);
        assert_eq!(bytes[SALT_AT..CHECKSUM_AT], [0; 16]);
        for position in SALT_AT..CHECKSUM_AT {
            let mut salted = bytes.to_vec();
            salted[position] = 1;
            rebind(&mut salted, place());
            let error = decode(place(), &Bytes::from(salted)).unwrap_err();
            assert!(error.message().contains("a salt but no key"), "{error}");
        }
        let mut salted = bytes.to_vec();
        salted[SALT_AT..CHECKSUM_AT].fill(9);
        salted[8] = 5;
        rebind(&mut salted, place());
        assert_eq!(decode(place(), &Bytes::from(salted)).unwrap().key_id, 5);
    }

    #[test]
    fn a_frame_decodes_only_where_it_belongs() {
        let (_, bytes) = sample(Compression::None);
        let right = place();
        let wrong = [
            FramePlace { kind: FrameKind::Log, ..right },
            FramePlace { volume: VolumeId::from_random([4; 12]), ..right },
            FramePlace { owner: (2, 1), ..right },
            FramePlace { position: 98, ..right },
        ];
        for place in wrong {
            assert!(decode(place, &bytes).is_err(), "{place:?}");
        }
    }
}

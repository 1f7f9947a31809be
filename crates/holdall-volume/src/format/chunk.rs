//! Chunks: pieces of entries named by their digest, and the trees that put entries together.

use std::fmt;

use holdall_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::segment::SegmentId;

/// The BLAKE3 digest of some bytes.
///
/// Source: O'Connor, Aumasson, Neves, Wilcox-O'Hearn, "BLAKE3", 2020.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of these bytes: the same as the `b3sum` command prints.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(blake3::Hash::from_bytes(self.0).to_hex().as_str())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The secret of a volume from which chunk names are made, so that nobody without it can tell
/// from a name which bytes are stored.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkSecret(pub [u8; 32]);

impl fmt::Debug for ChunkSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChunkSecret(***)")
    }
}

/// A chunk's name: keyed BLAKE3 of the digest of its bytes and its level.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChunkId(pub [u8; 32]);

impl ChunkId {
    /// The name of a chunk with this digest at this level of a tree.
    pub fn new(secret: &ChunkSecret, digest: &Digest, level: u8) -> Self {
        let mut input = [0; 33];
        input[..32].copy_from_slice(&digest.0);
        input[32] = level;
        Self(*blake3::keyed_hash(&secret.0, &input).as_bytes())
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(blake3::Hash::from_bytes(self.0).to_hex().as_str())
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The most nodes that stand in an entry itself; longer lists become chunks.
pub const ROOT_NODES_MAX: usize = 64;

/// The most nodes in one list chunk.
pub const LIST_NODES_MAX: usize = 4096;

/// One piece of an entry: a chunk of its bytes (level 0), or a chunk that lists nodes one level
/// below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Node {
    /// The chunk.
    pub id: ChunkId,
    /// How many of the entry's bytes lie under this node.
    pub bytes: u64,
    /// 0 for the entry's bytes, one more than its nodes for a list.
    pub level: u8,
}

/// Where an entry's bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// In the row itself, behind its body.
    Inline,
    /// In chunks, in this order.
    Tree(Vec<Node>),
}

impl Content {
    /// The nodes at the top, none if the bytes are inline.
    pub fn nodes(&self) -> &[Node] {
        match self {
            Self::Inline => &[],
            Self::Tree(nodes) => nodes,
        }
    }
}

/// Where a chunk's bytes lie: a stretch of one frame's decoded bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The segment.
    pub segment: SegmentId,
    /// Where the frame begins in the segment, in bytes.
    pub frame_at: u32,
    /// The frame's length in the segment, header included.
    pub frame_bytes: u32,
    /// Where the chunk begins in the frame's decoded bytes.
    pub at: u32,
    /// The chunk's length in bytes.
    pub bytes: u32,
    /// The chunk's share of the frame's stored bytes, for counting what is alive.
    pub stored: u32,
}

/// The catalog's row of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRow {
    /// Where it lies.
    pub place: Place,
    /// 0 for bytes of entries, more for lists of nodes.
    pub level: u8,
    /// How many entries, history rows, parts and lists name it.
    pub references: u64,
    /// Since when nothing names it; only while `references` is 0.
    pub idle_since: Option<Timestamp>,
}

/// Encodes the nodes of a list chunk.
pub fn encode_list(nodes: &[Node]) -> Vec<u8> {
    postcard::to_extend(nodes, Vec::with_capacity(nodes.len() * 40))
        .expect("nodes are plain data, which postcard writes to a Vec without failing")
}

/// Decodes the nodes of a list chunk.
///
/// # Errors
/// `Corrupt` if the bytes are no such list.
pub fn decode_list(bytes: &[u8]) -> holdall_core::Result<Vec<Node>> {
    postcard::from_bytes(bytes).map_err(|e| {
        let message = "a list of chunks cannot be decoded; run `holdall verify`";
        holdall_core::Error::corrupt(holdall_core::Operation::Decode, message).with_source(e)
    })
}

//! What stands before every value: few services say a revision, so a value brings its own.
//!
//! ```text
//!   "holdall" 1   8 bytes    that this is a value, and its format
//!   nonce        16 bytes    drawn anew for every write: the revision
//!   size          8 bytes    of the value, big-endian
//! ```
//!
//! By the nonce a write is also recognised as one's own when its answer was lost.

use holdall_core::{Bytes, Env, Revision};

/// How many bytes stand before a value.
pub(crate) const HEAD_BYTES: u64 = 32;
const MAGIC: &[u8; 8] = b"holdall\x01";

/// What stands before a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    nonce: [u8; 16],
    /// The size of the value in bytes.
    pub(crate) size: u64,
}

impl Head {
    /// The head of a new value.
    pub(crate) fn new(size: usize, env: &Env) -> Self {
        Self { nonce: env.random(), size: size as u64 }
    }

    pub(crate) fn encode(self) -> Bytes {
        [MAGIC.as_slice(), &self.nonce, &self.size.to_be_bytes()].concat().into()
    }

    /// The head at the start of these bytes; `None` if there is none.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<8>()?;
        let (nonce, rest) = rest.split_first_chunk::<16>()?;
        let (size, _) = rest.split_first_chunk::<8>()?;
        (magic == MAGIC).then(|| Self { nonce: *nonce, size: u64::from_be_bytes(*size) })
    }

    pub(crate) fn revision(self) -> Revision {
        let digits: String = self.nonce.iter().map(|byte| format!("{byte:02x}")).collect();
        Revision::text(&digits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_comes_back_and_nothing_else_is_one() {
        let head = Head { nonce: *b"0123456789abcdef", size: 0x0102_0304_0506_0708 };
        let bytes = head.encode();
        assert_eq!(bytes.len() as u64, HEAD_BYTES);
        assert_eq!(Head::decode(&bytes), Some(head));
        assert_eq!(head.revision(), Revision::text("30313233343536373839616263646566"));
        for length in 0..bytes.len() {
            assert_eq!(Head::decode(&bytes[..length]), None);
        }
        let mut other = bytes.to_vec();
        other[7] = 2;
        assert_eq!(Head::decode(&other), None, "a later format");
    }
}

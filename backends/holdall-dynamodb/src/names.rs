//! Where the items of one location are in the table.
//!
//! ```text
//!   partition            sort key
//!   PREFIX#0 … #63       a key of the contract: its row
//!   PREFIX#m             f           the form of this location
//!                        d, a byte   how many deletes there were of keys of this share
//!                        t, id       the outcome of a large batch, while it is carried
//!   PREFIX#vNAME         a number    a part of a large value
//! ```

use holdall_core::Key;

/// Sixteen bytes of chance that name one write, one large batch or one large value.
pub(crate) type Nonce = [u8; 16];

/// Over how many counters the deletes are spread.
pub(crate) const SHARES: u8 = 16;

/// The sort key of the form.
pub(crate) const FORM: &[u8] = b"f";

/// The names of one location's items.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    prefix: String,
    spread: u32,
}

impl Names {
    pub(crate) fn new(prefix: &str, spread: u32) -> Self {
        Self { prefix: prefix.to_owned(), spread }
    }

    /// The partition that a key is in.
    pub(crate) fn row(&self, key: &Key) -> String {
        let bucket = hash(key.as_bytes()) % u64::from(self.spread);
        format!("{}#{bucket}", self.prefix)
    }

    /// All partitions that keys are in.
    pub(crate) fn rows(&self) -> Vec<String> {
        (0..self.spread).map(|bucket| format!("{}#{bucket}", self.prefix)).collect()
    }

    /// The partition of what is not a row.
    pub(crate) fn meta(&self) -> String {
        format!("{}#m", self.prefix)
    }

    /// The partition of a large value's parts.
    pub(crate) fn parts(&self, value: &Nonce) -> String {
        format!("{}#v{}", self.prefix, hex(value))
    }
}

/// The sort key of a part.
pub(crate) fn part(number: u64) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

/// Which counter counts the deletes of this key.
pub(crate) fn share(key: &Key) -> u8 {
    (hash(key.as_bytes()) >> 32) as u8 % SHARES
}

/// The sort key of a counter of deletes.
pub(crate) fn deletes(share: u8) -> Vec<u8> {
    vec![b'd', share]
}

/// The sort key of a large batch's outcome.
pub(crate) fn outcome(batch: &Nonce) -> Vec<u8> {
    [b"t", &batch[..]].concat()
}

pub(crate) fn hex(nonce: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(2 * nonce.len());
    for byte in nonce {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// FNV-1a with a last stir: where keys lie must never change, so it is written down here.
fn hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn keys_are_spread_and_stay_where_they_are() {
        let names = Names::new("p", 8);
        let mut counts = [0; 8];
        for at in 0..8000 {
            let place = names.row(&Key::parse(format!("log/{at:08}")).unwrap());
            counts[place.strip_prefix("p#").unwrap().parse::<usize>().unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
        let key = Key::parse("a").unwrap();
        assert_eq!((names.row(&key), share(&key)), ("p#5".to_owned(), 14));
        assert_eq!(Names::new("", 1).row(&key), "#0");
    }

    #[test]
    fn locations_do_not_meet() {
        let of = |prefix| {
            let names = Names::new(prefix, 3);
            [names.rows(), vec![names.meta(), names.parts(&[0; 16])]].concat()
        };
        let all: Vec<String> =
            ["", "a", "a#1", "a#m", "#0", "a#"].into_iter().flat_map(of).collect();
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }
}

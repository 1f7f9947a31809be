//! Finds where FastCDC cuts, as the crate `fastcdc` does but several times as fast.
//!
//! The rolling hash is `hash = hash * 2 + gear[byte]`, and each step waits for the one before. But
//! the masks look only at the lower 48 bits, in which no byte is left after 48 more. So a stretch
//! can be looked through at four places at once, each begun a little earlier: four chains that the
//! processor works on side by side.

use std::sync::LazyLock;

use fastcdc::v2020::{Normalization, get_gear_with_seed, select_masks};

use super::{CHUNK_BYTES_AVERAGE, CHUNK_BYTES_MAX, CHUNK_BYTES_MIN};

/// After this many bytes the hash has forgotten what came before.
const MEMORY: usize = 64;

/// How many bytes each of the four looks through.
const LANE: usize = 4096;

struct Tables {
    gear: [u64; 256],
    /// Harder to meet, for chunks that are shorter than the average.
    short: u64,
    /// Easier to meet, for longer ones.
    long: u64,
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let (given, _) = get_gear_with_seed(0);
    let mut gear = [0; 256];
    gear.copy_from_slice(&given);
    let (short, long) = select_masks(CHUNK_BYTES_AVERAGE, Normalization::Level1);
    Tables { gear, short, long }
});

/// How long the chunk at the front of these bytes is: at most [`CHUNK_BYTES_MAX`].
pub(crate) fn cut(bytes: &[u8]) -> usize {
    let bytes = &bytes[..bytes.len().min(CHUNK_BYTES_MAX)];
    if bytes.len() <= CHUNK_BYTES_MIN {
        return bytes.len();
    }
    let tables = &*TABLES;
    // The original looks at bytes in pairs, so never at the last of an odd number.
    let end = bytes.len() & !1;
    let centre = end.min(CHUNK_BYTES_AVERAGE);
    let begun = CHUNK_BYTES_MIN + MEMORY;
    let mut hash = 0;
    scan(tables, bytes, CHUNK_BYTES_MIN..begun.min(centre), tables.short, &mut hash)
        .or_else(|| find(tables, bytes, begun, centre, tables.short))
        .or_else(|| find(tables, bytes, centre.max(begun), end, tables.long))
        .unwrap_or(bytes.len())
}

/// The first place in a range where the hash meets the mask.
fn find(tables: &Tables, bytes: &[u8], start: usize, end: usize, mask: u64) -> Option<usize> {
    let mut at = start;
    while at + 4 * LANE <= end {
        if meets(tables, &bytes[at - MEMORY..at + 4 * LANE], mask) {
            let mut hash = hash_before(tables, bytes, at);
            return scan(tables, bytes, at..at + 4 * LANE, mask, &mut hash);
        }
        at += 4 * LANE;
    }
    if at >= end {
        return None;
    }
    let mut hash = hash_before(tables, bytes, at);
    scan(tables, bytes, at..end, mask, &mut hash)
}

/// Whether the hash meets the mask anywhere behind the first [`MEMORY`] of these bytes.
fn meets(tables: &Tables, bytes: &[u8], mask: u64) -> bool {
    let gear = &tables.gear;
    let lane = |number: usize| -> &[u8; LANE] {
        let at = MEMORY + number * LANE;
        bytes[at..].first_chunk().expect("four lanes are given")
    };
    let before = |number: usize| hash_before(tables, bytes, MEMORY + number * LANE);
    let (a, b, c, d) = (lane(0), lane(1), lane(2), lane(3));
    let (mut ha, mut hb, mut hc, mut hd) = (before(0), before(1), before(2), before(3));
    for at in 0..LANE {
        ha = (ha << 1).wrapping_add(gear[usize::from(a[at])]);
        hb = (hb << 1).wrapping_add(gear[usize::from(b[at])]);
        hc = (hc << 1).wrapping_add(gear[usize::from(c[at])]);
        hd = (hd << 1).wrapping_add(gear[usize::from(d[at])]);
        if ha & mask == 0 || hb & mask == 0 || hc & mask == 0 || hd & mask == 0 {
            return true;
        }
    }
    false
}

/// The hash of the bytes before a place.
fn hash_before(tables: &Tables, bytes: &[u8], at: usize) -> u64 {
    let before = &bytes[at - MEMORY..at];
    before
        .iter()
        .fold(0, |hash, byte| (hash << 1_u32).wrapping_add(tables.gear[usize::from(*byte)]))
}

/// Looks byte by byte.
fn scan(
    tables: &Tables,
    bytes: &[u8],
    range: std::ops::Range<usize>,
    mask: u64,
    hash: &mut u64,
) -> Option<usize> {
    let start = range.start;
    let found = bytes[range].iter().position(|byte| {
        *hash = (*hash << 1).wrapping_add(tables.gear[usize::from(*byte)]);
        *hash & mask == 0
    });
    found.map(|at| start + at)
}

#[cfg(test)]
mod tests {
    use fastcdc::v2020::FastCDC;

    use super::*;

    fn original(bytes: &[u8]) -> usize {
        FastCDC::new(bytes, CHUNK_BYTES_MIN, CHUNK_BYTES_AVERAGE, CHUNK_BYTES_MAX)
            .cut(0, bytes.len())
            .1
    }

    /// Bytes of which so many bits are drawn at random.
    fn bytes(seed: u64, length: usize, bits: u8) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes.iter_mut().for_each(|byte| *byte &= bits);
        bytes
    }

    #[test]
    fn cuts_are_where_the_original_makes_them() {
        for (seed, bits) in [255, 255, 255, 255, 15, 3, 1, 0].into_iter().enumerate() {
            let bytes = bytes(seed as u64, 12 << 20, bits);
            let (mut at, mut count) = (0, 0);
            while at < bytes.len() {
                let length = cut(&bytes[at..]);
                assert_eq!(length, original(&bytes[at..]), "at {at} of seed {seed}");
                at += length;
                count += 1;
            }
            assert!(count >= 3);
        }
    }

    #[test]
    fn every_edge_is_the_original_s() {
        let bytes = bytes(9, (4 << 20) + 3, 255);
        let edges =
            [CHUNK_BYTES_MIN, CHUNK_BYTES_MIN + MEMORY, CHUNK_BYTES_AVERAGE, CHUNK_BYTES_MAX];
        for start in [0, 1, 777] {
            for edge in edges {
                for length in edge - 3..=(edge + 3).min(bytes.len() - start) {
                    let bytes = &bytes[start..start + length];
                    assert_eq!(cut(bytes), original(bytes), "{length} bytes from {start}");
                }
            }
        }
        // A place near the front, where the hash does not yet go back far enough.
        for length in (CHUNK_BYTES_MIN..CHUNK_BYTES_MIN + 40_000).step_by(997) {
            let bytes = &bytes[..length];
            assert_eq!(cut(bytes), original(bytes), "{length} bytes");
        }
    }

    #[test]
    fn places_right_behind_the_least_length_are_found() {
        // Bytes that cut as early as may be: found by trying, at several places behind the front.
        let mut bytes = bytes(3, 2 << 20, 255);
        let mut found = 0;
        for at in (0..64).chain([5000, 17_000]) {
            for value in (0..=255).step_by(32) {
                bytes[CHUNK_BYTES_MIN + at] = value;
                let length = cut(&bytes);
                assert_eq!(length, original(&bytes));
                found += usize::from(length < CHUNK_BYTES_MIN + 20_000);
            }
        }
        assert!(found < 66 * 8);
    }
}

//! Keys and values that look random and can be told again from their number.

use bytes::{Bytes, BytesMut};

/// The seed of everything here: all runs and contenders get the same.
const SEED: u64 = 0x686f_6c64_616c_6c31;

/// Values begin at multiples of this in the pool.
const STEP: usize = 64;

/// The next state and number of the SplitMix64 sequence.
pub fn mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The key of a number: 32 bytes, in no order.
pub fn key(number: u64) -> String {
    let mut state = SEED ^ number;
    format!("{:016x}{number:016x}", mix(&mut state))
}

/// Bytes that do not compress, another row of them for each number.
pub fn noise(number: u64, bytes: usize) -> Bytes {
    let mut state = SEED.rotate_left(17) ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93);
    let mut out = BytesMut::with_capacity(bytes + 8);
    while out.len() < bytes {
        out.extend_from_slice(&mix(&mut state).to_le_bytes());
    }
    out.truncate(bytes);
    out.freeze()
}

/// Values of one size, cut from one stretch of noise, so that giving one costs nothing.
#[derive(Clone, Debug)]
pub struct Values {
    pool: Bytes,
    size: usize,
}

impl Values {
    /// Values of `size` bytes. As many as the pool has places for differ from each other: with
    /// 16 MiB some 260,000.
    pub fn new(size: usize, pool_bytes: usize) -> Self {
        Self { pool: noise(0, pool_bytes.max(size + STEP)), size }
    }

    /// The value of a number.
    pub fn get(&self, number: u64) -> Bytes {
        let places = (self.pool.len() - self.size) / STEP + 1;
        let at = (number % places as u64) as usize * STEP;
        self.pool.slice(at..at + self.size)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn keys_differ_and_come_in_no_order() {
        let keys: Vec<String> = (0..1000).map(key).collect();
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 1000);
        let rising = keys.windows(2).filter(|pair| pair[0] < pair[1]).count();
        assert!((400..600).contains(&rising), "{rising}");
        assert!(keys.iter().all(|key| key.len() == 32));
    }

    #[test]
    fn noise_has_its_length_and_differs_by_number() {
        for bytes in [0, 1, 7, 8, 1023] {
            assert_eq!(noise(5, bytes).len(), bytes);
        }
        assert_eq!(noise(5, 64), noise(5, 64));
        assert_ne!(noise(5, 64), noise(6, 64));
    }

    #[test]
    fn values_reach_the_end_of_their_pool_and_not_past_it() {
        let values = Values::new(1024, 1 << 16);
        let distinct: BTreeSet<Bytes> = (0..2000).map(|number| values.get(number)).collect();
        assert_eq!(distinct.len(), ((1 << 16) - 1024) / STEP + 1);
        assert!(distinct.iter().all(|value| value.len() == 1024));
        assert_eq!(Values::new(1024, 0).get(7).len(), 1024);
    }
}

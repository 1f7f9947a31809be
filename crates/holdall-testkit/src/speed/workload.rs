//! What is measured: the same keys, sizes and counts as `cargo x bench backends` gives the
//! engine's own backends, so that the two can be set side by side.
//!
//! ```text
//!   round N of work W at once A       keys  bench/W-A/N/000000, 000001, …
//!   value of operation I in round N   BYTES of noise, from place (I + 101 N mod places) * 64 on
//! ```
//!
//! Every round of small puts writes new keys; large ones are written over (as round 0), so that a
//! server that keeps all in memory can bear it, and with other values each time: an engine may see
//! that it is told to write what it has. The gets of a round read what its puts wrote, each
//! key once, in the order of their numbers. Ranges are cut from the large values, operation I from
//! value (I mod values), at (I * 7919 mod 256) * 64 KiB.

/// One row of the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// What the row is called.
    pub name: &'static str,
    /// What its operations do.
    pub kind: Kind,
    /// Bytes of each value that is written or read, or of each range.
    pub bytes: usize,
    /// How many operations are under way at the same time.
    pub at_once: usize,
    /// How many operations a round has.
    pub operations: usize,
    /// The puts whose keys are read: their name and how many at once.
    pub of: (&'static str, usize),
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Write values.
    Put,
    /// Read them whole.
    Get,
    /// Read ranges of values of [`LARGE`] bytes.
    Range,
}

/// Bytes of a small value.
pub const SMALL: usize = 1 << 10;
/// Bytes of a large value.
pub const LARGE: usize = 16 << 20;
/// Bytes of a range of a large value.
pub const RANGE: usize = 64 << 10;

/// How often everything is done; the median counts.
pub const ROUNDS: usize = 5;

/// Everything that is measured, in the order in which a round does it.
pub static WORKS: [Work; 10] = [
    work("put_small", Kind::Put, SMALL, 1, 200, ("put_small", 1)),
    work("get_small", Kind::Get, SMALL, 1, 200, ("put_small", 1)),
    work("put_small", Kind::Put, SMALL, 64, 2048, ("put_small", 64)),
    work("get_small", Kind::Get, SMALL, 64, 2048, ("put_small", 64)),
    work("put_large", Kind::Put, LARGE, 1, 4, ("put_large", 1)),
    work("get_large", Kind::Get, LARGE, 1, 4, ("put_large", 1)),
    work("put_large", Kind::Put, LARGE, 4, 8, ("put_large", 4)),
    work("get_large", Kind::Get, LARGE, 4, 8, ("put_large", 4)),
    work("get_range", Kind::Range, RANGE, 1, 64, ("put_large", 1)),
    work("get_range", Kind::Range, RANGE, 64, 512, ("put_large", 4)),
];

const fn work(
    name: &'static str,
    kind: Kind,
    bytes: usize,
    at_once: usize,
    operations: usize,
    of: (&'static str, usize),
) -> Work {
    Work { name, kind, bytes, at_once, operations, of }
}

impl Work {
    /// The key of an operation.
    pub fn key(&self, round: usize, operation: usize) -> String {
        let (name, at_once) = self.of;
        let number = if self.kind == Kind::Range { operation % self.values() } else { operation };
        let round = if self.is_of_large() { 0 } else { round };
        format!("bench/{name}-{at_once}/{round}/{number:06}")
    }

    /// Whether it writes or reads large values.
    pub fn is_of_large(&self) -> bool {
        self.of.0 == "put_large"
    }

    /// Where an operation's range begins.
    pub fn start(&self, operation: usize) -> u64 {
        (operation * 7919 % (LARGE / RANGE) * RANGE) as u64
    }

    /// How many values there are to read.
    fn values(&self) -> usize {
        let puts = WORKS.iter().find(|work| (work.name, work.at_once) == self.of);
        puts.map_or(1, |work| work.operations)
    }
}

/// Values that do not compress, cut from one stretch of noise.
#[derive(Debug)]
pub struct Noise(bytes::Bytes);

/// Values begin at multiples of this in the noise.
const STEP: usize = 64;

impl Default for Noise {
    fn default() -> Self {
        Self::new()
    }
}

impl Noise {
    /// Enough for large values that differ.
    pub fn new() -> Self {
        let mut state = 0x686f_6c64_616c_6c31_u64;
        let mut bytes = Vec::with_capacity(LARGE + (1 << 20));
        while bytes.len() < LARGE + (1 << 20) {
            bytes.extend_from_slice(&mix(&mut state).to_le_bytes());
        }
        Self(bytes.into())
    }

    /// The value of an operation of a round.
    pub fn value(&self, round: usize, operation: usize, bytes: usize) -> bytes::Bytes {
        let places = (self.0.len() - bytes) / STEP + 1;
        let at = (operation + 101 * round) % places * STEP;
        self.0.slice(at..at + bytes)
    }
}

/// The next number of the SplitMix64 sequence.
fn mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

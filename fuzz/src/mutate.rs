//! Makes inputs from others: the same ones for the same seed.

/// The longest input made.
pub const INPUT_BYTES_MAX: usize = 64 << 10;

/// Numbers at which decoders go wrong.
const EDGES: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_ffff_fffe,
    0xffff_ffff_ffff_ffff,
];

/// Makes inputs.
#[derive(Debug)]
pub struct Mutator {
    state: u64,
}

impl Mutator {
    /// Begins the sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A number below the bound; 0 if that is 0.
    fn below(&mut self, bound: usize) -> usize {
        // Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) as usize).checked_rem(bound).unwrap_or(0)
    }

    /// One of the inputs, changed a few times; now and then, noise.
    pub fn next(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = match corpus.get(self.below(corpus.len() + corpus.len() / 16)) {
            Some(input) => input.clone(),
            None => (0..self.below(200)).map(|_| self.below(256) as u8).collect(),
        };
        for _ in 0..=self.below(5) {
            self.change(&mut input, corpus);
        }
        input.truncate(INPUT_BYTES_MAX);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        let span = at..(at + self.below(33)).min(input.len());
        match self.below(9) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = self.below(256) as u8,
            2 => input.truncate(at),
            3 => drop(input.drain(span)),
            4 => {
                let copy = input[span].to_vec();
                input.splice(at..at, copy);
            }
            5 => {
                let noise: Vec<u8> = (0..=self.below(16)).map(|_| self.below(256) as u8).collect();
                input.splice(at..at, noise);
            }
            6 => self.number(input, at),
            7 => self.varint(input, at),
            8 => {
                let Some(other) = corpus.get(self.below(corpus.len())) else {
                    return;
                };
                let from = self.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => {}
        }
    }

    /// Overwrites a number of fixed width.
    fn number(&mut self, input: &mut [u8], at: usize) {
        let number = EDGES[self.below(EDGES.len())].to_le_bytes();
        let width = [1, 2, 4, 8][self.below(4)];
        for (byte, new) in input.iter_mut().skip(at).zip(&number[..width]) {
            *byte = *new;
        }
    }

    /// Puts a number of variable width in place of a byte.
    fn varint(&mut self, input: &mut Vec<u8>, at: usize) {
        let mut number = EDGES[self.below(EDGES.len())];
        let mut bytes = Vec::new();
        while number >= 0x80 {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        input.splice(at..(at + 1).min(input.len()), bytes);
    }
}

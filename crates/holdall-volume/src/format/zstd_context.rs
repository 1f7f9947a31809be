//! zstd, with the memory that it works in kept for the next frame.
//!
//! A context takes about a megabyte, and on many machines memory that is touched for the first
//! time costs as much as compressing a small frame. Each thread keeps one.

use std::cell::RefCell;
use std::io;

use zstd::bulk::{Compressor, Decompressor};

thread_local! {
    static COMPRESSOR: RefCell<Option<(u8, Compressor<'static>)>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Compresses into `out` and says how many bytes that are, or nothing if they do not fit.
pub(super) fn compress(raw: &[u8], out: &mut [u8], level: u8) -> Option<usize> {
    COMPRESSOR.with_borrow_mut(|kept| {
        let fitting = kept.take().filter(|(of, _)| *of == level);
        let (_, compressor) = match fitting {
            Some(fitting) => kept.insert(fitting),
            None => kept.insert((level, Compressor::new(i32::from(level)).ok()?)),
        };
        compressor.compress_to_buffer(raw, out).ok()
    })
}

/// Decompresses what has at most `raw_bytes` bytes.
///
/// # Errors
/// If it has more, or is not what zstd wrote.
pub(super) fn decompress(stored: &[u8], raw_bytes: usize) -> io::Result<Vec<u8>> {
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => kept.insert(Decompressor::new()?),
        };
        decompressor.decompress(stored, raw_bytes)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_kept_context_gives_what_a_new_one_gives_also_after_a_failure() {
        let raw: Vec<u8> = (0..50_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let mut out = vec![0; raw.len()];
        for level in [3, 1, 3, 19, 1] {
            assert_eq!(compress(&raw, &mut out[..10], level), None, "no room");
            let bytes = compress(&raw, &mut out, level).unwrap();
            assert_eq!(out[..bytes], zstd::bulk::compress(&raw, i32::from(level)).unwrap());
            assert!(decompress(&out[..bytes], raw.len() - 1).is_err(), "too long");
            assert!(decompress(&out[1..bytes], raw.len()).is_err(), "nonsense");
            assert_eq!(decompress(&out[..bytes], raw.len()).unwrap(), raw);
        }
    }
}

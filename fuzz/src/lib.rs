//! Fuzzing: every decoder, given bytes that nobody wrote, must return: no panic, no endless loop,
//! no memory out of proportion.
//!
//! A [target](targets) is a plain function of bytes, so that anything can drive it. Here that is a
//! small mutator over a committed corpus, the same on every machine for the same seed; a
//! coverage-guided fuzzer can be put in front of the binary, which reads its input from a file.
//!
//! ```text
//! cargo test -p holdall-fuzz                       briefly, as every test run does
//! cargo run -p holdall-fuzz -- log-part 1000000 7  a target, iterations, a seed
//! cargo run -p holdall-fuzz -- log-part FILE       one input, as AFL gives it
//! ```

pub mod mutate;
pub mod targets;

use std::path::{Path, PathBuf};

use mutate::Mutator;
use targets::Target;

/// Where the corpus of a target lies.
pub fn corpus_folder(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

/// The inputs that were kept: one of every form the target knows, and what once went wrong.
///
/// # Errors
/// Those of the file system.
pub fn corpus(target: &Target) -> std::io::Result<Vec<Vec<u8>>> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(corpus_folder(target))?
        .map(|found| found.map(|found| found.path()))
        .collect::<Result<_, _>>()?;
    paths.sort();
    paths.into_iter().map(std::fs::read).collect()
}

/// Runs a target on its corpus, and then on inputs made from it. `look` sees each input before it
/// is run, so that one that ends the process is known.
///
/// # Errors
/// Those of the file system, when reading the corpus.
pub fn run(
    target: &Target,
    iterations: u64,
    seed: u64,
    mut look: impl FnMut(&[u8]),
) -> std::io::Result<()> {
    let corpus = corpus(target)?;
    for input in &corpus {
        look(input);
        (target.run)(input);
    }
    let mut mutator = Mutator::new(seed);
    for _ in 0..iterations {
        let input = mutator.next(&corpus);
        look(&input);
        (target.run)(&input);
    }
    Ok(())
}

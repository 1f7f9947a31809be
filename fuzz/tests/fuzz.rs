//! Every target, briefly: `HOLDALL_FUZZ_ITERATIONS` inputs each, from `HOLDALL_FUZZ_SEED`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod memory;
mod samples;

use std::panic::{AssertUnwindSafe, catch_unwind};

use holdall_fuzz::targets::TARGETS;

/// How many inputs each target is given, unless told otherwise: seconds in all.
const ITERATIONS: u64 = 20_000;

/// The most memory that one input of at most 64 KiB may need: a frame's 64 MiB, decoded twice.
const MEMORY_MAX: usize = 160 << 20;

#[allow(clippy::disallowed_methods, reason = "how long to fuzz is said from outside")]
fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

#[test]
fn no_input_makes_a_decoder_panic_or_take_much_memory() {
    let iterations = number("HOLDALL_FUZZ_ITERATIONS", ITERATIONS);
    let seed = number("HOLDALL_FUZZ_SEED", 1);
    for target in TARGETS {
        let mut last = Vec::new();
        memory::start();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            holdall_fuzz::run(target, iterations, seed, |input| {
                assert!(memory::peak() < MEMORY_MAX, "the input before took too much memory");
                memory::start();
                last.clear();
                last.extend_from_slice(input);
            })
            .unwrap();
        }));
        if outcome.is_err() {
            let hex: String = last.iter().map(|byte| format!("{byte:02x}")).collect();
            panic!("{} with seed {seed} went wrong at (or, for memory, before) {hex}", target.name);
        }
    }
}

#[test]
fn the_corpus_has_a_sample_of_every_form_that_decodes() {
    for target in TARGETS {
        let corpus = holdall_fuzz::corpus(target).unwrap();
        for (name, sample) in samples::of(target.name) {
            let found = corpus.contains(&sample);
            let folder = holdall_fuzz::corpus_folder(target);
            if number("HOLDALL_FUZZ_WRITE_CORPUS", 0) == 1 {
                std::fs::write(folder.join(name), &sample).unwrap();
            } else {
                assert!(found, "`{name}` is missing; set HOLDALL_FUZZ_WRITE_CORPUS=1 to add it");
            }
        }
    }
}

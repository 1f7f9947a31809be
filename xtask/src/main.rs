//! The everyday commands: check, test, sim, bench.
fn main() {}

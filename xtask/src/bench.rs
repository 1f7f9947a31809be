//! `cargo x bench`: measures, beside the peers, in one run.

use crate::run::{Result, cargo, show};

/// Runs holdall-bench, built as it is shipped, with these arguments.
///
/// # Errors
/// If it cannot be built, or ends with anything but success.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let mut bench = cargo();
    bench.args([
        "run",
        "--locked",
        "--release",
        "--package",
        "holdall-bench",
        "--",
    ]);
    show(bench.args(arguments))
}

//! `cargo x bench`: measures, beside the peers, in one run.

use crate::run::{Result, cargo, show};

/// Runs holdall-bench, built as it is shipped, with these arguments. The command is built too,
/// because importing is measured with it.
///
/// # Errors
/// If they cannot be built, or the bench ends with anything but success.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let mut command = cargo();
    show(command.args(["build", "--locked", "--release", "--package", "holdall-cli"]))?;
    let mut bench = cargo();
    bench.args(["run", "--locked", "--release", "--package", "holdall-bench", "--"]);
    show(bench.args(arguments))
}

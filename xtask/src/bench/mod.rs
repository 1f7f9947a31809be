//! `cargo x bench`: measures, beside the peers, in one run.

mod backends;

use crate::run::{Result, cargo, show};

/// Runs holdall-bench, built as it is shipped, with these arguments; the command is built too,
/// because importing is measured with it. `backends` measures every backend instead.
///
/// # Errors
/// If something cannot be built, or ends with anything but success.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if let Some((first, names)) = arguments.split_first()
        && first == "backends"
    {
        return backends::run(names);
    }
    let mut command = cargo();
    show(command.args(["build", "--locked", "--release", "--package", "holdall-cli"]))?;
    let mut bench = cargo();
    bench.args(["run", "--locked", "--release", "--package", "holdall-bench", "--"]);
    show(bench.args(arguments))
}

//! `cargo x test`: every test of the workspace, those in the documentation included. Tests start
//! the servers that they need; what is left running is ended here.

use crate::run::{Result, cargo, has_cargo_command, show};

/// Runs the tests whose names hold one of the filters, or all.
///
/// # Errors
/// If a test fails. One that fails does not keep the others from running.
pub(crate) fn run(filters: &[String]) -> Result<()> {
    let mut documented = cargo();
    documented.args(["test", "--locked", "--workspace", "--doc", "--no-fail-fast", "--"]);
    let documented = show(documented.args(filters));
    let (runner, tests) = if has_cargo_command("nextest") {
        let mut nextest = cargo();
        nextest.args(["nextest", "run", "--locked", "--workspace"]);
        if std::env::var_os("CI").is_some() {
            nextest.args(["--profile", "ci"]);
        }
        ("cargo nextest", show(nextest.args(filters)))
    } else {
        let mut tests = cargo();
        tests.args(["test", "--locked", "--workspace", "--lib", "--bins", "--tests"]);
        tests.args(["--examples", "--no-fail-fast", "--"]);
        ("cargo test", show(tests.args(filters)))
    };

    for service in holdall_services::ALL {
        holdall_services::down(service)?;
    }
    eprintln!("\ntests in the documentation, with cargo test: {}", verdict(&documented));
    eprintln!("unit and integration tests, with {runner}: {}", verdict(&tests));
    documented.and(tests)
}

fn verdict(result: &Result<()>) -> &'static str {
    if result.is_ok() { "all passed" } else { "FAILED, see above" }
}

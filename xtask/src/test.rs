//! `cargo x test`: every test of the workspace, those in the documentation included. Tests start
//! the servers that they need; what is left running is ended here.
//!
//! `--long` gives tests that run for a time of one's choice the time that is meant;
//! `--distributed` runs those on a distributed store, which takes minutes to build, and no others.

use crate::run::{EVERYTHING, Result, cargo, has_cargo_command, show};

/// For how many seconds many writers write, and for how many they are meant to.
const WRITERS_SECONDS: &str = "HOLDALL_WRITERS_SECONDS";
const LONG_SECONDS: &str = "60";

/// Runs the tests whose names hold one of the filters, or all.
///
/// # Errors
/// If a test fails, which does not keep the others from running; for an unknown option.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (options, filters): (Vec<_>, Vec<_>) =
        arguments.iter().cloned().partition(|argument| argument.starts_with("--"));
    let mut long = false;
    for option in &options {
        match option.as_str() {
            "--long" => long = true,
            "--distributed" => return distributed(),
            unknown => return Err(format!("there is no `test {unknown}`: --long, --distributed")),
        }
    }
    let seconds = long.then_some((WRITERS_SECONDS, LONG_SECONDS));
    every_test(&filters, seconds)
}

/// Runs the tests on a distributed store. Garage is built once, in some twelve minutes.
fn distributed() -> Result<()> {
    let mut tests = cargo();
    // All of the workspace, as for every other test, so that nothing is compiled a second time.
    tests.arg("test").args(EVERYTHING).args(["--test", "servers", "--"]);
    show(tests.args(["--ignored", "--nocapture", "distributed::"]))
}

fn every_test(filters: &[String], variable: Option<(&str, &str)>) -> Result<()> {
    holdall_services::compilers()?;
    let mut documented = cargo();
    documented.arg("test").args(EVERYTHING).args(["--doc", "--no-fail-fast", "--"]);
    let documented = show(documented.args(filters));
    let (runner, tests) = if has_cargo_command("nextest") {
        let mut nextest = cargo();
        nextest.args(["nextest", "run"]).args(EVERYTHING);
        if std::env::var_os("CI").is_some() {
            nextest.args(["--profile", "ci"]);
        }
        ("cargo nextest", show(nextest.args(filters).envs(variable)))
    } else {
        let mut tests = cargo();
        tests.arg("test").args(EVERYTHING).args(["--lib", "--bins", "--tests"]);
        tests.args(["--examples", "--no-fail-fast", "--"]);
        ("cargo test", show(tests.args(filters).envs(variable)))
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

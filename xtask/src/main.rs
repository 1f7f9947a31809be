//! The everyday commands: `cargo x check | test | sim | bench | services`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a program for the terminal, which runs other programs and reads its surroundings"
)]

mod bench;
mod check;
mod run;
mod services;
mod sim;
mod source;
mod test;
mod tidy;
mod tree;

use std::process::ExitCode;

const USAGE: &str = "\
The everyday commands of the house.

  cargo x check [step...]              everything that must hold before a change lands;
                                       steps: fmt clippy tidy deny doc (all, if none is named)
  cargo x test [--long] [filter...]    every test, or those whose names hold a filter
  cargo x test --distributed           those on a distributed store, which takes minutes to build
  cargo x sim [--seeds N | --seed S]   the simulation: N seeds (or 5m, 30s), or one again
  cargo x bench [argument...]          measures, beside the peers; arguments go to holdall-bench
  cargo x bench backends [name...]     every backend beside its client library, and OpenDAL
  cargo x services [up|down|status] [name...]
                                       the servers that the tests run against, on loopback
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", &[][..]),
    };
    let done = match command {
        "check" => check::run(rest),
        "test" => test::run(rest),
        "sim" => sim::run(rest),
        "bench" => bench::run(rest),
        "services" => services::run(rest),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(())
        }
        unknown => Err(format!("there is no command `{unknown}`\n\n{USAGE}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("\ncargo x {command}: {message}");
            ExitCode::FAILURE
        }
    }
}

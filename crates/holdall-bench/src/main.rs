//! `cargo x bench`: measures volumes beside their peers, in one run on one disk.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a program for the terminal"
)]

use std::process::ExitCode;

use clap::Parser;
use holdall_bench::arguments::Arguments;
use holdall_bench::medium::Medium;
use holdall_bench::report::Report;
use holdall_bench::{Result, child, rows};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.split_first() {
        Some((word, rest)) if word == child::WORD => child::main(rest).await.map(|()| true),
        _ => measure(Arguments::parse()).await,
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("holdall-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures the rows, each shown as soon as it is there; whether all could be measured. A target
/// that is not reached is no failure.
async fn measure(arguments: Arguments) -> Result<bool> {
    let names = match arguments.names.as_slice() {
        [] => rows::NAMES.map(str::to_owned).to_vec(),
        names => names.to_vec(),
    };
    if let Some(unknown) = names.iter().find(|name| !rows::NAMES.contains(&name.as_str())) {
        let known = rows::NAMES.join(", ");
        return Err(format!("there is no row `{unknown}`; the rows are {known}").into());
    }
    let json = arguments.json;
    let setting = arguments.setting(holdall_runtime::env())?;
    let medium = Medium::of(&setting.dir)?;
    if !json {
        println!("{}\n{} rounds, medians; ratios within a round", medium.line(), setting.rounds);
    }
    let (measured, failures) = Default::default();
    let mut report = Report { medium, rounds: setting.rounds, measured, failures };
    for name in names {
        eprintln!("measuring {name}");
        match rows::run(&name, &setting).await {
            Ok(measured) => {
                if !json {
                    measured.iter().for_each(|measured| print!("\n{}", measured.table()));
                }
                report.measured.extend(measured);
            }
            Err(error) => {
                eprintln!("{name}: {error}");
                report.failures.push((name, error.to_string()));
            }
        }
    }
    if json {
        println!("{:#}", report.json());
    } else {
        print!("\ntargets\n{}", report.summary());
    }
    Ok(report.failures.is_empty())
}

//! Runs a target: at length on made inputs, or on one input from a file.
#![allow(clippy::print_stderr, reason = "this is a command, and a person reads what it says")]

use std::process::ExitCode;

use holdall_fuzz::targets::TARGETS;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> Result<(), String> {
    let known: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    let usage = format!(
        "usage: holdall-fuzz <target> <iterations> [seed], or holdall-fuzz <target> <file>\n\
         targets: {}",
        known.join(" ")
    );
    let [name, what, rest @ ..] = arguments else {
        return Err(usage);
    };
    let target = TARGETS.iter().find(|target| target.name == name).ok_or(usage)?;
    let Ok(iterations) = what.parse() else {
        let input = std::fs::read(what).map_err(|error| format!("{what}: {error}"))?;
        (target.run)(&input);
        return Ok(());
    };
    let seed = rest.first().map_or(Ok(1), |seed| seed.parse());
    let seed = seed.map_err(|error| format!("the seed is no number: {error}"))?;
    // The last input is in this file if the process ends before its time.
    let kept = format!("{name}.input");
    let keep = |input: &[u8]| drop(std::fs::write(&kept, input));
    let done = holdall_fuzz::run(target, iterations, seed, keep);
    done.map_err(|error| format!("the corpus of {name} cannot be read: {error}"))?;
    drop(std::fs::remove_file(&kept));
    Ok(())
}

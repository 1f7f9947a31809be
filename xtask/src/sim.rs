//! `cargo x sim`: the simulation, over more seeds than CI has time for, or one seed again.

use crate::run::{Result, cargo, show};

/// How many seeds run if nobody says.
const SEEDS_DEFAULT: u64 = 1_000;

/// What to simulate.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    /// This many seeds, each once.
    Seeds(u64),
    /// This one seed, to see again what it did.
    Seed(u64),
}

/// Runs every test target named `simulation*`, with the seeds in its environment.
///
/// # Errors
/// If an argument is wrong or a seed fails.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let mut tests = cargo();
    tests.args([
        "test",
        "--locked",
        "--workspace",
        "--test",
        "simulation*",
        "--",
        "--nocapture",
    ]);
    match parse(arguments)? {
        Plan::Seeds(seeds) => tests.env("HOLDALL_SIM_SEEDS", seeds.to_string()),
        Plan::Seed(seed) => tests.env("HOLDALL_SEED", seed.to_string()),
    };
    show(&mut tests)
}

fn parse(arguments: &[String]) -> Result<Plan> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => Ok(Plan::Seeds(SEEDS_DEFAULT)),
        ["--seeds", count] => match number(count)? {
            0 => Err("--seeds is 0; run at least 1".to_owned()),
            count => Ok(Plan::Seeds(count)),
        },
        ["--seed", seed] => Ok(Plan::Seed(number(seed)?)),
        _ => Err(format!(
            "`{}` is not understood; say nothing, `--seeds N` or `--seed S`",
            words.join(" ")
        )),
    }
}

/// A number as the simulation prints it: decimal, or hexadecimal after `0x`.
fn number(text: &str) -> Result<u64> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("`{text}` is not a number between 0 and {}", u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(words: &[&str]) -> Result<Plan> {
        parse(
            &words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn arguments_choose_the_seeds() {
        assert_eq!(parse_words(&[]), Ok(Plan::Seeds(SEEDS_DEFAULT)));
        assert_eq!(parse_words(&["--seeds", "7"]), Ok(Plan::Seeds(7)));
        assert_eq!(parse_words(&["--seed", "0xff"]), Ok(Plan::Seed(255)));
        assert_eq!(parse_words(&["--seed", "0"]), Ok(Plan::Seed(0)));
    }

    #[test]
    fn wrong_arguments_say_what_is_wrong() {
        assert!(
            parse_words(&["--seeds", "0"])
                .unwrap_err()
                .contains("at least 1")
        );
        assert!(
            parse_words(&["--seeds", "many"])
                .unwrap_err()
                .contains("`many`")
        );
        assert!(parse_words(&["--seeds"]).unwrap_err().contains("--seeds N"));
        assert!(parse_words(&["7"]).unwrap_err().contains("`7`"));
    }
}

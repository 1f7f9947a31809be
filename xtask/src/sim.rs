//! `cargo x sim`: the simulation, over more seeds than CI has time for, or one seed again.

use crate::run::{EVERYTHING, Result, cargo, show};

/// How many seeds each simulation runs if nobody says.
const SEEDS_DEFAULT: &str = "1000";

/// What to simulate.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    /// This many seeds, or for this long.
    Seeds(String),
    /// This one seed, to see again what it did.
    Seed(u64),
}

/// Runs every test target named `simulation*`, with what holdall-testkit reads from its
/// environment.
///
/// # Errors
/// If an argument is wrong or a seed fails.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let mut tests = cargo();
    tests.arg("test").args(EVERYTHING).args(["--test", "simulation*"]);
    tests.args(["--no-fail-fast", "--", "--nocapture"]);
    match parse(arguments)? {
        Plan::Seeds(budget) => tests.env("HOLDALL_SIM_SEEDS", budget),
        Plan::Seed(seed) => tests.env("HOLDALL_SEED", seed.to_string()),
    };
    show(&mut tests)
}

fn parse(arguments: &[String]) -> Result<Plan> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => Ok(Plan::Seeds(SEEDS_DEFAULT.to_owned())),
        ["--seeds", budget] => {
            let digits = budget.trim_end_matches(['s', 'm']);
            match number(digits)? {
                0 => Err("--seeds is 0; run at least 1".to_owned()),
                _ if budget.len() - digits.len() > 1 => Err(format!("`{budget}` is no time")),
                _ => Ok(Plan::Seeds((*budget).to_owned())),
            }
        }
        ["--seed", seed] => Ok(Plan::Seed(number(seed)?)),
        _ => Err(format!(
            "`{}` is not understood; say nothing, `--seeds N`, `--seeds 5m` or `--seed S`",
            words.join(" ")
        )),
    }
}

fn number(text: &str) -> Result<u64> {
    text.parse().map_err(|_| format!("`{text}` is not a number between 0 and {}", u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(words: &[&str]) -> Result<Plan> {
        parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn arguments_choose_the_seeds() {
        let seeds = |budget: &str| Ok(Plan::Seeds(budget.to_owned()));
        assert_eq!(parse_words(&[]), seeds(SEEDS_DEFAULT));
        assert_eq!(parse_words(&["--seeds", "7"]), seeds("7"));
        assert_eq!(parse_words(&["--seeds", "5m"]), seeds("5m"));
        assert_eq!(parse_words(&["--seed", "0"]), Ok(Plan::Seed(0)));
    }

    #[test]
    fn wrong_arguments_say_what_is_wrong() {
        assert!(parse_words(&["--seeds", "0"]).unwrap_err().contains("at least 1"));
        assert!(parse_words(&["--seeds", "many"]).unwrap_err().contains("`many`"));
        assert!(parse_words(&["--seeds", "5ms"]).unwrap_err().contains("`5ms`"));
        assert!(parse_words(&["--seeds"]).unwrap_err().contains("--seeds N"));
        assert!(parse_words(&["--seed", "5m"]).unwrap_err().contains("`5m`"));
        assert!(parse_words(&["7"]).unwrap_err().contains("`7`"));
    }
}

//! `cargo x check`: everything that must hold before a change lands.

use crate::run::{EVERYTHING, Result, cargo, has_cargo_command, show};
use crate::tidy;

/// One thing that must hold: its name, and how to see whether it does.
type Step = (&'static str, fn() -> Result<()>);

const STEPS: [Step; 6] = [
    ("fmt", format),
    ("tidy", tidy::run),
    ("clippy", clippy),
    ("features", features),
    ("deny", deny),
    ("doc", document),
];

/// Runs the named steps, or all of them. A step that fails does not stop the others.
///
/// # Errors
/// If a step is unknown or fails.
pub(crate) fn run(names: &[String]) -> Result<()> {
    let known = STEPS.map(|(name, _)| name);
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("there is no step `{unknown}`; the steps are {}", known.join(" ")));
    }
    let mut failures = Vec::new();
    for (name, step) in STEPS {
        if !names.is_empty() && !names.iter().any(|wanted| wanted == name) {
            continue;
        }
        eprintln!("\n== {name}");
        if let Err(message) = step() {
            eprintln!("{message}");
            failures.push(name);
        }
    }
    if failures.is_empty() {
        eprintln!("\ncheck: all steps hold");
        return Ok(());
    }
    Err(format!("does not hold: {}", failures.join(", ")))
}

fn format() -> Result<()> {
    show(cargo().args(["fmt", "--all", "--check"]))
}

fn clippy() -> Result<()> {
    holdall_services::compilers()?;
    let mut clippy = cargo();
    clippy.arg("clippy").args(EVERYTHING).args(["--all-targets", "--", "-D", "warnings"]);
    show(&mut clippy)
}

/// What people build: the command as it is by default, and the library with nothing in it.
fn features() -> Result<()> {
    for selection in [&["-p", "holdall-cli"][..], &["-p", "holdall", "--no-default-features"]] {
        let mut clippy = cargo();
        clippy.args(["clippy", "--locked"]).args(selection).args(["--", "-D", "warnings"]);
        show(&mut clippy)?;
    }
    Ok(())
}

/// Licences, bans and sources. The database of advisories is not asked: it cannot be fetched
/// where this runs.
fn deny() -> Result<()> {
    if !has_cargo_command("deny") {
        return Err("cargo-deny is missing; run `cargo install cargo-deny --locked`".to_owned());
    }
    let what = ["check", "--hide-inclusion-graph", "licenses", "bans", "sources"];
    show(cargo().args(["deny", "--locked"]).args(what))
}

/// The documentation of the libraries, as their users see it.
fn document() -> Result<()> {
    holdall_services::compilers()?;
    let mut doc = cargo();
    doc.arg("doc").args(EVERYTHING).args(["--no-deps", "--lib"]);
    show(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_step_is_refused_with_the_known_ones() {
        let error = run(&["fmtt".to_owned()]).unwrap_err();
        assert!(
            error.contains("`fmtt`") && error.contains("fmt tidy clippy features deny doc"),
            "{error}"
        );
    }
}

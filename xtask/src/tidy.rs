//! The house rules: what fmt, clippy and the compiler do not look at. One file a rule.

mod backend_trait;
mod clauses;
mod errors;
mod features;
mod folders;
mod heads;
mod imports;
mod layers;
mod lengths;
mod links;
mod machine_paths;
mod pure_formats;
mod words;

use std::fmt;

use crate::run::{Result, root};
use crate::tree::Tree;

/// A place where a rule does not hold.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    /// The file, from the root of the workspace.
    path: String,
    /// The line, counted from 1.
    line: usize,
    /// What is wrong, and what to do.
    message: String,
}

impl Finding {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// A rule: its name, and how to find where it does not hold.
type Rule = (&'static str, fn(&Tree) -> Vec<Finding>);

const RULES: [Rule; 13] = [
    ("imports", imports::check),
    ("layers", layers::check),
    ("heads", heads::check),
    ("lengths", lengths::check),
    ("folders", folders::check),
    ("features", features::check),
    ("backend-trait", backend_trait::check),
    ("pure-formats", pure_formats::check),
    ("words", words::check),
    ("clauses", clauses::check),
    ("errors", errors::check),
    ("machine-paths", machine_paths::check),
    ("links", links::check),
];

/// Holds the project to every rule.
///
/// # Errors
/// If the files cannot be read, or a rule does not hold somewhere; all places are named.
pub(crate) fn run() -> Result<()> {
    let tree = Tree::load(&root())?;
    let mut found = 0;
    for (name, check) in RULES {
        for finding in check(&tree) {
            eprintln!("{finding} [{name}]");
            found += 1;
        }
    }
    match found {
        0 => {
            eprintln!("{} rules hold in {} files", RULES.len(), tree.files().len());
            Ok(())
        }
        1 => Err("1 place to mend".to_owned()),
        _ => Err(format!("{found} places to mend")),
    }
}

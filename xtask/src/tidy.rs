//! The house rules: what fmt, clippy and the compiler do not look at. One file a rule.

mod backend_trait;
mod clauses;
mod errors;
mod features;
mod folders;
mod heads;
mod imports;
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
        Self {
            path: path.to_owned(),
            line,
            message: message.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// A rule: its name, and how to find where it does not hold.
struct Rule {
    name: &'static str,
    check: fn(&Tree) -> Vec<Finding>,
}

const RULES: [Rule; 12] = [
    Rule {
        name: "imports",
        check: imports::check,
    },
    Rule {
        name: "heads",
        check: heads::check,
    },
    Rule {
        name: "lengths",
        check: lengths::check,
    },
    Rule {
        name: "folders",
        check: folders::check,
    },
    Rule {
        name: "features",
        check: features::check,
    },
    Rule {
        name: "backend-trait",
        check: backend_trait::check,
    },
    Rule {
        name: "pure-formats",
        check: pure_formats::check,
    },
    Rule {
        name: "words",
        check: words::check,
    },
    Rule {
        name: "clauses",
        check: clauses::check,
    },
    Rule {
        name: "errors",
        check: errors::check,
    },
    Rule {
        name: "machine-paths",
        check: machine_paths::check,
    },
    Rule {
        name: "links",
        check: links::check,
    },
];

/// Holds the project to every rule.
///
/// # Errors
/// If the files cannot be read, or a rule does not hold somewhere; all places are named.
pub(crate) fn run() -> Result<()> {
    let tree = Tree::load(&root())?;
    let mut found = 0;
    for rule in RULES {
        for finding in (rule.check)(&tree) {
            eprintln!("{finding} [{}]", rule.name);
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

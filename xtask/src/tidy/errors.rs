//! `docs/errors.md` tells of every kind of error, and of none that does not exist.

use std::collections::BTreeMap;

use super::Finding;
use crate::source::{closing, line_at, mask, words};
use crate::tree::Tree;

const CODE: &str = "crates/holdall-core/src/error.rs";
const DOCUMENT: &str = "docs/errors.md";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(code) = tree.find(CODE) else {
        return vec![Finding::new(CODE, 1, "the error kinds are not where they were; say where")];
    };
    let Some(document) = tree.find(DOCUMENT) else {
        return vec![Finding::new(
            DOCUMENT,
            1,
            "there is no such file; write what each kind means",
        )];
    };
    let kinds = kinds(&code.text);
    let rows = rows(&document.text);
    let mut found = Vec::new();
    if kinds.is_empty() {
        found.push(Finding::new(CODE, 1, "no variant of ErrorKind was found; mend this rule"));
    }
    for (kind, line) in kinds.iter().filter(|(kind, _)| !rows.contains_key(*kind)) {
        let message = format!("`{kind}` has no row in {DOCUMENT}; say what a caller does about it");
        found.push(Finding::new(CODE, *line, message));
    }
    for (kind, line) in rows.iter().filter(|(kind, _)| !kinds.contains_key(*kind)) {
        let message = format!("`{kind}` is no variant of ErrorKind; take the row out");
        found.push(Finding::new(DOCUMENT, *line, message));
    }
    found
}

/// The variants of `ErrorKind` and their lines.
fn kinds(text: &str) -> BTreeMap<String, usize> {
    let code = mask(text).code;
    let head = words(&code, "ErrorKind").into_iter().find(|at| code[..*at].ends_with("enum "));
    let Some(open) = head.and_then(|at| code[at..].find('{').map(|offset| at + offset)) else {
        return BTreeMap::new();
    };
    let end = closing(&code, open).unwrap_or(code.len());
    let first = line_at(&code, open);
    let lines = code[open..end].lines().enumerate().skip(1);
    lines
        .filter_map(|(offset, line)| {
            let name = line.trim().strip_suffix(',')?;
            Some((name.to_owned(), first + offset))
        })
        .collect()
}

/// The kinds that the document's rows begin with: `` | `Kind` | ``.
fn rows(text: &str) -> BTreeMap<String, usize> {
    let lines = text.lines().enumerate();
    lines
        .filter_map(|(number, line)| {
            let (kind, _) = line.strip_prefix("| `")?.split_once('`')?;
            kind.starts_with(char::is_uppercase).then(|| (kind.to_owned(), number + 1))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_rows_are_compared_both_ways() {
        let code = "/// What.\npub enum ErrorKind {\n    /// A.\n    Invalid,\n    Full,\n}\n";
        let document = "| kind | code |\n|---|---|\n| `Invalid` | 2 |\n| `Gone` | 3 |\n";
        let found = check(&Tree::sample(&[(CODE, code), (DOCUMENT, document)]));
        let places: Vec<_> = found.iter().map(|f| (f.path.as_str(), f.line)).collect();
        assert_eq!(places, [(CODE, 5), (DOCUMENT, 4)]);
        assert!(found[0].message.contains("`Full`") && found[1].message.contains("`Gone`"));
    }

    #[test]
    fn a_rule_that_finds_nothing_to_compare_says_so() {
        assert_eq!(check(&Tree::sample(&[(CODE, "")])).len(), 1);
        assert_eq!(check(&Tree::sample(&[(CODE, ""), (DOCUMENT, "")])).len(), 1);
        assert_eq!(check(&Tree::sample(&[(DOCUMENT, "")])).len(), 1);
    }
}

//! What marks unfinished work does not land.

use super::Finding;
use crate::source::{line_at, mask, words};
use crate::tree::{File, Tree};

/// Macros that stand for code not written yet, or written to look at something once.
const MACROS: [&str; 3] = ["todo", "unimplemented", "dbg"];
/// What people write into comments to come back to.
const MARKS: [&str; 2] = ["FIXME", "XXX"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.rust().flat_map(in_file).collect()
}

fn in_file(file: &File) -> Vec<Finding> {
    let masked = mask(&file.text);
    let mut found = Vec::new();
    for name in MACROS {
        let calls = words(&masked.code, name);
        for at in calls.into_iter().filter(|at| masked.code[at + name.len()..].starts_with('!')) {
            let message = format!("`{name}!`; finish it, or return an error that says what to do");
            found.push(Finding::new(&file.path, line_at(&masked.code, at), message));
        }
    }
    for mark in MARKS {
        for at in words(&masked.comments, mark) {
            let message = format!("`{mark}`; mend it now, or open an issue and say what holds");
            found.push(Finding::new(&file.path, line_at(&masked.comments, at), message));
        }
    }
    for (at, _) in masked.code.match_indices("#[ignore]") {
        let message = "a test ignored without a reason; write `#[ignore = \"where it runs\"]`";
        found.push(Finding::new(&file.path, line_at(&masked.code, at), message));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_unfinished_work_are_found() {
        let text = "//! About todo! and dbg!.\n// FIXME: later\nfn f() {\n    todo!()\n}\n\
                    #[ignore]\n#[ignore = \"by hand: needs a large disk\"]\nfn g() { dbg!(1); }\n\
                    const TEXT: &str = \"FIXME unimplemented!\";\nfn todo() {}\n";
        let tree = Tree::sample(&[("a.rs", text), ("a.md", "FIXME\n")]);
        let mut lines: Vec<usize> = check(&tree).iter().map(|finding| finding.line).collect();
        lines.sort_unstable();
        assert_eq!(lines, [2, 4, 6, 8]);
    }
}

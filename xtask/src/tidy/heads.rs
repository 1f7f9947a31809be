//! Every Rust file opens by saying what it is for.

use super::Finding;
use crate::tree::Tree;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let without = tree.rust().filter(|file| !file.text.starts_with("//! "));
    without
        .map(|file| {
            let message = "the file does not begin with `//! `; say in a line what it is for";
            Finding::new(&file.path, 1, message)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_head_is_found() {
        let tree = Tree::sample(&[
            ("a.rs", "//! Says what it is for.\n"),
            ("b.rs", "use std::fmt;\n"),
            ("c.rs", "//!\n"),
            ("d.md", "# Title\n"),
        ]);
        let found = check(&tree);
        assert_eq!(found.iter().map(|f| f.path.as_str()).collect::<Vec<_>>(), ["b.rs", "c.rs"]);
    }
}

//! Encoding is pure: what turns values into stored bytes and back never waits for anything.

use super::Finding;
use crate::source::{line_at, mask, words};
use crate::tree::{File, Tree};

const NAMES: [&str; 3] = ["format.rs", "encode.rs", "codec.rs"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.rust().filter(|file| is_format(file)).flat_map(waits).collect()
}

fn is_format(file: &File) -> bool {
    let in_folder = file.path.split('/').rev().skip(1).any(|folder| folder == "format");
    in_folder || NAMES.contains(&file.name())
}

fn waits(file: &File) -> Vec<Finding> {
    let code = mask(&file.text).code;
    let positions = ["async", "await"].into_iter().flat_map(|word| words(&code, word));
    let message = "`async` where bytes are encoded; do the I/O in the caller and pass bytes";
    positions.map(|at| Finding::new(&file.path, line_at(&code, at), message)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_found_where_bytes_are_encoded() {
        let text = "//! No async here.\nasync fn read() {\n    next.await;\n}\n";
        let tree = Tree::sample(&[
            ("a/src/format/row.rs", text),
            ("a/src/codec.rs", "fn pure() {}\n"),
            ("a/src/reader.rs", text),
        ]);
        let found: Vec<_> = check(&tree).into_iter().map(|f| (f.path, f.line)).collect();
        let path = "a/src/format/row.rs".to_owned();
        assert_eq!(found, [(path.clone(), 2), (path, 3)]);
    }
}

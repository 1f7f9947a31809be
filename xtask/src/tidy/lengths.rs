//! Lines fit beside each other, functions fit a screen, files do one job.

use super::Finding;
use crate::source::{functions, lines_without_tests, mask};
use crate::tree::{File, Tree};

/// Characters in a line of code.
const LINE_MAX: usize = 100;
/// Lines of a function, head and closing bracket counted.
const FUNCTION_MAX: usize = 70;
/// Lines of a file without its tests.
const FILE_MAX: usize = 500;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in tree.files().iter().filter(|file| is_code(file)) {
        long_lines(file, &mut found);
        if file.path.ends_with(".rs") {
            long_functions_and_file(file, &mut found);
        }
    }
    found
}

/// Prose and settings are left out: a table of a document, and one of TOML, cannot be broken.
fn is_code(file: &File) -> bool {
    file.path.ends_with(".rs") || file.path.ends_with(".sh") || file.path.starts_with(".ci/")
}

fn long_lines(file: &File, found: &mut Vec<Finding>) {
    for (number, line) in file.text.lines().enumerate() {
        let length = line.chars().count();
        // A line that is one long word, such as an address, cannot be broken.
        let breakable = line.split_whitespace().all(|word| word.chars().count() <= LINE_MAX - 20);
        if length > LINE_MAX && breakable {
            let message = format!("{length} characters, {LINE_MAX} are allowed; break the line");
            found.push(Finding::new(&file.path, number + 1, message));
        }
    }
}

fn long_functions_and_file(file: &File, found: &mut Vec<Finding>) {
    let code = mask(&file.text).code;
    for function in functions(&code, 0..code.len()) {
        if function.lines > FUNCTION_MAX {
            let message = format!(
                "function `{}` has {} lines, {FUNCTION_MAX} are allowed; name a part of it",
                function.name, function.lines
            );
            found.push(Finding::new(&file.path, function.line, message));
        }
    }
    let lines = lines_without_tests(&code);
    if lines > FILE_MAX && !file.is_test() {
        let message = format!(
            "{lines} lines without tests, {FILE_MAX} are allowed; move one of its jobs out"
        );
        found.push(Finding::new(&file.path, 1, message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(path: &str, text: &str) -> Vec<(usize, String)> {
        let found = check(&Tree::sample(&[(path, text)]));
        found.into_iter().map(|finding| (finding.line, finding.message)).collect()
    }

    #[test]
    fn a_long_line_is_found_by_characters() {
        let umlauts = format!("// {}\n", "ä ".repeat(48));
        assert_eq!(messages("a.rs", &umlauts), []);
        let found = messages("a.sh", &format!("\n# {}\n", "ab ".repeat(33)));
        assert_eq!(found[0].0, 2);
        assert!(found[0].1.starts_with("101 characters"), "{found:?}");
        assert_eq!(messages("a.md", &"ab ".repeat(50)), []);
        assert_eq!(messages("a.rs", &format!("// see {}", "x".repeat(100))), []);
    }

    #[test]
    fn a_long_function_is_found_also_in_tests() {
        let text = |lines: usize| format!("\nfn long() {{\n{}}}\n", "    call();\n".repeat(lines));
        assert_eq!(messages("a.rs", &text(68)), []);
        let found = messages("tests/a.rs", &text(69));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, 2);
        assert!(found[0].1.starts_with("function `long` has 71 lines"), "{found:?}");
    }

    #[test]
    fn a_long_file_is_found_without_its_tests() {
        let code = "use a;\n".repeat(500);
        assert_eq!(messages("a.rs", &code), []);
        assert_eq!(messages("a.rs", &format!("{code}#[cfg(test)]\nmod tests {{\n}}\n")), []);
        assert_eq!(messages("a.rs", &format!("{code}use b;\n")).len(), 1);
        assert_eq!(messages("a/tests.rs", &format!("{code}use b;\n")), []);
    }
}

//! Feature switches stand in the facade alone, so that every other crate has one shape to test.

use super::Finding;
use crate::source::{closing, line_at, mask, words};
use crate::tree::{File, Tree};

/// The crate that may have switches.
const FACADE: &str = "crates/holdall/";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let others = tree.files().iter().filter(|file| !file.path.starts_with(FACADE));
    others.flat_map(switches).collect()
}

fn switches(file: &File) -> Vec<Finding> {
    let lines = if file.path.ends_with(".rs") {
        in_code(&file.text)
    } else if file.name() == "Cargo.toml" {
        in_manifest(&file.text)
    } else {
        return Vec::new();
    };
    let message = "a feature switch outside the facade; let crates/holdall choose at its registry";
    lines.into_iter().map(|line| Finding::new(&file.path, line, message)).collect()
}

fn in_code(text: &str) -> Vec<usize> {
    let code = mask(text).code;
    let mut lines = Vec::new();
    for word in ["cfg", "cfg_attr"] {
        for position in words(&code, word) {
            let behind = position + word.len();
            let open = behind + usize::from(code[behind..].starts_with('!'));
            if !code[open..].starts_with('(') {
                continue;
            }
            let end = closing(&code, open).unwrap_or(code.len());
            if !words(&code[open..end], "feature").is_empty() {
                lines.push(line_at(&code, position));
            }
        }
    }
    lines.sort_unstable();
    lines
}

fn in_manifest(text: &str) -> Vec<usize> {
    let heads = text.lines().enumerate().filter(|(_, line)| line.trim() == "[features]");
    heads.map(|(number, _)| number + 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_are_found_in_code_and_manifests() {
        let code = "//! cfg(feature = \"a\")\n#[cfg(test)]\nmod feature;\n\
                    #[cfg(all(unix, feature = \"a\"))]\nfn f() -> bool { cfg!(feature = \"b\") }\n\
                    #[cfg_attr(feature = \"c\", derive(Clone))]\nstruct S;\n";
        let tree = Tree::sample(&[
            ("backends/a/src/lib.rs", code),
            ("backends/a/Cargo.toml", "[package]\nname = \"a\"\n[features]\n"),
            ("crates/holdall/src/registry.rs", code),
            ("crates/holdall/Cargo.toml", "[features]\n"),
        ]);
        let lines: Vec<usize> = check(&tree).iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [4, 5, 6, 3]);
    }
}

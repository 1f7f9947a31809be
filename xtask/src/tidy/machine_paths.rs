//! No file names a place on somebody's machine.

use super::Finding;
use crate::tree::{File, Tree};

/// Where the folders of one person's machine begin. Written in halves, because this file is
/// looked at too.
const PLACES: [&str; 4] =
    [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/Us", "ers/")];

/// Data that is never edited, and whose bytes mean nothing to a reader.
const DATA: [&str; 2] = ["fixtures/", "fuzz/corpus/"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let written =
        tree.files().iter().filter(|file| !DATA.iter().any(|folder| file.path.starts_with(folder)));
    written.flat_map(places).collect()
}

fn places(file: &File) -> Vec<Finding> {
    let mut found = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        for place in PLACES {
            if line.match_indices(place).any(|(at, _)| is_absolute(&line[..at])) {
                let message = format!(
                    "names `{place}`, a place on one machine; use a path from the root of the \
                     project or a made-up one such as `/srv/data`"
                );
                found.push(Finding::new(&file.path, number + 1, message));
            }
        }
    }
    found
}

/// Whether a path that follows `before` begins there, instead of going on.
fn is_absolute(before: &str) -> bool {
    before.ends_with("://")
        || !before.ends_with(|last: char| last.is_alphanumeric() || "._-~/})>*".contains(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_places_are_found_and_relative_ones_are_not() {
        for place in PLACES {
            let bad = format!("fine\nsee {place}ada\n");
            let found = check(&Tree::sample(&[("docs/a.md", bad.as_str())]));
            assert_eq!(found.len(), 1, "{place}");
            assert_eq!(found[0].line, 2);
            let url = format!("lmdb://{place}ada");
            assert_eq!(check(&Tree::sample(&[("a.rs", url.as_str())])).len(), 1, "{place}");
            for good in [format!("src{place}mod.rs"), format!("~{place}"), format!("${{X}}{place}")]
            {
                assert_eq!(check(&Tree::sample(&[("a.rs", good.as_str())])), [], "{good}");
            }
            assert_eq!(check(&Tree::sample(&[("fixtures/a", bad.as_str())])), []);
        }
    }
}

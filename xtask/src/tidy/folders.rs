//! A folder shows what it holds at a glance.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use crate::tree::Tree;

/// Files and folders in one folder.
const ENTRIES_MAX: usize = 15;

/// Folders whose entries are all of one kind, so that nobody reads them as a list of contents.
const LISTS: [&str; 7] = [
    "backends",                               // one crate a backend
    "changes",                                // one file a change
    "crates/holdall-cli/src/command",         // one file a command
    "crates/holdall-testkit/src/conformance", // one file a chapter of the contract
    "docs/decisions",                         // one file a decision
    "fixtures",                               // data, never edited
    "fuzz/corpus",                            // data
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut folders: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for file in tree.files() {
        let mut path = file.path.as_str();
        while let Some((folder, entry)) = path.rsplit_once('/') {
            folders.entry(folder).or_default().insert(entry);
            path = folder;
        }
    }
    // The root is not looked at: what stands there is where tools and people expect it.
    let crowded =
        folders.iter().filter(|(folder, entries)| entries.len() > ENTRIES_MAX && !is_list(folder));
    crowded
        .map(|(folder, entries)| {
            let message = format!(
                "{} entries in the folder, {ENTRIES_MAX} are allowed; give some a folder",
                entries.len()
            );
            Finding::new(folder, 1, message)
        })
        .collect()
}

fn is_list(folder: &str) -> bool {
    LISTS.iter().any(|list| {
        folder.strip_prefix(list).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(folder: &str, files: usize) -> Vec<Finding> {
        let paths: Vec<String> = (0..files).map(|file| format!("{folder}/{file}/mod.rs")).collect();
        let files: Vec<(&str, &str)> = paths.iter().map(|path| (path.as_str(), "")).collect();
        check(&Tree::sample(&files))
    }

    #[test]
    fn a_crowded_folder_is_found() {
        assert_eq!(found("crates/a/src", 15), []);
        let found = found("crates/a/src", 16);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, "crates/a/src");
        assert!(found[0].message.starts_with("16 entries"));
    }

    #[test]
    fn lists_may_grow() {
        assert_eq!(found("docs/decisions", 40), []);
        assert_eq!(found("fixtures/volumes/1/segments", 40), []);
        assert_eq!(found("docs/decisions-of-others", 40).len(), 1);
    }
}

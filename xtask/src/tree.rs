//! The files of the project, as git knows them.

use std::path::Path;

use crate::run::{Result, command, output};

/// One file of the project.
#[derive(Debug)]
pub(crate) struct File {
    /// From the root of the workspace, with forward slashes.
    pub(crate) path: String,
    /// What it says; nothing where it is not text.
    pub(crate) text: String,
}

impl File {
    /// The last part of the path.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Whether the file holds nothing but tests or measurements.
    pub(crate) fn is_test(&self) -> bool {
        let mut folders = self.path.split('/').rev().skip(1);
        self.name() == "tests.rs" || folders.any(|folder| folder == "tests" || folder == "benches")
    }
}

/// All files of the project: those that git has, and new ones that it does not ignore.
#[derive(Debug)]
pub(crate) struct Tree {
    files: Vec<File>,
}

impl Tree {
    /// Reads the project at `root`.
    ///
    /// # Errors
    /// If git cannot list the files, or one of them cannot be read.
    pub(crate) fn load(root: &Path) -> Result<Self> {
        let mut list = command("git");
        list.current_dir(root);
        list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
        let names = output(&mut list)?;
        let mut files = Vec::new();
        for path in names.split('\0').filter(|path| !path.is_empty()) {
            let full = root.join(path);
            // A link counts as an entry of its folder; a file just deleted does not count.
            let Ok(metadata) = full.symlink_metadata() else {
                continue;
            };
            let bytes = if metadata.is_file() {
                std::fs::read(&full).map_err(|error| format!("{path} cannot be read: {error}"))?
            } else {
                Vec::new()
            };
            let text = String::from_utf8(bytes).unwrap_or_default();
            files.push(File { path: path.to_owned(), text });
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { files })
    }

    /// Every file, in the order of their paths.
    pub(crate) fn files(&self) -> &[File] {
        &self.files
    }

    /// The Rust files.
    pub(crate) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }

    /// The file at this path, if the project has it.
    pub(crate) fn find(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Whether this path is a file, or a folder with a file in it.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.files.iter().any(|file| {
            file.path
                .strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// A made-up project, to show that a rule can fail.
    #[cfg(test)]
    pub(crate) fn sample(files: &[(&str, &str)]) -> Self {
        let file = |(path, text): &(&str, &str)| File {
            path: (*path).to_owned(),
            text: (*text).to_owned(),
        };
        Self { files: files.iter().map(file).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_itself_is_found() {
        let tree = Tree::load(&crate::run::root()).unwrap();
        assert!(tree.find("xtask/src/tree.rs").unwrap().text.contains("the_project_itself"));
        assert!(tree.has("xtask/src") && tree.has("Cargo.toml"));
        assert!(!tree.has("xtask/sr") && !tree.has("target"));
    }

    #[test]
    fn test_files_are_told_by_name_and_folder() {
        let is_test = |path: &str| File { path: path.to_owned(), text: String::new() }.is_test();
        assert!(is_test("crates/a/tests/model.rs") && is_test("crates/a/src/gc/tests.rs"));
        assert!(!is_test("crates/a/src/latest.rs") && !is_test("xtask/src/test.rs"));
    }
}

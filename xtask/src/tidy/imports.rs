//! Who may import whom: the tables of ARCHITECTURE.md, compared with what cargo knows.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Finding;
use crate::run::{Result, cargo, output};
use crate::source::{line_at, mask};
use crate::tree::Tree;

const DOCUMENT: &str = "ARCHITECTURE.md";
const CRATES_HEAD: &str = "| crate | may import | its tests also |";
const LIBRARIES_HEAD: &str = "| library | only in |";
/// Crates that know no file, no network and no runtime: everything reaches them as a value.
const PURE: [&str; 2] = ["crates/holdall-core/src/", "crates/holdall-volume/src/"];
const IMPURE: [&str; 5] = ["std::fs::", "std::net::", "std::process::", "std::os::", "tokio::"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(document) = tree.find(DOCUMENT) else {
        return vec![Finding::new(DOCUMENT, 1, "there is no such file; write who may import whom")];
    };
    let mut found = match packages() {
        Ok(packages) => compare(&document.text, &packages),
        Err(message) => vec![Finding::new("Cargo.toml", 1, message)],
    };
    found.extend(impure(tree));
    found
}

/// A crate of the workspace, as cargo describes it.
#[derive(Debug, Default)]
struct Package {
    name: String,
    /// Its manifest, from the root of the workspace.
    manifest: String,
    /// What it depends on to be built.
    normal: BTreeSet<String>,
    /// What its tests depend on.
    tests: BTreeSet<String>,
}

fn packages() -> Result<Vec<Package>> {
    let text = output(cargo().args(["metadata", "--format-version", "1", "--no-deps"]))?;
    let metadata: Value = serde_json::from_str(&text)
        .map_err(|error| format!("cargo metadata is not understood: {error}"))?;
    let root = metadata["workspace_root"].as_str().unwrap_or_default();
    let packages = metadata["packages"].as_array().into_iter().flatten();
    Ok(packages.map(|package| describe(package, root)).collect())
}

fn describe(package: &Value, root: &str) -> Package {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let manifest = text(&package["manifest_path"]).replacen(&format!("{root}/"), "", 1);
    let mut described = Package { name: text(&package["name"]), manifest, ..Package::default() };
    for dependency in package["dependencies"].as_array().into_iter().flatten() {
        let name = text(&dependency["name"]);
        if dependency["kind"].as_str() == Some("dev") {
            described.tests.insert(name);
        } else {
            described.normal.insert(name);
        }
    }
    described
}

/// One row of a table: what stands in its first cell, and the names in the others.
#[derive(Debug)]
struct Row {
    line: usize,
    cells: Vec<BTreeSet<String>>,
}

fn compare(document: &str, packages: &[Package]) -> Vec<Finding> {
    let crates = table(document, CRATES_HEAD);
    let libraries = table(document, LIBRARIES_HEAD);
    let mut found = Vec::new();
    for (head, rows) in [(CRATES_HEAD, &crates), (LIBRARIES_HEAD, &libraries)] {
        if rows.is_empty() {
            let message = format!("there is no table headed `{head}`; write it");
            found.push(Finding::new(DOCUMENT, 1, message));
        }
    }
    found.extend(strangers(&crates, packages));
    let house: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    for package in packages {
        let Some(row) = crates.get(&row_name(package)) else {
            let message = format!("`{}` has no row; say what it may import", row_name(package));
            found.push(Finding::new(DOCUMENT, 1, message));
            continue;
        };
        let (may, tests_may) = (&row.cells[0], &row.cells[1]);
        for name in package.normal.iter().filter(|name| house.contains(name.as_str())) {
            if !may.contains(name) {
                found.push(forbidden(package, name, row.line, "may not import"));
            }
        }
        for name in package.tests.iter().filter(|name| house.contains(name.as_str())) {
            if !may.contains(name) && !tests_may.contains(name) {
                found.push(forbidden(package, name, row.line, "may not import, even in tests,"));
            }
        }
        for (library, row) in &libraries {
            let here = row.cells[0].contains(&package.name);
            if package.normal.contains(library) && !here {
                found.push(forbidden(package, library, row.line, "may not import"));
            }
        }
    }
    found
}

fn forbidden(package: &Package, name: &str, line: usize, words: &str) -> Finding {
    let message = format!(
        "`{}` {words} `{name}` ({DOCUMENT}:{line}); pass what it needs through its arguments",
        package.name
    );
    Finding::new(&package.manifest, 1, message)
}

/// Names in the table that no crate has.
fn strangers(crates: &BTreeMap<String, Row>, packages: &[Package]) -> Vec<Finding> {
    let rows: BTreeSet<String> = packages.iter().map(row_name).collect();
    let names: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let mut found = Vec::new();
    for (name, row) in crates {
        if !rows.contains(name) {
            let message = format!("`{name}` is no crate of the workspace; take its row out");
            found.push(Finding::new(DOCUMENT, row.line, message));
        }
        for imported in row.cells.iter().flatten().filter(|name| !names.contains(name.as_str())) {
            let message = format!("`{imported}` is no crate of the workspace; take it out");
            found.push(Finding::new(DOCUMENT, row.line, message));
        }
    }
    found
}

/// Backends are all alike and share a row.
fn row_name(package: &Package) -> String {
    match package.manifest.strip_prefix("backends/") {
        Some(_) => "backends/*".to_owned(),
        None => package.name.clone(),
    }
}

/// The rows of the table under this head, by what stands in their first cell.
fn table(document: &str, head: &str) -> BTreeMap<String, Row> {
    let lines = document.lines().enumerate();
    let rows = lines.skip_while(|(_, line)| !line.starts_with(head)).skip(2);
    rows.take_while(|(_, line)| line.starts_with('|'))
        .filter_map(|(number, line)| {
            let cells: Vec<BTreeSet<String>> =
                line.trim_matches('|').split('|').map(names_in).collect();
            let (first, rest) = cells.split_first()?;
            let mut cells = rest.to_vec();
            cells.resize(2, BTreeSet::new());
            Some((first.first()?.clone(), Row { line: number + 1, cells }))
        })
        .collect()
}

/// What stands in backticks.
fn names_in(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Doors that a pure crate opens by itself.
fn impure(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    let files = tree
        .rust()
        .filter(|file| !file.is_test() && PURE.iter().any(|folder| file.path.starts_with(folder)));
    for file in files {
        let code = mask(&file.text).code;
        let code = code.split("#[cfg(test)]").next().unwrap_or_default();
        for door in IMPURE {
            for (at, _) in code.match_indices(door) {
                let message = format!("`{door}` in a crate without I/O; go through Backend or Env");
                found.push(Finding::new(&file.path, line_at(code, at), message));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;

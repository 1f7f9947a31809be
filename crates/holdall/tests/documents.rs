//! What the documents say of backends is what the registry says.
#![allow(clippy::unwrap_used, reason = "tests")]

use holdall::{BACKENDS, KnownBackend};

fn row(known: &KnownBackend) -> String {
    let KnownBackend { scheme, example, survives, seen_by, conditions, catalog, .. } = known;
    format!("| {scheme} | `{example}` | {survives} | {seen_by} | {conditions} | {catalog} |")
}

#[test]
fn the_readme_has_a_row_for_every_backend_and_no_other() {
    let text = include_str!("../../../README.md");
    for known in BACKENDS {
        assert!(text.contains(&row(known)), "README.md lacks: {}", row(known));
    }
    let rows = text.lines().filter(|line| line.contains("://") && line.starts_with("| ")).count();
    assert_eq!(rows, BACKENDS.len());
}

#[test]
fn the_page_for_choosing_names_every_backend() {
    let text = include_str!("../../../docs/backends/README.md");
    for known in BACKENDS {
        assert!(text.contains(&format!("`{}://", known.scheme)), "{}", known.scheme);
    }
}

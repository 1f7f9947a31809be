//! What the documents say of backends is what the registry says.
#![allow(clippy::unwrap_used, reason = "tests")]

mod agreement;

use holdall::{BACKENDS, KnownBackend, Location, env, open_backend};

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

/// The matrix does the same on real servers.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_listed_of_embedded_backends_is_what_they_say() {
    let folder = tempfile::tempdir().unwrap();
    for scheme in ["memory", "file", "lmdb", "journal+lmdb", "sqlite"] {
        let path = folder.path().join(scheme).display().to_string();
        let location = Location::from_path(scheme, if scheme == "memory" { "" } else { &path });
        let stacked = open_backend(&location, "test", &env()).await.unwrap();
        agreement::assert_listed_as(&location.to_string(), stacked.backend.profile());
    }
}

#[test]
fn the_page_with_decisions_names_every_backend() {
    let text = include_str!("../../../docs/choosing-a-backend.md");
    for known in BACKENDS {
        assert!(text.contains(&format!("`{}://", known.scheme)), "{}", known.scheme);
    }
}

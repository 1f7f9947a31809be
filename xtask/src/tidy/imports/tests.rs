//! Samples of tables and crates that disagree.

use super::*;

const TABLES: &str = "# Architecture\n\
    | crate | may import | its tests also |\n|---|---|---|\n\
    | `core` | – | – |\n\
    | `volume` | `core` | `testkit` |\n\
    | `testkit` | `core` | |\n\
    | `backends/*` | `core` | `testkit` |\n\n\
    | library | only in | why |\n|---|---|---|\n\
    | `tokio` | `testkit` | one door |\n";

fn package(manifest: &str, normal: &[&str], tests: &[&str]) -> Package {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Package {
        name: manifest.rsplit('/').next().unwrap().to_owned(),
        manifest: manifest.to_owned(),
        normal: set(normal),
        tests: set(tests),
    }
}

fn house() -> Vec<Package> {
    vec![
        package("crates/core", &["bytes"], &["tokio"]),
        package("crates/volume", &["core"], &["testkit"]),
        package("crates/testkit", &["core", "tokio"], &[]),
        package("backends/file", &["core", "rustix"], &["testkit"]),
    ]
}

fn messages(document: &str, packages: &[Package]) -> Vec<String> {
    compare(document, packages).iter().map(ToString::to_string).collect()
}

#[test]
fn a_house_in_order_is_left_alone() {
    assert_eq!(messages(TABLES, &house()), Vec::<String>::new());
}

#[test]
fn imports_that_the_table_lacks_are_found() {
    let mut packages = house();
    packages[0] = package("crates/core", &["tokio"], &["volume"]);
    packages[1] = package("crates/volume", &["testkit"], &[]);
    packages[3] = package("backends/file", &["core", "volume"], &[]);
    let found = messages(TABLES, &packages);
    assert_eq!(found.len(), 4, "{found:#?}");
    assert!(found[0].contains("`core` may not import, even in tests, `volume`"), "{found:#?}");
    assert!(found[1].contains("`core` may not import `tokio`"), "{found:#?}");
    assert!(found[2].contains("`volume` may not import `testkit`"), "{found:#?}");
    assert!(found[3].starts_with("backends/file:1: `file` may not import `volume`"), "{found:#?}");
}

#[test]
fn rows_without_crates_and_crates_without_rows_are_found() {
    let mut packages = house();
    packages[1] = package("crates/volumes", &[], &[]);
    let found = messages(TABLES, &packages);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].contains("ARCHITECTURE.md:5: `volume` is no crate"), "{found:#?}");
    assert!(found[1].contains("`volumes` has no row"), "{found:#?}");
}

#[test]
fn missing_tables_are_found() {
    let found = messages("# Architecture\n", &[]);
    assert_eq!(found.len(), 2, "{found:#?}");
}

#[test]
fn doors_opened_in_pure_crates_are_found() {
    let code = "//! About std::fs::read.\nuse std::fs::File;\nfn f() { tokio::spawn(g()) }\n\
                #[cfg(test)]\nmod tests { use std::fs::File; }\n";
    let tree = Tree::sample(&[
        ("crates/holdall-volume/src/gc.rs", code),
        ("crates/holdall-volume/src/gc/tests.rs", code),
        ("crates/holdall-cli/src/main.rs", code),
    ]);
    let lines: Vec<usize> = impure(&tree).iter().map(|finding| finding.line).collect();
    assert_eq!(lines, [2, 3]);
}

#[test]
fn cargo_knows_this_workspace() {
    let packages = packages().unwrap();
    let xtask = packages.iter().find(|package| package.name == "xtask").unwrap();
    assert_eq!(xtask.manifest, "xtask/Cargo.toml");
    assert!(xtask.normal.contains("serde_json"), "{xtask:?}");
}

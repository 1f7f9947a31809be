//! The suite can fail: for every clause there is a backend that breaks it, and the suite says so.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::clone_on_ref_ptr, reason = "the clones become trait objects on the way")]

use std::collections::BTreeSet;
use std::sync::Arc;

use holdall_core::{Backend, Bytes, Expect, Key, List, Memory};
use holdall_testkit::conformance::{CLAUSES, run};
use holdall_testkit::probe;

mod reopening;
mod store;
mod table;

use store::Broken;
use table::BREAKERS;

#[test]
fn every_clause_has_a_backend_that_breaks_it() {
    let broken: BTreeSet<&str> = BREAKERS
        .iter()
        .flat_map(|breaker| breaker.breaks)
        .chain(reopening::FLAWS.iter().flat_map(|(_, breaks)| *breaks))
        .copied()
        .collect();
    let unbroken: Vec<_> = CLAUSES.iter().filter(|clause| !broken.contains(clause.id)).collect();
    assert!(unbroken.is_empty(), "add a row to tests/broken/table.rs that breaks {unbroken:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_probe_finds_a_store_that_ignores_conditions() {
    let env = holdall_runtime::env();
    let ignoring = BREAKERS.iter().find(|breaker| breaker.name == "absent_is_ignored").unwrap();
    let found = probe(Arc::new(Broken::new(ignoring)), "probe/", &env).await;
    assert!(!found.is_honest());
    let honest = probe(Arc::new(Memory::new()), "probe/", &env).await;
    assert!(honest.is_honest(), "{honest}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_check_writes_under_its_prefix_alone_and_removes_it() {
    let env = holdall_runtime::env();
    let backend = Arc::new(Memory::new());
    let users = ["a", "holdall", "users/data", "zz"].map(|key| Key::parse(key).unwrap());
    for key in &users {
        backend.put(key, Bytes::from("precious"), Expect::Any).await.unwrap();
    }
    let before = backend.list(&List::prefix("").with_values()).await.unwrap();
    let prefix = holdall_testkit::conformance::random_prefix(&env);
    let report = run(backend.clone(), &prefix, &env).await;
    assert!(report.is_conformant(), "{report}");
    assert_eq!(report.left_behind, None);
    assert_eq!(report.findings.len(), CLAUSES.len());
    assert_eq!(backend.list(&List::prefix("").with_values()).await.unwrap(), before);
}

#[test]
fn every_clause_is_in_the_contract_and_has_its_number_once() {
    let folder = env!("CARGO_MANIFEST_DIR");
    let contract = std::fs::read_to_string(format!("{folder}/../../docs/contract.md")).unwrap();
    for clause in CLAUSES {
        assert_eq!(
            contract.matches(&format!("**{}** ", clause.id)).count(),
            1,
            "docs/contract.md must have {clause:?} once"
        );
        let line = contract.split(&format!("**{}** ", clause.id)).nth(1).unwrap();
        let text = line.split("\n\n").next().unwrap();
        assert!(text.contains(&format!("(`{}`)", clause.name)), "{clause:?} is not named there");
    }
    let stated = contract.matches("\n**").count() + usize::from(contract.starts_with("**"));
    assert_eq!(stated, CLAUSES.len(), "docs/contract.md has clauses that no function tests");
}

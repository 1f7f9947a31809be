//! `holdall backend`: what is listed, and what a check says of stores that keep the contract and of
//! one that does not.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "commands with an environment of their own")]

mod support;

use holdall::BACKENDS;
use holdall_services::{MOTO, RCLONE, Service, shared};
use support::{Ended, Place, ended};

#[test]
fn the_list_shows_every_backend_and_how_to_build_what_is_missing() {
    let place = Place::new();
    let listed = place.run("backend list").expect(0);
    let listed: Vec<&str> = listed.text().lines().collect();
    for known in BACKENDS {
        let row = listed.iter().find(|line| line.split(' ').next() == Some(known.example));
        assert!(row.is_some(), "{} is not in {listed:#?}", known.example);
        let row = row.unwrap();
        for cell in [known.survives, known.seen_by, known.conditions, known.catalog] {
            assert!(row.contains(cell), "no `{cell}` in: {row}");
        }
        assert_eq!(row.contains("not in this build"), !known.built_in, "{row}");
        let how = format!("{}: ", known.scheme);
        let how = listed.iter().find(|line| line.starts_with(&how));
        assert_eq!(how.is_none(), known.built_in, "{how:?}");
    }
    // RocksDB is the only one that has to be asked for.
    let mut absent = BACKENDS.iter().filter(|known| !known.built_in).map(|known| known.scheme);
    assert!(absent.all(|scheme| scheme == "rocksdb"));
    let objects = place.run("--json backend list").expect(0).objects();
    let schemes: Vec<&str> =
        objects.iter().map(|known| known["scheme"].as_str().unwrap()).collect();
    assert_eq!(schemes, BACKENDS.iter().map(|known| known.scheme).collect::<Vec<_>>());
}

/// Checks a place on an S3 server, with its keys in the environment.
fn check(words: &str, service: &'static Service, options: &str) -> Ended {
    let place = Place::new();
    let port = shared(service).unwrap().port;
    let location = format!(
        "s3://holdall/check-{}?endpoint=http://127.0.0.1:{port}&access_key_id=env:KEY_ID\
         &secret_access_key=env:SECRET{options}",
        std::process::id()
    );
    let mut command = place.command(words.split(' ').chain([location.as_str()]));
    command.env("KEY_ID", "holdallkey").env("SECRET", "holdallsecret");
    let ended = ended(command.spawn().unwrap());
    for secret in ["holdallkey", "holdallsecret"] {
        assert!(!ended.text().contains(secret) && !ended.stderr.contains(secret), "{ended:?}");
    }
    ended
}

#[test]
fn a_store_that_keeps_the_contract_is_said_to() {
    let checked = check("backend check", &MOTO, "").expect(0);
    let text = checked.text();
    assert!(text.contains("probe: it does what it says"), "{text}");
    assert!(text.contains(" 0 failed: it can be relied on"), "{text}");
    assert!(text.contains("cannot hold a catalog"), "{text}");
}

/// Rclone ignores conditions. Asked what it does, it is found out, and what it lacks is refused.
#[test]
fn what_a_store_ignores_is_said_and_what_it_breaks_ends_with_1() {
    let checked = check("--json backend check", &RCLONE, "&names=flat");
    let report = &checked.objects()[0];
    assert_eq!(report["profile"]["conditions"], "none", "{report}");
    let notes = report["notes"].to_string();
    assert!(notes.contains("overwrites where it was told to create"), "{notes}");
    let outcome = |id: &str| {
        let clauses = report["clauses"].as_array().unwrap();
        clauses.iter().find(|clause| clause["clause"] == id).unwrap()["outcome"].clone()
    };
    assert!(["E1", "E4", "R1", "R3"].into_iter().all(|id| outcome(id) == "refused"), "{report}");
    // It also shows parts of values, if somebody happens to look in the middle of one.
    assert_eq!(report["conformant"].as_bool(), Some(checked.code == 0));

    // Believed without a look, it says what it does not do.
    let believed = "&names=flat&probe=off&conditional=revision";
    let checked = check("backend check", &RCLONE, believed).expect(1);
    let text = checked.text();
    assert!(text.contains("note: the store was not tried out"), "{text}");
    assert!(text.contains("IT DOES NOT DO WHAT IT SAYS"), "{text}");
    assert!(text.contains("DO NOT rely on it"), "{text}");
    let broken = text.lines().find(|line| line.trim_start().starts_with("E1 ")).unwrap();
    assert!(broken.contains("FAILED"), "{broken}");
}

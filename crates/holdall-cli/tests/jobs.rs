//! What looks after a volume, as a command: shown, run once, served by daemons that are killed and
//! told to stop.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};
use support::{Ended, Place, ended, eventually, noise};

/// Runs a command on a catalog that processes share.
fn shared(place: &Place, words: &[&str]) -> std::process::Command {
    let catalog = format!("lmdb://{}", place.path("home/plain").display());
    let words: Vec<&str> = ["--catalog", &catalog].iter().chain(words).copied().collect();
    place.command(words)
}

fn run(place: &Place, words: &[&str]) -> Ended {
    ended(shared(place, words).spawn().unwrap())
}

fn send(child: &Child, signal: Signal) {
    let id = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(id, signal).unwrap();
}

/// What `jobs --json` says of one.
fn job(place: &Place, name: &str) -> serde_json::Value {
    let jobs = run(place, &["jobs", "--json"]).expect(0).objects();
    jobs.into_iter().find(|job| job["job"] == name).unwrap()
}

#[test]
fn a_pass_of_what_is_due_or_named() {
    let place = Place::new();
    place.pipe("put a", &noise(1, 50_000)).expect(0);
    place.run("run").expect(0);
    assert_eq!(place.run("run").expect(0).text(), "nothing is due\n");
    let ran = place.run("run gc verify --json").expect(0).objects();
    assert_eq!(ran[0]["job"], "gc", "{ran:?}");
    assert_eq!(ran[1]["ran"], "done", "{ran:?}");
    assert_eq!(ran[1]["findings"], false, "{ran:?}");
    let shown = place.run("jobs").expect(0);
    for word in ["JOB", "NEXT", "seal", "every 1h", "every 7d", "waiting"] {
        assert!(shown.text().contains(word), "no `{word}` in: {}", shown.text());
    }
    place.run("run gcc").refused(2, &["no job `gcc`", "did you mean `gc`"]);
}

/// A segment's file below this folder.
fn segment(folder: &Path) -> Option<PathBuf> {
    let mut paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.find_map(|path| match path.is_dir() {
        true => segment(&path),
        false => path.to_string_lossy().contains("segment").then_some(path),
    })
}

#[test]
fn what_verifying_finds_is_shown() {
    let place = Place::new();
    place.pipe("put a", &noise(1, 500_000)).expect(0);
    place.run("run verify").expect(0);
    place.wait_for_segments();
    let segment = segment(&place.path("home/data")).unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    bytes[1000] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let ran = place.run("run verify").expect(1);
    assert!(ran.text().contains("finding"), "{}", ran.text());
    let shown = place.run("jobs").expect(1);
    assert!(shown.text().contains("verify: ") && shown.text().contains("holdall verify"));
}

#[test]
fn jobs_are_told_when_and_how_fast() {
    let place = Place::new();
    place.pipe("put a", b"x").expect(0);
    let jobs =
        "jobs={ gc: { schedule: '0 3 * * *', zone: Europe/Zurich, rate: 50MiB }, seal: off }";
    place.run_words(["volume", "set", "default", jobs]).expect(0);
    let shown = place.run("jobs").expect(0);
    for word in ["0 3 * * * Europe/Zurich", "50.0 MiB/s", "off"] {
        assert!(shown.text().contains(word), "no `{word}` in: {}", shown.text());
    }
    let wrong = "jobs={ gc: { schedule: '0 3 * *' } }";
    place.run_words(["volume", "set", "default", wrong]).refused(2, &["five fields"]);
    let status = place.run("status --json").expect(0).objects();
    assert_eq!(status[0]["policy"]["jobs"]["gc"]["rate"], "50MiB", "{status:?}");
}

#[test]
fn a_daemon_goes_on_where_one_was_killed_and_stops_when_told() {
    let place = Place::new();
    run(&place, &["put", "before"]).expect(0);
    // Something that is due again and again.
    let often = "jobs={ seal: { every: 1s }, gc: { every: 1s }, checkpoint: off, verify: off }";
    run(&place, &["volume", "set", "default", often]).expect(0);
    for _ in 0..3 {
        let mut daemon = shared(&place, &["daemon"]).spawn().unwrap();
        let runs = job(&place, "gc")["runs"].as_u64().unwrap();
        eventually("a run", || job(&place, "gc")["runs"].as_u64().unwrap() > runs);
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }
    // Others work beside two of them.
    let first = shared(&place, &["daemon"]).spawn().unwrap();
    let second = shared(&place, &["daemon", "--json"]).spawn().unwrap();
    run(&place, &["put", "meanwhile"]).expect(0);
    let runs = job(&place, "seal")["runs"].as_u64().unwrap();
    eventually("a run", || job(&place, "seal")["runs"].as_u64().unwrap() > runs + 1);
    for (daemon, signal) in [(first, Signal::TERM), (second, Signal::INT)] {
        send(&daemon, signal);
        let ended = ended(daemon).expect(0);
        assert_eq!(ended.stderr, "");
    }
    for name in ["gc", "seal"] {
        let job = job(&place, name);
        assert!(job["holder"].is_null() && job["failures"] == 0, "{job}");
    }
    run(&place, &["verify"]).expect(0);
    assert_eq!(run(&place, &["ls"]).expect(0).text(), "before\nmeanwhile\n");
}

#[test]
fn entries_end_by_rules_and_quotas_tell() {
    let place = Place::new();
    place.pipe("put tmp/a", b"x").expect(0);
    place.pipe("put kept/a", &noise(1, 900)).expect(0);
    let rules = "lifecycle=[ { prefix: tmp/, expire: 1s } ]";
    place.run_words(["volume", "set", "default", rules, "quota=1000B", "alert=80%"]).expect(0);
    eventually("the end", || {
        place.run("run lifecycle").expect(0);
        place.run("ls -r").expect(0).text() == "kept/a\n"
    });
    let archive = "lifecycle=[ { archive: 30d } ]";
    place.run_words(["volume", "set", "default", archive]).refused(2, &["archive", "one tier"]);
    for command in ["status", "jobs"] {
        let shown = place.run(command).expect(0);
        assert!(shown.text().contains("90 % of the quota are in use"), "{}", shown.text());
    }
    place.pipe("put more", &noise(2, 500)).refused(4, &["quota", "delete something"]);
    place.run("volume resize default 10KiB").expect(0);
    place.pipe("put more", &noise(2, 500)).expect(0);
    assert!(!place.run("status").expect(0).text().contains("of the quota are"));
}

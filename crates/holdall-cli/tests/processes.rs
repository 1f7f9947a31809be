//! The command among others: killed, interrupted, refused a store that another one has, and cut
//! off from whoever read its output.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use support::{Place, ended, eventually, noise};

/// A tree whose last file, all holes, takes minutes to read, so that an import of it is always
/// still under way.
fn endless_tree(place: &Place) {
    fs::create_dir_all(place.path("tree/many")).unwrap();
    for number in 0..300_u64 {
        let size = usize::try_from(number * 97 % 40_000).unwrap();
        fs::write(place.path(&format!("tree/many/{number}")), noise(number, size)).unwrap();
    }
    fs::File::create(place.path("tree/z")).unwrap().set_len(1 << 40).unwrap();
}

fn cut(place: &Place) {
    fs::File::options().write(true).open(place.path("tree/z")).unwrap().set_len(5 << 20).unwrap();
}

/// Waits until the process has the store; gives how others see it.
fn wait_for_lock(place: &Place, child: &Child, command: &str) -> String {
    let lock = place.path("home/catalog/journal/lock");
    let process = format!("process {} (holdall {command})", child.id());
    eventually("the lock", || fs::read_to_string(&lock).is_ok_and(|text| text.contains(&process)));
    process
}

fn send(child: &Child, signal: Signal) {
    let id = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(id, signal).unwrap();
}

#[test]
fn a_killed_import_goes_on_with_the_same_command() {
    let place = Place::new();
    endless_tree(&place);
    for _ in 0..3 {
        let mut child = place.command(["import", "tree"]).spawn().unwrap();
        place.wait_for_segments();
        child.kill().unwrap();
        child.wait().unwrap();
        place.run("verify").expect(0);
    }
    cut(&place);
    place.run("import tree").expect(0);
    place.run("diff tree --checksum").expect(0);
    place.run("verify").expect(0);
}

#[test]
fn an_interrupted_import_keeps_what_it_has_and_goes_on() {
    let place = Place::new();
    endless_tree(&place);
    for signal in [Signal::INT, Signal::TERM] {
        let child = place.command(["import", "tree"]).spawn().unwrap();
        // The batch of small files is under way first, and is waited for.
        wait_for_lock(&place, &child, "import");
        place.wait_for_segments();
        send(&child, signal);
        let words = ["interrupted", "same command goes on"];
        ended(child).refused(130, &words);
        place.run("verify").expect(0);
    }
    // What is there was not stored again.
    assert!(place.run("ls -r").expect(0).text().lines().count() > 300);
    cut(&place);
    let report = place.run("import tree --json").expect(0);
    assert!(report.objects()[0]["unchanged"].as_u64().unwrap() > 300, "{}", report.text());
    place.run("diff tree --checksum").expect(0);
}

#[test]
fn an_interrupted_put_leaves_nothing() {
    let place = Place::new();
    place.pipe("put before", b"x").expect(0);
    let mut child = place.command(["put", "endless"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(&noise(1, 8 << 20)).unwrap();
    wait_for_lock(&place, &child, "put");
    send(&child, Signal::INT);
    ended(child).refused(130, &["interrupted"]);
    drop(input);
    assert_eq!(place.run("ls").expect(0).text(), "before\n");
    place.run("verify").expect(0);
}

#[test]
fn a_second_process_is_told_who_has_the_store() {
    let place = Place::new();
    place.pipe("put before", b"x").expect(0);
    let mut child = place.command(["put", "slow"]).stdin(Stdio::piped()).spawn().unwrap();
    let process = wait_for_lock(&place, &child, "put");
    place.run("ls").refused(5, &[&process, "in use"]);
    let json = place.run("ls --json").expect(5);
    let error: serde_json::Value = serde_json::from_str(json.stderr.trim()).unwrap();
    assert_eq!(error["kind"], "unavailable", "{error}");
    child.stdin.take().unwrap().write_all(b"done").unwrap();
    ended(child).expect(0);
    assert_eq!(place.run("cat slow").expect(0).text(), "done");
}

#[test]
fn two_processes_share_a_plain_lmdb_catalog() {
    let place = Place::new();
    let catalog = format!("lmdb://{}", place.path("home/plain").display());
    let run = |words: &[&str]| {
        let words = ["--catalog", &catalog].iter().chain(words).copied().collect::<Vec<_>>();
        place.command(words)
    };
    ended(run(&["put", "before"]).spawn().unwrap()).expect(0);
    let mut child = run(&["put", "slow"]).stdin(Stdio::piped()).spawn().unwrap();
    ended(run(&["put", "meanwhile"]).spawn().unwrap()).expect(0);
    ended(run(&["cat", "meanwhile"]).spawn().unwrap()).expect(0);
    child.stdin.take().unwrap().write_all(b"done").unwrap();
    ended(child).expect(0);
    let listed = ended(run(&["ls"]).spawn().unwrap()).expect(0);
    assert_eq!(listed.text(), "before\nmeanwhile\nslow\n");
}

#[test]
fn a_closed_pipe_ends_a_command_quietly() {
    let place = Place::new();
    place.pipe("put large", &noise(1, 8 << 20)).expect(0);
    let mut child = place.command(["cat", "large"]).spawn().unwrap();
    let mut first = [0; 16];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    drop(child.stdout.take());
    let ended = ended(child).expect(0);
    assert_eq!(ended.stderr, "");
}

#[test]
fn an_export_into_a_full_tree_goes_on_where_it_was() {
    let place = Place::new();
    support::nasty_tree(&place.path("tree"));
    place.run("import tree").expect(0);
    place.run("export tree out").expect(0);
    fs::remove_file(place.path("out/large")).unwrap();
    fs::write(place.path("out/chunk"), "changed").unwrap();
    // What an export that was killed has left is taken away by the next.
    let report = place.run("export tree out --json").expect(0);
    assert_eq!(report.objects()[0]["written"], 2, "{}", report.text());
    assert_eq!(support::picture(&place.path("tree")), support::picture(&place.path("out")));
}

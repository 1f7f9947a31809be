//! Directory trees: what goes in comes out, and what is there already is not stored again.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "tests of a real process on a real machine")]

mod support;

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use support::{Place, ended, nasty_tree, noise, picture, set_time};

#[test]
fn a_nasty_tree_comes_back_as_it_was() {
    let place = Place::new();
    nasty_tree(&place.path("tree"));
    place.run("import tree").expect(0);
    place.run("diff tree").expect(0);
    place.run("diff tree --checksum").expect(0);
    place.run("export tree out").expect(0);
    assert_eq!(picture(&place.path("tree")), picture(&place.path("out")));
    place.run("verify").expect(0);

    // Again into the same folder: nothing is written.
    let again = place.run("export tree out --json").expect(0);
    let report = &again.objects()[0];
    assert_eq!(report["written"], 0, "{report}");
    assert_eq!(picture(&place.path("tree")), picture(&place.path("out")));
}

#[test]
fn a_second_import_of_an_unchanged_tree_writes_nothing() {
    let place = Place::new();
    nasty_tree(&place.path("tree"));
    place.run("import tree").expect(0);
    let before = place.sequence();
    for words in ["import tree --json", "import tree --checksum --json", "import tree/. --json"] {
        let report = &place.run(words).expect(0).objects()[0];
        assert_eq!(report["stored"], 0, "{words}: {report}");
        assert_eq!(report["deleted"], 0, "{words}: {report}");
        assert_eq!(place.sequence(), before, "{words}");
    }
}

#[test]
fn what_changes_is_told_and_stored_and_the_past_stays() {
    let place = Place::new();
    place.run("volume create default --history 1d").expect(0);
    let tree = place.path("tree");
    nasty_tree(&tree);
    place.run("import tree").expect(0);
    let (then, old) = (place.sequence(), picture(&tree));

    fs::write(tree.join("a/x.txt"), "changed").unwrap();
    fs::write(tree.join("new"), "new").unwrap();
    fs::remove_file(tree.join("a.txt")).unwrap();
    fs::remove_dir(tree.join("empty")).unwrap();
    fs::set_permissions(tree.join("inline"), fs::Permissions::from_mode(0o600)).unwrap();
    // The same size, mode and time, but other bytes: only a digest shows it.
    let found = fs::metadata(tree.join("chunk")).unwrap();
    fs::write(tree.join("chunk"), noise(99, (16 << 10) + 1)).unwrap();
    set_time(&tree.join("chunk"), found.mtime(), found.mtime_nsec());

    let diff = place.run("diff tree").expect(1);
    let lines: Vec<&str> = diff.text().lines().collect();
    for line in ["+ tree/new", "- tree/a.txt", "- tree/empty/", "~ tree/inline (mode)"] {
        assert!(lines.contains(&line), "no `{line}` in {lines:?}");
    }
    assert!(lines.iter().any(|line| line.starts_with("~ tree/a/x.txt (")), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("chunk")), "{lines:?}");
    let diff = place.run("diff tree --checksum").expect(1);
    assert!(diff.text().contains("~ tree/chunk (bytes)\n"), "{}", diff.text());

    place.run("import tree --checksum").expect(0);
    let diff = place.run("diff tree --checksum").expect(1);
    assert!(diff.text().contains("- tree/a.txt\n"), "without --delete entries stay");
    place.run("import tree --delete").expect(0);
    place.run("diff tree --checksum").expect(0);

    place.run_words(["export", "tree", "now"]).expect(0);
    assert_eq!(picture(&place.path("now")), picture(&tree));
    place.run_words(["export", "tree", "before", "--at", &format!("commit:{then}")]).expect(0);
    assert_eq!(picture(&place.path("before")), old);
    place.run("verify").expect(0);
}

#[test]
fn prefixes_decide_where_a_tree_lies() {
    let place = Place::new();
    fs::create_dir_all(place.path("tree/sub")).unwrap();
    fs::write(place.path("tree/sub/file"), "x").unwrap();
    place.run("import tree").expect(0);
    place.run("import tree --prefix other/place").expect(0);
    place.run_words(["import", "tree", "--prefix", ""]).expect(0);
    let listed = place.run("ls -r").expect(0);
    for name in ["tree/", "tree/sub/file", "other/place/", "other/place/sub/file", "sub/file"] {
        assert!(listed.text().lines().any(|line| line == name), "{name}");
    }
    place.run("diff tree --prefix other/place").expect(0);
    place.run("export other/place out").expect(0);
    assert_eq!(picture(&place.path("tree")), picture(&place.path("out")));
    place.run("export all").expect(0);
    assert_eq!(fs::read(place.path("all/sub/file")).unwrap(), b"x");
    assert_eq!(fs::read(place.path("all/tree/sub/file")).unwrap(), b"x");
    place.run("export nothing out").refused(11, &["nothing below `nothing/`"]);
}

#[test]
fn the_store_does_not_swallow_itself() {
    let place = Place::new();
    fs::write(place.path("file"), "x").unwrap();
    let import = |extra: &str| place.run(&format!("import . --prefix p --json{extra}")).expect(0);
    import("");
    assert!(!place.run("ls -r").expect(0).text().contains("home"));
    let report = &import("").objects()[0];
    assert_eq!(report["files"], 1, "{report}");
}

#[test]
fn a_file_that_becomes_a_directory_replaces_it() {
    let place = Place::new();
    fs::create_dir_all(place.path("tree/was folder/sub")).unwrap();
    fs::write(place.path("tree/was folder/sub/x"), "x").unwrap();
    fs::write(place.path("tree/was file"), "x").unwrap();
    place.run("import tree").expect(0);
    fs::remove_dir_all(place.path("tree/was folder")).unwrap();
    fs::write(place.path("tree/was folder"), "file now").unwrap();
    fs::remove_file(place.path("tree/was file")).unwrap();
    fs::create_dir(place.path("tree/was file")).unwrap();
    place.run("import tree").expect(0);
    place.run("diff tree").expect(0);
    place.run("export tree out").expect(0);
    assert_eq!(picture(&place.path("tree")), picture(&place.path("out")));
}

#[test]
fn special_files_are_left_out_and_told() {
    let place = Place::new();
    fs::create_dir(place.path("tree")).unwrap();
    fs::write(place.path("tree/file"), "x").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(place.path("tree/socket")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(place.path("tree/pipe")).status();
    assert!(made.unwrap().success());
    place.run("import tree").refused(1, &["socket` is a socket", "pipe` is a pipe"]);
    assert_eq!(place.run("cat tree/file").expect(0).text(), "x");
    assert!(!place.run("ls -r").expect(0).text().contains("pipe"));
}

/// Root can read everything, so the command runs as nobody where the test is root's.
#[test]
fn unreadable_files_are_told_and_keep_what_the_volume_has() {
    let place = Place::new();
    let root = place.path("tree");
    fs::create_dir_all(root.join("closed")).unwrap();
    for (name, bytes) in [("closed/inside", "1"), ("secret", "2"), ("open", "3")] {
        fs::write(root.join(name), bytes).unwrap();
    }
    let is_root = fs::metadata(&root).unwrap().uid() == 0;
    let binary = place.path("holdall");
    fs::copy(env!("CARGO_BIN_EXE_holdall"), &binary).unwrap();
    fs::create_dir(place.path("home")).unwrap();
    for (path, mode) in
        [(place.path("."), 0o777), (place.path("home"), 0o777), (binary.clone(), 0o755)]
    {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let run = |words: &str| {
        let mut command = std::process::Command::new(&binary);
        command.args(words.split(' ')).current_dir(place.path("."));
        command.env("HOLDALL_HOME", place.path("home"));
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        if is_root {
            command.uid(65534).gid(65534);
        }
        ended(command.spawn().unwrap())
    };
    run("import tree").expect(0);
    for (name, mode) in [("closed", 0o000), ("secret", 0o000)] {
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::write(root.join("open"), "changed").unwrap();
    let words = ["secret` cannot be read", "closed` cannot be read", "Permission denied"];
    run("import tree --delete").refused(1, &words);
    for (name, bytes) in
        [("tree/secret", "2"), ("tree/closed/inside", "1"), ("tree/open", "changed")]
    {
        assert_eq!(run(&format!("cat {name}")).expect(0).text(), bytes, "{name}");
    }
    fs::set_permissions(root.join("closed"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_file_that_changes_all_the_time_is_stored_and_told() {
    let place = Place::new();
    fs::create_dir(place.path("tree")).unwrap();
    let path = place.path("tree/busy");
    fs::write(&path, noise(1, 24 << 20)).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (stop, file) =
            (Arc::clone(&stop), fs::File::options().write(true).open(&path).unwrap());
        std::thread::spawn(move || {
            let mut turn = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                turn += 1;
                file.write_all_at(&turn.to_le_bytes(), 0).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        })
    };
    let imported = place.run("import tree");
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    imported.refused(1, &["busy` changed each time it was read"]);
    // It holds still now: the next import notices that it has changed, and stores it.
    place.run("import tree").expect(0);
    place.run("diff tree --checksum").expect(0);
}

#[test]
fn an_export_never_leads_out_of_its_target() {
    let place = Place::new();
    for name in ["t/../../escaped", "t//etc/x", "t/./x", "t/link/inside", "t/good"] {
        place.pipe(&format!("put {name}"), b"x").expect(0);
    }
    fs::create_dir_all(place.path("out")).unwrap();
    fs::create_dir_all(place.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink(place.path("elsewhere"), place.path("out/link")).unwrap();
    let words = ["`t/../../escaped`", "`t//etc/x`", "`t/./x`", "`t/link/inside`", "is a symlink"];
    place.run("export t out").refused(1, &words);
    assert_eq!(fs::read(place.path("out/good")).unwrap(), b"x");
    assert_eq!(fs::read_dir(place.path("elsewhere")).unwrap().count(), 0);
    assert!(!place.path("escaped").exists());
    // A symlink that the volume itself restores is no way out either.
    let link = ["put", "u/link", "--attr", "unix.kind=symlink", "--attr", "unix.target=/"];
    place.run_words(link).expect(0);
    place.pipe("put u/link/tmp/out-of-target", b"x").expect(0);
    place.run("export u out2").expect(1);
    assert!(!std::path::Path::new("/tmp/out-of-target").exists());
}

#[test]
fn what_is_no_directory_is_refused() {
    let place = Place::new();
    fs::write(place.path("file"), "x").unwrap();
    place.run("import file").refused(2, &["`file` is not a directory", "holdall put"]);
    place.run("import missing").refused(11, &["no directory `missing`"]);
    assert!(!place.path("home").exists(), "a refused import makes no store");
}

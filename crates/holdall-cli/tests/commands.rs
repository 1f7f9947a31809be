//! Every command on its own: what it does, what it says, and what it refuses.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;

use support::{Place, noise};

#[test]
fn pipes_go_in_and_out() {
    let place = Place::new();
    let large = noise(1, 5 << 20);
    for (name, bytes) in [("empty", &b""[..]), ("small", b"hello\n"), ("a/large", &large)] {
        place.pipe(&format!("put {name}"), bytes).expect(0);
        assert_eq!(place.run(&format!("cat {name}")).expect(0).stdout, bytes, "{name}");
    }
    assert_eq!(place.run("cat a/large --range 1000000-1000100").expect(0).stdout.len(), 100);
    assert_eq!(place.run("cat small --range 4-").expect(0).text(), "o\n");
    assert_eq!(place.run("cat small --range 100-200").expect(0).text(), "");
    place.run("get a/large").expect(0);
    assert_eq!(fs::read(place.path("large")).unwrap(), large);
    place.run("get small -o other").expect(0);
    assert_eq!(fs::read(place.path("other")).unwrap(), b"hello\n");
    assert_eq!(place.run("get small -o -").expect(0).text(), "hello\n");
    place.run("put copied large").expect(0);
    assert_eq!(place.run("cat copied").expect(0).stdout, large);
}

#[test]
fn conditions_types_attributes_and_times_are_kept() {
    let place = Place::new();
    let words = ["put", "a", "--if-absent", "--content-type", "text/plain", "--attr", "k=v w"];
    place.run_words(words).expect(0);
    place.pipe("put a --if-absent", b"x").refused(3, &["volume `default`"]);
    place.pipe("put a --if-version 7", b"x").refused(3, &["volume `default`"]);
    place.pipe("put a --if-version 1 --ttl 1h --attr k=v", b"xy").expect(0);
    let stat = &place.run("stat a --json").expect(0).objects()[0];
    assert_eq!(stat["size"], 2, "{stat}");
    assert_eq!(stat["attributes"]["k"], "v", "{stat}");
    assert!(stat["expires"].is_string(), "{stat}");
    place.pipe("put b --content-type image/png", &noise(1, 2000)).expect(0);
    let found = |words: &str| place.run(words).expect(0).text().trim().to_owned();
    assert_eq!(found("find --attr k=v"), "a");
    assert_eq!(found("find --size +1KiB"), "b");
    assert_eq!(found("find --size -1KiB"), "a");
    assert_eq!(found("find --type image/*"), "b");
    assert_eq!(found("find --newer 1h"), "a\nb");
    assert_eq!(found("find --older 1h"), "");
    assert_eq!(found("find --limit 1"), "a");
    assert_eq!(found("find --name ?"), "a\nb");
}

#[test]
fn copies_renames_and_deletions() {
    let place = Place::new();
    for name in ["d/a", "d/b", "d/e/f", "other"] {
        place.pipe(&format!("put {name}"), name.as_bytes()).expect(0);
    }
    place.run("cp d/a d/copy").expect(0);
    place.run("mv d/b moved").expect(0);
    place.run("cp d/a other --if-absent").refused(3, &["other"]);
    assert_eq!(place.run("cat d/copy").expect(0).text(), "d/a");
    assert_eq!(place.run("cat moved").expect(0).text(), "d/b");
    place.run("cat d/b").refused(11, &["no entry `d/b`", "volume `default`"]);
    assert_eq!(place.run("ls").expect(0).text(), "d/\nmoved\nother\n");
    assert_eq!(place.run("ls d/").expect(0).text(), "d/a\nd/copy\nd/e/\n");
    place.run("rm d").refused(2, &["is a folder", "rm -r"]);
    place.run("rm -r d").expect(0);
    assert_eq!(place.run("ls -r").expect(0).text(), "moved\nother\n");
    place.run("rm d").refused(11, &["no entry `d`"]);
    place.run("rm -f d").expect(0);
    place.run("mv nothing x").refused(11, &["no entry `nothing`"]);
    place.run("ls d/").refused(11, &["begins with `d/`"]);
}

#[test]
fn the_past_is_kept_as_long_as_the_volume_says() {
    let place = Place::new();
    place.run("volume create default --history 1d").expect(0);
    for text in ["one", "two", "three"] {
        place.pipe("put a", text.as_bytes()).expect(0);
    }
    let history = place.run("history a --json").expect(0).objects();
    assert_eq!(history.len(), 3);
    let first = history[2]["entry"]["version"].as_u64().unwrap();
    let page = place.run("history a --json --limit 2").expect(0).objects();
    assert_eq!(page, history[..2]);
    let last = &page[1]["entry"]["version"];
    let rest = place.run(&format!("history a --json --after {last}")).expect(0).objects();
    assert_eq!(rest, history[2..]);
    assert!(place.run(&format!("history a --after {first}")).expect(0).text().is_empty());
    assert_eq!(place.run("history a --limit 2").expect(0).text().lines().count(), 3);
    let written = history[1]["entry"]["written"].as_str().unwrap().to_owned();
    assert_eq!(place.run(&format!("cat a --version {first}")).expect(0).text(), "one");
    assert_eq!(place.run_words(["cat", "a", "--at", &written]).expect(0).text(), "two");
    place.run("snapshot create before").expect(0);
    place.run("rm a").expect(0);
    place.run("cat a").expect(11);
    assert_eq!(place.run("cat a --at snapshot:before").expect(0).text(), "three");
    assert!(place.run("snapshot list").expect(0).text().contains("before"));
    place.run("snapshot delete before").expect(0);
    place.run("snapshot delete before").refused(11, &["no snapshot `before`"]);
    let commits = place.run("history --json").expect(0).objects();
    assert_eq!(commits[0]["changes"][0]["change"], "put");
    let kinds: Vec<&str> = commits
        .iter()
        .flat_map(|commit| commit["changes"].as_array().unwrap())
        .map(|change| change["change"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["put", "put", "put", "snapshot", "delete", "unsnapshot"]);
    place.run("cat a --version 99").refused(11, &["no version 99"]);
    // Before it was made, the volume had nothing.
    place.run_words(["cat", "a", "--at", "3d ago"]).expect(11);
    place.run_words(["cat", "a", "--at", "snapshot:none"]).expect(2);
}

#[test]
fn a_quota_ends_at_its_edge() {
    let place = Place::new();
    place.run("volume create small --quota 100KiB").expect(0);
    place.pipe("--volume small put a", &noise(1, 60 << 10)).expect(0);
    let words = ["volume `small`", "quota"];
    place.pipe("--volume small put b", &noise(2, (40 << 10) + 1)).refused(4, &words);
    place.pipe("--volume small put b", &noise(2, 40 << 10)).expect(0);
    place.pipe("--volume small put c", b"x").refused(4, &words);
    fs::create_dir(place.path("tree")).unwrap();
    fs::write(place.path("tree/file"), "x").unwrap();
    place.run("--volume small import tree").refused(4, &words);
    place.run("volume resize small 1MiB").expect(0);
    place.run("--volume small import tree").expect(0);
    place.run("volume resize small none").expect(0);
    place.run("--volume small verify").expect(0);
}

#[test]
fn volumes_are_made_shown_and_deleted() {
    let place = Place::new();
    let words = "volume create photos --quota 10GiB --history 7d --compression zstd:3";
    place.run(words).expect(0);
    place.run(words).refused(3, &["volume `photos` already"]);
    place.run("volume create Photos").refused(2, &["no name for a volume"]);
    place.run("volume create x --quota ten").refused(2, &["`ten` is no size"]);
    place.run("volume create x --history soon").refused(2, &["`soon` is no duration"]);
    place.run("volume create x --compression gzip").refused(2, &["`gzip` is no compression"]);
    place.run("volume create x --set quotta=1").refused(2, &["did you mean `quota`"]);
    let shown = &place.run("volume show photos --json").expect(0).objects()[0];
    assert_eq!(shown["policy"]["quota_bytes"], 10_u64 << 30, "{shown}");
    assert_eq!(shown["policy"]["history"], "7d", "{shown}");
    assert_eq!(shown["policy"]["compression"], "zstd:3", "{shown}");
    place.pipe("--volume photos put a", b"x").expect(0);
    place.run("volume delete photos").refused(2, &["1 entry", "--yes"]);
    place.run("volume delete photos --yes").expect(0);
    assert_eq!(place.run("volume list --json").expect(0).text(), "");
    // Nothing of it is left, and its name is free.
    let left = walk(&place.path("home/data"));
    assert!(left.is_empty(), "{left:?}");
    place.run(words).expect(0);
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        match entry.file_type().unwrap().is_dir() {
            true => files.extend(walk(&entry.path())),
            false if hidden => {}
            false => files.push(entry.path()),
        }
    }
    files
}

#[test]
fn what_is_unknown_names_what_is_near() {
    let place = Place::new();
    place.run("ls").refused(11, &["no store at", "holdall import"]);
    assert!(!place.path("home").exists(), "looking makes no store");
    place.pipe("put a", b"x").expect(0);
    place.run("--volume defualt ls").refused(11, &["did you mean `default`"]);
    place.run("--volume xyzzy ls").refused(11, &["no volume `xyzzy`", "there are default"]);
    place.pipe("--volume xyzzy put a", b"x").refused(11, &["no volume `xyzzy`"]);
    place.run("improt x").refused(2, &["import"]);
    place.run("ls --lnog").refused(2, &["--long"]);
    place.run("ls --at yesterday").refused(2, &["`yesterday` is no time"]);
    place.run("--catalog lmbd:///x ls").expect(2);
    place.run("--data s3://user:hunter2@bucket ls").expect(2);
    let ended = place.run("--data s3://user:hunter2@bucket/x?secret_key=hunter3 ls");
    assert!(!ended.stderr.contains("hunter"), "{}", ended.stderr);
    place.run("cat a --range 5").refused(2, &["`5` is no range"]);
    place.run_words(["put", ""]).refused(2, &["name is empty"]);
    place.run_words(["put", &"x".repeat(901)]).refused(2, &["901 bytes"]);
    place.run("put b missing").refused(11, &["no file `missing`"]);
    place.run("put b .").refused(2, &["is a directory", "holdall import"]);
    place.run("put b --attr novalue").refused(2, &["has no value"]);
}

#[test]
fn json_is_json_everywhere() {
    let place = Place::new();
    fs::create_dir(place.path("tree")).unwrap();
    fs::write(place.path("tree/file"), "x").unwrap();
    let data = place.path("other");
    let check = format!("backend check file://{}", data.display());
    let commands = [
        "volume create default --history 1d",
        "import tree",
        "put piped",
        "get piped",
        "cat piped",
        "cat tree/file",
        "ls",
        "ls -l -r tree",
        "stat piped",
        "cp piped copy",
        "mv copy moved",
        "find --size -1KiB",
        "history",
        "history piped",
        "snapshot create s",
        "snapshot list",
        "snapshot delete s",
        "diff tree",
        "export tree out",
        "verify",
        "verify --quick",
        "gc",
        "gc --dry-run",
        "rebuild",
        "rebuild --list",
        "rebuild --replace",
        "status",
        "volume list",
        "volume show default",
        "volume resize default 1GiB",
        "bench --entries 40 --bytes 1MiB",
        "completions bash",
        "rm piped",
        "volume delete default --yes",
        "backend check memory:",
        &check,
    ];
    for words in commands {
        let ended = place.run(&format!("{words} --json")).expect(0);
        assert!(!ended.objects().is_empty() || ended.text().is_empty(), "{words}");
        assert_eq!(ended.stderr, "", "{words}");
        let silent = ["volume list", "rebuild --list"];
        assert!(!ended.text().is_empty() || silent.contains(&words), "{words} said nothing");
    }
    for (words, code, kind) in [
        ("cat nothing", 11, "not-found"),
        ("ls --bogus", 2, "invalid"),
        ("volume create A", 2, "invalid"),
        ("--volume none ls", 11, "not-found"),
        ("volume create x --quota 1x", 2, "invalid"),
    ] {
        let ended = place.run(&format!("{words} --json")).expect(code);
        let error: serde_json::Value = serde_json::from_str(ended.stderr.trim()).unwrap();
        assert_eq!(error["kind"], kind, "{words}: {error}");
        assert!(error["message"].is_string() && error["operation"].is_string(), "{error}");
    }
}

#[test]
fn a_lost_catalog_is_noticed_and_comes_back() {
    let place = Place::new();
    support::nasty_tree(&place.path("tree"));
    place.run("import tree").expect(0);
    place.run("rebuild default").expect(2);
    fs::remove_dir_all(place.path("home/catalog")).unwrap();
    let words = ["does not know", "holdall rebuild default"];
    place.run("import tree").refused(3, &words);
    place.run("rebuild").expect(0);
    place.run("diff tree --checksum").expect(0);
    place.run("verify").expect(0);
    place.run("rebuild nothing").refused(11, &["no volume `nothing`"]);
}

#[test]
fn damage_is_found_and_never_given_out() {
    let place = Place::new();
    place.pipe("put a", &noise(1, 1 << 20)).expect(0);
    let segment = walk(&place.path("home/data")).into_iter();
    let segment = segment.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, bytes).unwrap();
    place.run("cat a").refused(7, &["volume `default`"]);
    place.run("get a").expect(7);
    assert!(!place.path("a").exists(), "a damaged entry leaves no file");
    let verify = place.run("verify").expect(1);
    assert!(verify.text().contains("ERROR"), "{}", verify.text());
    place.run("export out").refused(1, &["`a`"]);
    assert!(!place.path("out/a").exists());
}

//! Every workload at a tiny size, so that none can rot. Nothing is asserted about time.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests; it builds and runs real programs"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use holdall_bench::medium::Medium;
use holdall_bench::report::{Measured, Report};
use holdall_bench::rows;
use holdall_bench::setting::{Scale, Setting};

const ROUNDS: usize = 2;

struct Place {
    setting: Setting,
    _folder: tempfile::TempDir,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let (dir, tree) = (folder.path().join("dir"), folder.path().join("tree"));
    fs::create_dir_all(&dir).unwrap();
    fs::create_dir_all(tree.join("inner/empty")).unwrap();
    for number in 0..20_u64 {
        let text = format!("file {number}\n").repeat(1 + number as usize * 100);
        fs::write(tree.join(format!("inner/{number}.txt")), text).unwrap();
    }
    let program = PathBuf::from(env!("CARGO_BIN_EXE_holdall-bench"));
    let setting = Setting {
        env: holdall_runtime::env(),
        dir,
        rounds: ROUNDS,
        scale: Scale::tiny(),
        holdall: program.with_file_name("holdall"),
        program,
        restic: PathBuf::from("restic"),
        tree,
    };
    Place { setting, _folder: folder }
}

/// Every contender had a figure in each of the rounds, and every target names one of them.
fn complete(measured: &[Measured], rounds: usize) {
    assert!(!measured.is_empty());
    for measured in measured {
        assert_eq!(measured.series[0].name, "holdall", "{}", measured.work);
        for series in &measured.series {
            let context = format!("{}: {}", measured.work, series.name);
            assert_eq!(series.figures.len(), rounds, "{context}");
            assert!(series.figures.iter().all(|figure| *figure > 0.0), "{context}");
        }
        assert!(!measured.targets.is_empty(), "{}", measured.work);
        for verdict in measured.verdicts() {
            assert!(verdict.measured.is_finite(), "{}: {:?}", measured.work, verdict.target);
        }
    }
}

fn names(measured: &Measured) -> Vec<&str> {
    measured.series.iter().map(|series| series.name.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn small_puts() {
    let place = place();
    let measured = rows::run("small_puts", &place.setting).await.unwrap();
    complete(&measured, ROUNDS);
    let all = [
        "holdall",
        "bare log, growing file",
        "bare log, preallocated ring",
        "raw LMDB",
        "redb",
        "SQLite",
    ];
    assert_eq!(names(&measured[0]), all);
    assert_eq!(names(&measured[1]), all);
    assert!(measured[0].series.iter().all(|series| !series.durability.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn small_gets() {
    let place = place();
    let measured = rows::run("small_gets", &place.setting).await.unwrap();
    complete(&measured, ROUNDS);
    assert_eq!(names(&measured[1]), ["holdall", "raw LMDB"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn listing() {
    let place = place();
    complete(&rows::run("listing", &place.setting).await.unwrap(), ROUNDS);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_objects() {
    let place = place();
    let measured = rows::run("large_objects", &place.setting).await.unwrap();
    complete(&measured, ROUNDS);
    assert_eq!(measured.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn object_stores() {
    let place = place();
    let measured = rows::run("object_stores", &place.setting).await.unwrap();
    complete(&measured, ROUNDS);
    for measured in &measured {
        assert_eq!(names(measured), ["holdall", "object_store", "OpenDAL fs"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas() {
    let place = place();
    let measured = rows::run("replicas", &place.setting).await.unwrap();
    complete(&measured, ROUNDS);
    assert_eq!(names(&measured[0]), ["holdall", "two plain files"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn open() {
    let place = place();
    complete(&rows::run("open", &place.setting).await.unwrap(), ROUNDS);
}

/// Builds the command if it is not there; it is, after a build of the whole workspace.
fn build_command(holdall: &Path) {
    if !holdall.is_file() {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo).args(["build", "--package", "holdall-cli"]).status();
        assert!(built.unwrap().success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory() {
    let place = place();
    build_command(&place.setting.holdall);
    complete(&rows::run("memory", &place.setting).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn import() {
    let place = place();
    build_command(&place.setting.holdall);
    let is_there = Command::new(&place.setting.restic).arg("version").output().is_ok();
    let measured = rows::run("import", &place.setting).await;
    if is_there {
        complete(&measured.unwrap(), ROUNDS);
    } else {
        let message = measured.unwrap_err().to_string();
        assert!(message.contains("apt-get install restic"), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_said() {
    let mut place = place();
    let error = rows::run("small_put", &place.setting).await.unwrap_err().to_string();
    assert!(error.contains("small_put`") && error.contains("small_puts, small_gets"), "{error}");
    place.setting.holdall = place.setting.dir.join("no-such-holdall");
    let error = rows::run("import", &place.setting).await.unwrap_err().to_string();
    assert!(error.contains("--holdall"), "{error}");
    place.setting.holdall = place.setting.program.clone();
    place.setting.restic = place.setting.dir.join("no-such-restic");
    let error = rows::run("import", &place.setting).await.unwrap_err().to_string();
    assert!(error.contains("apt-get install restic"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_run_is_a_table_and_json() {
    let place = place();
    let dir = place.setting.dir.to_str().unwrap().to_owned();
    let run = |more: &[&str]| {
        let mut bench = Command::new(&place.setting.program);
        bench.args(["--dir", &dir, "--tree", place.setting.tree.to_str().unwrap()]);
        bench.args(more).output().unwrap()
    };
    let unknown = run(&["no-such-row"]);
    assert!(!unknown.status.success());
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(said.contains("the rows are small_puts"), "{said}");
    let never = run(&["--rounds", "0"]);
    assert!(!never.status.success());

    let measured = rows::run("listing", &place.setting).await.unwrap();
    let medium = Medium::of(&place.setting.dir).unwrap();
    let report = Report { medium, rounds: ROUNDS, measured, failures: Vec::new() };
    assert!(report.summary().contains("listing"));
    assert_eq!(report.json()["measured"][0]["row"], "listing");
}

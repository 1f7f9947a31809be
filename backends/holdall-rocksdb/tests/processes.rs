//! A second process is refused and told who is first; processes that are killed, that may not
//! write, and that cannot finish a write.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "a second process is started with its orders")]

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use holdall_core::{Backend, BackendExt, Batch, Bytes, Error, ErrorKind, Expect, Key};
use holdall_rocksdb::{Config, RocksDb};

/// The variable that turns the test [`child`] into one of the processes below.
const ORDERS: &str = "HOLDALL_ROCKSDB_TEST_CHILD";
const WRITERS: usize = 8;

async fn try_open(path: &Path) -> Result<RocksDb, Error> {
    RocksDb::open(Config::new(path), &holdall_runtime::env()).await
}

async fn open(path: &Path) -> RocksDb {
    try_open(path).await.unwrap()
}

fn key(text: impl AsRef<str>) -> Key {
    Key::parse(text).unwrap()
}

/// This test program, as a process that does only what it is told.
fn order(program: &Path, order: &str, path: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .args(["child", "--exact", "--nocapture"])
        .env(ORDERS, format!("{order} {}", path.display()))
        .stdout(Stdio::piped());
    command
}

fn start(what: &str, path: &Path) -> Child {
    order(&std::env::current_exe().unwrap(), what, path).spawn().unwrap()
}

/// Does what the orders say, and nothing when the program was not started with any.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Ok(orders) = std::env::var(ORDERS) else {
        return;
    };
    let (order, path) = orders.split_once(' ').unwrap();
    let opened = try_open(Path::new(path)).await;
    if order == "denied" {
        let error = opened.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
        assert!(error.message().contains("permissions"), "{error}");
        return;
    }
    let backend = Arc::new(opened.unwrap());
    match order {
        "hold" => {
            println!("acknowledged 0 0");
            std::future::pending::<()>().await;
        }
        "write" => {
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| tokio::spawn(write_for_ever(Arc::clone(&backend), writer)))
                .collect();
            for writer in writers {
                writer.await.unwrap();
            }
        }
        "limited" => write_until_it_fails(&backend).await,
        other => panic!("unknown order {other}"),
    }
}

async fn write_for_ever(backend: Arc<RocksDb>, writer: usize) {
    for number in 0.. {
        let mut batch = Batch::new();
        batch.put(key(format!("{writer}/{number:06}")), content(writer, number), Expect::Absent);
        batch.put(key(format!("{writer}/last")), number.to_string(), Expect::Any);
        backend.apply(batch).await.unwrap();
        // An acknowledged write: the parent holds us to it.
        println!("acknowledged {writer} {number}");
    }
}

async fn write_until_it_fails(backend: &RocksDb) {
    for number in 0.. {
        match backend.put(&key(format!("{number:06}")), content(0, number), Expect::Absent).await {
            Ok(_) => println!("acknowledged 0 {number}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unknown, "{error:?}");
                assert!(error.message().contains("read it back"), "{error}");
                break;
            }
        }
    }
    let error = backend.put(&key("more"), Bytes::new(), Expect::Any).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error:?}");
    assert_eq!(backend.health().await.unwrap_err().kind(), ErrorKind::Closed);
    assert!(backend.get_all(&key("000000")).await.unwrap().is_some());
}

fn content(writer: usize, number: usize) -> Bytes {
    Bytes::from(vec![(writer * 31 + number) as u8; [10, 900, 5000, 70_000][number % 4]])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_is_told_who_is_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = start("hold", folder.path());
    let mut said = BufReader::new(first.stdout.take().unwrap()).lines();
    while !said.next().unwrap().unwrap().starts_with("acknowledged") {}
    // Asking does not take the lock from its holder, so it can be asked again.
    for _ in 0..3 {
        let error = try_open(folder.path()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        let name = std::fs::read_to_string(format!("/proc/{}/comm", first.id())).unwrap();
        let holder = format!("process {} ({})", first.id(), name.trim());
        assert!(error.message().contains(&holder), "{error}: {holder}");
        assert!(error.location().is_some());
    }
    first.kill().unwrap();
    first.wait().unwrap();
    let backend = open(folder.path()).await;
    backend.put(&key("mine"), Bytes::new(), Expect::Absent).await.unwrap();
}

/// Reads what a child says until it has said so many things, then kills it, and returns for each
/// writer the last number that it said, also what it still said before it died.
fn kill_after(process: &mut Child, acknowledged: usize) -> Vec<Option<usize>> {
    let mut last = vec![None; WRITERS];
    let mut note = |line: &str| {
        let Some(said) = line.strip_prefix("acknowledged ") else {
            return false;
        };
        let (writer, number) = said.split_once(' ').unwrap();
        last[writer.parse::<usize>().unwrap()] = Some(number.parse().unwrap());
        true
    };
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut heard = 0;
    while heard < acknowledged {
        heard += usize::from(note(&lines.next().unwrap().unwrap()));
    }
    process.kill().unwrap();
    process.wait().unwrap();
    // The very last line may be cut off in the middle.
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    rest.iter().take(rest.len().saturating_sub(1)).for_each(|line| {
        note(line);
    });
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_leaves_every_acknowledged_batch_whole() {
    let folder = tempfile::tempdir().unwrap();
    for acknowledged in [1, 9, 40, 100, 300, 900] {
        let path = folder.path().join(acknowledged.to_string());
        let last = kill_after(&mut start("write", &path), acknowledged);
        let backend = open(&path).await;
        for (writer, last) in last.into_iter().enumerate() {
            let rows = backend.list_all(&format!("{writer}/"), true).await.unwrap();
            let Some((pointer, rows)) = rows.split_last() else {
                assert_eq!(last, None, "writer {writer}");
                continue;
            };
            let there = rows.len();
            assert!(last.is_none_or(|last| there > last), "{there} rows, {last:?}");
            assert_eq!(pointer.object.as_ref().unwrap().value, (there - 1).to_string());
            for (number, row) in rows.iter().enumerate() {
                assert_eq!(row.key.as_str(), format!("{writer}/{number:06}"));
                assert!(row.object.as_ref().unwrap().value == content(writer, number));
            }
        }
        backend.put(&key("goes on"), Bytes::new(), Expect::Absent).await.unwrap();
        drop(backend);
        let backend = open(&path).await;
        assert!(backend.get_all(&key("goes on")).await.unwrap().is_some());
    }
}

/// The system refuses in the middle of a write, as a disk that breaks would.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_write_that_could_not_be_finished_nothing_acknowledged_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    // No file may grow over 2 MiB, which the log soon would.
    let program = std::env::current_exe().unwrap();
    let limits = "trap '' XFSZ; ulimit -f 4096; exec \"$0\" \"$@\"";
    let child = Command::new("sh")
        .args(["-c", limits])
        .arg(&program)
        .args(["child", "--exact", "--nocapture"])
        .env(ORDERS, format!("limited {}", path.display()))
        .output()
        .unwrap();
    let said = String::from_utf8(child.stdout).unwrap();
    assert!(child.status.success(), "{said}{}", String::from_utf8_lossy(&child.stderr));
    let acknowledged = said.lines().filter(|line| line.starts_with("acknowledged")).count();
    assert!(acknowledged > 20, "{said}");

    let backend = open(&path).await;
    let there = backend.list_all("", false).await.unwrap().len();
    // The one that failed may have happened.
    assert!(there == acknowledged || there == acknowledged + 1, "{there} {acknowledged}");
    for number in 0..there {
        let found = backend.get_all(&key(format!("{number:06}"))).await.unwrap().unwrap();
        assert!(found.value == content(0, number), "{number}");
    }
    backend.put(&key("goes on"), Bytes::new(), Expect::Absent).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_written_is_denied() {
    let folder = tempfile::tempdir().unwrap();
    let mode = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(folder.path(), 0o755);
    // The administrator may write everything, so somebody else must try: with a copy of this
    // program, which may lie where others do not come.
    let program = folder.path().join("program");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    mode(&program, 0o755);
    let administrator = std::fs::metadata(&program).unwrap().uid() == 0;
    for (name, filled, folder_mode) in [
        ("no-database", false, 0o555),
        ("read-only-database", true, 0o555),
        ("hidden-database", true, 0o000),
    ] {
        let path = folder.path().join(name);
        std::fs::create_dir(&path).unwrap();
        if filled {
            let backend = open(&path).await;
            backend.put(&key("a"), Bytes::new(), Expect::Any).await.unwrap();
            drop(backend);
            for entry in std::fs::read_dir(&path).unwrap() {
                mode(&entry.unwrap().path(), 0o444);
            }
        }
        mode(&path, folder_mode);
        let mut command = order(&program, "denied", &path);
        if administrator {
            command.uid(65_534);
        }
        assert!(command.status().unwrap().success(), "{name}");
        mode(&path, 0o777);
    }
}

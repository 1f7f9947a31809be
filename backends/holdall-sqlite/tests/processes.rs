//! Several processes on one database, and processes that are killed in the middle of writing.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "a second process is started with its orders")]

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use holdall_core::{Backend, BackendExt, Batch, Bytes, Error, ErrorKind, Expect, Key};
use holdall_sqlite::{Config, JournalMode, Sqlite};

/// The variable that turns the test [`child`] into one of the processes below.
const ORDERS: &str = "HOLDALL_SQLITE_TEST_CHILD";
const WRITERS: usize = 8;

/// Files whose name speaks of a journal are opened without a write-ahead log.
async fn try_open(path: &Path) -> Result<Sqlite, Error> {
    let journal = path.extension().is_some_and(|extension| extension == "journaled");
    let journal_mode = if journal { JournalMode::Truncate } else { JournalMode::Wal };
    let config = Config { journal_mode, ..Config::new(path) };
    Sqlite::open(config, &holdall_runtime::env()).await
}

async fn open(path: &Path) -> Sqlite {
    try_open(path).await.unwrap()
}

fn key(text: impl AsRef<str>) -> Key {
    Key::parse(text).unwrap()
}

/// This test program again, as a process that does only what it is told.
fn order(program: &Path, order: &str, path: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["child", "--exact", "--nocapture"]);
    command.env(ORDERS, format!("{order} {}", path.display()));
    command
}

fn start(what: &str, path: &Path) -> Child {
    let program = std::env::current_exe().unwrap();
    order(&program, what, path).stdout(Stdio::piped()).spawn().unwrap()
}

/// Does what the orders say, and nothing when the program was not started by [`start`].
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Ok(orders) = std::env::var(ORDERS) else {
        return;
    };
    let (order, path) = orders.split_once(' ').unwrap();
    if order == "denied" {
        let error = try_open(Path::new(path)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
        assert!(error.message().contains("permissions"), "{error}");
        return;
    }
    let sqlite = Arc::new(open(Path::new(path)).await);
    match order {
        "count" => add_one_many_times(&sqlite).await,
        "write" => {
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| tokio::spawn(write_for_ever(Arc::clone(&sqlite), writer)))
                .collect();
            for writer in writers {
                writer.await.unwrap();
            }
        }
        other => panic!("unknown order {other}"),
    }
}

async fn write_for_ever(sqlite: Arc<Sqlite>, writer: usize) {
    for number in 0.. {
        let mut batch = Batch::new();
        batch.put(key(format!("{writer}/{number:06}")), content(writer, number), Expect::Absent);
        batch.put(key(format!("{writer}/last")), number.to_string(), Expect::Any);
        sqlite.apply(batch).await.unwrap();
        // An acknowledged write: the parent holds us to it.
        println!("acknowledged {writer} {number}");
    }
}

fn content(writer: usize, number: usize) -> Bytes {
    Bytes::from(vec![(writer * 31 + number) as u8; [10, 900, 5000, 70_000][number % 4]])
}

async fn add_one_many_times(sqlite: &Sqlite) {
    let counter = key("counter");
    let mut done = 0;
    while done < 100 {
        let seen = sqlite.get_all(&counter).await.unwrap();
        let count: u32 = seen
            .as_ref()
            .map_or(0, |seen| std::str::from_utf8(&seen.value).unwrap().parse().unwrap());
        let next = Bytes::from((count + 1).to_string());
        match sqlite.put(&counter, next, Expect::from(seen.map(|seen| seen.revision))).await {
            Ok(_) => done += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_lose_no_update() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["file.db", "file.journaled"] {
        let path = folder.path().join(name);
        // Both make the database, at the same time.
        let mut other = start("count", &path);
        let sqlite = open(&path).await;
        tokio::join!(add_one_many_times(&sqlite), add_one_many_times(&sqlite));
        assert!(other.wait().unwrap().success());
        assert_eq!(sqlite.get_all(&key("counter")).await.unwrap().unwrap().value, "300");
    }
}

/// A process that never stops writing must not keep another from writing.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_process_lets_others_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.db");
    let mut busy = start("write", &path);
    let sqlite = open(&path).await;
    for number in 0..20 {
        sqlite.put(&key(format!("mine/{number}")), Bytes::new(), Expect::Absent).await.unwrap();
    }
    kill_after(&mut busy, 1);
    assert_eq!(sqlite.list_all("mine/", false).await.unwrap().len(), 20);
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
    for (name, file_mode, folder_mode) in [
        ("read-only-file", Some(0o444), 0o777),
        ("hidden-file", Some(0o000), 0o777),
        ("read-only-folder", Some(0o666), 0o555),
        ("no-file", None, 0o555),
    ] {
        let path = folder.path().join(name).join("file.db");
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        if let Some(file_mode) = file_mode {
            drop(open(&path).await);
            mode(&path, file_mode);
        }
        mode(path.parent().unwrap(), folder_mode);
        let mut command = order(&program, "denied", &path);
        if administrator {
            command.uid(65_534);
        }
        assert!(command.status().unwrap().success(), "{name}");
        mode(path.parent().unwrap(), 0o777);
    }
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
    for extension in ["db", "journaled"] {
        for acknowledged in [1, 9, 40, 100, 300] {
            let path = folder.path().join(format!("{acknowledged}.{extension}"));
            // This one has the database open all the time: it must get on with the dead one's
            // locks, and with what it left half-written.
            let sqlite = open(&path).await;
            let last = kill_after(&mut start("write", &path), acknowledged);
            for (writer, last) in last.into_iter().enumerate() {
                let rows = sqlite.list_all(&format!("{writer}/"), true).await.unwrap();
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
            sqlite.put(&key("goes on"), Bytes::new(), Expect::Absent).await.unwrap();
            drop(sqlite);
            let sqlite = open(&path).await;
            assert!(sqlite.get_all(&key("goes on")).await.unwrap().is_some());
            drop(sqlite);
            let check = rusqlite::Connection::open(&path).unwrap();
            let found: String =
                check.pragma_query_value(None, "integrity_check", |row| row.get(0)).unwrap();
            assert_eq!(found, "ok");
        }
    }
}

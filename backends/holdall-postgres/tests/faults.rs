//! Servers that refuse, are slow, are cut off or end connections: each an error of its kind.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "writers are tasks")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{ask, bytes, config, execute, key, open, raw, shared_config, try_open};
use holdall_core::{
    Backend, BackendExt, Batch, Bytes, Error, ErrorKind, Expect, Health, List, Result,
};
use holdall_postgres::{Config, Postgres};
use holdall_services::{POSTGRES, Proxy, Trouble, shared, start};

/// Short enough to wait for, long enough for a loaded machine to answer in.
const SHORT: Duration = Duration::from_millis(1500);

/// A backend behind a proxy, and a proxy for it.
async fn behind_proxy() -> (Postgres, Proxy, Config) {
    let direct = shared_config();
    open(&direct).await;
    let proxy = Proxy::new(direct.port).unwrap();
    let config = Config {
        port: proxy.port,
        connect_timeout: SHORT,
        statement_timeout: SHORT,
        ..direct.clone()
    };
    (open(&config).await, proxy, direct)
}

/// The kinds that every request of a backend fails with.
async fn failures(backend: &Postgres) -> Vec<ErrorKind> {
    fn kind<T>(answer: Result<T>) -> ErrorKind {
        answer.err().unwrap().kind()
    }
    let mut batch = Batch::new();
    batch.put(key("a"), "2", Expect::Any).put(key("b"), "2", Expect::Any);
    vec![
        kind(backend.get_all(&key("a")).await),
        kind(backend.get_many(&[key("a")]).await),
        kind(backend.list(&List::prefix("")).await),
        kind::<Health>(backend.health().await),
        kind(backend.put(&key("a"), Bytes::from("1"), Expect::Any).await),
        kind(backend.delete(&key("a"), Expect::Any).await),
        kind(backend.apply(batch).await),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_places_say_what_to_mend() {
    let good = shared_config();
    let nowhere = Proxy::new(1).unwrap().port;
    for (config, kind, hint) in [
        (Config { port: nowhere, ..good.clone() }, ErrorKind::Unavailable, "host and port"),
        (
            Config { host: "no-such-host.invalid".into(), ..good.clone() },
            ErrorKind::Unavailable,
            "host and port",
        ),
        (
            Config { database: "missing".into(), ..good.clone() },
            ErrorKind::Invalid,
            "no such database",
        ),
        (Config { user: "nobody".into(), ..good.clone() }, ErrorKind::Denied, "login"),
        (Config { schema: "pg_x".into(), ..good.clone() }, ErrorKind::Invalid, "another name"),
        (Config { schema: "a\"b".into(), ..good.clone() }, ErrorKind::Invalid, "letters"),
    ] {
        let error = try_open(&config).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(error.message().contains(hint), "{error:?}");
        assert_eq!(error.location(), Some(&config.location()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_only_read_reads() {
    let owner = shared_config();
    let backend = open(&owner).await;
    backend.put(&key("a"), Bytes::from("1"), Expect::Any).await.unwrap();
    let role = owner.schema.replace("test-", "reader_");
    execute(&owner, &format!("CREATE ROLE {role} LOGIN")).await;
    let reader = Config { user: role.clone(), ..owner.clone() };

    let error = try_open(&reader).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
    assert!(error.message().contains("USAGE"), "{error}");
    let missing = Config { schema: format!("{}x", owner.schema), ..reader.clone() };
    let error = try_open(&missing).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
    assert!(error.message().contains("CREATE"), "{error}");

    let grant = format!(
        "GRANT USAGE ON SCHEMA \"{}\" TO {role};
        GRANT SELECT ON ALL TABLES IN SCHEMA \"{}\" TO {role}",
        owner.schema, owner.schema
    );
    raw(&owner).await.batch_execute(&grant).await.unwrap();
    let readers = open(&reader).await;
    assert_eq!(readers.get_all(&key("a")).await.unwrap().unwrap().value, "1");
    let notes = readers.health().await.unwrap().notes.join("; ");
    assert!(notes.contains("may read but not write"), "{notes}");
    let mut batch = Batch::new();
    batch.put(key("b"), "2", Expect::Absent).check(key("a"), Expect::Any);
    for error in [
        readers.put(&key("a"), Bytes::from("2"), Expect::Any).await.unwrap_err(),
        readers.delete(&key("a"), Expect::Any).await.unwrap_err(),
        readers.apply(batch).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
    }
    assert_eq!(backend.list_all("", true).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_unknown_and_can_be_looked_up() {
    let (backend, proxy, direct) = behind_proxy().await;
    let beside = open(&direct).await;
    for round in 0..10 {
        let (one, two) = (key(format!("one {round}")), key(format!("two {round}")));
        // The connection and its statement are there before the trouble: the request passes.
        let mut before = Batch::new();
        before.delete(key("one"), Expect::Any).delete(key("two"), Expect::Any);
        backend.apply(before).await.unwrap();
        proxy.set(Trouble::CutAnswers);
        let mut batch = Batch::new();
        batch.put(one.clone(), "x", Expect::Absent).put(two.clone(), "x", Expect::Absent);
        let error = backend.apply(batch.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unknown, "{error:?}");
        // Connections that are gone are no longer used: what follows is surely not sent.
        proxy.set(Trouble::Refuse);
        assert_eq!(failures(&backend).await, [ErrorKind::Unavailable; 7]);
        proxy.set(Trouble::None);
        // It happened, wholly, although nobody heard of it: asked again, it is a conflict.
        while beside.get_all(&one).await.unwrap().is_none() {
            holdall_runtime::env().sleep(Duration::from_millis(5)).await;
        }
        assert!(backend.get_all(&two).await.unwrap().is_some());
        assert_eq!(backend.apply(batch).await.unwrap_err().kind(), ErrorKind::Conflict);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_server_is_given_up() {
    let (backend, proxy, direct) = behind_proxy().await;
    proxy.set(Trouble::Delay(Duration::from_millis(20)));
    backend.put(&key("a"), Bytes::from("slow"), Expect::Absent).await.unwrap();
    assert_eq!(backend.get_all(&key("a")).await.unwrap().unwrap().value, "slow");

    proxy.set(Trouble::Silence);
    let read = backend.get_all(&key("a")).await.unwrap_err();
    assert_eq!(read.kind(), ErrorKind::Unavailable, "{read:?}");
    let silent =
        Config { port: proxy.port, connect_timeout: Duration::from_millis(300), ..direct.clone() };
    let error = try_open(&silent).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.message().contains("connect_timeout"), "{error}");

    // A write that was sent to a server that then falls silent may have happened.
    proxy.set(Trouble::None);
    backend.put(&key("a"), Bytes::from("heard"), Expect::Any).await.unwrap();
    proxy.set(Trouble::Silence);
    let error = backend.put(&key("a"), Bytes::from("open"), Expect::Any).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unknown, "{error:?}");
    proxy.set(Trouble::None);
    backend.put(&key("a"), Bytes::from("again"), Expect::Any).await.unwrap();
    assert_eq!(backend.get_all(&key("a")).await.unwrap().unwrap().value, "again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_takes_too_long_is_ended_by_the_server() {
    let direct = shared_config();
    let config = Config { statement_timeout: Duration::from_millis(200), ..direct.clone() };
    let backend = open(&config).await;
    backend.put(&key("a"), Bytes::from("1"), Expect::Any).await.unwrap();
    let mut blocker = raw(&direct).await;
    let blocking = blocker.transaction().await.unwrap();
    let lock = format!("LOCK TABLE \"{}\".rows IN ACCESS EXCLUSIVE MODE", direct.schema);
    blocking.batch_execute(&lock).await.unwrap();
    let mut kinds = failures(&backend).await;
    // Health only looks at the size of the table, for which it must wait as well.
    kinds.dedup();
    assert_eq!(kinds, [ErrorKind::Unavailable]);
    blocking.rollback().await.unwrap();
    assert_eq!(backend.get_all(&key("a")).await.unwrap().unwrap().value, "1");
    assert!(backend.get_all(&key("b")).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_limited_here_and_there() {
    let owner = shared_config();
    open(&owner).await;
    let role = owner.schema.replace("test-", "few_");
    execute(&owner, &format!("CREATE ROLE {role} LOGIN CONNECTION LIMIT 1")).await;
    let grant = format!(
        "GRANT ALL ON SCHEMA \"{0}\" TO {role}; GRANT ALL ON ALL TABLES IN SCHEMA \"{0}\" TO {role};
        GRANT ALL ON ALL SEQUENCES IN SCHEMA \"{0}\" TO {role}",
        owner.schema
    );
    raw(&owner).await.batch_execute(&grant).await.unwrap();
    let few = Config { user: role, max_connections: 1, ..owner.clone() };
    let backend = open(&few).await;
    let error = try_open(&few).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.message().contains("max_connections"), "{error}");

    // Many requests share the one connection in turn.
    let keys: Vec<_> = (0..50).map(|number| key(number.to_string())).collect();
    let puts = keys.iter().map(|key| backend.put(key, Bytes::new(), Expect::Absent));
    futures::future::try_join_all(puts).await.unwrap();
    assert_eq!(backend.list_all("", false).await.unwrap().len(), 50);

    // One that cannot get it in time says so.
    drop(backend);
    let hurried = Config { connect_timeout: Duration::from_millis(100), ..few };
    let backend = loop {
        // The server needs a moment to notice that the last connection has gone.
        match try_open(&hurried).await {
            Ok(backend) => break backend,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}"),
        }
    };
    let mut blocker = raw(&owner).await;
    let blocking = blocker.transaction().await.unwrap();
    let lock = format!("LOCK TABLE \"{}\".rows IN SHARE MODE", owner.schema);
    blocking.batch_execute(&lock).await.unwrap();
    let first = key("first");
    let waiting = backend.put(&first, Bytes::new(), Expect::Absent);
    let refused = async {
        let error = backend.get_all(&first).await.unwrap_err();
        blocking.rollback().await.unwrap();
        error
    };
    let (waited, refused) = tokio::join!(waiting, refused);
    waited.unwrap();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused:?}");
    assert!(refused.message().contains("no connection was free"), "{refused}");
}

/// Writes numbers until told to stop, and returns the last that was acknowledged.
async fn write_numbers(backend: Arc<Postgres>, writer: usize, rounds: usize) -> Option<usize> {
    let mut last = None;
    for number in 0..rounds {
        let mut batch = Batch::new();
        batch.put(key(format!("{writer}/{number:05}")), bytes(900, number as u64), Expect::Any);
        batch.put(key(format!("{writer}/last")), number.to_string(), Expect::Any);
        loop {
            match backend.apply(batch.clone()).await {
                Ok(_) => break last = Some(number),
                Err(error) => fair(&error),
            }
            holdall_runtime::env().sleep(Duration::from_millis(20)).await;
        }
    }
    last
}

fn fair(error: &Error) {
    let kind = error.kind();
    assert!(matches!(kind, ErrorKind::Unknown | ErrorKind::Unavailable), "{error:?}");
}

async fn check_numbers(backend: &Postgres, writers: usize, rounds: usize) {
    for writer in 0..writers {
        let rows = backend.list_all(&format!("{writer}/"), true).await.unwrap();
        let (last, rows) = rows.split_last().unwrap();
        assert_eq!(last.object.as_ref().unwrap().value, (rounds - 1).to_string());
        assert_eq!(rows.len(), rounds, "an acknowledged write of {writer} is lost");
        for (number, row) in rows.iter().enumerate() {
            assert!(row.object.as_ref().unwrap().value == bytes(900, number as u64));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_loses_nothing_that_was_acknowledged() {
    const WRITERS: usize = 6;
    const ROUNDS: usize = 60;
    let mut server = start(&POSTGRES).unwrap();
    let backend = Arc::new(open(&config(server.port)).await);
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write_numbers(Arc::clone(&backend), writer, ROUNDS)))
        .collect();
    let progress = |wanted: usize| {
        let backend = Arc::clone(&backend);
        async move {
            loop {
                let found = backend.list_all("", false).await;
                if found.as_ref().is_ok_and(|found| found.len() > wanted) {
                    return found.unwrap().into_iter().map(|row| row.key).collect::<Vec<_>>();
                }
                holdall_runtime::env().sleep(Duration::from_millis(5)).await;
            }
        }
    };
    for wanted in [30, 120, 210] {
        let seen = progress(wanted).await;
        server = tokio::task::spawn_blocking(move || {
            server.kill().unwrap();
            server.restart().unwrap();
            server
        })
        .await
        .unwrap();
        // What was once read is there again, or everything read before a crash would be doubtful.
        let again = progress(wanted).await;
        let lost = seen.iter().find(|key| !again.contains(key));
        assert_eq!(lost, None);
    }
    for writer in writers {
        assert_eq!(writer.await.unwrap(), Some(ROUNDS - 1));
    }
    check_numbers(&backend, WRITERS, ROUNDS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ended_connections_lose_nothing() {
    const WRITERS: usize = 6;
    const ROUNDS: usize = 40;
    let config = shared_config();
    let backend = Arc::new(open(&config).await);
    let mut writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write_numbers(Arc::clone(&backend), writer, ROUNDS)))
        .collect();
    // Ends every backend process that is about this schema, again and again.
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
        WHERE application_name = 'holdall' AND query LIKE '%SCHEMA%'";
    let mut ended = 0;
    while !writers.iter().all(|writer| writer.is_finished()) {
        ended += ask(&config, end).await;
        holdall_runtime::env().sleep(Duration::from_millis(50)).await;
    }
    for writer in &mut writers {
        assert_eq!(writer.await.unwrap(), Some(ROUNDS - 1));
    }
    assert!(ended > 0);
    check_numbers(&backend, WRITERS, ROUNDS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_full_and_room_can_be_made() {
    let server = start(&POSTGRES).unwrap();
    let disk = SmallDisk::new(&server.folder().join("small"), "24m");
    let config = config(server.port);
    let space = format!("CREATE TABLESPACE small LOCATION '{}'", disk.0.display());
    raw(&config).await.batch_execute(&space).await.unwrap();
    raw(&config).await.batch_execute("CREATE DATABASE small TABLESPACE small").await.unwrap();
    let config = Config { database: "small".into(), ..config };
    let backend = open(&config).await;
    let ballast =
        "CREATE TABLE SCHEMA.ballast AS SELECT repeat('x', 1000) FROM generate_series(1, 4000)";
    execute(&config, ballast).await;
    let mut written = 0;
    let error = loop {
        let key = key(format!("{written:04}"));
        match backend.put(&key, bytes(100_000, written), Expect::Absent).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Full, "{error:?}");
    assert!(written > 10, "{written}");
    for number in 0..written {
        let found = backend.get_all(&key(format!("{number:04}"))).await.unwrap().unwrap();
        assert!(found.value == bytes(100_000, number));
    }
    assert!(backend.get_all(&key(format!("{written:04}"))).await.unwrap().is_none());
    backend.delete(&key("0000"), Expect::Any).await.unwrap();
    execute(&config, "DROP TABLE SCHEMA.ballast").await;
    backend.put(&key("after"), bytes(100_000, 1), Expect::Absent).await.unwrap();
    drop(backend);
    drop(server);
}

/// A file system of its own, in memory.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn new(path: &std::path::Path, size: &str) -> Self {
        std::fs::create_dir(path).unwrap();
        let options = format!("size={size},mode=0777");
        let mount = ["mount", "-t", "tmpfs", "-o", &options, "holdall-test"];
        as_root(&[&mount[..], &[path.to_str().unwrap()]].concat());
        let disk = Self(path.to_owned());
        as_root(&[
            "chown",
            "--reference",
            path.with_file_name("data").to_str().unwrap(),
            path.to_str().unwrap(),
        ]);
        disk
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        as_root(&["umount", "--lazy", self.0.to_str().unwrap()]);
    }
}

fn as_root(command: &[&str]) {
    let root = std::fs::metadata("/proc/self").is_ok_and(|me| {
        use std::os::unix::fs::MetadataExt;
        me.uid() == 0
    });
    let command = if root { command.to_vec() } else { [&["sudo"], command].concat() };
    let status = std::process::Command::new(command[0]).args(&command[1..]).status();
    assert!(status.unwrap().success(), "{command:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_name_the_place_and_no_value() {
    let config = Config { port: shared(&POSTGRES).unwrap().port, ..shared_config() };
    let backend = open(&config).await;
    execute(&config, "ALTER TABLE SCHEMA.rows ADD CHECK (value <> 'secret')").await;
    let error = backend.put(&key("a"), Bytes::from("secret"), Expect::Any).await.unwrap_err();
    let shown = format!("{error} {error:?}");
    let hidden = !shown.contains("secret") && !shown.contains("736563726574");
    assert!(hidden && shown.contains(&config.schema), "{shown}");
}

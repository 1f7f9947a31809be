//! What goes wrong with servers and networks: each an error of the right kind that says what to do.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "writers are spawned, and the net is given time")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use holdall_core::{
    Backend, BackendExt, Batch, Bytes, Error, ErrorKind, Expect, Key, List, Revision,
};
use holdall_mysql::{Config, Mysql, Tls};
use holdall_services::{MARIADB, Own, Proxy, Trouble, start};
use support::{Database, ask, key, server};

async fn open(config: Config) -> Mysql {
    Mysql::open(config, &holdall_runtime::env()).await.unwrap()
}

async fn refused(config: Config) -> Error {
    let error = Mysql::open(config, &holdall_runtime::env()).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    assert!(error.location().is_some(), "{error:?}");
    error
}

fn batch(name: &str, value: &str, expect: Expect) -> Batch {
    let mut batch = Batch::new();
    batch.put(key(name), value.to_owned(), expect);
    batch.put(key(format!("{name}, beside")), "x", Expect::Any);
    batch
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_location_is_said() {
    let database = Database::shared();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let password = Some("hunter2".to_owned());
    for (config, kind, hint) in [
        (Config { port: free, ..database.config() }, ErrorKind::Unavailable, "host and port"),
        (
            Config { host: "no-such-host.invalid".to_owned(), ..database.config() },
            ErrorKind::Unavailable,
            "host name",
        ),
        (Config { password, ..database.config() }, ErrorKind::Denied, "password"),
        (Config { password: None, ..database.config() }, ErrorKind::Denied, "password"),
        (
            Config { user: "nobody".to_owned(), ..database.config() },
            ErrorKind::Denied,
            "user and password",
        ),
        (
            Config { database: "missing".to_owned(), ..database.config() },
            ErrorKind::Invalid,
            "no such database",
        ),
        (
            Config { tls: Tls::Require { ca: None }, ..database.config() },
            ErrorKind::Invalid,
            "tls=off",
        ),
    ] {
        let error = refused(config.clone()).await;
        assert_eq!(error.kind(), kind, "{config:?}: {error:?}");
        assert!(error.message().contains(hint), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_only_read_reads() {
    let database = Database::shared();
    let (port, name) = (database.port, &database.name);
    let reader = &name[..20];
    ask(port, &format!("create user {reader}@'%' identified by 'hunter2'"));
    ask(port, &format!("grant select on {name}.* to {reader}@'%'"));
    let password = Some("hunter2".to_owned());
    let config = Config { user: reader.to_owned(), password, ..database.config() };
    let error = refused(config.clone()).await;
    assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
    assert!(error.message().contains("CREATE"), "{error}");

    let writer = open(database.config()).await;
    let revision = writer.put(&key("a"), Bytes::from("x"), Expect::Any).await.unwrap();
    let mysql = open(config).await;
    assert_eq!(mysql.get_all(&key("a")).await.unwrap().unwrap().value, "x");
    for expect in [Expect::Any, Expect::Absent, Expect::Revision(revision)] {
        let put = mysql.put(&key("a"), Bytes::from("y"), expect.clone()).await;
        let applied = mysql.apply(batch("a", "y", expect)).await;
        for error in [put.unwrap_err(), applied.unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
            assert!(error.message().contains("grant"), "{error}");
        }
    }
    let error = mysql.delete(&key("a"), Expect::Any).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
    assert_eq!(mysql.list_all("", true).await.unwrap().len(), 1);
    ask(port, &format!("drop user {reader}@'%'"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_a_write_is_unknown_and_reading_shows_it() {
    let database = Database::shared();
    let proxy = Proxy::new(database.port).unwrap();
    let mysql = open(Config { port: proxy.port, ..database.config() }).await;
    // The statements are prepared, so that the next request is the write itself.
    let seen = mysql.put(&key("seen"), Bytes::from("1"), Expect::Absent).await.unwrap();
    let seen = mysql.put(&key("seen"), Bytes::from("2"), Expect::Revision(seen)).await.unwrap();
    mysql.delete(&key("none"), Expect::Any).await.unwrap();

    type Write<'a> = futures::future::BoxFuture<'a, holdall_core::Result<Revision>>;
    let writes: [(&str, Write<'_>); 3] = [
        ("put", mysql.put(&PUT, Bytes::from("put"), Expect::Absent)),
        ("seen", mysql.put(&SEEN, Bytes::from("3"), Expect::Revision(seen))),
        ("batch", mysql.apply(batch("batch", "batch", Expect::Absent))),
    ];
    for (name, write) in writes {
        proxy.set(Trouble::CutAnswers);
        let error = write.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unknown, "{name}: {error:?}");
        let error = mysql.get_all(&key(name)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{name}: {error:?}");
        proxy.set(Trouble::None);
        // It reached the server, which does what it was asked.
        let value = eventually(&mysql, &key(name), |value| value != "2").await;
        assert_eq!(value, if name == "seen" { "3" } else { name });
        // Ready again for the next.
        mysql.put(&key("other"), Bytes::new(), Expect::Absent).await.unwrap();
        let other = mysql.get_all(&key("other")).await.unwrap().unwrap().revision;
        let other = mysql.put(&key("other"), Bytes::new(), Expect::Revision(other)).await.unwrap();
        mysql.delete(&key("other"), Expect::Revision(other)).await.unwrap();
    }
}

static PUT: std::sync::LazyLock<Key> = std::sync::LazyLock::new(|| key("put"));
static SEEN: std::sync::LazyLock<Key> = std::sync::LazyLock::new(|| key("seen"));

/// The value under the key, once there is one that is as wanted.
async fn eventually(mysql: &Mysql, key: &Key, wanted: impl Fn(&str) -> bool) -> String {
    loop {
        if let Some(found) = mysql.get_all(key).await.unwrap() {
            let text = String::from_utf8(found.value.to_vec()).unwrap();
            if wanted(&text) {
                return text;
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_writes_nothing() {
    let database = Database::shared();
    let proxy = Proxy::new(database.port).unwrap();
    let mysql = open(Config { port: proxy.port, ..database.config() }).await;
    proxy.set(Trouble::Refuse);
    // The first call may meet a connection that has died unnoticed; the others know.
    let _ = mysql.get_all(&key("a")).await.unwrap_err();
    let put = mysql.put(&key("a"), Bytes::new(), Expect::Any).await;
    let applied = mysql.apply(batch("a", "x", Expect::Any)).await;
    let listed = mysql.list(&List::prefix("")).await;
    let health = mysql.health().await;
    for error in [
        put.unwrap_err(),
        applied.unwrap_err(),
        listed.unwrap_err(),
        health.unwrap_err(),
        mysql.get_many(&[key("a")]).await.unwrap_err(),
        mysql.delete(&key("a"), Expect::Any).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    }
    proxy.set(Trouble::None);
    assert!(mysql.list_all("", false).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_is_not_waited_for() {
    let database = Database::shared();
    let proxy = Proxy::new(database.port).unwrap();
    let mysql = open(Config {
        port: proxy.port,
        connect_timeout: Duration::from_millis(500),
        statement_timeout: Duration::from_millis(500),
        ..database.config()
    })
    .await;
    mysql.put(&key("a"), Bytes::from("old"), Expect::Any).await.unwrap();
    for trouble in [Trouble::Silence, Trouble::Delay(Duration::from_secs(20))] {
        proxy.set(trouble);
        let error = mysql.put(&key("a"), Bytes::from("new"), Expect::Any).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unknown, "{error:?}");
        assert!(error.message().contains("statement_timeout"), "{error}");
        // There is no connection any more, and no new one comes.
        let error = mysql.apply(batch("b", "x", Expect::Any)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(error.message().contains("connect_timeout"), "{error}");
        let error = mysql.get_all(&key("a")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        proxy.set(Trouble::None);
        eventually(&mysql, &key("a"), |value| value == "new").await;
        assert!(mysql.get_all(&key("b")).await.unwrap().is_none());
        mysql.put(&key("a"), Bytes::from("old"), Expect::Any).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_others_keep_locked_is_given_up_and_not_written() {
    let database = Database::shared();
    let config = Config { statement_timeout: Duration::from_secs(3), ..database.config() };
    let mysql = open(config).await;
    let old = mysql.put(&key("a"), Bytes::from("old"), Expect::Any).await.unwrap();
    // Another program's transaction, which ends when its connection is killed.
    let (port, name) = (database.port, database.name.clone());
    let holder = tokio::task::spawn_blocking(move || {
        let lock = format!("select k from {name}.holdall where k = 'a' for update");
        support::try_ask(port, &format!("begin; {lock}; select sleep(600)"));
    });
    let sleeping = "select id from information_schema.processlist where info like '%sleep(600)%' \
                    and info not like '%processlist%'";
    let id = loop {
        let id = ask(database.port, sleeping);
        if !id.is_empty() {
            break id;
        }
    };
    let put = mysql.put(&key("a"), Bytes::from("new"), Expect::Any).await;
    let applied = mysql.apply(batch("a", "new", Expect::Revision(old))).await;
    for error in [put.unwrap_err(), applied.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(error.message().contains("locked"), "{error}");
    }
    ask(database.port, &format!("kill {id}"));
    holder.await.unwrap();
    assert_eq!(mysql.get_all(&key("a")).await.unwrap().unwrap().value, "old");
    assert!(mysql.get_all(&key("a, beside")).await.unwrap().is_none());
    mysql.put(&key("a"), Bytes::from("new"), Expect::Any).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_loses_nothing_and_room_can_be_made() {
    // The tablespace ends where the installation left it, and takes all tables.
    let arguments = ["--innodb-data-file-path=ibdata1:12M", "--innodb-file-per-table=0"];
    let mut server = server(&arguments);
    let database = Database::on(server.port);
    let mysql = open(database.config()).await;
    let value = |number: u32| Bytes::from(vec![number as u8; 100_000]);
    let mut written = 0;
    let error = loop {
        match mysql.put(&key(format!("{written:04}")), value(written), Expect::Absent).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Full, "{error:?}");
    let mut large = batch("small", "x", Expect::Any);
    large.put(key("zz"), vec![0; 1 << 20], Expect::Any);
    let error = mysql.apply(large).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full, "{error:?}");
    let rows = mysql.list_all("", true).await.unwrap();
    assert_eq!(rows.len(), written as usize);
    drop(mysql);
    support::restart(&mut server, &["--innodb-data-file-path=ibdata1:12M:autoextend"]);
    let mysql = open(database.config()).await;
    for (number, row) in (0..).zip(mysql.list_all("", true).await.unwrap()) {
        assert!(row.object.unwrap().value == value(number), "{number}");
        mysql.put(&row.key, value(number + 1), Expect::Any).await.unwrap();
    }
    mysql.put(&key(format!("{written:04}")), value(written), Expect::Absent).await.unwrap();
}

/// Adds one to the counter many times, by reading and writing with the revision, and returns how
/// often that succeeded, and how often the outcome was open.
async fn count(mysql: Arc<Mysql>, stop: Arc<AtomicBool>) -> (u64, u64) {
    let counter = key("counter");
    let (mut done, mut open) = (0, 0);
    while !stop.load(Ordering::SeqCst) {
        let outcome = async {
            let seen = mysql.get_all(&counter).await?;
            let number = seen.as_ref().map_or(0, |seen| number(&seen.value));
            let next = (number + 1).to_string();
            let mut batch = Batch::new();
            batch.put(counter.clone(), next.clone(), Expect::from(seen.map(|seen| seen.revision)));
            batch.put(key("copy"), next, Expect::Any);
            mysql.apply(batch).await
        };
        match outcome.await {
            Ok(_) => done += 1,
            Err(error) => match error.kind() {
                ErrorKind::Unknown => open += 1,
                ErrorKind::Unavailable => tokio::time::sleep(Duration::from_millis(5)).await,
                kind => assert_eq!(kind, ErrorKind::Conflict, "{error:?}"),
            },
        }
    }
    (done, open)
}

fn number(value: &[u8]) -> u64 {
    std::str::from_utf8(value).unwrap().parse().unwrap()
}

/// Counts with some writers while `harm` is done, then checks that no update is lost.
async fn counts_through(mysql: Mysql, harm: impl AsyncFnOnce()) {
    let mysql = Arc::new(mysql);
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> =
        (0..8).map(|_| tokio::spawn(count(Arc::clone(&mysql), Arc::clone(&stop)))).collect();
    harm().await;
    stop.store(true, Ordering::SeqCst);
    let (mut done, mut open) = (0, 0);
    for writer in writers {
        let (more_done, more_open) = writer.await.unwrap();
        (done, open) = (done + more_done, open + more_open);
    }
    let found = mysql.get_many(&[key("counter"), key("copy")]).await.unwrap();
    let values: Vec<u64> = found.iter().map(|o| number(&o.as_ref().unwrap().value)).collect();
    assert_eq!(values[0], values[1], "a batch happened in part");
    assert!(done > 0 && (done..=done + open).contains(&values[0]), "{values:?} {done} {open}");
}

async fn progress(mysql: &Mysql, by: u64) {
    let now = async || match mysql.get_all(&key("counter")).await {
        Ok(found) => found.map_or(0, |found| number(&found.value)),
        Err(_) => 0,
    };
    let begun = now().await;
    while now().await < begun + by {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_connections_lose_no_update() {
    // A server of its own: all connections of the user are killed.
    let server = start(&MARIADB).unwrap();
    let database = Database::on(server.port);
    let mysql = open(database.config()).await;
    let watcher = open(database.config()).await;
    counts_through(mysql, async || {
        for _ in 0..20 {
            progress(&watcher, 3).await;
            ask(server.port, "kill user holdall");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_keeps_every_acknowledged_write() {
    let mut server: Own = start(&MARIADB).unwrap();
    let database = Database::on(server.port);
    let mysql = open(database.config()).await;
    let watcher = open(database.config()).await;
    counts_through(mysql, async || {
        for _ in 0..2 {
            progress(&watcher, 20).await;
            server.kill().unwrap();
            server.restart().unwrap();
        }
        progress(&watcher, 20).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_dropped_closes_the_handle() {
    let database = Database::shared();
    let mysql = open(database.config()).await;
    mysql.put(&key("a"), Bytes::new(), Expect::Any).await.unwrap();
    ask(database.port, &format!("drop table {}.holdall", database.name));
    let error = mysql.get_all(&key("a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error:?}");
    let error = mysql.apply(batch("a", "x", Expect::Any)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error:?}");
    drop(mysql);
    let mysql = open(database.config()).await;
    mysql.put(&key("a"), Bytes::new(), Expect::Absent).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn more_callers_than_connections_wait_for_their_turn() {
    let database = Database::shared();
    let mysql = Arc::new(open(Config { max_connections: 2, ..database.config() }).await);
    let tasks: Vec<_> = (0..100_u64)
        .map(|at| {
            let mysql = Arc::clone(&mysql);
            let name = key(format!("{at}"));
            tokio::spawn(async move { mysql.put(&name, Bytes::new(), Expect::Any).await })
        })
        .collect();
    // Some of them go away: waiting, connecting, writing.
    for (at, task) in tasks.iter().enumerate().filter(|(at, _)| at % 3 == 0) {
        tokio::time::sleep(Duration::from_micros(at as u64 * 10)).await;
        task.abort();
    }
    for (_, task) in tasks.into_iter().enumerate().filter(|(at, _)| at % 3 != 0) {
        task.await.unwrap().unwrap();
    }
    for _ in 0..10 {
        mysql.put(&key("after"), Bytes::new(), Expect::Any).await.unwrap();
    }
    let user = "select count(*) from information_schema.processlist where db = ";
    let connections = || ask(database.port, &format!("{user}'{}'", database.name));
    while connections().parse::<u32>().unwrap() > 2 {
        // Those of callers that went away are being closed.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn encrypted_connections_are_to_whom_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let certificate = write("certificate.pem", own.cert.pem());
    let secret = write("secret.pem", own.signing_key.serialize_pem());
    let stranger = write("stranger.pem", other.cert.pem());
    support::open_to_others(folder.path());
    let server = server(&[
        &format!("--ssl-cert={}", certificate.display()),
        &format!("--ssl-key={}", secret.display()),
    ]);
    let database = Database::on(server.port);
    let config = |ca: Option<&std::path::PathBuf>| {
        let tls = Tls::Require { ca: ca.cloned() };
        Config { tls, ..database.config() }
    };
    let mysql = open(config(Some(&certificate))).await;
    mysql.put(&key("a"), Bytes::from(vec![7; 1 << 20]), Expect::Any).await.unwrap();
    assert_eq!(mysql.get_all(&key("a")).await.unwrap().unwrap().size, 1 << 20);
    for ca in [None, Some(&stranger)] {
        let error = refused(config(ca)).await;
        assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
        assert!(error.message().contains("tls_ca"), "{error}");
    }
    let misnamed = Config { host: "localhost".to_owned(), ..config(Some(&certificate)) };
    let error = refused(misnamed).await;
    assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
    ask(server.port, "set global require_secure_transport = on");
    let error = refused(database.config()).await;
    assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
    assert!(error.message().contains("tls=require"), "{error}");
    assert!(open(config(Some(&certificate))).await.get_all(&key("a")).await.unwrap().is_some());
}

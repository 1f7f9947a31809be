//! What is PostgreSQL's own beside the contract: forms of values, limits, locks, sessions.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::{ask, bytes, config, execute, key, open, raw, shared_config, try_open};
use futures::future::join_all;
use holdall_core::{
    Backend, BackendExt, Batch, ByteRange, Bytes, Durability, ErrorKind, Expect, List,
};
use holdall_postgres::{Config, Values};
use holdall_services::{POSTGRES, start};

#[tokio::test(flavor = "multi_thread")]
async fn many_may_open_a_missing_schema_at_once() {
    let config = shared_config();
    let opened = join_all((0..8).map(|_| open(&config))).await;
    opened[0].put(&key("a"), Bytes::from("1"), Expect::Absent).await.unwrap();
    for backend in &opened {
        assert_eq!(backend.get_all(&key("a")).await.unwrap().unwrap().value, "1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_every_form_are_read_in_parts_and_replaced_whole() {
    let config = shared_config();
    let forms = [Values::Bytea, Values::Chunks, Values::LargeObjects];
    let value = bytes(700_001, 1);
    for values in forms {
        let backend = open(&Config { values, large_above: 999, ..config.clone() }).await;
        backend.put(&key(format!("{values:?}")), value.clone(), Expect::Any).await.unwrap();
        backend.put(&key(format!("{values:?} small")), bytes(999, 2), Expect::Any).await.unwrap();
    }
    let large = "SELECT count(*) FROM SCHEMA.rows WHERE value IS NULL";
    assert_eq!(ask(&config, large).await, 2);
    assert_eq!(ask(&config, "SELECT count(*) FROM SCHEMA.chunks").await, 3);

    // Each is read by a backend that would write another form.
    let backend = open(&Config { large_above: 999, ..config.clone() }).await;
    let edges = [0, 1, 262_143, 262_144, 262_145, 524_288, 700_000, 700_001, 800_000];
    for values in forms {
        let key = key(format!("{values:?}"));
        assert!(backend.get_all(&key).await.unwrap().unwrap().value == value, "{values:?}");
        for (at, start) in edges.into_iter().enumerate() {
            for end in &edges[at..] {
                let range = ByteRange::new(start, *end);
                let found = backend.get(&key, range).await.unwrap().unwrap();
                let wanted = start.min(700_001) as usize..(*end).min(700_001) as usize;
                assert!(found.value == value.slice(wanted), "{values:?} {start}..{end}");
                assert_eq!(found.size, 700_001);
            }
        }
    }
    let listed = backend.list_all("", true).await.unwrap();
    assert!(listed.iter().filter(|row| row.object.as_ref().unwrap().value == value).count() == 3);

    // What is replaced or removed leaves no parts, whoever does it.
    let objects = "SELECT count(*) FROM pg_largeobject_metadata WHERE oid = ";
    let object = ask(&config, "SELECT large::bigint FROM SCHEMA.rows WHERE large > 0").await;
    assert_eq!(ask(&config, &format!("{objects}{object}")).await, 1);
    backend.put(&key("LargeObjects"), Bytes::from("x"), Expect::Any).await.unwrap();
    backend.delete(&key("Chunks"), Expect::Any).await.unwrap();
    assert_eq!(ask(&config, &format!("{objects}{object}")).await, 0);
    assert_eq!(ask(&config, "SELECT count(*) FROM SCHEMA.chunks").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_part_is_found() {
    let config = Config { values: Values::Chunks, large_above: 10, ..shared_config() };
    let backend = open(&config).await;
    backend.put(&key("a"), bytes(600_000, 1), Expect::Any).await.unwrap();
    execute(&config, "DELETE FROM SCHEMA.chunks WHERE number = 1").await;
    let error = backend.get_all(&key("a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    let error = backend.get(&key("a"), ByteRange::new(262_000, 263_000)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    assert!(backend.get(&key("a"), ByteRange::new(0, 1000)).await.unwrap().is_some());

    execute(&config, "INSERT INTO SCHEMA.rows VALUES ('\\xff', 1, 1, 'x')").await;
    let error = backend.list(&List::prefix("")).await;
    assert!(error.is_ok(), "a byte 255 is behind all keys");
    execute(&config, "INSERT INTO SCHEMA.rows VALUES ('b\\200', 1, 1, 'x')").await;
    let error = backend.list(&List::prefix("")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_at_their_edges() {
    let config = shared_config();
    let backend = open(&config).await;
    let (key_bytes, max) = (1024, backend.profile().value_bytes_max as usize);
    let long = key("k".repeat(key_bytes));
    let value = bytes(max, 3);
    backend.put(&long, value.clone(), Expect::Absent).await.unwrap();
    let found = backend.get_all(&long).await.unwrap().unwrap();
    assert!(found.value == value);
    let end = ByteRange::from(max as u64 - 5);
    assert_eq!(backend.get(&long, end).await.unwrap().unwrap().value, value.slice(max - 5..));

    let mut batch = Batch::new();
    batch.put(key("a"), value.slice(..max - 1), Expect::Any);
    assert_eq!(batch.bytes(), max);
    backend.apply(batch.clone()).await.unwrap();
    batch.check(key("b"), Expect::Absent);
    assert_eq!(backend.apply(batch).await.unwrap_err().kind(), ErrorKind::Invalid);

    let steps = backend.profile().batch_ops_max;
    let mut batch = Batch::new();
    for number in 0..steps {
        batch.put(key(format!("many/{number:05}")), "x", Expect::Absent);
    }
    let revision = backend.apply(batch.clone()).await.unwrap();
    let rows = backend.list_all("many/", true).await.unwrap();
    assert_eq!(rows.len(), steps);
    assert!(rows.iter().all(|row| row.object.as_ref().unwrap().revision == revision));
    let error = backend.apply(batch).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Conflict, Some(&key("many/00000"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_bounded_in_bytes_and_rows() {
    let backend = open(&shared_config()).await;
    let value = bytes(6 << 20, 1);
    for name in ["a", "b", "c", "d"] {
        backend.put(&key(name), value.clone(), Expect::Any).await.unwrap();
    }
    backend.put(&key("e"), bytes(20 << 20, 2), Expect::Any).await.unwrap();
    let all = List::prefix("").limit(usize::MAX);
    let page = backend.list(&all.clone().with_values()).await.unwrap();
    assert_eq!((page.rows.len(), page.more), (2, true));
    let page = backend.list(&all.clone().with_values().after("d")).await.unwrap();
    assert_eq!((page.rows.len(), page.more), (1, false));
    assert_eq!(page.rows[0].object.as_ref().unwrap().value.len(), 20 << 20);
    let page = backend.list(&all).await.unwrap();
    assert_eq!((page.rows.len(), page.more), (5, false));
    assert_eq!(backend.list_all("", true).await.unwrap().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_holds_until_its_batch_has_committed() {
    // The batch looks at its lease, and then waits for a lock of the table before it writes.
    let config = shared_config();
    let backend = open(&config).await;
    let lease = backend.put(&key("lease"), Bytes::from("1"), Expect::Any).await.unwrap();
    for expect in [Expect::Revision(lease), Expect::Absent] {
        let (held, other) = match expect {
            Expect::Absent => (key("no lease"), key("other 1")),
            _ => (key("lease"), key("other 2")),
        };
        let mut blocker = raw(&config).await;
        let schema = format!("\"{}\"", config.schema);
        let blocking = blocker.transaction().await.unwrap();
        let lock = format!("LOCK TABLE {schema}.rows IN SHARE MODE");
        blocking.batch_execute(&lock).await.unwrap();
        let mut batch = Batch::new();
        batch.check(held.clone(), expect.clone()).put(other.clone(), "late", Expect::Any);
        let late = async {
            let applied = backend.apply(batch).await;
            (applied, backend.get_all(&held).await)
        };
        let fence = async {
            wait_for_waiting(&config, 1).await;
            let fencing = backend.put(&held, Bytes::from("2"), Expect::Any);
            let release = async {
                wait_for_waiting(&config, 2).await;
                blocking.commit().await.unwrap();
            };
            tokio::join!(fencing, release).0.unwrap();
            // Once the fence has returned, nothing that expected the old lease comes any more.
            backend.get_all(&other).await.unwrap().is_some()
        };
        let ((applied, _), seen) = tokio::join!(late, fence);
        assert!(applied.is_ok() && seen, "{expect:?}: {applied:?}");
    }
}

/// Waits until so many statements of backends wait for locks.
async fn wait_for_waiting(config: &Config, wanted: i64) {
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
        AND application_name = 'holdall' AND query LIKE '%' || $1 || '%'";
    let client = raw(config).await;
    while client.query_one(waiting, &[&config.schema]).await.unwrap().get::<_, i64>(0) < wanted {
        holdall_runtime::env().sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_ended_for_another_is_tried_again() {
    let config = shared_config();
    let backend = open(&config).await;
    // A sequence is no part of the transaction: it counts the tries.
    execute(
        &config,
        "CREATE SEQUENCE SCHEMA.tries;
        CREATE FUNCTION SCHEMA.fail() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF nextval('SCHEMA.tries') < 4 OR NEW.key = 'never' THEN
                RAISE EXCEPTION 'not now' USING ERRCODE = encode(NEW.value, 'escape');
            END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER fail BEFORE INSERT ON SCHEMA.rows FOR EACH ROW
            EXECUTE FUNCTION SCHEMA.fail()",
    )
    .await;
    let tries = "SELECT last_value FROM SCHEMA.tries";
    let restart = "ALTER SEQUENCE SCHEMA.tries RESTART";
    for code in ["40001", "40P01"] {
        backend.put(&key(code), Bytes::from(code), Expect::Absent).await.unwrap();
        assert_eq!(ask(&config, tries).await, 4);
        execute(&config, restart).await;
        let error = backend.put(&key("never"), Bytes::from(code), Expect::Any).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert_eq!(ask(&config, tries).await, 8, "tries are bounded");
        execute(&config, restart).await;
    }
    // Other errors are told at once.
    for (code, kind) in
        [("53100", ErrorKind::Full), ("42501", ErrorKind::Denied), ("XX001", ErrorKind::Corrupt)]
    {
        let error = backend.put(&key("never"), Bytes::from(code), Expect::Any).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert_eq!(ask(&config, tries).await, 1);
        execute(&config, restart).await;
    }
    assert!(backend.get_all(&key("never")).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_set_whatever_the_role_says() {
    let plain = shared_config();
    let role = plain.schema.replace("test-", "role_");
    execute(
        &plain,
        &format!(
            "CREATE ROLE {role} LOGIN SUPERUSER;
            ALTER ROLE {role} SET synchronous_commit = off;
            ALTER ROLE {role} SET default_transaction_isolation = 'serializable'"
        ),
    )
    .await;
    let config = Config { user: role, ..plain };
    let backend = open(&config).await;
    execute(
        &config,
        "CREATE TABLE SCHEMA.seen (setting text);
        CREATE FUNCTION SCHEMA.look() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO SCHEMA.seen VALUES (current_setting('synchronous_commit') || ', '
                || current_setting('transaction_isolation'));
            RETURN NEW;
        END $$;
        CREATE TRIGGER look BEFORE INSERT ON SCHEMA.rows FOR EACH ROW
            EXECUTE FUNCTION SCHEMA.look()",
    )
    .await;
    backend.put(&key("a"), Bytes::new(), Expect::Any).await.unwrap();
    let right = "SELECT count(*) FROM SCHEMA.seen WHERE setting = 'on, read committed'";
    assert_eq!(ask(&config, right).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_programs_tables_are_refused() {
    for theirs in [
        "create schema SCHEMA; CREATE TABLE SCHEMA.rows (a int)",
        "create schema SCHEMA; CREATE TABLE SCHEMA.chunks (a int)",
    ] {
        let config = shared_config();
        execute(&config, theirs).await;
        let error = try_open(&config).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
        assert!(error.message().contains("another program"), "{error}");
        assert_eq!(
            ask(
                &config,
                "SELECT count(*) FROM pg_class WHERE relnamespace = \
            (SELECT oid FROM pg_namespace WHERE quote_ident(nspname) = 'SCHEMA')"
            )
            .await,
            1
        );
    }
    let config = shared_config();
    let backend = open(&config).await;
    execute(&config, "COMMENT ON TABLE SCHEMA.rows IS 'holdall 99'").await;
    let error = try_open(&config).await.unwrap_err();
    assert!(error.message().contains("another version"), "{error}");
    execute(&config, "drop schema SCHEMA cascade").await;
    let error = backend.put(&key("a"), Bytes::new(), Expect::Any).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error:?}");
    assert_eq!(backend.health().await.unwrap_err().kind(), ErrorKind::Closed);
    open(&config).await.put(&key("a"), Bytes::new(), Expect::Absent).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_promises_less_is_refused_or_told() {
    let mut server = start(&POSTGRES).unwrap();
    let strict = config(server.port);
    let backend = open(&strict).await;
    assert_eq!(backend.profile().durability, Durability::Store);
    let health = backend.health().await.unwrap();
    assert!(health.notes.iter().any(|note| note.starts_with("PostgreSQL ")), "{health:?}");
    assert!(health.notes.iter().any(|note| note.contains("on the server's disk")), "{health:?}");
    assert!(health.bytes_used.unwrap() > 0);
    drop(backend);

    let settings = server.folder().join("data/postgresql.auto.conf");
    std::fs::write(&settings, "fsync = off\nfull_page_writes = off\n").unwrap();
    server.restart().unwrap();
    let error = try_open(&strict).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    assert!(error.message().contains("allow_unsafe_server"), "{error}");
    let backend = open(&Config { allow_unsafe_server: true, ..strict.clone() }).await;
    assert_eq!(backend.profile().durability, Durability::Process);
    let notes = backend.health().await.unwrap().notes.join("; ");
    assert!(notes.contains("fsync is off") && notes.contains("full_page_writes is off"), "{notes}");
    drop(backend);

    std::fs::write(&settings, "").unwrap();
    server.restart().unwrap();
    let backend = open(&strict).await;
    backend.put(&key("a"), Bytes::new(), Expect::Any).await.unwrap();
    std::fs::write(server.folder().join("data/standby.signal"), "").unwrap();
    server.restart().unwrap();
    for error in [
        try_open(&strict).await.unwrap_err(),
        backend.get_all(&key("a")).await.unwrap_err(),
        backend.put(&key("a"), Bytes::new(), Expect::Any).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(error.message().contains("standby"), "{error}");
    }
}

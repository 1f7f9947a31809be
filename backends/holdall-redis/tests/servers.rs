//! Servers that are full, busy, loading, restarted, demoted or damaged while they are used.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use holdall_core::{Backend, BackendExt, Batch, ByteRange, Bytes, ErrorKind, Expect};
use holdall_redis::{Config, Redis};
use holdall_services::start;
use support::{DEBUG, EVERYSEC, at, bytes, cli, cli_behind, key, open, own, set, until};

/// Whether the write was refused with nothing written.
async fn refuses(redis: &Redis, kind: ErrorKind, advice: &str) {
    let before = redis.list_all("", true).await.unwrap();
    let mut batch = Batch::new();
    batch.put(key("new"), bytes("x"), Expect::Any).delete(key("old"), Expect::Any);
    for error in [
        redis.put(&key("old"), bytes("changed"), Expect::Any).await.unwrap_err(),
        redis.apply(batch).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(error.message().contains(advice), "{error:?}");
    }
    assert_eq!(redis.list_all("", true).await.unwrap(), before);
}

#[tokio::test]
async fn a_full_server_takes_nothing_and_lets_go() {
    let server = own();
    let redis = open(&at(server.port)).await.unwrap();
    redis.put(&key("old"), Bytes::from(vec![7; 1 << 20]), Expect::Any).await.unwrap();
    set(server.port, "maxmemory", "1mb");
    refuses(&redis, ErrorKind::Full, "maxmemory").await;
    assert_eq!(redis.health().await.unwrap().bytes_free, Some(0));
    // It can still be opened, and room can be made.
    let again = open(&at(server.port)).await.unwrap();
    again.delete(&key("old"), Expect::Any).await.unwrap();
    assert_eq!(again.list_all("", false).await.unwrap(), []);
    set(server.port, "maxmemory", "0");
    redis.put(&key("old"), bytes("1"), Expect::Absent).await.unwrap();
}

#[tokio::test]
async fn a_server_that_lacks_replicas_takes_nothing() {
    let server = own();
    let redis = open(&at(server.port)).await.unwrap();
    redis.put(&key("old"), bytes("1"), Expect::Any).await.unwrap();
    set(server.port, "min-replicas-to-write", "1");
    refuses(&redis, ErrorKind::Unavailable, "lacks replicas").await;
}

#[tokio::test]
async fn a_server_with_too_many_clients_says_so() {
    let server = own();
    let redis = open(&at(server.port)).await.unwrap();
    set(server.port, "maxclients", "2");
    let error = open(&at(server.port)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.message().contains("client"), "{error}");
    assert!(redis.health().await.is_ok());
}

#[tokio::test]
async fn a_busy_server_is_unavailable() {
    let server = own();
    let redis = open(&at(server.port)).await.unwrap();
    set(server.port, "busy-reply-threshold", "20");
    let mut endless = cli_behind(server.port, &["eval", "while true do end", "0"]);
    until(|| cli(server.port, &["get", "x"]).starts_with("BUSY")).await;
    let error = redis.put(&key("a"), bytes("1"), Expect::Any).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.message().contains("script"), "{error}");
    cli(server.port, &["script", "kill"]);
    endless.wait().unwrap();
    assert_eq!(redis.get_all(&key("a")).await.unwrap(), None);
}

#[tokio::test]
async fn a_loading_server_is_unavailable() {
    let server = start(&DEBUG).unwrap();
    let port = server.port;
    let redis = open(&at(port)).await.unwrap();
    redis.put(&key("a"), bytes("1"), Expect::Any).await.unwrap();
    cli(port, &["debug", "populate", "3000"]);
    set(port, "key-load-delay", "2000");
    set(port, "loading-process-events-interval-bytes", "1024");
    let mut reload = cli_behind(port, &["debug", "reload"]);
    until(|| cli(port, &["get", "x"]).starts_with("LOADING")).await;
    let error = redis.put(&key("a"), bytes("2"), Expect::Any).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.message().contains("loading"), "{error}");
    let error = open(&at(port)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.message().contains("loading"), "{error}");
    reload.wait().unwrap();
    assert_eq!(redis.get_all(&key("a")).await.unwrap().unwrap().value, "1");
}

#[tokio::test]
async fn a_server_that_forgot_the_scripts_is_told_them_again() {
    let server = own();
    let redis = open(&at(server.port)).await.unwrap();
    for round in ["1", "2"] {
        let revision = redis.put(&key("a"), bytes(round), Expect::Any).await.unwrap();
        let rows = redis.list_all("", true).await.unwrap();
        assert_eq!(rows[0].object.as_ref().unwrap().revision, revision);
        cli(server.port, &["script", "flush"]);
    }
}

#[tokio::test]
async fn a_server_that_syncs_always_loses_nothing_when_killed() {
    let mut server = own();
    let redis = open(&at(server.port)).await.unwrap();
    let mut revisions = Vec::new();
    for at in 0..200 {
        let key = key(&format!("{at:03}"));
        revisions.push(redis.put(&key, bytes("v"), Expect::Absent).await.unwrap());
    }
    server.kill().unwrap();
    let error = redis.get_all(&key("000")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    let error = redis.put(&key("000"), bytes("w"), Expect::Any).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.message().contains("cannot be reached"), "{error}");
    server.restart().unwrap();
    // The handle goes on by itself, and the revisions are those of before.
    for (at, revision) in revisions.into_iter().enumerate() {
        let expect = Expect::Revision(revision);
        redis.put(&key(&format!("{at:03}")), bytes("w"), expect).await.unwrap();
    }
    let again = open(&at(server.port)).await.unwrap();
    assert_eq!(again.may_have_lost(), None);
}

#[tokio::test]
async fn a_weak_server_that_was_killed_is_noticed() {
    let mut server = start(&EVERYSEC).unwrap();
    let lax = Config { allow_unsafe_server: true, ..at(server.port) };
    let redis = open(&lax).await.unwrap();
    assert_eq!(redis.may_have_lost(), None);
    redis.put(&key("a"), bytes("1"), Expect::Any).await.unwrap();
    // What was opened longer ago than a second is kept, the note about it too.
    until(|| cli(server.port, &["info", "persistence"]).contains("aof_pending_bio_fsync:0")).await;
    assert_eq!(open(&lax).await.unwrap().may_have_lost(), None);
    server.kill().unwrap();
    server.restart().unwrap();
    // Whoever had it open must look at what is left, once it has noticed the end.
    let mut kind = ErrorKind::Unavailable;
    while kind == ErrorKind::Unavailable {
        kind = redis.get_all(&key("a")).await.unwrap_err().kind();
    }
    assert_eq!(kind, ErrorKind::Closed);
    for _ in 0..2 {
        let error = redis.get_all(&key("a")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed, "{error:?}");
        assert!(error.message().contains("up to 1 s"), "{error}");
        let error = redis.put(&key("a"), bytes("2"), Expect::Any).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed, "{error:?}");
    }
    // Whoever opens it is told.
    let opened = open(&lax).await.unwrap();
    let lost = opened.may_have_lost().unwrap().to_owned();
    assert!(lost.contains("restarted") && lost.contains("up to 1 s"), "{lost}");
    assert!(opened.health().await.unwrap().notes.contains(&lost));
    assert_eq!(open(&lax).await.unwrap().may_have_lost(), None);
}

#[tokio::test]
async fn a_primary_that_was_demoted_and_its_heir() {
    let (primary, heir) = (own(), own());
    let redis = open(&at(primary.port)).await.unwrap();
    redis.put(&key("a"), bytes("1"), Expect::Any).await.unwrap();
    follow(heir.port, primary.port).await;
    let error = open(&at(heir.port)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.message().contains("name its primary"), "{error}");
    cli(heir.port, &["replicaof", "no", "one"]);
    // A location that was opened on the one and is opened on the other says so.
    let after = open(&at(heir.port)).await.unwrap();
    assert!(after.may_have_lost().unwrap().contains("replica took over"));
    follow(primary.port, heir.port).await;
    let error = redis.put(&key("a"), bytes("2"), Expect::Any).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.message().contains("name its primary"), "{error}");
    assert_eq!(after.get_all(&key("a")).await.unwrap().unwrap().value, "1");
}

/// Makes the first a replica of the second, and waits until it is up to date.
async fn follow(replica: u16, primary: u16) {
    set(primary, "repl-diskless-sync-delay", "0");
    cli(replica, &["replicaof", "127.0.0.1", &primary.to_string()]);
    until(|| cli(replica, &["info", "replication"]).contains("master_link_status:up")).await;
}

#[tokio::test]
async fn writes_wait_for_replicas() {
    let (primary, mut replica) = (own(), own());
    follow(replica.port, primary.port).await;
    let config = Config { wait_replicas: 1, ..at(primary.port) };
    let redis = open(&config).await.unwrap();
    let revision = redis.put(&key("a"), bytes("1"), Expect::Absent).await.unwrap();
    let stored = cli(replica.port, &["getrange", "{holdall}:v:a", "16", "-1"]);
    assert!(stored == "1" || stored.starts_with("READONLY"), "{stored}");
    replica.kill().unwrap();
    // It is on the primary, but nowhere else.
    let error = redis.put(&key("a"), bytes("2"), Expect::Revision(revision)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unknown, "{error:?}");
    assert!(error.message().contains("only 0 of 1 replicas"), "{error}");
    assert_eq!(redis.get_all(&key("a")).await.unwrap().unwrap().value, "2");
    // What certainly was not written is no matter of replicas.
    let error = redis.put(&key("a"), bytes("3"), Expect::Absent).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    assert_eq!(open(&config).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn what_others_did_to_the_keys_is_corrupt() {
    let server = own();
    let redis = open(&at(server.port)).await.unwrap();
    redis.put(&key("a"), bytes("1"), Expect::Any).await.unwrap();
    cli(server.port, &["set", "{holdall}:v:a", "short"]);
    assert_eq!(redis.get_all(&key("a")).await.unwrap_err().kind(), ErrorKind::Corrupt);
    cli(server.port, &["del", "{holdall}:v:a"]);
    assert_eq!(redis.list_all("", true).await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(redis.list_all("", false).await.unwrap_err().kind(), ErrorKind::Corrupt);
    redis.delete(&key("a"), Expect::Any).await.unwrap();
    assert_eq!(redis.list_all("", true).await.unwrap(), []);
    cli(server.port, &["set", "{holdall}:index", "x"]);
    let error = redis.put(&key("b"), bytes("1"), Expect::Any).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    assert_eq!(redis.get_all(&key("b")).await.unwrap(), None, "nothing is written in part");
}

#[tokio::test]
async fn limits_hold_at_their_edges() {
    let server = own();
    let redis = open(&at(server.port)).await.unwrap();
    let largest = Bytes::from(vec![7; redis.profile().value_bytes_max as usize]);
    redis.put(&key("large"), largest.clone(), Expect::Any).await.unwrap();
    assert_eq!(redis.get_all(&key("large")).await.unwrap().unwrap().value, largest);
    redis.delete(&key("large"), Expect::Any).await.unwrap();
    let mut batch = Batch::new();
    for at in 0..redis.profile().batch_ops_max {
        batch.put(key(&format!("{at:05}")), "v", Expect::Absent);
    }
    redis.apply(batch).await.unwrap();
    assert_eq!(redis.list_all("", true).await.unwrap().len(), redis.profile().batch_ops_max);
    let mut batch = Batch::new();
    let half = largest.slice(..largest.len() - 8);
    batch.put(key("1"), half.clone(), Expect::Any).put(key("2"), half, Expect::Any);
    redis.apply(batch).await.unwrap();
    let mut batch = Batch::new();
    batch.put(key("1"), largest.clone(), Expect::Any).put(key("2"), largest, Expect::Any);
    assert_eq!(redis.apply(batch).await.unwrap_err().kind(), ErrorKind::Invalid);
    // A page of values ends early rather than being too large.
    let rows = redis.list_all("", true).await.unwrap();
    assert_eq!(rows.len(), redis.profile().batch_ops_max + 2);
}

#[tokio::test]
async fn a_part_is_of_one_value_while_others_write_it() {
    let server = own();
    let redis = open(&at(server.port)).await.unwrap();
    let writer = open(&at(server.port)).await.unwrap();
    let hot = key("hot");
    let value = |letter: u8| Bytes::from(vec![letter; 1000 + usize::from(letter)]);
    writer.put(&hot, value(0), Expect::Any).await.unwrap();
    let done = AtomicBool::new(false);
    let writing = async {
        for turn in 0..600_u16 {
            if turn % 50 == 0 {
                writer.delete(&hot, Expect::Any).await.unwrap();
            }
            writer.put(&hot, value((turn % 200) as u8), Expect::Any).await.unwrap();
        }
        done.store(true, Ordering::SeqCst);
    };
    let mut seen = BTreeSet::new();
    let reading = async {
        while !done.load(Ordering::SeqCst) {
            let part = redis.get(&hot, ByteRange::new(500, 900)).await.unwrap();
            let Some(part) = part else { continue };
            let letter = part.value[0];
            assert_eq!(part.size, 1000 + u64::from(letter), "the size is of another value");
            assert!(part.value.len() == 400 && part.value.iter().all(|byte| *byte == letter));
            seen.insert(letter);
        }
    };
    futures::join!(writing, reading);
    assert!(seen.len() > 1, "it was not written while it was read");
}

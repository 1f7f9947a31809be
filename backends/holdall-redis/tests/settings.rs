//! What a server's settings mean, and which are refused, on real servers.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use holdall_core::{Backend, BackendExt, Durability, ErrorKind, Expect};
use holdall_redis::{Config, Persistence};
use support::{at, bytes, cli, key, open, own, set};

#[tokio::test]
async fn a_server_that_can_lose_writes_is_refused_unless_allowed() {
    let server = own();
    let strict = at(server.port);
    let lax = Config { allow_unsafe_server: true, ..strict.clone() };
    let redis = open(&strict).await.unwrap();
    assert_eq!(redis.profile().durability, Durability::Store);
    assert_eq!(redis.persistence(), Persistence::EveryWrite);
    for (setting, value, persistence, says) in [
        ("no-appendfsync-on-rewrite", "yes", Persistence::ExceptRewrites, "rewrote its file"),
        ("appendfsync", "everysec", Persistence::EverySecond, "up to 1 s of writes"),
        ("appendfsync", "no", Persistence::SystemDecides, "30 s"),
        ("appendonly", "no", Persistence::Nothing, "everything"),
        ("save", "3600 1", Persistence::Snapshots, "last snapshot"),
    ] {
        set(server.port, setting, value);
        let error = open(&strict).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.message().contains(says), "{error}");
        assert!(error.message().contains("allow_unsafe_server=true"), "{error}");
        let weak = open(&lax).await.unwrap();
        assert_eq!(weak.profile().durability, Durability::Process);
        assert_eq!(weak.persistence(), persistence);
        let notes = weak.health().await.unwrap().notes;
        assert!(notes.iter().any(|note| note.contains(says)), "{notes:?}");
        // The handle that was promised more says that it no longer holds.
        assert_eq!(redis.health().await.unwrap_err().kind(), ErrorKind::Unsupported);
    }
}

#[tokio::test]
async fn a_server_that_evicts_is_refused() {
    let server = own();
    let redis = open(&at(server.port)).await.unwrap();
    assert!(redis.health().await.is_ok());
    for policy in ["allkeys-lru", "volatile-ttl"] {
        set(server.port, "maxmemory-policy", policy);
        let error = open(&at(server.port)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.message().contains(policy), "{error}");
        assert!(error.message().contains("noeviction"), "{error}");
        assert_eq!(redis.health().await.unwrap_err().kind(), ErrorKind::Unsupported);
    }
    set(server.port, "maxmemory-policy", "noeviction");
    assert!(redis.health().await.is_ok());
}

#[tokio::test]
async fn passwords_are_asked_for_and_never_shown() {
    let server = own();
    set(server.port, "requirepass", "right-word");
    let config = |password: &str| Config {
        password: Some(password.to_owned()).filter(|password| !password.is_empty()),
        ..at(server.port)
    };
    for (password, advice) in [("", "password=env:NAME"), ("wrong-word", "mend them")] {
        let error = open(&config(password)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
        assert!(error.message().contains(advice), "{error}");
        assert!(!format!("{error} {error:?}").contains("-word"), "{error:?}");
    }
    let redis = open(&config("right-word")).await.unwrap();
    assert!(redis.health().await.is_ok());
    assert!(!format!("{redis:?}").contains("right-word"), "{redis:?}");
    let nobody = Config { user: Some("nobody".to_owned()), ..config("right-word") };
    assert_eq!(open(&nobody).await.unwrap_err().kind(), ErrorKind::Denied);
}

#[tokio::test]
async fn a_user_who_may_not_write_all_is_refused_and_nothing_is_written() {
    let server = own();
    let port = server.port;
    let user = |name: &str| Config {
        user: Some(name.to_owned()),
        password: Some("word".to_owned()),
        ..at(port)
    };
    let documented = ["~{holdall}:*", "+@read", "+@write", "+@scripting", "+info", "+config|get"];
    for (name, rights) in [
        ("reader", vec!["~*", "+@read", "+info", "+config|get", "+@scripting"]),
        ("half", [&documented[..], &["-set"]].concat()),
        ("other-half", [&documented[..], &["-zadd"]].concat()),
        ("elsewhere", [&["~{other}:*"], &documented[1..]].concat()),
    ] {
        let mut words = vec!["acl", "setuser", name, "on", ">word"];
        words.extend(rights);
        assert_eq!(cli(port, &words), "OK");
        let error = open(&user(name)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{name}: {error:?}");
        assert!(error.message().contains("+@write"), "{error}");
        assert_eq!(cli(port, &["dbsize"]), "0", "{name}");
    }
    let mut words = vec!["acl", "setuser", "holdall", "on", ">word"];
    words.extend(documented);
    assert_eq!(cli(port, &words), "OK");
    let redis = open(&user("holdall")).await.unwrap();
    redis.put(&key("a"), bytes("1"), Expect::Absent).await.unwrap();
    assert_eq!(redis.get_all(&key("a")).await.unwrap().unwrap().value, "1");
    assert_eq!(redis.list_all("", true).await.unwrap().len(), 1);
    // Without a look at the settings nobody knows what the server can lose.
    assert_eq!(cli(port, &["acl", "setuser", "holdall", "-config|get"]), "OK");
    let error = open(&user("holdall")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    assert!(error.message().contains("does not tell"), "{error}");
    let lax = Config { allow_unsafe_server: true, ..user("holdall") };
    assert_eq!(open(&lax).await.unwrap().persistence(), Persistence::Untold);
}

#[tokio::test]
async fn a_wrong_place_is_told_apart() {
    let server = own();
    for (config, kind, advice) in [
        (at(1), ErrorKind::Unavailable, "127.0.0.1:1 cannot be reached"),
        (
            Config { servers: vec![("no.such.host.invalid".into(), 1)], ..at(1) },
            ErrorKind::Unavailable,
            "cannot be reached",
        ),
        (Config { database: 99, ..at(server.port) }, ErrorKind::Invalid, "smaller one"),
        (Config { cluster: true, ..at(server.port) }, ErrorKind::Invalid, "cluster=true"),
        (Config { wait_replicas: 1, ..at(server.port) }, ErrorKind::Unavailable, "has 0"),
        (Config { prefix: "{}".into(), ..at(server.port) }, ErrorKind::Invalid, "braces"),
    ] {
        let error = open(&config).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(error.message().contains(advice), "{error:?}");
        assert_eq!(error.location(), Some(&config.location()));
    }
}

#[tokio::test]
async fn prefixes_and_databases_do_not_meet() {
    let server = own();
    let one = open(&at(server.port)).await.unwrap();
    one.put(&key("a"), bytes("1"), Expect::Any).await.unwrap();
    for other in [
        Config { database: 3, ..at(server.port) },
        Config { prefix: "holdall:v".to_owned(), ..at(server.port) },
        Config { prefix: "h".to_owned(), ..at(server.port) },
    ] {
        let other = open(&other).await.unwrap();
        assert_eq!(other.get_all(&key("a")).await.unwrap(), None);
        assert_eq!(other.list_all("", false).await.unwrap(), []);
    }
}

//! Passwords and TLS, on a server that asks for both.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::path::Path;

use common::{config, key, open, shared_config, try_open};
use holdall_core::{Backend, BackendExt, Bytes, ErrorKind, Expect, Location};
use holdall_postgres::{Config, Tls};
use holdall_services::{POSTGRES_SECURED, shared};

/// The secured server with the right password, and what vouches for it.
fn secured() -> (Config, std::path::PathBuf) {
    let server = shared(&POSTGRES_SECURED).unwrap();
    let password = Some("let me in".to_owned());
    (Config { password, ..config(server.port) }, server.folder.join("server.crt"))
}

async fn notes(config: &Config) -> String {
    let backend = open(config).await;
    backend.put(&key("a"), Bytes::from("1"), Expect::Any).await.unwrap();
    assert_eq!(backend.get_all(&key("a")).await.unwrap().unwrap().value, "1");
    backend.health().await.unwrap().notes.join("; ")
}

async fn refused(config: &Config, hint: &str) {
    let error = try_open(config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
    assert!(error.message().contains(hint), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_denied_and_none_is_shown() {
    let (good, _) = secured();
    refused(&Config { password: None, ..good.clone() }, "give a password").await;
    refused(&Config { user: "stranger".into(), ..good.clone() }, "login").await;

    let wrong = Config { password: Some("hunter2".into()), ..good.clone() };
    refused(&wrong, "login").await;
    let error = try_open(&wrong).await.unwrap_err();
    let backend = open(&good).await;
    let opened = format!("{backend:?}");
    let later = {
        let closed = Config { schema: "pg_x".into(), ..wrong.clone() };
        try_open(&closed).await.unwrap_err()
    };
    for shown in [format!("{error} {error:?}"), format!("{later} {later:?}"), format!("{wrong:?}")]
    {
        assert!(!shown.contains("hunter2") && shown.contains("password=***"), "{shown}");
    }
    assert!(!opened.contains("let me in") && opened.contains("password=***"), "{opened}");

    let location = Location::parse(&good.location().expose()).unwrap();
    open(&Config::from_location(&location).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_encrypted_as_asked() {
    let (config, authority) = secured();
    let with = |tls, tls_ca: Option<&Path>| Config {
        tls,
        tls_ca: tls_ca.map(Path::to_owned),
        ..config.clone()
    };
    assert!(notes(&with(Tls::Off, None)).await.contains("not encrypted"));
    for (tls, tls_ca) in [
        (Tls::Prefer, None),
        (Tls::Prefer, Some(authority.as_path())),
        (Tls::Require, Some(authority.as_path())),
    ] {
        let notes = notes(&with(tls, tls_ca)).await;
        assert!(notes.contains("encrypted by TLSv1.3"), "{tls:?} {tls_ca:?}: {notes}");
    }
    // Nobody vouches for it, or it is another than the one that was asked for.
    refused(&with(Tls::Require, None), "tls_ca").await;
    for tls in [Tls::Prefer, Tls::Require] {
        let other = Config { host: "localhost".into(), ..with(tls, Some(&authority)) };
        refused(&other, "tls_ca").await;
    }
    // A server without TLS will do only where it is not required.
    let plain = shared_config();
    let tls_ca = Some(authority.clone());
    refused(&Config { tls: Tls::Require, tls_ca: tls_ca.clone(), ..plain.clone() }, "tls").await;
    let preferred = Config { tls: Tls::Prefer, tls_ca, ..plain };
    assert!(notes(&preferred).await.contains("not encrypted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn authorities_must_be_a_file_of_certificates() {
    let (config, authority) = secured();
    let empty = authority.with_file_name("certificate.conf");
    for path in [authority.with_file_name("missing"), empty] {
        let config = Config { tls: Tls::Require, tls_ca: Some(path), ..config.clone() };
        let error = try_open(&config).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
        assert!(error.message().contains("tls_ca"), "{error}");
    }
}

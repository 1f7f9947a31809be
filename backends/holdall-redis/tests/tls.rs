//! TLS, with certificates made for the test: the server shows one, and asks for ours.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::path::Path;
use std::process::Command;

use holdall_core::{Backend, BackendExt, ErrorKind, Expect, Location};
use holdall_redis::Config;
use holdall_services::{REDIS, Result, Service, start};
use support::{at, bytes, key, open};

const TLS: Service = Service { name: "redis-tls", prepare, command, ready, ..REDIS };

/// An authority that nobody knows, and a certificate of it for 127.0.0.1.
fn prepare(folder: &Path) -> Result<()> {
    let names = "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n";
    std::fs::write(folder.join("names"), names).map_err(|e| e.to_string())?;
    for line in [
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 9 -subj /CN=ca",
        "req -newkey rsa:2048 -nodes -keyout key.pem -out request.pem -subj /CN=holdall",
        "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem \
         -days 9 -extfile names",
    ] {
        let mut command = Command::new("openssl");
        let made = command.args(line.split_whitespace()).current_dir(folder).output();
        let made = made.map_err(|e| format!("openssl cannot be started: {e}"))?;
        if !made.status.success() {
            return Err(String::from_utf8_lossy(&made.stderr).into_owned());
        }
    }
    Ok(())
}

fn command(folder: &Path, port: u16) -> Result<Command> {
    let mut command = (REDIS.command)(folder, port)?;
    command.args(["--port", "0", "--tls-port", &port.to_string()]).current_dir(folder);
    command.args(["--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem"]);
    command.args(["--tls-ca-cert-file", "ca.pem", "--tls-auth-clients", "yes"]);
    Ok(command)
}

fn ready(folder: &Path, port: u16) -> bool {
    let mut command = Command::new("/usr/bin/redis-cli");
    command.args(["-p", &port.to_string(), "--tls", "--cacert", "ca.pem", "--cert", "cert.pem"]);
    let said = command.args(["--key", "key.pem", "ping"]).current_dir(folder).output();
    said.is_ok_and(|said| said.stdout.starts_with(b"PONG"))
}

#[tokio::test]
async fn the_server_is_trusted_only_by_its_certificate() {
    let server = start(&TLS).unwrap();
    let file = |name: &str| Some(server.folder().join(name));
    let whole = Config {
        tls: true,
        tls_ca: file("ca.pem"),
        tls_cert: file("cert.pem"),
        tls_key: file("key.pem"),
        ..at(server.port)
    };
    let location = whole.location().expose();
    assert!(location.starts_with("rediss://"), "{location}");
    let whole = Config::from_location(&Location::parse(&location).unwrap()).unwrap();
    let redis = open(&whole).await.unwrap();
    redis.put(&key("a"), bytes("1"), Expect::Absent).await.unwrap();
    assert_eq!(redis.get_all(&key("a")).await.unwrap().unwrap().value, "1");

    let unknown = Config { tls_ca: None, ..whole.clone() };
    let error = open(&unknown).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
    assert!(error.message().contains("tls_ca"), "{error}");
    // Another name than the certificate's.
    let named = Config { servers: vec![("localhost".to_owned(), server.port)], ..whole.clone() };
    assert_eq!(open(&named).await.unwrap_err().kind(), ErrorKind::Denied);
    let missing = Config { tls_ca: file("nothing.pem"), ..whole.clone() };
    let error = open(&missing).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert!(error.message().contains("tls_ca"), "{error}");
    let nameless = Config { tls_cert: None, tls_key: None, ..whole };
    let error = open(&nameless).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    let plain = open(&at(server.port)).await.unwrap_err();
    assert_eq!(plain.kind(), ErrorKind::Unavailable, "{plain:?}");
    let other = holdall_services::start(&REDIS).unwrap();
    // A server without TLS waits for a line that never ends.
    let connect_timeout = std::time::Duration::from_millis(300);
    let error = open(&Config { tls: true, connect_timeout, ..at(other.port) }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.message().contains("in time"), "{error}");
}

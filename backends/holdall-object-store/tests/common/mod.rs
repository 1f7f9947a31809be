//! What the tests share: opening locations, and a server that says what it is told to.
#![allow(clippy::unwrap_used, dead_code, reason = "tests, of which each uses a part")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use holdall_core::{Key, Location, Result};
use holdall_object_store::{Config, ObjectBackend};
use holdall_testkit::conformance::random_prefix;

/// The emulator's key is published in its manual.
pub(crate) const AZURITE_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVEr\
                                      Cz4I6tq%2FK1SZFPTOtr%2FKBHBeksoGMGw%3D%3D";

pub(crate) async fn open(location: &str) -> Result<ObjectBackend> {
    let config = Config::from_location(&Location::parse(location)?)?;
    ObjectBackend::open(config, &holdall_runtime::env()).await
}

pub(crate) fn key(name: &str) -> Key {
    Key::parse(name).unwrap()
}

/// A prefix that no other test uses.
pub(crate) fn prefix() -> String {
    random_prefix(&holdall_runtime::env()).trim_end_matches('/').to_owned()
}

pub(crate) fn s3(port: u16, prefix: &str, more: &str) -> String {
    format!(
        "s3://holdall/{prefix}?endpoint=http://127.0.0.1:{port}&access_key_id=holdallkey\
         &secret_access_key=holdallsecret{more}"
    )
}

pub(crate) fn gcs(port: u16, prefix: &str, more: &str) -> String {
    format!("gs://holdall/{prefix}?endpoint=http://127.0.0.1:{port}&anonymous=true{more}")
}

pub(crate) fn azure(port: u16, prefix: &str, more: &str) -> String {
    format!(
        "az://holdall/{prefix}?endpoint=http://127.0.0.1:{port}/devstoreaccount1\
         &account=devstoreaccount1&access_key={AZURITE_KEY}{more}"
    )
}

/// A server that answers by a function of the request's first line, and remembers what was asked.
pub(crate) struct Told {
    pub(crate) port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Told {
    pub(crate) fn new(answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let remembered = Arc::clone(&asked);
        let serve = move || {
            for stream in listener.incoming().flatten() {
                serve_one(stream, &remembered, &answer);
            }
        };
        // It ends with the test's process.
        #[allow(clippy::disallowed_methods, reason = "a server beside the test")]
        std::thread::spawn(serve);
        Self { port, asked }
    }

    /// The heads of all requests, in lower case.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked_as_sent().into_iter().map(|head| head.to_lowercase()).collect()
    }

    /// The heads of all requests.
    pub(crate) fn asked_as_sent(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve_one(
    mut stream: TcpStream,
    asked: &Mutex<Vec<String>>,
    answer: impl Fn(&str) -> (u16, String),
) -> Option<()> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let (head, length) = loop {
        let read = stream.read(&mut buffer).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let lower = head.to_lowercase();
            let length = lower.split_once("content-length: ").map_or("0", |(_, rest)| rest);
            let length: usize = length.lines().next().unwrap().trim().parse().unwrap();
            break (head.to_owned(), head.len() + 4 + length);
        }
    };
    while bytes.len() < length {
        let read = stream.read(&mut buffer).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&buffer[..read]);
    }
    // Before the answer, so that whoever has it finds the question here.
    asked.lock().unwrap().push(head.clone());
    let (status, body) = answer(&head.lines().next().unwrap().to_lowercase());
    let answer = format!(
        "HTTP/1.1 {status} Told\r\nContent-Length: {}\r\nConnection: close\r\n\
         ETag: \"told\"\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).ok()
}

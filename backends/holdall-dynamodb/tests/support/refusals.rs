//! A server that stands before the real one and answers some requests itself, as Amazon's does
//! where the one for tests never would: throttled, forbidden, contended, failed.
#![allow(clippy::disallowed_methods, reason = "a server needs threads of its own")]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What is done to a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verdict {
    /// The real server answers.
    Pass,
    /// It is answered with this status and error, and nothing is done.
    Refuse(u16, &'static str),
    /// It is done, and answered all the same with this status and error.
    DoAndFail(u16, &'static str),
}

/// Says what is done to a request of this operation, of which there were so many before.
pub(crate) type Judge = fn(&str, usize) -> Verdict;

pub(crate) struct Refusals {
    pub(crate) port: u16,
    judge: Arc<Mutex<Judge>>,
    counts: Arc<Mutex<HashMap<String, usize>>>,
}

impl Refusals {
    /// Before this port; everything passes.
    pub(crate) fn new(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let judge: Arc<Mutex<Judge>> = Arc::new(Mutex::new(|_, _| Verdict::Pass));
        let counts = Arc::new(Mutex::new(HashMap::new()));
        let (all_judge, all_counts) = (Arc::clone(&judge), Arc::clone(&counts));
        // The thread ends with the test's process.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (judge, counts) = (Arc::clone(&all_judge), Arc::clone(&all_counts));
                thread::spawn(move || serve(client, target, &judge, &counts));
            }
        });
        Self { port, judge, counts }
    }

    /// From now on this judges, and the counts begin at none.
    pub(crate) fn judge(&self, judge: Judge) {
        self.counts.lock().unwrap().clear();
        *self.judge.lock().unwrap() = judge;
    }

    /// How often this operation was asked for.
    pub(crate) fn count(&self, operation: &str) -> usize {
        self.counts.lock().unwrap().get(operation).copied().unwrap_or_default()
    }
}

fn serve(
    mut client: TcpStream,
    target: u16,
    judge: &Mutex<Judge>,
    counts: &Mutex<HashMap<String, usize>>,
) {
    while let Some(request) = message(&mut client) {
        let head = String::from_utf8_lossy(&request).to_ascii_lowercase();
        let operation = head.split("dynamodb_20120810.").nth(1).unwrap_or_default();
        let operation = operation.split("\r\n").next().unwrap_or_default().to_owned();
        let before = {
            let mut counts = counts.lock().unwrap();
            let count = counts.entry(operation.clone()).or_default();
            *count += 1;
            *count - 1
        };
        let judge = *judge.lock().unwrap();
        let answer = match judge(&operation, before) {
            Verdict::Pass => forward(&request, target),
            Verdict::Refuse(status, error) => Some(refusal(status, error)),
            Verdict::DoAndFail(status, error) => {
                forward(&request, target).map(|_| refusal(status, error))
            }
        };
        let sent = answer.is_some_and(|answer| client.write_all(&answer).is_ok());
        if !sent {
            return;
        }
    }
}

fn forward(request: &[u8], target: u16) -> Option<Vec<u8>> {
    let mut server = TcpStream::connect(("127.0.0.1", target)).ok()?;
    server.write_all(request).ok()?;
    message(&mut server)
}

/// One request or answer, whole.
fn message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let (mut message, mut buffer) = (Vec::new(), [0; 65536]);
    loop {
        let end = message.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&message[..end]).to_ascii_lowercase();
            let length = head.split("content-length:").nth(1).unwrap_or("0");
            let length: usize = length.split("\r\n").next()?.trim().parse().ok()?;
            if message.len() >= end + length {
                return Some(message);
            }
        }
        let read = stream.read(&mut buffer).ok().filter(|read| *read > 0)?;
        message.extend_from_slice(&buffer[..read]);
    }
}

/// An error as the store says it; one that begins with `[` is the list of a transaction's reasons.
fn refusal(status: u16, error: &str) -> Vec<u8> {
    let body = if error.starts_with('[') {
        let reasons = error.trim_matches(['[', ']']).split(", ");
        let reasons: Vec<String> =
            reasons.map(|code| format!(r#"{{"Code":"{code}","Message":"why"}}"#)).collect();
        let reasons = reasons.join(",");
        format!(
            r#"{{"__type":"x#TransactionCanceledException","Message":"no","CancellationReasons":[{reasons}]}}"#
        )
    } else {
        format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{error}","message":"said so"}}"#)
    };
    let head = format!(
        "HTTP/1.1 {status} Refused\r\nContent-Type: application/x-amz-json-1.0\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body.into_bytes()].concat()
}

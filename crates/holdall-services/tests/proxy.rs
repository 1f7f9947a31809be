//! The proxy passes, cuts and refuses.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use holdall_services::{Proxy, Trouble};

#[test]
fn a_proxy_passes_cuts_and_refuses() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::new(listener.local_addr().unwrap().port()).unwrap();
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port)).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let mut read = [0; 4];
    client.write_all(b"ping").unwrap();
    server.read_exact(&mut read).unwrap();
    assert_eq!(&read, b"ping");
    proxy.set(Trouble::CutAnswers);
    server.write_all(b"pong").unwrap();
    assert_eq!(client.read(&mut read).unwrap_or(0), 0, "the answer was cut");
    proxy.set(Trouble::Refuse);
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port)).unwrap();
    assert_eq!(client.read(&mut read).unwrap_or(0), 0);
}

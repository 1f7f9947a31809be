//! Every server starts, is killed, and starts again; the shared one is the same for all.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::TcpStream;

use holdall_services::{ALL, POSTGRES, Service, State, shared, start, state};

fn lives_again(service: &'static Service) {
    let mut server = start(service).unwrap();
    let connect = |port| TcpStream::connect(("127.0.0.1", port));
    connect(server.port).unwrap();
    server.kill().unwrap();
    assert!(connect(server.port).is_err(), "{}", service.name);
    server.restart().unwrap();
    connect(server.port).unwrap();
}

#[test]
fn each_of_its_own_can_be_killed_and_started_again() {
    for service in ALL {
        lives_again(service);
    }
}

#[test]
fn the_shared_one_is_the_same_for_all() {
    let first = shared(&POSTGRES).unwrap();
    assert_eq!(shared(&POSTGRES).unwrap(), first);
    assert!(matches!(state(&POSTGRES).unwrap(), State::Up { port, .. } if port == first.port));
}

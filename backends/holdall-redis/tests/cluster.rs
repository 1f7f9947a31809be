//! A cluster of three primaries: the whole contract, and a location that moves between nodes.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::process::Command;
use std::sync::Arc;

use holdall_core::{Backend, BackendExt, ErrorKind, Expect};
use holdall_redis::Config;
use holdall_services::{Own, start};
use holdall_testkit::conformance;
use support::{NODE, at, bytes, cli, key, open, until};

async fn cluster() -> Vec<Own> {
    let nodes: Vec<Own> = (0..3).map(|_| start(&NODE).unwrap()).collect();
    let mut command = Command::new("/usr/bin/redis-cli");
    command.args(["--cluster", "create", "--cluster-yes"]);
    command.args(nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)));
    let made = command.output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
    for node in &nodes {
        until(|| cli(node.port, &["cluster", "info"]).contains("cluster_state:ok")).await;
    }
    nodes
}

fn config(nodes: &[Own]) -> Config {
    let servers = nodes.iter().map(|node| ("127.0.0.1".to_owned(), node.port)).collect();
    Config { servers, cluster: true, ..at(0) }
}

/// The node that has the location, by what it says of its slots.
fn owner(nodes: &[Own], slot: u16) -> usize {
    let mine = |node: &Own| {
        let line = cli(node.port, &["cluster", "nodes"]);
        let line = line.lines().find(|line| line.contains("myself")).unwrap().to_owned();
        line.split_whitespace().skip(8).any(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let bounds = (first.parse::<u16>(), last.parse::<u16>());
            matches!(bounds, (Ok(first), Ok(last)) if (first..=last).contains(&slot))
        })
    };
    nodes.iter().position(mine).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_clause_holds_on_a_cluster() {
    let nodes = cluster().await;
    let env = holdall_runtime::env();
    // Two locations, so that not both are on the node that is asked first.
    for prefix in ["one", "another"] {
        let config = Config { prefix: prefix.to_owned(), ..config(&nodes) };
        let redis = Arc::new(open(&config).await.unwrap());
        let report = conformance::run(redis, &conformance::random_prefix(&env), &env).await;
        assert!(report.is_conformant(), "{report}");
    }
    let used = nodes.iter().filter(|node| cli(node.port, &["dbsize"]) != "0").count();
    assert!(used <= 2, "a location is on one node");
}

#[tokio::test]
async fn a_location_is_followed_to_another_node() {
    let nodes = cluster().await;
    let redis = open(&config(&nodes)).await.unwrap();
    let revision = redis.put(&key("a"), bytes("1"), Expect::Absent).await.unwrap();
    let slot: u16 = cli(nodes[0].port, &["cluster", "keyslot", "{holdall}"]).parse().unwrap();
    let from = owner(&nodes, slot);
    let to = (from + 1) % nodes.len();
    let (source, target) = (nodes[from].port, nodes[to].port);
    let id = |port: u16| cli(port, &["cluster", "myid"]);
    let setslot = |port: u16, words: &[&str]| {
        let slot = slot.to_string();
        assert_eq!(cli(port, &[&["cluster", "setslot", &slot], words].concat()), "OK");
    };
    setslot(target, &["importing", &id(source)]);
    setslot(source, &["migrating", &id(target)]);
    let migrate = |name: &str| {
        let target = target.to_string();
        let words = ["migrate", "127.0.0.1", &target, name, "0", "5000"];
        assert_eq!(cli(source, &words), "OK", "{name}");
    };
    migrate("{holdall}:v:a");
    // Half is here and half is there.
    let error = redis.put(&key("a"), bytes("2"), Expect::Any).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.message().contains("being moved"), "{error}");
    let error = redis.get_all(&key("a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    migrate("{holdall}:index");
    migrate("{holdall}:opened");
    for node in [target, source] {
        setslot(node, &["node", &id(target)]);
    }
    redis.put(&key("a"), bytes("2"), Expect::Revision(revision)).await.unwrap();
    assert_eq!(redis.get_all(&key("a")).await.unwrap().unwrap().value, "2");
    assert!(redis.health().await.is_ok());
    assert_eq!(open(&config(&nodes)).await.unwrap().list_all("", true).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_cluster_says_what_it_lacks() {
    let mut nodes = cluster().await;
    let slot: u16 = cli(nodes[0].port, &["cluster", "keyslot", "{holdall}"]).parse().unwrap();
    let owner = owner(&nodes, slot);
    let other = (owner + 1) % nodes.len();
    let error = open(&at(nodes[other].port)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert!(error.message().contains("cluster=true"), "{error}");
    let redis = open(&config(&nodes)).await.unwrap();
    cli(nodes[owner].port, &["cluster", "delslots", &slot.to_string()]);
    let error = redis.put(&key("a"), bytes("1"), Expect::Any).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.message().contains("cluster info"), "{error}");
    nodes[owner].kill().unwrap();
    let error = redis.get_all(&key("a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
}

//! What is read is what is written, and nothing secret is shown.
#![allow(clippy::unwrap_used, reason = "tests")]

use holdall_core::ErrorKind;

use super::*;

fn full() -> Config {
    Config {
        prefix: "a b/ü".to_owned(),
        region: Some("eu-west-1".to_owned()),
        endpoint: Some("http://127.0.0.1:8000".to_owned()),
        credentials: Credentials::Keys {
            access_key_id: "AKIA7".to_owned(),
            secret_access_key: "hunter2 &?%".to_owned(),
            session_token: Some("hunter3".to_owned()),
        },
        create_table: false,
        billing: Billing::Provisioned { read_units: 5, write_units: 6 },
        spread: 4,
        transaction_steps: 25,
        connect_timeout: Duration::from_millis(1500),
        timeout: Duration::from_secs(3),
        lock_wait: Duration::from_secs(7),
        ..Config::new("a-table.1")
    }
}

#[test]
fn a_config_survives_a_round_trip() {
    for config in [Config::new("table"), full()] {
        let text = config.location().expose();
        let parsed = Config::from_location(&Location::parse(&text).unwrap()).unwrap();
        assert_eq!(parsed, config, "{text}");
    }
    let short = Location::parse("dynamodb://table/").unwrap();
    assert_eq!(Config::from_location(&short).unwrap(), Config::new("table"));
}

#[test]
fn every_option_is_written_and_read() {
    let text = full().location().expose();
    for option in OPTIONS {
        assert!(text.contains(&format!("{option}=")), "{option} is not in {text}");
    }
}

#[test]
fn every_option_is_in_the_documentation_and_the_other_way_round() {
    let page = include_str!("../../../../docs/backends/dynamodb.md");
    let settings = page.split("## Settings").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = settings.lines().filter_map(|line| line.strip_prefix("| `"));
    let mut named: Vec<&str> = rows.filter_map(|row| row.split('`').next()).collect();
    named.sort_unstable();
    assert_eq!(named, OPTIONS);
}

/// Every default that the page names, written out, changes nothing.
#[test]
fn the_page_says_the_defaults() {
    let page = include_str!("../../../../docs/backends/dynamodb.md");
    let settings = page.split("## Settings").nth(1).unwrap().split("\n## ").next().unwrap();
    let without = Config::new("table");
    for row in settings.lines().filter(|line| line.starts_with("| `")) {
        let name = row.split('`').nth(1).unwrap();
        // What has no default, or one that is found in the surroundings.
        let found = ["region", "endpoint", "session_token", "read_units", "write_units"];
        if found.contains(&name) || name.ends_with("access_key") || name == "access_key_id" {
            continue;
        }
        let default = row.trim_end_matches(" |").rsplit("| ").next().unwrap().replace('`', "");
        let with = Location::parse("dynamodb://table").unwrap().with_option(name, &default);
        assert_eq!(Config::from_location(&with).unwrap(), without, "{name}={default}");
    }
}

#[test]
fn secrets_are_never_shown() {
    let config = full();
    let shown = format!("{config:?} {} {:?}", config.location(), config.credentials);
    for secret in ["hunter", "AKIA7"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains("a-table.1"), "{shown}");
}

#[test]
fn wrong_locations_are_refused_with_a_hint() {
    for (text, hint) in [
        ("lmdb:///srv", "dynamodb://TABLE"),
        ("dynamodb://ab", "3 to 255"),
        ("dynamodb://a%20b", "3 to 255"),
        ("dynamodb://user@table", "3 to 255"),
        ("dynamodb://table?spread=0", "from 1 to 64"),
        ("dynamodb://table?spread=65", "from 1 to 64"),
        ("dynamodb://table?transaction_steps=101", "from 1 to 100"),
        ("dynamodb://table?timeout=0s", "a time"),
        ("dynamodb://table?billing=free", "on_demand or provisioned"),
        ("dynamodb://table?billing=provisioned", "all three or none"),
        ("dynamodb://table?read_units=5", "all three or none"),
        ("dynamodb://table?access_key_id=a", "both or none"),
        ("dynamodb://table?session_token=a", "both or none"),
        ("dynamodb://table?endpoint=localhost:8000", "a URL"),
        ("dynamodb://table?endpoint=http://a:b@c", "a URL"),
        ("dynamodb://table?region=", "eu-west-1"),
        ("dynamodb://table?regoin=x", "`region`"),
    ] {
        let error = Config::from_location(&Location::parse(text).unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
        assert!(error.to_string().contains(hint), "{text}: {error}");
    }
    let long = Config { prefix: "x".repeat(513), ..Config::new("table") };
    assert_eq!(long.checked().unwrap_err().kind(), ErrorKind::Invalid);
}

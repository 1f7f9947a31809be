//! What a location says, and what is refused.
#![allow(clippy::unwrap_used, reason = "tests")]

use holdall_core::ErrorKind;

use super::*;

fn parse(text: &str) -> Result<Config> {
    Config::from_location(&Location::parse(text).unwrap())
}

#[test]
fn a_config_survives_a_round_trip() {
    let all = Config {
        port: 7,
        password: Some("p@ss:/?&%ü".to_owned()),
        schema: "my-schema_2".to_owned(),
        min_connections: 3,
        max_connections: 9,
        connect_timeout: Duration::from_millis(1500),
        statement_timeout: Duration::from_secs(7),
        idle_timeout: Duration::from_secs(8),
        max_lifetime: Duration::from_secs(9),
        tls: Tls::Require,
        tls_ca: Some("/etc/ca file.pem".into()),
        values: Values::LargeObjects,
        large_above: 12_345,
        allow_unsafe_server: true,
        ..Config::new("::1", "ü@:/ser", "data base/ü?")
    };
    let off = Config { tls: Tls::Off, values: Values::Chunks, ..all.clone() };
    for config in [Config::new("db.example", "u", "d"), all, off] {
        let text = config.location().expose();
        assert_eq!(parse(&text).unwrap(), config, "{text}");
    }
}

#[test]
fn logins_are_read_wherever_they_stand() {
    for text in [
        "postgres://me:s%40cret@h/d",
        "postgresql://me@h:5432/d?password=s%40cret",
        "postgres://h/d?user=me&password=s%40cret",
        "postgres://me:wrong@[h]/d?password=s%40cret",
    ] {
        let config = parse(text).unwrap();
        assert_eq!(config.password.as_deref(), Some("s@cret"), "{text}");
        assert_eq!((config.user.as_str(), config.host.as_str()), ("me", "h"), "{text}");
    }
}

#[test]
fn a_password_is_never_shown() {
    let config = Config { password: Some("hunter2".into()), ..Config::new("h", "u", "d") };
    for shown in [format!("{config:?}"), config.location().to_string()] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    let error = parse("postgres://u:hunter2@h/d?tls=no&password=hunter2").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}

#[test]
fn wrong_locations_are_refused_with_a_hint() {
    for (text, hint) in [
        ("mysql://u@h/d", "postgres://user@host/database"),
        ("postgres://h/d", "missing"),
        ("postgres://u@/d", "missing"),
        ("postgres://u@h", "missing"),
        ("postgres://u@h:x/d", "port"),
        ("postgres://u@h:0/d", "port"),
        ("postgres://u@[::1/d", "port"),
        ("postgres://%zz@h/d", "percent-encoded"),
        ("postgres://u@h/d?shema=x", "did you mean `schema`"),
        ("postgres://u@h/d?schema=a.b", "63 letters"),
        ("postgres://u@h/d?schema=a%22b", "63 letters"),
        ("postgres://u@h/d?schema=", "63 letters"),
        ("postgres://u@h/d?max_connections=0", "from 1"),
        ("postgres://u@h/d?min_connections=17", "min_connections"),
        ("postgres://u@h/d?min_connections=x", "min_connections must be a whole number"),
        ("postgres://u@h/d?connect_timeout=soon", "connect_timeout must be a time"),
        ("postgres://u@h/d?statement_timeout=0s", "from 1ms"),
        ("postgres://u@h/d?max_lifetime=999h", "to 24d"),
        ("postgres://u@h/d?tls=yes", "off, prefer or require"),
        ("postgres://u@h/d?tls_ca=ca.pem", "absolute"),
        ("postgres://u@h/d?values=blob", "bytea, chunks"),
        ("postgres://u@h/d?large_above=1MB", "large_above must be a size"),
        ("postgres://u@h/d?allow_unsafe_server=1", "true or false"),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
        assert!(error.message().contains(hint), "{text}: {error}");
    }
}

#[test]
fn every_option_is_in_the_page_and_the_readme_and_no_other() {
    for document in
        [include_str!("../../../../docs/backends/postgres.md"), include_str!("../../README.md")]
    {
        let rows = document.lines().skip_while(|line| !line.starts_with("| option |")).skip(2);
        let mut named: Vec<&str> = rows
            .take_while(|line| line.starts_with("| `"))
            .filter_map(|line| line.split('`').nth(1))
            .collect();
        named.sort_unstable();
        assert_eq!(named, OPTIONS);
    }
}

/// Every default that the page names, written out, changes nothing.
#[test]
fn the_page_says_the_defaults() {
    let page = include_str!("../../../../docs/backends/postgres.md");
    let without = parse("postgres://me@host/app").unwrap();
    let rows = page.lines().skip_while(|line| !line.starts_with("| option |")).skip(2);
    for row in rows.take_while(|line| line.starts_with("| `")) {
        let name = row.split('`').nth(1).unwrap();
        if ["user", "password", "tls_ca"].contains(&name) {
            continue;
        }
        let default = row.trim_end_matches(" |").rsplit("| ").next().unwrap().replace('`', "");
        let with = Location::parse("postgres://me@host/app").unwrap().with_option(name, &default);
        assert_eq!(Config::from_location(&with).unwrap(), without, "{name}={default}");
    }
}

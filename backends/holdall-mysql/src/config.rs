//! Which server, database and table to use, and how: plain data, read from a location.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use holdall_core::units::write_duration;
use holdall_core::{Error, Location, Operation, Result};

/// Every option of a location, in the order of `docs/backends/mysql.md`.
pub(crate) const OPTIONS: [&str; 9] = [
    "password",
    "table",
    "min_connections",
    "max_connections",
    "connect_timeout",
    "statement_timeout",
    "tls",
    "tls_ca",
    "allow_unsafe_server",
];
const PORT: u16 = 3306;
const CONNECTIONS: RangeInclusive<usize> = 0..=10_000;
const TIMES: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(86_400);
const TABLE: &str = "holdall";
/// The longest name of a table: servers take 64 letters, and the table of parts has six more.
const TABLE_BYTES_MAX: usize = 58;

/// Whether connections are encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// They are not.
    Off,
    /// They are, and the server's certificate must be valid for its host name.
    Require {
        /// A file with the certificates (PEM) of the only authorities to trust; `None` trusts the
        /// public ones.
        ca: Option<PathBuf>,
    },
}

/// What a [`Mysql`](crate::Mysql) backend is opened with.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// The name or address of the server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whom to log in as.
    pub user: String,
    /// With which password. It is never shown.
    pub password: Option<String>,
    /// The database, which must exist.
    pub database: String,
    /// The table in it, made if it is missing: lower-case letters, digits and `_`.
    pub table: String,
    /// How many connections are made when it is opened, and kept.
    pub min_connections: usize,
    /// How many connections there may be at once; further calls wait for one.
    pub max_connections: usize,
    /// How long a call waits for a connection, new or used.
    pub connect_timeout: Duration,
    /// How long a call waits for the server's answer.
    pub statement_timeout: Duration,
    /// Whether connections are encrypted.
    pub tls: Tls,
    /// Whether a server is taken that can lose writes which it has acknowledged.
    pub allow_unsafe_server: bool,
}

impl Config {
    /// The defaults, for this server, user and database.
    pub fn new(
        host: impl Into<String>,
        user: impl Into<String>,
        database: impl Into<String>,
    ) -> Self {
        Self {
            host: host.into(),
            port: PORT,
            user: user.into(),
            password: None,
            database: database.into(),
            table: TABLE.to_owned(),
            min_connections: 1,
            max_connections: 32,
            connect_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(30),
            tls: Tls::Off,
            allow_unsafe_server: false,
        }
    }

    /// Reads `mysql://user@host:3306/database?password=…&table=holdall`.
    ///
    /// # Errors
    /// `Invalid` for another scheme, a missing part, an unknown option or a value that is out of
    /// its limits.
    pub fn from_location(location: &Location) -> Result<Self> {
        if location.scheme() != "mysql" {
            return Err(
                location.refuse("this is not a mysql location; write mysql://user@host/name")
            );
        }
        location.allow_options(&OPTIONS)?;
        let (user, host, port) = authority(location)?;
        let database = location.path().trim_start_matches('/');
        if !is_name(database, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") {
            let message = "a mysql location names one database, in letters, digits, _ and -; \
                           write mysql://user@host/name";
            return Err(location.refuse(message));
        }
        let default = Self::new(host, user, database);
        let count = |name, usual| Ok(location.number(name, CONNECTIONS)?.unwrap_or(usual));
        let time = |name, usual| Ok(location.duration(name, TIMES)?.unwrap_or(usual));
        let config = Self {
            port,
            password: location.option("password").map(str::to_owned),
            table: table(location)?,
            min_connections: count("min_connections", default.min_connections)?,
            max_connections: count("max_connections", default.max_connections)?,
            connect_timeout: time("connect_timeout", default.connect_timeout)?,
            statement_timeout: time("statement_timeout", default.statement_timeout)?,
            tls: tls(location)?,
            allow_unsafe_server: location.flag("allow_unsafe_server")?.unwrap_or(false),
            ..default
        };
        if config.max_connections < config.min_connections.max(1) {
            let message = "max_connections must be at least 1, and not below min_connections";
            return Err(location.refuse(message));
        }
        Ok(config)
    }

    /// The location that gives this configuration again, the password included (showing a location
    /// hides it).
    pub fn location(&self) -> Location {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let text = format!("mysql://{}@{host}:{}/{}", self.user, self.port, self.database);
        let nameless = Location::from_path("mysql", &self.database);
        let mut location = Location::parse(&text).unwrap_or(nameless);
        let default = Self::new("", "", "");
        let mut set = |name: &str, value: String, default: String| {
            if value != default {
                location = location.clone().with_option(name, &value);
            }
        };
        set("password", self.password.clone().unwrap_or_default(), String::new());
        set("table", self.table.clone(), default.table);
        let (least, most) = (self.min_connections, self.max_connections);
        set("min_connections", least.to_string(), default.min_connections.to_string());
        set("max_connections", most.to_string(), default.max_connections.to_string());
        set(
            "connect_timeout",
            write_duration(self.connect_timeout),
            write_duration(default.connect_timeout),
        );
        set(
            "statement_timeout",
            write_duration(self.statement_timeout),
            write_duration(default.statement_timeout),
        );
        if let Tls::Require { ca } = &self.tls {
            set("tls", "require".to_owned(), String::new());
            let ca = ca.as_ref().map(|ca| ca.to_string_lossy().into_owned());
            set("tls_ca", ca.unwrap_or_default(), String::new());
        }
        set("allow_unsafe_server", self.allow_unsafe_server.to_string(), false.to_string());
        location
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Config({})", self.location())
    }
}

/// User, host and port. Its errors repeat nothing: what is there may be a secret in the wrong
/// place.
fn authority(location: &Location) -> Result<(&str, &str, u16)> {
    let shape = "a mysql location needs a user and a host; write mysql://user@host:3306/name";
    let invalid = |message| Error::invalid(Operation::Open, message);
    let (user, address) = location.authority().rsplit_once('@').ok_or_else(|| invalid(shape))?;
    if user.contains(':') {
        let message = "a mysql location takes its password as an option; write ?password=…";
        return Err(invalid(message));
    }
    let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    if user.is_empty() || host.is_empty() {
        return Err(invalid(shape));
    }
    let port = port.map_or(Ok(PORT), str::parse);
    let message = "the port of a mysql location must be a number from 1 to 65535";
    Ok((user, host, port.map_err(|_| location.refuse(message))?))
}

fn table(location: &Location) -> Result<String> {
    let table = location.option("table").unwrap_or(TABLE);
    if table.len() > TABLE_BYTES_MAX || !is_name(table, "") {
        return Err(location.refuse("table must be 1 to 58 lower-case letters, digits and _"));
    }
    Ok(table.to_owned())
}

fn tls(location: &Location) -> Result<Tls> {
    let ca = location.option("tls_ca").map(PathBuf::from);
    match location.choice("tls", &[("off", false), ("require", true)])? {
        Some(true) => Ok(Tls::Require { ca }),
        _ if ca.is_some() => Err(location.refuse("tls_ca is of use only with tls=require")),
        _ => Ok(Tls::Off),
    }
}

/// Whether these are lower-case letters, digits, `_` and these characters, at least one.
fn is_name(text: &str, more: &str) -> bool {
    let allowed =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || more.contains(c);
    !text.is_empty() && text.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use holdall_core::ErrorKind;

    use super::*;

    fn parse(text: &str) -> Result<Config> {
        Config::from_location(&Location::parse(text).unwrap())
    }

    #[test]
    fn a_config_survives_a_round_trip() {
        let plain = Config::new("db.example", "writer", "Holdall-1");
        let full = Config {
            port: 1,
            password: Some("p&ss %/ö".to_owned()),
            table: "rows_2".to_owned(),
            min_connections: 0,
            max_connections: 7,
            connect_timeout: Duration::from_millis(1500),
            statement_timeout: Duration::from_secs(60),
            tls: Tls::Require { ca: Some("/etc/ca b.pem".into()) },
            allow_unsafe_server: true,
            ..Config::new("::1", "writer", "data")
        };
        for config in [plain, full] {
            assert_eq!(parse(&config.location().expose()).unwrap(), config);
        }
    }

    #[test]
    fn the_password_is_never_shown() {
        let config =
            Config { password: Some("hunter2".to_owned()), ..Config::new("host", "me", "name") };
        let shown = format!("{config:?} {} {:?}", config.location(), config.location());
        assert!(!shown.contains("hunter2"), "{shown}");
        let error = parse("mysql://me:hunter2@host/name").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }

    #[test]
    fn parts_are_found() {
        let config = parse("mysql://me@host/name").unwrap();
        assert_eq!((config.host.as_str(), config.port), ("host", 3306));
        assert_eq!((config.user.as_str(), config.database.as_str()), ("me", "name"));
        let config = parse("mysql://me@[::1]:3307/name?statement_timeout=2m").unwrap();
        assert_eq!((config.host.as_str(), config.port), ("::1", 3307));
        assert_eq!(config.statement_timeout, Duration::from_secs(120));
        let config = parse("mysql://me@[::1]/name?tls=require&min_connections=0").unwrap();
        assert_eq!((config.port, config.tls), (3306, Tls::Require { ca: None }));
    }

    #[test]
    fn wrong_locations_are_refused_with_a_hint() {
        for (text, hint) in [
            ("postgres://me@host/name", "mysql://user@host"),
            ("mysql://host/name", "needs a user"),
            ("mysql://@host/name", "needs a user"),
            ("mysql://me@/name", "a host"),
            ("mysql://me:secret@host/name", "?password="),
            ("mysql://me@host:0x1/name", "port"),
            ("mysql://me@host:66666/name", "port"),
            ("mysql://me@host", "one database"),
            ("mysql://me@host/a/b", "one database"),
            ("mysql://me@host/a%60b", "one database"),
            ("mysql://me@host/name?tabel=x", "did you mean `table`"),
            ("mysql://me@host/name?table=X", "lower-case"),
            ("mysql://me@host/name?table=", "1 to 58"),
            (
                "mysql://me@host/name?min_connections=many",
                "min_connections must be a whole number from 0 to 10000",
            ),
            ("mysql://me@host/name?max_connections=0", "at least 1"),
            ("mysql://me@host/name?min_connections=9&max_connections=8", "not below"),
            ("mysql://me@host/name?connect_timeout=soon", "connect_timeout must be a time"),
            ("mysql://me@host/name?statement_timeout=0s", "from 1ms to 1d"),
            ("mysql://me@host/name?tls=maybe", "off or require"),
            ("mysql://me@host/name?tls_ca=/x", "only with tls=require"),
            ("mysql://me@host/name?allow_unsafe_server=yes", "true or false"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
            assert!(error.message().contains(hint), "{text}: {error}");
        }
    }

    #[test]
    fn the_page_names_every_option_and_no_other() {
        let page = include_str!("../../../docs/backends/mysql.md");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
        let named: Vec<&str> = rows.filter_map(|row| row.split('`').next()).collect();
        assert_eq!(named, OPTIONS);
    }

    /// Every default that the page names, written out, changes nothing.
    #[test]
    fn the_page_says_the_defaults() {
        let page = include_str!("../../../docs/backends/mysql.md");
        let without = parse("mysql://holdall@db/holdall").unwrap();
        for row in page.lines().filter(|line| line.starts_with("| `")) {
            let name = row.split('`').nth(1).unwrap();
            if ["password", "tls_ca"].contains(&name) {
                continue;
            }
            let default = row.trim_end_matches(" |").rsplit("| ").next().unwrap().replace('`', "");
            let with =
                Location::parse("mysql://holdall@db/holdall").unwrap().with_option(name, &default);
            assert_eq!(Config::from_location(&with).unwrap(), without, "{name}={default}");
        }
    }
}

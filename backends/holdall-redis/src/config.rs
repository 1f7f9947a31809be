//! Which server to use and what to ask of it: plain data, read from a location.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use holdall_core::units::write_duration;
use holdall_core::{Error, Location, Operation, Result};

/// Every option that a location may have.
pub(crate) const OPTIONS: [&str; 11] = [
    "allow_unsafe_server",
    "cluster",
    "connect_timeout",
    "password",
    "prefix",
    "timeout",
    "tls_ca",
    "tls_cert",
    "tls_key",
    "wait_replicas",
    "wait_timeout",
];

const PORT_DEFAULT: u16 = 6379;
const PREFIX_DEFAULT: &str = "holdall";
const PREFIX_BYTES_MAX: usize = 200;
const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
const WAIT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(1);
const TIMES: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(3600);
const REPLICAS_MAX: u32 = 1000;

/// What a [`Redis`](crate::Redis) backend is opened with. Showing it shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// Host and port of the server; of a cluster, those of any of its nodes, tried in turn.
    pub servers: Vec<(String, u16)>,
    /// The number of the database; 0 in a cluster.
    pub database: u32,
    /// Who logs in; `None` is the server's user `default`.
    pub user: Option<String>,
    /// The password of that user.
    pub password: Option<String>,
    /// What every key in the server begins with, in braces. Locations of other prefixes do not
    /// meet. 1 to 200 bytes without braces.
    pub prefix: String,
    /// Whether the server is a node of a cluster.
    pub cluster: bool,
    /// How many replicas must have a write before it returns.
    pub wait_replicas: u32,
    /// How long to wait for them; shorter than `timeout`.
    pub wait_timeout: Duration,
    /// Whether a server may be used that can lose writes which it has acknowledged.
    pub allow_unsafe_server: bool,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Whether to speak TLS.
    pub tls: bool,
    /// A PEM file with the certificates to trust, in the system's stead.
    pub tls_ca: Option<PathBuf>,
    /// A PEM file with the certificate to show to the server; needs `tls_key`.
    pub tls_cert: Option<PathBuf>,
    /// A PEM file with that certificate's key.
    pub tls_key: Option<PathBuf>,
}

impl Config {
    /// The defaults, for one server without TLS.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            servers: vec![(host.into(), port)],
            database: 0,
            user: None,
            password: None,
            prefix: PREFIX_DEFAULT.to_owned(),
            cluster: false,
            wait_replicas: 0,
            wait_timeout: WAIT_TIMEOUT_DEFAULT,
            allow_unsafe_server: false,
            connect_timeout: CONNECT_TIMEOUT_DEFAULT,
            timeout: TIMEOUT_DEFAULT,
            tls: false,
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
        }
    }

    /// Reads `redis://[user@]host[:6379][,host…]/0?prefix=holdall&password=…`, or `rediss://` for
    /// TLS.
    ///
    /// # Errors
    /// `Invalid` for another scheme, a password before the host, an unknown option, or a value
    /// that is not in its limits.
    pub fn from_location(location: &Location) -> Result<Self> {
        Self::read(location).and_then(Self::checked).map_err(|e| e.with_location(location))
    }

    fn read(location: &Location) -> Result<Self> {
        let tls = match location.scheme() {
            "redis" => false,
            "rediss" => true,
            _ => return refuse("this is not a redis location; write redis://host:6379/0"),
        };
        location.allow_options(&OPTIONS)?;
        let (login, hosts) = match location.authority().rsplit_once('@') {
            Some((login, hosts)) => (Some(login), hosts),
            None => (None, location.authority()),
        };
        if login.is_some_and(|login| login.contains(':')) {
            return refuse("a password does not belong before the host; write ?password=env:NAME");
        }
        let database = location.path().trim_matches('/');
        let path = |name| location.option(name).map(PathBuf::from);
        let time = |name, usual| Ok(location.duration(name, TIMES)?.unwrap_or(usual));
        Ok(Self {
            servers: hosts.split(',').map(server).collect::<Result<_>>()?,
            database: if database.is_empty() { 0 } else { number("the database", database)? },
            user: login.filter(|user| !user.is_empty()).map(str::to_owned),
            password: location.option("password").map(str::to_owned),
            prefix: location.option("prefix").unwrap_or(PREFIX_DEFAULT).to_owned(),
            cluster: location.flag("cluster")?.unwrap_or(false),
            wait_replicas: location.number("wait_replicas", 0..=REPLICAS_MAX)?.unwrap_or(0),
            wait_timeout: time("wait_timeout", WAIT_TIMEOUT_DEFAULT)?,
            allow_unsafe_server: location.flag("allow_unsafe_server")?.unwrap_or(false),
            connect_timeout: time("connect_timeout", CONNECT_TIMEOUT_DEFAULT)?,
            timeout: time("timeout", TIMEOUT_DEFAULT)?,
            tls,
            tls_ca: path("tls_ca"),
            tls_cert: path("tls_cert"),
            tls_key: path("tls_key"),
        })
    }

    /// Refuses values that do not fit each other.
    pub(crate) fn checked(self) -> Result<Self> {
        let hosts = self.servers.len();
        if self.servers.iter().any(|(host, _)| host.is_empty()) || hosts == 0 {
            return refuse("a redis location needs a host; write redis://host:6379/0");
        }
        if hosts > 1 && !self.cluster {
            return refuse("several hosts are the nodes of a cluster; add cluster=true");
        }
        if self.cluster && self.database != 0 {
            return refuse("a cluster has database 0 alone; leave out the number");
        }
        let prefix = self.prefix.len();
        if prefix == 0 || prefix > PREFIX_BYTES_MAX || self.prefix.contains(['{', '}']) {
            return refuse("prefix must have 1 to 200 bytes and no braces");
        }
        if self.user.is_some() && self.password.is_none() {
            return refuse("a user needs a password; add password=env:NAME");
        }
        if self.wait_timeout >= self.timeout {
            return refuse("wait_timeout must be shorter than timeout");
        }
        if !self.tls && (self.tls_ca.is_some() || self.tls_cert.is_some() || self.tls_key.is_some())
        {
            return refuse("the tls options need TLS; write rediss://");
        }
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return refuse("tls_cert and tls_key belong together; give both or none");
        }
        Ok(self)
    }

    /// The location that gives this configuration again.
    pub fn location(&self) -> Location {
        let scheme = if self.tls { "rediss" } else { "redis" };
        let hosts: Vec<String> =
            self.servers.iter().map(|(host, port)| shown(host, *port)).collect();
        let login = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let text = format!("{scheme}://{login}{}/{}", hosts.join(","), self.database);
        // What a program gave as host or user may be no URL; then it is left out.
        let mut location =
            Location::parse(&text).unwrap_or_else(|_| Location::from_path(scheme, "/"));
        let defaults = Self::new("", 0);
        let mut set = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                location = location.clone().with_option(name, &value);
            }
        };
        let path = |path: &Option<PathBuf>| path.as_ref().map(|p| p.to_string_lossy().into_owned());
        let time =
            |value: Duration, default: Duration| (value != default).then(|| write_duration(value));
        let truth = |value: bool| value.then(|| "true".to_owned());
        set("password", self.password.clone());
        set("prefix", (self.prefix != PREFIX_DEFAULT).then(|| self.prefix.clone()));
        set("cluster", truth(self.cluster));
        set("wait_replicas", (self.wait_replicas != 0).then(|| self.wait_replicas.to_string()));
        set("wait_timeout", time(self.wait_timeout, defaults.wait_timeout));
        set("allow_unsafe_server", truth(self.allow_unsafe_server));
        set("connect_timeout", time(self.connect_timeout, defaults.connect_timeout));
        set("timeout", time(self.timeout, defaults.timeout));
        set("tls_ca", path(&self.tls_ca));
        set("tls_cert", path(&self.tls_cert));
        set("tls_key", path(&self.tls_key));
        location
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Config({})", self.location())
    }
}

/// Host and port as in a location.
pub(crate) fn shown(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn refuse<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::invalid(Operation::Open, message))
}

/// `host`, `host:port`, `[::1]` or `[::1]:port`.
fn server(text: &str) -> Result<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((host, port)) = rest.split_once(']') else {
                return refuse("an address in brackets must end with one, such as [::1]:6379");
            };
            (host, port.strip_prefix(':'))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = port.map_or(Ok(PORT_DEFAULT), |port| number("the port", port))?;
    if host.is_empty() {
        return refuse("a redis location needs a host; write redis://host:6379/0");
    }
    Ok((host.to_owned(), port))
}

fn number<N: std::str::FromStr>(name: &str, text: &str) -> Result<N> {
    text.parse().or_else(|_| refuse(format!("{name} must be a small whole number, such as 1")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use holdall_core::ErrorKind;

    use super::*;

    fn full() -> Config {
        Config {
            servers: vec![("a.example".to_owned(), 7000), ("::1".to_owned(), 7001)],
            user: Some("holdall".to_owned()),
            password: Some("hunter2 &?%".to_owned()),
            prefix: "a b/ü".to_owned(),
            cluster: true,
            wait_replicas: 2,
            wait_timeout: Duration::from_millis(250),
            allow_unsafe_server: true,
            connect_timeout: Duration::from_secs(3),
            timeout: Duration::from_secs(4),
            tls: true,
            tls_ca: Some("/etc/a b.pem".into()),
            tls_cert: Some("/etc/c.pem".into()),
            tls_key: Some("/etc/k.pem".into()),
            ..Config::new("", 0)
        }
    }

    #[test]
    fn a_config_survives_a_round_trip() {
        let number = Config { database: 7, ..Config::new("localhost", 6379) };
        for config in [Config::new("127.0.0.1", 6379), number, full()] {
            let text = config.location().expose();
            let parsed = Config::from_location(&Location::parse(&text).unwrap()).unwrap();
            assert_eq!(parsed, config, "{text}");
        }
        let short = Location::parse("redis://host").unwrap();
        assert_eq!(Config::from_location(&short).unwrap(), Config::new("host", 6379));
    }

    #[test]
    fn every_option_is_written_and_read() {
        let text = full().location().expose();
        for option in OPTIONS {
            assert!(text.contains(&format!("{option}=")), "{option} is not in {text}");
        }
    }

    #[test]
    fn secrets_are_never_shown() {
        let shown = format!("{:?} {}", full(), full().location());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("a.example"), "{shown}");
    }

    #[test]
    fn wrong_locations_are_refused_with_a_hint() {
        for (text, hint) in [
            ("lmdb:///srv", "redis://host"),
            ("redis://", "needs a host"),
            ("redis://a,b", "cluster=true"),
            ("redis://a/1?cluster=true", "database 0"),
            ("redis://a/one", "the database"),
            ("redis://a:99999", "the port"),
            ("redis://[::1", "brackets"),
            ("redis://:hunter2@a", "password=env:NAME"),
            ("redis://user@a", "needs a password"),
            ("redis://a?prefix=", "prefix"),
            ("redis://a?prefix=%7Ba", "prefix"),
            ("redis://a?cluster=yes", "true or false"),
            ("redis://a?timeout=0s", "timeout must be a time from 1ms to 1h"),
            ("redis://a?timeout=soon", "timeout must be a time"),
            ("redis://a?wait_timeout=10s", "shorter"),
            ("redis://a?wait_replicas=-1", "wait_replicas must be a whole number"),
            ("redis://a?tls_ca=/x", "rediss://"),
            ("rediss://a?tls_cert=/x", "belong together"),
            ("redis://a?prefx=1", "`prefix`"),
        ] {
            let error = Config::from_location(&Location::parse(text).unwrap()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
            assert!(error.to_string().contains(hint), "{text}: {error}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }

    /// The table of options in the documentation names each of them, and no other.
    #[test]
    fn every_option_is_documented() {
        let page = include_str!("../../../docs/backends/redis.md");
        let (_, settings) = page.split_once("## Settings").unwrap();
        let rows = settings.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
        let mut documented: Vec<&str> = rows.map(|(name, _)| name).collect();
        documented.sort_unstable();
        assert_eq!(documented, OPTIONS);
    }

    /// Every default that the page names, written out, changes nothing.
    #[test]
    fn the_page_says_the_defaults() {
        let page = include_str!("../../../docs/backends/redis.md");
        let (_, settings) = page.split_once("## Settings").unwrap();
        let without = Config::new("host", 6379);
        for row in settings.lines().filter(|line| line.starts_with("| `")) {
            let name = row.split('`').nth(1).unwrap();
            if ["password", "tls_ca", "tls_cert", "tls_key"].contains(&name) {
                continue;
            }
            let default = row.trim_end_matches(" |").rsplit("| ").next().unwrap().replace('`', "");
            let with = Location::parse("redis://host").unwrap().with_option(name, &default);
            assert_eq!(Config::from_location(&with).unwrap(), without, "{name}={default}");
        }
    }
}

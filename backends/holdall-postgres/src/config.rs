//! Which database to use and how: plain data, read from a location.

mod text;

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use holdall_core::units::{write_duration, write_size};
use holdall_core::{Location, Result};

use text::{decode, encode};

const OPTIONS: [&str; 14] = [
    "allow_unsafe_server",
    "connect_timeout",
    "idle_timeout",
    "large_above",
    "max_connections",
    "max_lifetime",
    "min_connections",
    "password",
    "schema",
    "statement_timeout",
    "tls",
    "tls_ca",
    "user",
    "values",
];
const PORT_DEFAULT: u16 = 5432;
const SCHEMA_BYTES_MAX: usize = 63;
const CONNECTIONS_MAX: usize = 10_000;
/// The server counts milliseconds in 31 bits.
const TIMES: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(24 * 24 * 60 * 60);
const LARGE_ABOVE: RangeInclusive<u64> = 0..=1 << 40;

const TLS: [(&str, Tls); 3] =
    [("off", Tls::Off), ("prefer", Tls::Prefer), ("require", Tls::Require)];
const VALUES: [(&str, Values); 3] =
    [("bytea", Values::Bytea), ("chunks", Values::Chunks), ("large_objects", Values::LargeObjects)];

/// Whether the connection is encrypted, and the server known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Never encrypted.
    Off,
    /// Encrypted if the server can. Who the server is is checked only where `tls_ca` is given: as
    /// a connection without TLS would be taken as well, this helps against listeners alone.
    Prefer,
    /// Encrypted, to a server whose certificate names this host and comes from `tls_ca`, or from
    /// an authority that this system trusts.
    Require,
}

/// How values that are longer than `large_above` are kept. Shorter ones are in their row. It is
/// about new values: those that are there are read wherever they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// In their row, which the server cuts into pieces of 2 KB by itself.
    Bytea,
    /// In rows of 256 KiB in a second table.
    Chunks,
    /// In large objects.
    LargeObjects,
}

/// What a [`Postgres`](crate::Postgres) backend is opened with.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// The server's name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The role to log in as.
    pub user: String,
    /// Its password, if it has one. Never shown.
    pub password: Option<String>,
    /// The database, which must exist.
    pub database: String,
    /// The schema in it that holds everything; made if it is missing. Letters, digits, `_` and
    /// `-`, at most 63.
    pub schema: String,
    /// How many connections are made at once on opening.
    pub min_connections: usize,
    /// How many connections there may be. Further requests wait for one.
    pub max_connections: usize,
    /// How long making a connection, or waiting for one, may take.
    pub connect_timeout: Duration,
    /// How long the server may work on one request before it gives up.
    pub statement_timeout: Duration,
    /// A connection that was not used for so long is not used again.
    pub idle_timeout: Duration,
    /// A connection that is this old is not used again.
    pub max_lifetime: Duration,
    /// Whether the connection is encrypted.
    pub tls: Tls,
    /// A file of certificates (PEM) of the authorities that may vouch for the server, in place of
    /// those that this system trusts. Absolute.
    pub tls_ca: Option<PathBuf>,
    /// How large values are kept.
    pub values: Values,
    /// Values of more than so many bytes are large.
    pub large_above: u64,
    /// Whether to open on a server that does not sync what it commits, and so can lose it.
    pub allow_unsafe_server: bool,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The location hides what is secret.
        write!(f, "Config({})", self.location())
    }
}

impl Config {
    /// The defaults, for this role and database of a server on the usual port.
    pub fn new(
        host: impl Into<String>,
        user: impl Into<String>,
        database: impl Into<String>,
    ) -> Self {
        Self {
            host: host.into(),
            port: PORT_DEFAULT,
            user: user.into(),
            password: None,
            database: database.into(),
            schema: "holdall".to_owned(),
            min_connections: 1,
            max_connections: 16,
            connect_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(600),
            max_lifetime: Duration::from_secs(1800),
            tls: Tls::Prefer,
            tls_ca: None,
            values: Values::Bytea,
            large_above: 1 << 20,
            allow_unsafe_server: false,
        }
    }

    /// Reads `postgres://user@host:5432/database?schema=holdall&max_connections=16`; the README
    /// lists the options.
    ///
    /// # Errors
    /// `Invalid` for another scheme, a missing user, host or database, an unknown option or a
    /// value outside its limits.
    pub fn from_location(location: &Location) -> Result<Self> {
        let invalid = |message: &str| location.refuse(message);
        if !["postgres", "postgresql"].contains(&location.scheme()) {
            let message = "this is no PostgreSQL location; write postgres://user@host/database";
            return Err(invalid(message));
        }
        location.allow_options(&OPTIONS)?;
        let (login, address) =
            location.authority().rsplit_once('@').unwrap_or(("", location.authority()));
        let (user, password) =
            login.split_once(':').map_or((login, None), |(user, password)| (user, Some(password)));
        let (host, port) = split_port(address)
            .ok_or_else(|| invalid("the port must be a number from 1 to 65535, such as 5432"))?;
        let encoded = |text| {
            decode(text).ok_or_else(|| invalid("user and password must be percent-encoded UTF-8"))
        };
        let user = match location.option("user") {
            Some(user) => user.to_owned(),
            None => encoded(user)?,
        };
        let database = location.path().trim_start_matches('/');
        if user.is_empty() || host.is_empty() || database.is_empty() {
            let message = "user, host or database is missing; write postgres://user@host/database";
            return Err(invalid(message));
        }
        let mut config = Self::new(host, user, database);
        config.port = port;
        config.password = match (location.option("password"), password) {
            (Some(password), _) => Some(password.to_owned()),
            (None, password) => password.map(encoded).transpose()?,
        };
        config.read_options(location)?;
        config.check().map_err(invalid)?;
        Ok(config)
    }

    fn read_options(&mut self, location: &Location) -> Result<()> {
        if let Some(name) = location.option("schema") {
            name.clone_into(&mut self.schema);
        }
        for (name, number) in [
            ("min_connections", &mut self.min_connections),
            ("max_connections", &mut self.max_connections),
        ] {
            *number = location.number(name, 0..=CONNECTIONS_MAX)?.unwrap_or(*number);
        }
        for (name, time) in [
            ("connect_timeout", &mut self.connect_timeout),
            ("statement_timeout", &mut self.statement_timeout),
            ("idle_timeout", &mut self.idle_timeout),
            ("max_lifetime", &mut self.max_lifetime),
        ] {
            *time = location.duration(name, TIMES)?.unwrap_or(*time);
        }
        self.tls = location.choice("tls", &TLS)?.unwrap_or(self.tls);
        self.tls_ca = location.option("tls_ca").map(PathBuf::from);
        self.values = location.choice("values", &VALUES)?.unwrap_or(self.values);
        self.large_above = location.size("large_above", LARGE_ABOVE)?.unwrap_or(self.large_above);
        self.allow_unsafe_server = location.flag("allow_unsafe_server")?.unwrap_or(false);
        Ok(())
    }

    /// Refuses what cannot work.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let length = self.schema.len();
        if length == 0 || length > SCHEMA_BYTES_MAX || !self.schema.chars().all(allowed) {
            return Err("schema must be 1 to 63 letters, digits, _ or -");
        }
        if !(1..=CONNECTIONS_MAX).contains(&self.max_connections)
            || self.min_connections > self.max_connections
        {
            return Err("max_connections must be from 1 to 10000 and not below min_connections");
        }
        if self.tls_ca.as_ref().is_some_and(|path| !path.is_absolute()) {
            return Err("tls_ca must be the absolute path of a file of certificates");
        }
        Ok(())
    }

    /// The location that gives this configuration again, its password included but not shown.
    pub fn location(&self) -> Location {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        let (user, database) = (encode(&self.user), encode(&self.database));
        let text = format!("postgres://{user}@{host}:{}/{database}", self.port);
        let mut location = Location::parse(&text)
            .unwrap_or_else(|_| Location::from_path("postgres", &self.database));
        let usual = Self::new("", "", "");
        let mut set = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                location = location.clone().with_option(name, &value);
            }
        };
        set("password", self.password.clone());
        set("schema", (self.schema != usual.schema).then(|| self.schema.clone()));
        let number = |number: usize, usual| (number != usual).then(|| number.to_string());
        set("min_connections", number(self.min_connections, usual.min_connections));
        set("max_connections", number(self.max_connections, usual.max_connections));
        let time = |time: Duration, usual| (time != usual).then(|| write_duration(time));
        set("connect_timeout", time(self.connect_timeout, usual.connect_timeout));
        set("statement_timeout", time(self.statement_timeout, usual.statement_timeout));
        set("idle_timeout", time(self.idle_timeout, usual.idle_timeout));
        set("max_lifetime", time(self.max_lifetime, usual.max_lifetime));
        set("tls", (self.tls != usual.tls).then(|| name_of(&TLS, self.tls).to_owned()));
        set("tls_ca", self.tls_ca.as_ref().map(|path| path.to_string_lossy().into_owned()));
        let values = (self.values != usual.values).then(|| self.values.as_str().to_owned());
        set("values", values);
        let large_above = (self.large_above != usual.large_above).then_some(self.large_above);
        set("large_above", large_above.map(write_size));
        set("allow_unsafe_server", self.allow_unsafe_server.then(|| "true".to_owned()));
        location
    }
}

impl Values {
    /// The word for it in locations and statements.
    pub(crate) fn as_str(self) -> &'static str {
        name_of(&VALUES, self)
    }
}

fn name_of<T: Copy + PartialEq>(words: &[(&'static str, T)], meant: T) -> &'static str {
    words.iter().find(|(_, meaning)| *meaning == meant).map_or("", |(word, _)| word)
}

/// Host and port of `host`, `host:port`, `[address]` or `[address]:port`.
fn split_port(address: &str) -> Option<(&str, u16)> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => match address.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    let port = port.map_or(Some(PORT_DEFAULT), |port| port.parse().ok())?;
    (port > 0).then_some((host, port))
}

#[cfg(test)]
mod tests;

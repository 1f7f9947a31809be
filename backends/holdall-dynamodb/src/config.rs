//! Which table to use and how: plain data, read from a location.

use std::fmt;
use std::time::Duration;

use holdall_core::units::write_duration;
use holdall_core::{Error, Location, Operation, Result};

/// Every option that a location may have.
pub(crate) const OPTIONS: [&str; 14] = [
    "access_key_id",
    "billing",
    "connect_timeout",
    "create_table",
    "endpoint",
    "lock_wait",
    "read_units",
    "region",
    "secret_access_key",
    "session_token",
    "spread",
    "timeout",
    "transaction_steps",
    "write_units",
];

const PREFIX_BYTES_MAX: usize = 512;
const SPREAD_MAX: u32 = 64;
const UNITS_MAX: i64 = 1_000_000;
/// The most steps that the store takes in one transaction.
const STEPS_MAX: usize = 100;
const TIME_MIN: Duration = Duration::from_millis(1);
const TIME_MAX: Duration = Duration::from_secs(3600);

/// How a table that is made is paid for. A table that is there stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Billing {
    /// By the request.
    OnDemand,
    /// By the hour, for so many units a second; what goes over them is throttled.
    Provisioned {
        /// Reads of 4 KiB a second.
        read_units: i64,
        /// Writes of 1 KiB a second.
        write_units: i64,
    },
}

/// Who asks. Showing it shows nothing but the kind.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Whoever the surroundings say: environment, shared files, web identity, container, machine.
    Surroundings,
    /// An access key.
    Keys {
        /// Its name.
        access_key_id: String,
        /// Its secret.
        secret_access_key: String,
        /// What comes with a key that was lent for a time.
        session_token: Option<String>,
    },
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Surroundings => "Surroundings",
            Self::Keys { .. } => "Keys(***)",
        })
    }
}

/// What a [`DynamoDb`](crate::DynamoDb) backend is opened with. Showing it shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// The table: 3 to 255 letters, digits, `_`, `-` and `.`.
    pub table: String,
    /// What the partition keys of all items begin with. Locations of other prefixes do not meet.
    /// At most 512 bytes, may be empty.
    pub prefix: String,
    /// The region, such as `eu-west-1`; `None` is what the surroundings say.
    pub region: Option<String>,
    /// A URL in place of Amazon's own.
    pub endpoint: Option<String>,
    /// Who asks.
    pub credentials: Credentials,
    /// Whether a table that is missing is made.
    pub create_table: bool,
    /// How a table that is made is paid for.
    pub billing: Billing,
    /// Over how many partitions the keys are spread, 1 to 64. Chosen when the location is first
    /// opened, and the same ever after.
    pub spread: u32,
    /// Batches of up to so many steps are one transaction of the store, 1 to 100; larger ones are
    /// carried by marks.
    pub transaction_steps: usize,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long one request may take, and how long one that is throttled is tried again.
    pub timeout: Duration,
    /// How long a write waits for a large batch that is in its way before it cancels it.
    pub lock_wait: Duration,
}

impl Config {
    /// The defaults, for this table.
    pub fn new(table: impl Into<String>) -> Self {
        Self {
            table: table.into(),
            prefix: String::new(),
            region: None,
            endpoint: None,
            credentials: Credentials::Surroundings,
            create_table: true,
            billing: Billing::OnDemand,
            spread: 1,
            transaction_steps: STEPS_MAX,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
            lock_wait: Duration::from_secs(5),
        }
    }

    /// Reads `dynamodb://TABLE/prefix?region=eu-west-1`; the documentation lists the options.
    ///
    /// # Errors
    /// `Invalid` for another scheme, an unknown option, or a value that is not in its limits.
    pub fn from_location(location: &Location) -> Result<Self> {
        if location.scheme() != "dynamodb" {
            let message = "this is not a dynamodb location; write dynamodb://TABLE/prefix";
            return Err(location.refuse(message));
        }
        location.allow_options(&OPTIONS)?;
        let option = |name| location.option(name).map(str::to_owned);
        let time = |name, usual| Ok(location.duration(name, TIME_MIN..=TIME_MAX)?.unwrap_or(usual));
        let usual = Self::new(location.authority());
        let config = Self {
            prefix: location.path().trim_matches('/').to_owned(),
            region: option("region"),
            endpoint: option("endpoint"),
            credentials: credentials(location)?,
            create_table: location.flag("create_table")?.unwrap_or(usual.create_table),
            billing: billing(location)?,
            spread: location.number("spread", 1..=SPREAD_MAX)?.unwrap_or(usual.spread),
            transaction_steps: location
                .number("transaction_steps", 1..=STEPS_MAX)?
                .unwrap_or(usual.transaction_steps),
            connect_timeout: time("connect_timeout", usual.connect_timeout)?,
            timeout: time("timeout", usual.timeout)?,
            lock_wait: time("lock_wait", usual.lock_wait)?,
            ..usual
        };
        let endpoint = config.endpoint.clone().unwrap_or_default();
        // What stands before an `@` may be a password, and a location shows its endpoint.
        let shown = !endpoint.contains('@');
        config.checked().map_err(|e| if shown { e.with_location(location) } else { e })
    }

    /// Refuses what cannot work.
    pub(crate) fn checked(self) -> Result<Self> {
        let refuse = |message: &str| Err(Error::invalid(Operation::Open, message));
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if !(3..=255).contains(&self.table.len()) || !self.table.chars().all(allowed) {
            return refuse("a table's name has 3 to 255 letters, digits, _ - or .");
        }
        if self.prefix.len() > PREFIX_BYTES_MAX || self.prefix.trim_matches('/') != self.prefix {
            return refuse("the prefix must have at most 512 bytes, and no slash at its ends");
        }
        if !(1..=SPREAD_MAX).contains(&self.spread) {
            return refuse("spread must be a whole number from 1 to 64");
        }
        if !(1..=STEPS_MAX).contains(&self.transaction_steps) {
            return refuse("transaction_steps must be a whole number from 1 to 100");
        }
        let scheme = |url: &String| url.starts_with("http://") || url.starts_with("https://");
        if self.endpoint.as_ref().is_some_and(|url| !scheme(url) || url.contains('@')) {
            return refuse("endpoint must be a URL such as http://127.0.0.1:8000");
        }
        if self.region.as_ref().is_some_and(String::is_empty) {
            return refuse("region must be a region's name, such as eu-west-1");
        }
        Ok(self)
    }

    /// The location that gives this configuration again, its secrets included but not shown.
    pub fn location(&self) -> Location {
        // What a program gave as table may be no part of a URL; then it is refused on opening.
        let prefix = Location::from_path("dynamodb", &format!("/{}", self.prefix)).expose();
        let path = prefix.trim_start_matches("dynamodb://").trim_end_matches('/').to_owned();
        let mut location = Location::parse(&format!("dynamodb://{}{path}", self.table))
            .unwrap_or_else(|_| Location::from_path("dynamodb", "/"));
        let usual = Self::new("");
        let mut set = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                location = location.clone().with_option(name, &value);
            }
        };
        let time = |time: Duration, usual| (time != usual).then(|| write_duration(time));
        set("region", self.region.clone());
        set("endpoint", self.endpoint.clone());
        if let Credentials::Keys { access_key_id, secret_access_key, session_token } =
            &self.credentials
        {
            set("access_key_id", Some(access_key_id.clone()));
            set("secret_access_key", Some(secret_access_key.clone()));
            set("session_token", session_token.clone());
        }
        if let Billing::Provisioned { read_units, write_units } = self.billing {
            set("billing", Some("provisioned".to_owned()));
            set("read_units", Some(read_units.to_string()));
            set("write_units", Some(write_units.to_string()));
        }
        set("create_table", (!self.create_table).then(|| "false".to_owned()));
        set("spread", (self.spread != usual.spread).then(|| self.spread.to_string()));
        let steps = self.transaction_steps;
        set("transaction_steps", (steps != usual.transaction_steps).then(|| steps.to_string()));
        set("connect_timeout", time(self.connect_timeout, usual.connect_timeout));
        set("timeout", time(self.timeout, usual.timeout));
        set("lock_wait", time(self.lock_wait, usual.lock_wait));
        location
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Config({})", self.location())
    }
}

fn credentials(location: &Location) -> Result<Credentials> {
    let option = |name| location.option(name).map(str::to_owned);
    match (option("access_key_id"), option("secret_access_key"), option("session_token")) {
        (Some(access_key_id), Some(secret_access_key), session_token) => {
            Ok(Credentials::Keys { access_key_id, secret_access_key, session_token })
        }
        (None, None, None) => Ok(Credentials::Surroundings),
        _ => {
            let message = "access_key_id and secret_access_key belong together, and a \
                           session_token to them; give both or none";
            Err(location.refuse(message))
        }
    }
}

fn billing(location: &Location) -> Result<Billing> {
    let provisioned = location.choice("billing", &[("on_demand", false), ("provisioned", true)])?;
    let read_units = location.number("read_units", 1..=UNITS_MAX)?;
    let write_units = location.number("write_units", 1..=UNITS_MAX)?;
    match (provisioned.unwrap_or(false), read_units, write_units) {
        (true, Some(read_units), Some(write_units)) => {
            Ok(Billing::Provisioned { read_units, write_units })
        }
        (false, None, None) => Ok(Billing::OnDemand),
        _ => {
            let message = "billing=provisioned, read_units and write_units belong together; give \
                           all three or none";
            Err(location.refuse(message))
        }
    }
}

#[cfg(test)]
mod tests;

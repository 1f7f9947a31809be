//! What the server says about itself: which run it is, and what its settings can lose.

use std::collections::HashMap;

use holdall_core::{Durability, ErrorKind, Health};

use crate::error::Failure;

/// What the server's settings can lose of what it has acknowledged, when it crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Persistence {
    /// Nothing: every write is synced to its file before it is answered (`appendfsync always`).
    EveryWrite,
    /// Up to a second, or two while the disk is busy (`appendfsync everysec`).
    EverySecond,
    /// Everything that is written while the file is rewritten (`no-appendfsync-on-rewrite yes`).
    ExceptRewrites,
    /// What the operating system has not yet written, commonly 30 s (`appendfsync no`).
    SystemDecides,
    /// Everything since the last snapshot (`appendonly no`, `save …`).
    Snapshots,
    /// Everything (`appendonly no`, `save ""`).
    Nothing,
    /// Nobody knows: the server does not tell its settings.
    Untold,
}

impl Persistence {
    /// What can be lost, in words that follow "can lose" or "cannot lose".
    pub const fn can_lose(self) -> &'static str {
        match self {
            Self::EveryWrite => "loses no acknowledged write on a crash",
            Self::EverySecond => {
                "can lose up to 1 s of writes on a crash, up to 2 s while its disk is busy"
            }
            Self::ExceptRewrites => {
                "can lose the writes that were made while it rewrote its file, on a crash"
            }
            Self::SystemDecides => {
                "can lose what its operating system has not written, commonly 30 s, on a crash"
            }
            Self::Snapshots => "can lose every write since its last snapshot on a crash",
            Self::Nothing => "loses everything when it ends",
            Self::Untold => "does not tell its settings, so it may lose writes on a crash",
        }
    }

    /// What a profile may say of it.
    pub(crate) const fn durability(self) -> Durability {
        match self {
            Self::EveryWrite => Durability::Store,
            _ => Durability::Process,
        }
    }

    /// From the server's settings, as far as they were told.
    fn read(info: &Info, settings: &HashMap<String, String>) -> Self {
        let setting = |name: &str| settings.get(name).map(String::as_str);
        if info.number("aof_enabled") != Some(1) {
            return match setting("save") {
                Some("") => Self::Nothing,
                Some(_) => Self::Snapshots,
                None => Self::Untold,
            };
        }
        match (setting("appendfsync"), setting("no-appendfsync-on-rewrite")) {
            (Some("always"), Some("no")) => Self::EveryWrite,
            (Some("always"), Some(_)) => Self::ExceptRewrites,
            (Some("everysec"), _) => Self::EverySecond,
            (Some("no"), _) => Self::SystemDecides,
            _ => Self::Untold,
        }
    }
}

/// The settings that are asked for by `CONFIG GET`, one at a time: Redis 6 takes one.
pub(crate) const SETTINGS: [&str; 3] = ["appendfsync", "no-appendfsync-on-rewrite", "save"];

/// The lines of `INFO`.
#[derive(Clone, Debug, Default)]
struct Info(HashMap<String, String>);

impl Info {
    fn read(text: &str) -> Self {
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        Self(lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
    }

    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.get(name).parse().ok()
    }
}

/// What a server said about itself at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Survey {
    info: Info,
    pub(crate) persistence: Persistence,
    /// The run of the server in which this location was last opened, if it ever was.
    opened: Option<String>,
}

/// What is asked of a server before it is used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) allow_unsafe_server: bool,
    pub(crate) cluster: bool,
    pub(crate) replicas: u32,
}

impl Survey {
    pub(crate) fn new(
        info: &str,
        settings: &HashMap<String, String>,
        opened: Option<String>,
    ) -> Self {
        let info = Info::read(info);
        let persistence = Persistence::read(&info, settings);
        Self { info, persistence, opened }
    }

    /// The server's name for itself from its start to its end.
    pub(crate) fn run(&self) -> &str {
        self.info.get("run_id")
    }

    /// Whether this server was a replica before: what its primary had not yet sent is lost.
    pub(crate) fn was_promoted(&self) -> bool {
        self.info.get("master_replid2").bytes().any(|byte| byte != b'0')
    }

    /// Why writes may have been lost since this location was last opened.
    pub(crate) fn lost_since_opened(&self) -> Option<String> {
        self.opened.as_deref().filter(|opened| *opened != self.run())?;
        if self.was_promoted() {
            return Some(
                "a replica took over since this location was last opened, and may lack \
                 acknowledged writes"
                    .to_owned(),
            );
        }
        (self.persistence != Persistence::EveryWrite).then(|| {
            let can_lose = self.persistence.can_lose();
            format!("the server restarted since this location was last opened, and {can_lose}")
        })
    }

    /// Refuses a server that would break what the profile promises.
    pub(crate) fn check(&self, wanted: Wanted) -> Result<(), Failure> {
        let refuse = |kind, message: String| Err(Failure::new(kind, message));
        if self.info.number("loading").unwrap_or(0) != 0 {
            return refuse(
                ErrorKind::Unavailable,
                "the server is still loading its data; try again".to_owned(),
            );
        }
        if wanted.cluster && self.info.number("cluster_enabled") != Some(1) {
            return refuse(
                ErrorKind::Invalid,
                "the server is no node of a cluster; leave out cluster=true".to_owned(),
            );
        }
        if matches!(self.info.get("role"), "slave" | "replica") {
            return refuse(
                ErrorKind::Unavailable,
                "the server is a replica, which takes no writes; name its primary, or wait until \
                 it is one"
                    .to_owned(),
            );
        }
        let policy = self.info.get("maxmemory_policy");
        if policy != "noeviction" {
            let policy = if policy.is_empty() { "untold" } else { policy };
            return refuse(
                ErrorKind::Unsupported,
                format!(
                    "the server throws values away when its memory is full: its maxmemory-policy \
                     is {policy}; set it to noeviction"
                ),
            );
        }
        if self.persistence != Persistence::EveryWrite && !wanted.allow_unsafe_server {
            return refuse(
                ErrorKind::Unsupported,
                format!(
                    "the server {}; set appendonly yes, appendfsync always and \
                     no-appendfsync-on-rewrite no, or accept it with allow_unsafe_server=true",
                    self.persistence.can_lose()
                ),
            );
        }
        self.check_replicas(wanted.replicas)
    }

    fn check_replicas(&self, wanted: u32) -> Result<(), Failure> {
        let there = self.info.number("connected_slaves").unwrap_or(0);
        if there < u64::from(wanted) {
            let message = format!(
                "wait_replicas is {wanted}, but the server has {there}; bring the replicas back, \
                 or give a smaller number"
            );
            return Err(Failure::new(ErrorKind::Unavailable, message));
        }
        if self.persistence != Persistence::Nothing
            && self.info.get("aof_last_write_status") == "err"
        {
            let message = "the server cannot write to its disk; look at its log and try again";
            return Err(Failure::new(ErrorKind::Unavailable, message));
        }
        Ok(())
    }

    /// What a person should know.
    pub(crate) fn health(&self) -> Health {
        let limit = self.info.number("maxmemory").filter(|limit| *limit > 0);
        let used = self.info.number("used_memory");
        let version = match self.info.get("valkey_version") {
            "" => format!("Redis {}", self.info.get("redis_version")),
            version => format!("Valkey {version}"),
        };
        let mut notes = vec![version, format!("run {}", self.info.get("run_id"))];
        notes.push(self.persistence.can_lose().to_owned());
        if limit.is_none() {
            notes.push("no maxmemory: values can take all of the machine's memory".to_owned());
        }
        notes.push(format!("{} replicas", self.info.number("connected_slaves").unwrap_or(0)));
        let bytes_free = limit.zip(used).map(|(limit, used)| limit.saturating_sub(used));
        Health { bytes_free, bytes_used: used, notes }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const GOOD: &str = "# Server\r\nredis_version:7.0.15\r\nrun_id:abc\r\nloading:0\r\n\
                        aof_enabled:1\r\nmaxmemory_policy:noeviction\r\nrole:master\r\n\
                        connected_slaves:1\r\nmaster_replid2:00\r\n\
                        cluster_enabled:0\r\nmaxmemory:1000\r\nused_memory:400\r\n";

    const WANTED: Wanted = Wanted { allow_unsafe_server: false, cluster: false, replicas: 0 };

    fn survey(info: &str, settings: &[(&str, &str)]) -> Survey {
        let settings = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Survey::new(info, &settings.collect(), None)
    }

    const ALWAYS: [(&str, &str); 3] =
        [("appendfsync", "always"), ("no-appendfsync-on-rewrite", "no"), ("save", "")];

    #[test]
    fn settings_mean_what_they_can_lose() {
        let off = GOOD.replace("aof_enabled:1", "aof_enabled:0");
        for (info, settings, persistence) in [
            (GOOD, &ALWAYS[..], Persistence::EveryWrite),
            (GOOD, &ALWAYS[..1], Persistence::Untold),
            (
                GOOD,
                &[("appendfsync", "always"), ("no-appendfsync-on-rewrite", "yes")],
                Persistence::ExceptRewrites,
            ),
            (GOOD, &[("appendfsync", "everysec")], Persistence::EverySecond),
            (GOOD, &[("appendfsync", "no")], Persistence::SystemDecides),
            (GOOD, &[], Persistence::Untold),
            (&off, &ALWAYS[..], Persistence::Nothing),
            (&off, &[("save", "3600 1")], Persistence::Snapshots),
            (&off, &[], Persistence::Untold),
        ] {
            let survey = survey(info, settings);
            assert_eq!(survey.persistence, persistence, "{settings:?}");
            let strong = persistence == Persistence::EveryWrite;
            assert_eq!(survey.check(WANTED).is_ok(), strong, "{settings:?}");
            assert_eq!(persistence.durability() == Durability::Store, strong);
            let weak = Wanted { allow_unsafe_server: true, ..WANTED };
            assert!(survey.check(weak).is_ok(), "{settings:?}");
        }
    }

    #[test]
    fn what_breaks_promises_is_refused() {
        for (from, to, kind) in [
            ("loading:0", "loading:1", ErrorKind::Unavailable),
            ("noeviction", "allkeys-lru", ErrorKind::Unsupported),
            ("maxmemory_policy:noeviction", "", ErrorKind::Unsupported),
            ("role:master", "role:slave", ErrorKind::Unavailable),
            ("loading:0", "aof_last_write_status:err", ErrorKind::Unavailable),
        ] {
            let failure = survey(&GOOD.replace(from, to), &ALWAYS).check(WANTED).unwrap_err();
            assert_eq!(failure.kind, kind, "{to}");
        }
        let good = survey(GOOD, &ALWAYS);
        let failure = good.check(Wanted { cluster: true, ..WANTED }).unwrap_err();
        assert_eq!(failure.kind, ErrorKind::Invalid);
        assert!(good.check(Wanted { replicas: 1, ..WANTED }).is_ok());
        let failure = good.check(Wanted { replicas: 2, ..WANTED }).unwrap_err();
        assert_eq!(failure.kind, ErrorKind::Unavailable);
    }

    #[test]
    fn another_run_is_noticed_where_it_can_have_lost_writes() {
        let open = |info: &str, fsync: &str, opened: &str| {
            let settings = [("appendfsync", fsync), ("no-appendfsync-on-rewrite", "no")];
            let mut survey = survey(info, &settings);
            survey.opened = Some(opened.to_owned());
            survey.lost_since_opened()
        };
        let promoted = GOOD.replace("replid2:00", "replid2:0a");
        assert_eq!(open(GOOD, "everysec", "abc"), None);
        assert_eq!(open(GOOD, "always", "other"), None);
        assert!(open(GOOD, "everysec", "other").unwrap().contains("up to 1 s"));
        assert!(open(&promoted, "always", "other").unwrap().contains("took over"));
        assert_eq!(open(&promoted, "always", "abc"), None);
        assert_eq!(survey(GOOD, &[]).lost_since_opened(), None);
    }

    #[test]
    fn health_knows_room_and_version() {
        let health = survey(GOOD, &ALWAYS).health();
        assert_eq!((health.bytes_used, health.bytes_free), (Some(400), Some(600)));
        assert!(health.notes.contains(&"Redis 7.0.15".to_owned()), "{health:?}");
        let valkey = format!("{}valkey_version:8.1.0\r\n", GOOD.replace("maxmemory:1000", ""));
        let health = survey(&valkey, &[("appendfsync", "everysec")]).health();
        assert_eq!(health.bytes_free, None);
        assert!(health.notes.contains(&"Valkey 8.1.0".to_owned()), "{health:?}");
        assert!(health.notes.iter().any(|note| note.contains("1 s of writes")), "{health:?}");
    }
}

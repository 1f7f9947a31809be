//! Redis and Valkey: values in memory, as durable as the server's settings.
//!
//! ```text
//!   read    one command, several sent as one, or a script that reads ─► a connection for reads
//!   write   one script a batch, which small puts that wait at the same time share:
//!           check all, then do all ─► a connection for writes [─► WAIT]
//! ```
//!
//! What a server can lose is read from its settings when it is opened. A server that can lose
//! acknowledged writes is refused unless the location allows it, and one that may have lost some
//! while it was open ends the handle (`Closed`).

mod config;
mod dial;
mod error;
mod link;
mod live;
mod row;
mod script;
mod server;
mod write;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use holdall_core::waiting::Gathering;
use holdall_core::{
    Backend, BackendExt, Batch, ByteRange, Bytes, Conditions, Env, Error, ErrorKind, Expect, Find,
    Health, KEY_BYTES_MAX, Key, List, Object, Op, Operation, Page, Profile, Reach, Result,
    Revision, Row,
};
use redis::{ClientTlsConfig, TlsCertificates, Value};

pub use config::Config;
pub use server::Persistence;

use dial::Dial;
use error::{Effect, Failure};
use link::Link;
use live::{Call, Wait};
use row::{Names, REVISION_BYTES, damaged, object, revision};
use write::Writer;

/// How often a part is asked for that somebody writes at the same time.
const PART_TRIES: usize = 3;

/// Keeps values in a Redis or Valkey server, or in one shard of a cluster.
#[derive(Debug)]
pub struct Redis {
    profile: Profile,
    persistence: Persistence,
    lost: Option<String>,
    dial: Arc<Dial>,
    reads: Link,
    writer: Arc<Writer>,
}

impl Redis {
    /// Connects to a server, looks at its settings, and tries whether it may be written.
    ///
    /// # Errors
    /// `Unsupported` if the server evicts values, or can lose acknowledged writes and the
    /// configuration does not allow that. `Denied` for a wrong password or a lacking permission,
    /// `Unavailable` if it cannot be reached, is loading or is a replica, `Invalid` if it has no
    /// such database or is, or is not, a node of a cluster.
    pub async fn open(config: Config, env: &Env) -> Result<Self> {
        let location = config.location();
        let opened = Self::connect(config, env).await;
        opened.map_err(|error| error.with_location(&location))
    }

    async fn connect(config: Config, env: &Env) -> Result<Self> {
        let config = config.checked()?;
        let location = config.location();
        let names = Names::new(&config.prefix);
        let certificates = if config.tls { Some(read_tls(&config, env).await?) } else { None };
        let wait = Some(Wait { replicas: config.wait_replicas, timeout: config.wait_timeout });
        let wait = wait.filter(|wait| wait.replicas > 0);
        let dial = Arc::new(Dial::new(config, certificates, names.opened.clone()));
        let reads = Link::new(Arc::clone(&dial), None);
        let writes = Link::new(Arc::clone(&dial), wait);
        let live = reads.live().await.map_err(|failure| failure.at(Operation::Open))?;
        let persistence = live.survey.persistence;
        let profile = Profile {
            engine: "redis",
            key_bytes_max: KEY_BYTES_MAX,
            value_bytes_max: 64 << 20,
            batch_ops_max: 10_000,
            batch_bytes_max: 128 << 20,
            atomic: true,
            metadata: false,
            conditions: Conditions::Revision,
            reach: Reach::Network,
            durability: persistence.durability(),
        };
        let lost = live.survey.lost_since_opened();
        let (env, gathering) = (env.clone(), Gathering::default());
        let writer = Arc::new(Writer { names, link: writes, location, env, gathering });
        let redis = Self { profile, persistence, lost, dial, reads, writer };
        redis.note_opening(live.survey.run()).await?;
        Ok(redis)
    }

    /// Tries the user's permissions and notes the server's run. A server without room is opened
    /// all the same: how else could room be made.
    async fn note_opening(&self, run: &str) -> Result<()> {
        let nonce = self.writer.nonce();
        let call = |by| script::open(self.names(), &nonce, run, by);
        match self.writer.link.ask(Effect::Writes, call).await {
            Err(failure) if failure.kind != ErrorKind::Full => Err(failure.at(Operation::Open)),
            _ => Ok(()),
        }
    }

    /// What the server's settings can lose on a crash.
    pub fn persistence(&self) -> Persistence {
        self.persistence
    }

    /// Why the server may have lost acknowledged writes since this location was last opened:
    /// `None` if it ran on, or loses none.
    pub fn may_have_lost(&self) -> Option<&str> {
        self.lost.as_deref()
    }

    fn names(&self) -> &Names {
        &self.writer.names
    }

    async fn get_all(&self, key: &Key) -> Result<Option<Object>, Failure> {
        found(self.reads.ask(Effect::Reads, |_| script::get(self.names(), key)).await?)
    }

    async fn get_part(&self, key: &Key, range: ByteRange) -> Result<Option<Object>, Failure> {
        let calls = |_| Call::Together(script::get_range(self.names(), key, range));
        for _ in 0..PART_TRIES {
            let said = self.reads.ask(Effect::Reads, calls).await?;
            if let Part::Of(found) = found_part(said)? {
                return Ok(found);
            }
        }
        // Somebody writes it without a pause; the whole value is always of one moment.
        Ok(self.get_all(key).await?.map(|object| cut(object, range)))
    }

    fn failed(&self, operation: Operation, failure: Failure) -> Error {
        self.writer.failed(operation, failure)
    }

    fn page(&self, said: Value, values: bool) -> Result<Page, Failure> {
        let Value::Array(said) = said else {
            return Err(not_understood(ErrorKind::Unavailable));
        };
        let mut said = said.into_iter();
        let more = said.next() == Some(Value::Int(1));
        let mut rows = Vec::new();
        while let Some(name) = said.next() {
            let key = bytes(name).and_then(|name| String::from_utf8(name).ok());
            let key = key.and_then(|name| Key::parse(name).ok()).ok_or_else(damaged)?;
            let (size, object) = match said.next() {
                Some(Value::Int(size)) if !values => (value_size(size)?, None),
                Some(value) if values => {
                    let object = object(bytes(value).ok_or_else(damaged)?)?;
                    (object.size, Some(object))
                }
                _ => return Err(damaged()),
            };
            rows.push(Row { key, size, object });
        }
        Ok(Page { rows, more })
    }
}

#[async_trait]
impl Backend for Redis {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        range.clip(u64::MAX).map_err(|e| e.with_key(key).with_location(&self.writer.location))?;
        let found = match range == ByteRange::ALL {
            true => self.get_all(key).await,
            false => self.get_part(key, range).await,
        };
        found.map_err(|failure| self.failed(Operation::Get, failure).with_key(key))
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let said = self.reads.ask(Effect::Reads, |_| script::get_many(self.names(), keys)).await;
        let found = said.and_then(|said| match said {
            Value::Array(all) if all.len() == keys.len() => all.into_iter().map(found).collect(),
            _ => Err(not_understood(ErrorKind::Unavailable)),
        });
        found.map_err(|failure| self.failed(Operation::Get, failure))
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        self.check_limits(Operation::Put, key, value.len())?;
        self.writer.put(Op::put(key.clone(), value, expect)).await
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        let op = Op::Delete { key: key.clone(), expect };
        self.writer.write(Operation::Delete, &[op]).await.map(drop)
    }

    async fn list(&self, list: &List) -> Result<Page> {
        list.check()?;
        let call = |by| script::list(self.names(), list, by);
        let said = self.reads.ask(Effect::Reads, call).await;
        let page = said.and_then(|said| self.page(said, list.values));
        page.map_err(|failure| self.failed(Operation::List, failure))
    }

    async fn find(&self, _: &Find) -> Result<Page> {
        Err(self.no_metadata())
    }

    async fn apply(&self, batch: Batch) -> Result<Revision> {
        self.check_batch(&batch)?;
        if batch.is_empty() {
            return Ok(revision(&self.writer.nonce()));
        }
        self.writer.write(Operation::Apply, &batch.ops).await
    }

    async fn health(&self) -> Result<Health> {
        let said = self.reads.survey().await;
        let checked = said.and_then(|survey| survey.check(self.dial.wanted()).map(|()| survey));
        let survey = checked.map_err(|failure| self.failed(Operation::Health, failure))?;
        let mut health = survey.health();
        health.notes.extend(self.lost.clone());
        Ok(health)
    }
}

/// The certificates to speak TLS with.
async fn read_tls(config: &Config, env: &Env) -> Result<TlsCertificates> {
    // Somebody else in the process may have chosen one already; then that one serves.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let root_cert = match &config.tls_ca {
        Some(path) => Some(read_file("tls_ca", path.clone(), env).await?),
        None => None,
    };
    let client_tls = match (&config.tls_cert, &config.tls_key) {
        (Some(cert), Some(key)) => Some(ClientTlsConfig {
            client_cert: read_file("tls_cert", cert.clone(), env).await?,
            client_key: read_file("tls_key", key.clone(), env).await?,
        }),
        _ => None,
    };
    Ok(TlsCertificates { client_tls, root_cert })
}

async fn read_file(option: &'static str, path: PathBuf, env: &Env) -> Result<Vec<u8>> {
    let read = env.blocking(move || std::fs::read(path)).await?;
    let message = format!("the file of {option} cannot be read; give a PEM file");
    read.map_err(|error| Error::invalid(Operation::Open, message).with_source(error))
}

fn not_understood(kind: ErrorKind) -> Failure {
    Failure::new(kind, "the server's answer makes no sense; is something else on this port?")
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

fn found(said: Value) -> Result<Option<Object>, Failure> {
    match said {
        Value::Nil => Ok(None),
        Value::BulkString(stored) => object(stored).map(Some),
        _ => Err(not_understood(ErrorKind::Unavailable)),
    }
}

/// The range of a whole value. One that ends before it starts was refused before.
fn cut(object: Object, range: ByteRange) -> Object {
    let asked = range.clip(object.size).unwrap_or_default();
    let value = object.value.slice(asked.start as usize..asked.end as usize);
    Object { value, ..object }
}

/// What the answers to the questions for a part say.
#[derive(Debug, PartialEq)]
enum Part {
    /// They are of one value, or all say that there is none.
    Of(Option<Object>),
    /// It was written or deleted between them.
    Torn,
}

/// Reads the answers: revision, stored size, part, and revision again.
fn found_part(said: Value) -> Result<Part, Failure> {
    let Value::Array(said) = said else {
        return Err(not_understood(ErrorKind::Unavailable));
    };
    match <[Value; 4]>::try_from(said) {
        Ok(
            [
                Value::BulkString(before),
                Value::Int(stored),
                Value::BulkString(part),
                Value::BulkString(after),
            ],
        ) => {
            if before != after {
                return Ok(Part::Torn);
            }
            // Every stored value has a revision.
            if before.is_empty() {
                return Ok(if stored == 0 { Part::Of(None) } else { Part::Torn });
            }
            let size = value_size(stored)?;
            let value = part.into();
            Ok(Part::Of(Some(Object { value, revision: revision(&before), size })))
        }
        _ => Err(not_understood(ErrorKind::Unavailable)),
    }
}

/// A value's size, from that of what is stored: the revision comes first.
fn value_size(stored: i64) -> Result<u64, Failure> {
    let size = stored.checked_sub(REVISION_BYTES as i64).and_then(|size| u64::try_from(size).ok());
    size.ok_or_else(damaged)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn said(before: &[u8], stored: i64, part: &[u8], after: &[u8]) -> Value {
        let text = |bytes: &[u8]| Value::BulkString(bytes.to_vec());
        Value::Array(vec![text(before), Value::Int(stored), text(part), text(after)])
    }

    #[test]
    fn a_part_counts_only_between_two_equal_revisions() {
        let (one, other) = ([1; 16], [2; 16]);
        let Part::Of(Some(found)) = found_part(said(&one, 20, b"lue", &one)).unwrap() else {
            panic!("it is whole")
        };
        assert_eq!((&found.value[..], found.size), (&b"lue"[..], 4));
        assert_eq!(found.revision, revision(&one));
        assert_eq!(found_part(said(b"", 0, b"", b"")).unwrap(), Part::Of(None));
        for (before, after) in [(&one[..], &other[..]), (&one, b""), (b"", &one)] {
            assert_eq!(found_part(said(before, 20, b"lue", after)).unwrap(), Part::Torn);
        }
        // Written and deleted between the two.
        assert_eq!(found_part(said(b"", 20, b"", b"")).unwrap(), Part::Torn);
        assert!(found_part(said(b"short", 5, b"", b"short")).is_err());
        assert!(found_part(Value::Array(vec![])).is_err());
    }

    #[test]
    fn a_part_is_cut_from_the_whole_as_the_server_would() {
        let whole = object([&[1; 16][..], b"value"].concat()).unwrap();
        for (range, part) in [
            (ByteRange::new(1, 3), "al"),
            (ByteRange::new(3, 99), "ue"),
            (ByteRange::from(5), ""),
            (ByteRange::new(7, 9), ""),
        ] {
            let found = cut(whole.clone(), range);
            assert_eq!(
                (found.value, found.size, found.revision),
                (part.into(), 5, whole.revision.clone())
            );
        }
    }
}

//! Any OpenDAL `Operator` as a backend: what its service cannot do, the profile does not promise.
//!
//! ```text
//!   path    the key in hexadecimal        no service rewrites it or takes two keys for one
//!   value   a head of 32 bytes, the bytes by it a revision is known on any service
//!   open    tries out what the service does, and promises no more
//! ```
//!
//! There are no batches here, so that no catalog can be held: segments are what this is for.

mod error;
mod head;
mod list;
mod names;
mod options;
mod probe;
mod read;
mod write;

use std::fmt;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use futures::TryStreamExt;
use holdall_core::{
    Backend, Batch, ByteRange, Bytes, Conditions, Durability, Env, Error, ErrorKind, Expect, Find,
    Health, Key, List, Location, Object, Operation, Page, Profile, Reach, Result, Revision,
};
use opendal::options::ListOptions;
use opendal::{Capability, Metadata, Operator};

pub use options::Options;

use head::HEAD_BYTES;

/// No value is larger, for it is held in memory.
const VALUE_BYTES_MAX: u64 = 512 << 20;
/// The smallest limits that a backend may have.
const VALUE_BYTES_MIN: u64 = 4096;
const KEY_BYTES_MIN: usize = 128;

/// Services that keep files on this machine.
const FILES: [&str; 3] = ["fs", "monoiofs", "compfs"];

/// By what a service tells one state of a value from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Identity {
    /// By nothing.
    None,
    ETag,
    Version,
}

/// Keeps values by an OpenDAL operator.
pub struct OpenDal {
    profile: Profile,
    operator: Operator,
    options: Options,
    identity: Identity,
    location: Location,
    /// Whether the service lists in order: only those that list from a name on are believed.
    ordered: AtomicBool,
    notes: Vec<String>,
    env: Env,
}

/// Without the operator: what its service shows of itself is not ours to vouch for.
impl fmt::Debug for OpenDal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("OpenDal");
        shown.field("location", &self.location).field("profile", &self.profile);
        shown.field("options", &self.options).finish_non_exhaustive()
    }
}

impl OpenDal {
    /// Makes a backend of an operator, and tries out what its service really does, unless the
    /// options say not to. Nobody else may write under the operator's root.
    ///
    /// # Errors
    /// `Unsupported` if the service cannot read, write, delete and list, shows parts of values, or
    /// keeps less than the options ask for; `Invalid` if the place that the operator names is
    /// missing or its root too long, `Denied` if its credentials do not suffice, and `Unavailable`
    /// if the service does not answer.
    pub async fn new(operator: Operator, options: Options, env: &Env) -> Result<Self> {
        let info = operator.info();
        let location = Location::from_path(&format!("opendal+{}", info.scheme()), &info.root());
        let able = info.capability();
        let profile =
            profile(&operator, &options).map_err(|error| error.with_location(&location))?;
        let opened = Self {
            identity: identity(able),
            profile,
            operator,
            options,
            location: location.clone(),
            // Nothing else says it, and a few names in order prove nothing: a file system that
            // lists by chance in order once would hide names from a listing in pages.
            ordered: AtomicBool::new(able.list_with_start_after),
            notes: Vec::new(),
            env: env.clone(),
        };
        opened.begin().await.map_err(|error| error.with_location(&location))
    }

    /// Asks whether the place is there, and what its service does.
    async fn begin(mut self) -> Result<Self> {
        match self.there(Operation::Open).await {
            // The probe's first write makes a folder, or says that there is no bucket.
            Err(error) if self.options.probe && error.kind() == ErrorKind::Invalid => {}
            known => known?,
        }
        let asked = self.options.conditional;
        if !self.options.probe {
            let Some(asked) = asked else {
                let message = "with probe off nothing is known about the service; say which \
                               conditions it keeps, or leave the probe on";
                return Err(Error::invalid(Operation::Open, message));
            };
            self.profile.conditions = asked;
            if asked < Conditions::Revision {
                self.identity = Identity::None;
            }
            self.notes.push("the service was not tried out: the probe is off".to_owned());
            return Ok(self);
        }
        let found = self.probe().await?;
        if let Some(asked) = asked.filter(|asked| *asked > found.conditions) {
            let message = format!(
                "the service does not keep conditional={}: it {}; ask for less, or use another \
                 service",
                options::show_conditions(asked),
                found.lack
            );
            return Err(Error::unsupported(Operation::Open, message));
        }
        if found.conditions < Conditions::Revision {
            self.notes.push(format!("the service {}", found.lack));
        }
        let ordered = self.ordered.get_mut();
        *ordered &= found.ordered;
        if !*ordered {
            let note = "the service is not known to list in order: a page reads all names";
            self.notes.push(note.to_owned());
        }
        self.profile.conditions = asked.unwrap_or(found.conditions);
        self.identity = found.identity;
        Ok(self)
    }

    /// Asks whether the operator's place is there. OpenDAL's own check takes a place that is
    /// missing for an empty one.
    async fn there(&self, operation: Operation) -> Result<()> {
        let one = ListOptions { limit: Some(1), ..ListOptions::default() };
        let first = async { self.operator.lister_options("/", one).await?.try_next().await };
        first.await.map(drop).map_err(|error| error::reading(operation, &error))
    }

    /// The service's own word for the state of a value, if it has one that can be trusted.
    fn identity(&self, metadata: &Metadata) -> Option<String> {
        let word = match self.identity {
            Identity::None => None,
            Identity::ETag => metadata.etag(),
            Identity::Version => metadata.version(),
        };
        word.map(str::to_owned)
    }

    fn located(&self, error: Error) -> Error {
        error.with_location(&self.location)
    }
}

/// By what the service would take a condition.
fn identity(able: Capability) -> Identity {
    if able.write_with_if_version_match { Identity::Version } else { Identity::ETag }
}

/// The profile of an operator of which no more is known than what it says of itself.
fn profile(operator: &Operator, options: &Options) -> Result<Profile> {
    let info = operator.info();
    let able = info.capability();
    let needed =
        [(able.read, "read"), (able.write, "write"), (able.delete, "delete"), (able.list, "list")];
    if let Some((_, what)) = needed.iter().find(|(able, _)| !able) {
        let message = format!("the service cannot {what}, which a backend must; use another");
        return Err(Error::unsupported(Operation::Open, message));
    }
    let value_bytes_max = able.write_total_max_size.map_or(VALUE_BYTES_MAX, |max| {
        (max as u64).saturating_sub(HEAD_BYTES).min(VALUE_BYTES_MAX)
    });
    if value_bytes_max < VALUE_BYTES_MIN {
        let message = format!("the service takes {value_bytes_max} bytes a value; use another");
        return Err(Error::unsupported(Operation::Open, message));
    }
    let key_bytes_max = names::key_bytes_max(&info.root());
    if key_bytes_max < KEY_BYTES_MIN {
        let message = "the operator's root leaves less than 128 bytes for keys; shorten it";
        return Err(Error::invalid(Operation::Open, message));
    }
    if options.concurrency == 0 {
        let message = "the concurrency is 0; allow at least 1 request at once";
        return Err(Error::invalid(Operation::Open, message));
    }
    let reach = match able.shared {
        false => Reach::Process,
        true if FILES.contains(&info.scheme()) => Reach::Machine,
        true => Reach::Network,
    };
    let durability = if reach == Reach::Network { Durability::Store } else { Durability::Process };
    Ok(Profile {
        engine: "opendal",
        key_bytes_max,
        value_bytes_max,
        batch_ops_max: 0,
        batch_bytes_max: 0,
        atomic: false,
        metadata: false,
        conditions: Conditions::None,
        reach: options.reach.unwrap_or(reach),
        durability: options.durability.unwrap_or(durability),
    })
}

#[async_trait]
impl Backend for OpenDal {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        self.read(key, range).await.map_err(|error| self.located(error))
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        self.read_many(keys).await.map_err(|error| self.located(error))
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        let written = self.write(key, value, expect).await;
        written.map_err(|error| self.located(error.with_key(key)))
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        let removed = self.remove(key, expect).await;
        removed.map_err(|error| self.located(error.with_key(key)))
    }

    async fn list(&self, list: &List) -> Result<Page> {
        self.page(list).await.map_err(|error| self.located(error))
    }

    async fn find(&self, _: &Find) -> Result<Page> {
        let message = "an OpenDAL operator keeps no descriptions; keep the catalog elsewhere";
        Err(self.located(Error::unsupported(Operation::Find, message)))
    }

    async fn apply(&self, _: Batch) -> Result<Revision> {
        let message = "an OpenDAL operator cannot apply a batch all or nothing; keep the catalog \
                       elsewhere";
        Err(self.located(Error::unsupported(Operation::Apply, message)))
    }

    async fn health(&self) -> Result<Health> {
        self.there(Operation::Health).await.map_err(|error| self.located(error))?;
        let info = self.operator.info();
        let name = info.name();
        let of = if name.is_empty() { String::new() } else { format!(" {name}") };
        let mut notes = vec![format!("OpenDAL's {}{of}", info.scheme())];
        notes.extend(self.notes.iter().cloned());
        Ok(Health { notes, ..Health::default() })
    }
}

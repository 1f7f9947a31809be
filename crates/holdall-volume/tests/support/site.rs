//! A place that can be cut off, be silent, slow, full, or lose and spoil what it has.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub, missing_docs, reason = "tests")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdall_core::{
    Backend, BackendExt, Batch, ByteRange, Bytes, Env, Error, Expect, Find, Health, Key, List,
    Memory, Object, Operation, Page, Profile, Result, Revision, async_trait,
};
use holdall_testkit::{CrashPoints, Crashing};
use holdall_volume::{Place, PlaceHealth, Places, Resources};

/// How a site does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Well,
    /// Nothing gets through, which is known at once.
    CutOff,
    /// Nothing gets through, and nobody says so.
    Silent,
    Slow(Duration),
    Full,
}

/// A backend with moods. Cloning gives another handle.
#[derive(Clone, Debug)]
pub struct Site {
    pub name: &'static str,
    pub zone: &'static str,
    inner: Arc<Memory>,
    env: Env,
    mood: Arc<Mutex<Mood>>,
    reads: Arc<AtomicU64>,
}

impl Site {
    pub fn new(env: &Env, name: &'static str, zone: &'static str) -> Self {
        let (inner, mood) = (Arc::new(Memory::new()), Arc::new(Mutex::new(Mood::Well)));
        Self { name, zone, inner, env: env.clone(), mood, reads: Arc::default() }
    }

    pub fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub fn mood(&self) -> Mood {
        *self.mood.lock().unwrap()
    }

    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    pub fn place(&self) -> Place {
        let health = PlaceHealth {
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
            failures: 2,
        };
        let place = Place::new(self.name, Arc::new(self.clone())).zone(self.zone);
        Place { health, ..place }
    }

    /// Another site that has what this one has, and is well.
    async fn copy(&self, env: &Env) -> Self {
        let copy = Self::new(env, self.name, self.zone);
        copy_all(&self.inner, &copy.inner).await;
        copy
    }

    /// The keys of all segments here, whatever the mood.
    pub async fn segments(&self) -> Vec<Key> {
        let rows = self.inner.list_all("", false).await.unwrap();
        let keys = rows.into_iter().map(|row| row.key);
        keys.filter(|key| key.as_str().contains("/segment/")).collect()
    }

    /// All keys here.
    pub async fn keys(&self) -> Vec<Key> {
        let rows = self.inner.list_all("", false).await.unwrap();
        rows.into_iter().map(|row| row.key).collect()
    }

    pub async fn lose(&self, key: &Key) {
        self.inner.delete(key, Expect::Any).await.unwrap();
    }

    /// Flips a bit in the middle of an object, and cuts it short if it is told to.
    pub async fn spoil(&self, key: &Key, cut: bool) {
        let object = self.inner.get_all(key).await.unwrap().unwrap();
        let mut bytes = object.value.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bytes.truncate(if cut { middle } else { bytes.len() });
        self.inner.put(key, Bytes::from(bytes), Expect::Any).await.unwrap();
    }

    async fn weather(&self, operation: Operation) -> Result<()> {
        match self.mood() {
            Mood::CutOff => Err(Error::unavailable(operation, "this site is cut off")),
            Mood::Silent => {
                self.env.sleep(Duration::from_secs(3600)).await;
                Err(Error::unavailable(operation, "this site was silent"))
            }
            Mood::Slow(by) => {
                self.env.sleep(by).await;
                Ok(())
            }
            Mood::Full if operation == Operation::Put => {
                Err(Error::full(operation, "this site is full"))
            }
            Mood::Well | Mood::Full => Ok(()),
        }
    }
}

#[async_trait]
impl Backend for Site {
    fn profile(&self) -> &Profile {
        self.inner.profile()
    }

    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.weather(Operation::Get).await?;
        self.inner.get(key, range).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        self.weather(Operation::Get).await?;
        self.inner.get_many(keys).await
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        self.weather(Operation::Put).await?;
        self.inner.put(key, value, expect).await
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        self.weather(Operation::Delete).await?;
        self.inner.delete(key, expect).await
    }

    async fn list(&self, list: &List) -> Result<Page> {
        self.weather(Operation::List).await?;
        self.inner.list(list).await
    }

    async fn find(&self, find: &Find) -> Result<Page> {
        self.inner.find(find).await
    }

    async fn apply(&self, batch: Batch) -> Result<Revision> {
        self.inner.apply(batch).await
    }

    async fn health(&self) -> Result<Health> {
        self.weather(Operation::Health).await?;
        self.inner.health().await
    }
}

async fn copy_all(from: &Memory, to: &Memory) {
    for row in from.list_all("", true).await.unwrap() {
        to.put(&row.key, row.object.unwrap().value, Expect::Any).await.unwrap();
    }
}

/// A volume's catalog and sites.
#[derive(Clone, Debug)]
pub struct Land {
    pub env: Env,
    pub catalog: Arc<Memory>,
    pub sites: Vec<Site>,
}

impl Land {
    pub fn new(env: &Env, sites: &[(&'static str, &'static str)]) -> Self {
        let site = |(name, zone): &(&'static str, &'static str)| Site::new(env, name, zone);
        let sites = sites.iter().map(site).collect();
        Self { env: env.clone(), catalog: Arc::new(Memory::new()), sites }
    }

    pub fn places(&self) -> Places {
        Places::new(self.sites.iter().map(Site::place))
    }

    /// Another land that has what this one has, and where all is well.
    pub async fn copy(&self, env: &Env) -> Self {
        let (catalog, mut sites) = (Arc::new(Memory::new()), Vec::new());
        copy_all(&self.catalog, &catalog).await;
        for site in &self.sites {
            sites.push(site.copy(env).await);
        }
        Self { env: env.clone(), catalog, sites }
    }

    /// The same backends, through crash points.
    pub fn crashing(&self, points: &CrashPoints) -> Resources {
        let wrap = |inner: Arc<dyn Backend>| -> Arc<dyn Backend> {
            Arc::new(Crashing::new(inner, points.clone()))
        };
        let place = |site: &Site| {
            let place = site.place();
            Place { backend: wrap(Arc::clone(&place.backend)), ..place }
        };
        Resources {
            catalog: wrap(Arc::<Memory>::clone(&self.catalog)),
            data: Places::new(self.sites.iter().map(place)),
            ..self.resources()
        }
    }

    pub fn resources(&self) -> Resources {
        Resources {
            env: self.env.clone(),
            catalog: Arc::<Memory>::clone(&self.catalog),
            data: self.places(),
            holder: "test".to_owned(),
        }
    }

    pub fn site(&self, name: &str) -> &Site {
        self.sites.iter().find(|site| site.name == name).unwrap()
    }

    pub fn all_well(&self) {
        self.sites.iter().for_each(|site| site.is(Mood::Well));
    }
}

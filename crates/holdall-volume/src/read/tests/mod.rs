//! Tests of reading, and what they share.
#![allow(clippy::unwrap_used, reason = "tests")]

mod feed;
mod finding;
mod listing;
mod model;
mod past;
mod reading;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use holdall_core::{Backend, Batch, Env, Environment, ErrorKind, Expect, Memory, Timestamp};
use holdall_testkit::{Call, Method, Recording, Strict};

use crate::format::chunk::{Content, Digest};
use crate::format::entry::{Entry, Name};
use crate::format::keys::CatalogKeys;
use crate::format::policy::Policy;
use crate::{ListOptions, Places, PutOptions, Resources, VersionInfo, Volume};

const HOUR: Duration = Duration::from_secs(3600);

/// The real environment with a wall clock that stands still until it is moved.
#[derive(Debug)]
struct Clock {
    real: Env,
    micros: Arc<AtomicU64>,
}

impl Environment for Clock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.micros.load(Ordering::SeqCst))
    }

    fn elapsed(&self) -> Duration {
        self.real.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.real.sleep(duration)
    }

    fn random(&self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(8) {
            piece.copy_from_slice(&self.real.random::<8>()[..piece.len()]);
        }
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.real.spawn(task);
    }

    fn blocking(&self, job: Box<dyn FnOnce() + Send + 'static>) {
        // The job starts at once; nobody waits for it here.
        drop(self.real.blocking(job));
    }
}

/// A volume in memory, and what is behind it.
struct Bed {
    volume: Volume,
    keys: CatalogKeys,
    catalog: Arc<dyn Backend>,
    recording: Recording,
    micros: Arc<AtomicU64>,
}

impl Bed {
    async fn new(policy: Policy) -> Self {
        Self::on(Arc::new(Memory::new()), policy).await
    }

    /// On a catalog whose pages are tiny and whose calls take turns.
    async fn strict(policy: Policy) -> Self {
        let catalog = Strict::new().with_batch_limits(10_000, 16 << 20);
        Self::on(Arc::new(catalog.with_value_bytes_max(4 << 20)), policy).await
    }

    async fn on(catalog: Arc<dyn Backend>, policy: Policy) -> Self {
        let micros = Arc::new(AtomicU64::new(1_000_000_000_000));
        let env = Env::new(Clock { real: holdall_runtime::env(), micros: Arc::clone(&micros) });
        let recording = Recording::new(Arc::clone(&catalog));
        let resources = Resources {
            env,
            catalog: Arc::new(recording.clone()),
            data: Places::one(Arc::new(Memory::new())),
            holder: "test".to_owned(),
        };
        let volume = Volume::create(resources, "test", policy).await.unwrap();
        let keys = CatalogKeys::new(volume.id());
        Self { volume, keys, catalog, recording, micros }
    }

    async fn with_history() -> Self {
        Self::new(history()).await
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.micros.load(Ordering::SeqCst))
    }

    fn pass(&self, duration: Duration) {
        self.micros.fetch_add(duration.as_micros() as u64, Ordering::SeqCst);
    }

    /// All versions of a name, read in pages of two sizes that say the same.
    async fn versions(&self, name: &Name) -> Vec<VersionInfo> {
        let mut all = [Vec::new(), Vec::new()];
        for (all, limit) in all.iter_mut().zip([3, 1000]) {
            let mut after = None;
            loop {
                let page = self.volume.versions(name, after, limit).await.unwrap();
                assert!(page.versions.len() <= limit);
                all.extend(page.versions);
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        let [small, large] = all;
        assert_eq!(small, large);
        large
    }

    async fn put(&self, at: &str, bytes: impl Into<Bytes>) -> u64 {
        let options = PutOptions::default();
        self.volume.put(&name(at), bytes, options).await.unwrap().version
    }

    async fn put_until(&self, at: &str, expires: Timestamp) -> u64 {
        let options = PutOptions { expires: Some(expires), ..PutOptions::default() };
        self.volume.put(&name(at), at.to_owned(), options).await.unwrap().version
    }

    /// Writes the rows of entries straight into the catalog.
    async fn fill(&self, names: impl Iterator<Item = String>, expires: Option<Timestamp>) {
        let mut batch = Batch::new();
        for at in names {
            let name = name(&at);
            let key = self.keys.entry(&name);
            let inline = Bytes::from(at);
            let entry = Entry {
                version: 1,
                written: self.now(),
                size: inline.len() as u64,
                digest: Digest::of(&inline),
                content_type: None,
                attributes: BTreeMap::new(),
                expires,
                content: Content::Inline,
                inline,
            };
            batch.put(key.clone(), entry.encode(&key), Expect::Any);
            if batch.len() == 10_000 {
                self.catalog.apply(std::mem::take(&mut batch)).await.unwrap();
            }
        }
        self.catalog.apply(batch).await.unwrap();
    }

    /// Everything that a listing gives, in pages of this size: names and common prefixes.
    async fn list_all(&self, options: ListOptions) -> Vec<String> {
        pages(&self.volume.view(), options).await
    }

    /// The listings of the catalog since the last time.
    fn listings(&self) -> Vec<Call> {
        let calls = self.recording.take().into_iter();
        calls.filter(|call| call.method == Method::List).collect()
    }
}

/// Goes through all pages of a listing and checks each.
async fn pages(view: &crate::View, mut options: ListOptions) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    loop {
        let page = view.list(options.clone()).await.unwrap();
        let names = page.entries.iter().map(|(name, _)| name.as_str().to_owned());
        let mut found: Vec<String> = names.chain(page.prefixes.iter().cloned()).collect();
        found.sort();
        assert!(found.len() <= options.limit, "a page has more than was asked for");
        assert!(page.next.is_none() || found.len() == options.limit, "a page is not full");
        assert!(page.next.is_none() || page.next.as_ref() == found.last());
        all.extend(found);
        match page.next {
            Some(next) => options = options.after(next),
            None => return all,
        }
    }
}

/// A policy that keeps history for an hour.
fn history() -> Policy {
    Policy { history: HOUR, ..Policy::default() }
}

fn name(name: &str) -> Name {
    Name::parse(name).unwrap()
}

#[track_caller]
fn assert_invalid<T: std::fmt::Debug>(result: Result<T, holdall_core::Error>, part: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert!(error.to_string().contains(part), "{error:?} lacks {part}");
}

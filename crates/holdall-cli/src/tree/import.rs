//! Stores a directory tree: what the volume has already is not read again.
//!
//! ```text
//!   walk ─┐
//!         ├─ plan ── batches of small files, single large ones ── 4 at once: read, then store
//!   list ─┘
//! ```
//!
//! Batches keep the order of names, so that files that are alike are packed together. While some
//! are stored others are read, so that neither processors nor disk wait. Memory: as many batches of
//! at most [`BATCH_BYTES`] as there are at once, and what the volume needs to store them.

use std::path::{Path, PathBuf};

use futures::{FutureExt, Stream, StreamExt};
use holdall::{Bytes, Digest, Entry, Env, ErrorKind, Name, PutItem, PutOptions, Volume};
use serde::Serialize;
use tokio::sync::mpsc;

use super::Stop;
use super::attributes::Kind;
use super::names;
use super::pairs::{Listing, Pair, Pairs};
use super::read::{self, TRIES, UNSTEADY};
use super::walk::{Found, Identity, Item, Walk};
use crate::failure::{Failure, Result};
use crate::problems::Problems;
use crate::progress::Progress;

/// Files below this size are read whole and stored together.
const SMALL: u64 = 1 << 20;
/// Files from this size on take long.
const HUGE: u64 = 64 << 20;
/// What one batch holds at the most.
const BATCH_BYTES: u64 = 4 << 20;
const BATCH_ITEMS: usize = 1024;
/// What a file costs beside its bytes.
const ITEM_BYTES: u64 = 512;
/// How many batches or large files are under way at once.
const AT_ONCE: usize = 4;
/// How many entries are deleted at once.
const DELETE_ITEMS: usize = 1000;

/// What to import.
#[derive(Debug)]
pub(crate) struct Import {
    pub(crate) volume: Volume,
    pub(crate) env: Env,
    pub(crate) root: PathBuf,
    pub(crate) prefix: String,
    pub(crate) except: Vec<Identity>,
    /// Whether files that look unchanged are read, and their digests compared.
    pub(crate) checksum: bool,
    /// Whether entries are deleted that are gone from the tree.
    pub(crate) delete: bool,
    pub(crate) stop: Stop,
    pub(crate) progress: Progress,
    pub(crate) problems: Problems,
}

/// What an import did.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Summary {
    pub(crate) files: u64,
    pub(crate) directories: u64,
    pub(crate) symlinks: u64,
    pub(crate) bytes: u64,
    pub(crate) unchanged: u64,
    pub(crate) stored: u64,
    pub(crate) stored_bytes: u64,
    pub(crate) deleted: u64,
}

/// One thing to do.
#[derive(Debug)]
enum Work {
    /// Read these, and store them together.
    Batch(Vec<Wanted>),
    /// Read this large file as a stream.
    Large(Wanted),
    /// Remove these.
    Delete(Vec<Name>),
}

/// A file to be stored.
#[derive(Debug)]
struct Wanted {
    item: Item,
    name: Name,
    /// The entry's digest: the file looks the same, so it is stored only if that differs.
    unless: Option<Digest>,
}

impl Import {
    /// Imports. On Ctrl-C it ends early, whole as far as it got.
    pub(crate) async fn run(&self) -> Result<Summary> {
        if self.progress.is_shown() {
            let (walk, progress) = (self.walk(), self.progress.clone());
            let total = self.env.blocking(move || walk.measure());
            self.env.spawn(total.map(move |total| {
                if let Ok(Some(total)) = total {
                    progress.total(total);
                }
            }));
        }
        let (sender, receiver) = mpsc::channel(1);
        let (planned, stored) = futures::join!(self.plan(sender), self.store_all(receiver));
        let (mut summary, stored) = (planned?, stored?);
        summary.stored = stored.stored;
        summary.stored_bytes = stored.stored_bytes;
        summary.deleted = stored.deleted;
        summary.unchanged += stored.unchanged;
        Ok(summary)
    }

    fn walk(&self) -> Walk {
        Walk {
            root: self.root.clone(),
            prefix: self.prefix.clone(),
            except: self.except.clone(),
            stop: self.stop.clone(),
        }
    }

    /// Compares tree and volume, and hands on what is to be done.
    async fn plan(&self, work: mpsc::Sender<Work>) -> Result<Summary> {
        let listing = Listing::new(self.volume.view(), &self.prefix);
        let mut pairs = Pairs::new(self.walk().start(&self.env), listing);
        let mut plan = Plan {
            import: self,
            work,
            batch: Vec::new(),
            bytes: 0,
            gone: Vec::new(),
            unread: Vec::new(),
            summary: Summary::default(),
        };
        let planned = plan.all(&mut pairs).await;
        if planned.is_err() {
            self.stop.now();
        }
        planned.map(|()| plan.summary)
    }

    async fn store_all(&self, mut work: mpsc::Receiver<Work>) -> Result<Summary> {
        let mut summary = Summary::default();
        let mut first_error = None;
        let work = futures::stream::poll_fn(move |context| work.poll_recv(context));
        let mut done = work.map(|work| self.apart(work)).buffer_unordered(AT_ONCE);
        while let Some(done) = done.next().await {
            match done {
                Ok(done) => {
                    summary.stored += done.stored;
                    summary.stored_bytes += done.stored_bytes;
                    summary.unchanged += done.unchanged;
                    summary.deleted += done.deleted;
                }
                Err(failure) => {
                    // What is under way ends; nothing new begins.
                    self.stop.now();
                    first_error.get_or_insert(failure);
                }
            }
        }
        first_error.map_or(Ok(summary), Err)
    }

    /// Does one thing as a task of its own, so that several processors have something to do.
    fn apart(&self, work: Work) -> impl Future<Output = Result<Summary>> + use<> {
        let storing = Storing {
            volume: self.volume.clone(),
            env: self.env.clone(),
            stop: self.stop.clone(),
            progress: self.progress.clone(),
            problems: self.problems.clone(),
        };
        let (sender, receiver) = futures::channel::oneshot::channel();
        self.env.spawn(async move {
            // If nobody waits any more, nobody wants to know.
            drop(sender.send(storing.run(work).await));
        });
        async move { receiver.await.unwrap_or(Err(Failure::Interrupted)) }
    }
}

/// Decides what is to be done.
struct Plan<'a> {
    import: &'a Import,
    work: mpsc::Sender<Work>,
    batch: Vec<Wanted>,
    bytes: u64,
    gone: Vec<Name>,
    /// Names that could not be read, or what they begin with: what the volume has of them stays.
    unread: Vec<String>,
    summary: Summary,
}

impl Plan<'_> {
    async fn all(&mut self, pairs: &mut Pairs<impl Stream<Item = Found> + Unpin>) -> Result<()> {
        while let Some(pair) = pairs.next().await? {
            if self.import.stop.asked() {
                return Ok(());
            }
            match pair {
                Pair::Tree(Found::Item(item)) => self.store(item, None).await?,
                Pair::Both(Found::Item(item), entry) => self.compare(item, &entry).await?,
                Pair::Tree(Found::Problem { name, path, message })
                | Pair::Both(Found::Problem { name, path, message }, ..) => {
                    self.import.problems.add(&path.to_string_lossy(), &message);
                    self.unread.push(name);
                }
                Pair::Volume(name) => self.missing(name).await?,
            }
        }
        // A walk that was stopped looks like a tree that ends early.
        if self.import.stop.asked() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        self.hand_on(Work::Batch(batch)).await;
        let gone = std::mem::take(&mut self.gone);
        self.hand_on(Work::Delete(gone)).await;
        Ok(())
    }

    async fn compare(&mut self, item: Item, entry: &Entry) -> Result<()> {
        let same = item.attributes.differences(item.size, entry).is_empty();
        match (same, self.import.checksum && item.attributes.kind == Kind::File) {
            (false, _) => self.store(item, None).await,
            (true, true) => self.store(item, Some(entry.digest)).await,
            (true, false) => {
                self.count(&item);
                self.summary.unchanged += 1;
                self.import.progress.add(item.size);
                Ok(())
            }
        }
    }

    fn count(&mut self, item: &Item) {
        match item.attributes.kind {
            Kind::File => self.summary.files += 1,
            Kind::Directory => self.summary.directories += 1,
            Kind::Symlink => self.summary.symlinks += 1,
        }
        self.summary.bytes += item.size;
    }

    async fn store(&mut self, item: Item, unless: Option<Digest>) -> Result<()> {
        let name = match Name::parse(&item.name) {
            Ok(name) => name,
            Err(error) => {
                self.import.problems.add(&item.path.to_string_lossy(), error.message());
                return Ok(());
            }
        };
        self.count(&item);
        if item.size >= HUGE {
            // What was collected so far should not wait for it.
            self.bytes = 0;
            let batch = std::mem::take(&mut self.batch);
            self.hand_on(Work::Batch(batch)).await;
        }
        if item.size >= SMALL {
            self.hand_on(Work::Large(Wanted { item, name, unless })).await;
            return Ok(());
        }
        self.bytes += item.size + ITEM_BYTES;
        self.batch.push(Wanted { item, name, unless });
        if self.bytes >= BATCH_BYTES || self.batch.len() >= BATCH_ITEMS {
            self.bytes = 0;
            let batch = std::mem::take(&mut self.batch);
            self.hand_on(Work::Batch(batch)).await;
        }
        Ok(())
    }

    /// An entry that the tree does not have.
    async fn missing(&mut self, name: Name) -> Result<()> {
        let unread = |unread: &String| {
            name.as_str() == unread
                || (unread.ends_with('/') && name.as_str().starts_with(unread.as_str()))
        };
        if self.unread.iter().any(unread) {
            return Ok(());
        }
        let relative = name.as_str().strip_prefix(&self.import.prefix).unwrap_or_default();
        if !self.import.delete && !was_replaced(&self.import.root, relative) {
            return Ok(());
        }
        self.gone.push(name);
        if self.gone.len() >= DELETE_ITEMS {
            let gone = std::mem::take(&mut self.gone);
            self.hand_on(Work::Delete(gone)).await;
        }
        Ok(())
    }

    async fn hand_on(&mut self, work: Work) {
        let empty = match &work {
            Work::Batch(batch) => batch.is_empty(),
            Work::Delete(names) => names.is_empty(),
            Work::Large(_) => false,
        };
        if !empty {
            // Nobody takes it only after a failure, which has stopped the plan as well.
            drop(self.work.send(work).await);
        }
    }
}

/// Whether the tree has a file where the volume has a directory, or the other way round: the old
/// entry must go, because both cannot be restored.
fn was_replaced(root: &Path, relative: &str) -> bool {
    let Ok(parts) = names::parts(relative) else {
        return false;
    };
    let path = parts.iter().fold(root.to_owned(), |path, part| path.join(part));
    match std::fs::symlink_metadata(path) {
        Ok(found) => found.is_dir() != relative.ends_with('/'),
        Err(error) => error.kind() == std::io::ErrorKind::NotADirectory,
    }
}

/// Reads files and stores them.
struct Storing {
    volume: Volume,
    env: Env,
    stop: Stop,
    progress: Progress,
    problems: Problems,
}

impl Storing {
    async fn run(self, work: Work) -> Result<Summary> {
        match work {
            _ if self.stop.asked() => Ok(Summary::default()),
            Work::Batch(batch) => self.batch(batch).await,
            Work::Large(wanted) => self.large(wanted).await,
            Work::Delete(names) => {
                let deleted = self.volume.delete_many(names).await?;
                Ok(Summary { deleted, ..Summary::default() })
            }
        }
    }

    async fn batch(&self, batch: Vec<Wanted>) -> Result<Summary> {
        let mut summary = Summary::default();
        let (problems, env) = (self.problems.clone(), self.env.clone());
        let read = self.env.blocking(move || read_batch(batch, &env, &problems)).await?;
        summary.unchanged += read.unchanged;
        self.progress.add(read.unchanged_bytes);
        let mut sizes = Vec::with_capacity(read.items.len());
        sizes.extend(read.items.iter().map(|item| (item.name.clone(), item.bytes.len() as u64)));
        if sizes.is_empty() {
            return Ok(summary);
        }
        if let Some((name, _)) = sizes.first() {
            self.progress.message(name.as_str());
        }
        let stored = self.volume.put_many(read.items).await?;
        for ((name, bytes), stored) in sizes.into_iter().zip(stored) {
            match stored {
                Ok(_) => {
                    summary.stored += 1;
                    summary.stored_bytes += bytes;
                    self.progress.add(bytes);
                }
                Err(error) if error.kind() == ErrorKind::Invalid => {
                    self.problems.add(name.as_str(), error.message());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(summary)
    }

    async fn large(&self, wanted: Wanted) -> Result<Summary> {
        let Wanted { item, name, unless } = wanted;
        let path = item.path.to_string_lossy().into_owned();
        let mut summary = Summary::default();
        if let Some(known) = unless {
            let (path, env, stop) = (item.path.clone(), self.env.clone(), self.stop.clone());
            let found = self.env.blocking(move || read::digest(&path, &env, &stop)).await?;
            if found.is_ok_and(|found| found == known) {
                self.progress.add(item.size);
                return Ok(Summary { unchanged: 1, ..summary });
            }
        }
        self.progress.message(name.as_str());
        for attempt in 1..=TRIES {
            let (from, env) = (item.path.clone(), self.env.clone());
            let opened = match self.env.blocking(move || read::open_stream(&from, &env)).await? {
                Ok(opened) => opened,
                Err(message) => {
                    self.problems.add(&path, &message);
                    return Ok(summary);
                }
            };
            let attributes = opened.attributes.encode(item.raw_name.clone());
            let progress = self.progress.clone();
            let told = move |bytes| {
                if attempt == 1 {
                    progress.add(bytes);
                }
            };
            let (stream, reading) = opened.start(&self.env, &self.stop, Box::new(told));
            let options = PutOptions { attributes, ..PutOptions::default() };
            match self.volume.put_stream(&name, stream, options).await {
                Ok(_) => {}
                Err(_) if self.stop.asked() => return Ok(summary),
                Err(error) if reading.failed() => {
                    self.problems.add(&path, &crate::failure::describe(&error));
                    return Ok(summary);
                }
                Err(error) => return Err(error.into()),
            }
            summary.stored = 1;
            summary.stored_bytes = item.size;
            if !reading.changed() {
                return Ok(summary);
            }
        }
        self.problems.add(&path, UNSTEADY);
        Ok(summary)
    }
}

/// Files that were read.
struct ReadBatch {
    items: Vec<PutItem>,
    unchanged: u64,
    unchanged_bytes: u64,
}

fn read_batch(batch: Vec<Wanted>, env: &Env, problems: &Problems) -> ReadBatch {
    let mut read =
        ReadBatch { items: Vec::with_capacity(batch.len()), unchanged: 0, unchanged_bytes: 0 };
    for Wanted { item, name, unless } in batch {
        let (bytes, attributes) = match item.attributes.kind {
            Kind::Directory | Kind::Symlink => (Bytes::new(), item.attributes),
            Kind::File => match read::read_whole(&item, env) {
                Ok(whole) => {
                    if whole.unsteady {
                        problems.add(&item.path.to_string_lossy(), UNSTEADY);
                    }
                    if unless.is_some_and(|known| Digest::of(&whole.bytes) == known) {
                        read.unchanged += 1;
                        read.unchanged_bytes += item.size;
                        continue;
                    }
                    (whole.bytes, whole.attributes)
                }
                Err(message) => {
                    problems.add(&item.path.to_string_lossy(), &message);
                    continue;
                }
            },
        };
        let options =
            PutOptions { attributes: attributes.encode(item.raw_name), ..PutOptions::default() };
        read.items.push(PutItem { name, bytes, options });
    }
    read
}

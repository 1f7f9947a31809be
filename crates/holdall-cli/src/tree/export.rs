//! Restores a directory tree from a volume, as it is or as it was.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use holdall::{Entry, Env, Error, Name, Operation, Reading, View};
use serde::Serialize;

use super::Stop;
use super::attributes::{Attributes, Kind};
use super::names;
use super::pairs::Listing;
use super::restore::{Partial, Restorer};
use crate::failure::{Failure, Result};
use crate::problems::Problems;
use crate::progress::Progress;

/// Entries up to this size are read whole.
const SMALL: u64 = 2 << 20;
/// How many files are written at once.
const AT_ONCE: usize = 8;

/// What to export.
#[derive(Clone, Debug)]
pub(crate) struct Export {
    pub(crate) view: View,
    pub(crate) env: Env,
    pub(crate) prefix: String,
    pub(crate) restorer: Arc<Restorer>,
    pub(crate) stop: Stop,
    pub(crate) progress: Progress,
    pub(crate) problems: Problems,
}

/// What an export did.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Summary {
    pub(crate) files: u64,
    pub(crate) directories: u64,
    pub(crate) symlinks: u64,
    pub(crate) bytes: u64,
    pub(crate) written: u64,
    pub(crate) unchanged: u64,
}

/// One entry to be restored.
#[derive(Debug)]
struct Wanted {
    name: Name,
    entry: Entry,
    parts: Vec<OsString>,
    attributes: Attributes,
}

impl Export {
    /// Exports. On Ctrl-C it ends early; every file that is there is whole.
    pub(crate) async fn run(&self) -> Result<Summary> {
        let mut summary = Summary::default();
        let listing = Listing::new(self.view.clone(), &self.prefix);
        let wanted = futures::stream::try_unfold(listing, async |mut listing| {
            Ok(listing.next().await?.map(|entry| (entry, listing)))
        });
        let wanted = wanted.try_filter_map(async |(name, entry)| Ok(self.want(name, entry)));
        let stopped = self.stop.clone();
        let wanted = wanted.try_take_while(move |_| {
            let go_on = !stopped.asked();
            async move { Ok::<_, Error>(go_on) }
        });
        let mut done = Box::pin(
            wanted
                .map_ok(|wanted| self.clone().restore(wanted))
                .map_err(Failure::from)
                .try_buffer_unordered(AT_ONCE),
        );
        let mut directories = Vec::new();
        while let Some(done) = done.try_next().await? {
            match done {
                Restored::Directory(path, attributes) => directories.push((path, attributes)),
                Restored::Symlink { written } => {
                    summary.symlinks += 1;
                    *(if written { &mut summary.written } else { &mut summary.unchanged }) += 1;
                }
                Restored::File { bytes, written } => {
                    summary.files += 1;
                    summary.bytes += bytes;
                    *(if written { &mut summary.written } else { &mut summary.unchanged }) += 1;
                }
                Restored::Nothing => {}
            }
        }
        drop(done);
        summary.directories = directories.len() as u64;
        if !self.stop.asked() {
            self.finish(directories).await?;
        }
        Ok(summary)
    }

    /// Modes and times of directories, from the innermost outwards; then everything to the disk.
    async fn finish(&self, mut directories: Vec<(PathBuf, Attributes)>) -> Result<()> {
        directories.sort_unstable_by(|a, b| b.0.cmp(&a.0));
        let (restorer, problems) = (Arc::clone(&self.restorer), self.problems.clone());
        let finished = self.env.blocking(move || {
            for (path, attributes) in directories {
                if let Err(error) = restorer.finish(&path, &attributes) {
                    let message = format!("cannot be given its mode and time: {error}");
                    problems.add(&path.to_string_lossy(), &message);
                }
            }
            restorer.sync()
        });
        finished.await?.map_err(|error| {
            Error::io(Operation::Put, "cannot make the exported files durable", error).into()
        })
    }

    fn want(&self, name: Name, entry: Entry) -> Option<Wanted> {
        let relative = name.as_str().strip_prefix(&self.prefix).unwrap_or_default();
        let parts = if relative.is_empty() { Ok(Vec::new()) } else { names::parts(relative) };
        let found = parts.map_err(str::to_owned).and_then(|parts| {
            let attributes = Attributes::decode(name.as_str(), &entry)?;
            Ok((parts, attributes))
        });
        match found {
            Ok((parts, attributes)) => Some(Wanted { name, entry, parts, attributes }),
            Err(message) => {
                self.problems.add(name.as_str(), &format!("{message}; it was left out"));
                None
            }
        }
    }

    async fn restore(self, wanted: Wanted) -> Result<Restored> {
        let (name, kind) = (wanted.name.clone(), wanted.attributes.kind);
        let restored = match kind {
            Kind::File => self.file(wanted).await,
            Kind::Directory => {
                let (restorer, attributes) = (Arc::clone(&self.restorer), wanted.attributes);
                let made = self.env.blocking(move || restorer.directory(&wanted.parts)).await?;
                made.map(|path| Restored::Directory(path, attributes)).map_err(Trouble::Disk)
            }
            Kind::Symlink => {
                let restorer = Arc::clone(&self.restorer);
                let link = move || restorer.symlink(&wanted.parts, &wanted.attributes);
                let made = self.env.blocking(link).await?;
                made.map(|written| Restored::Symlink { written }).map_err(Trouble::Disk)
            }
        };
        match restored {
            Ok(restored) => Ok(restored),
            Err(Trouble::Disk(error)) if is_full(&error) => {
                let message = "there is no room for the exported files; free some";
                Err(Error::io(Operation::Put, message, error).into())
            }
            Err(Trouble::Disk(error)) => {
                self.problems.add(name.as_str(), &format!("cannot be written: {error}"));
                Ok(Restored::Nothing)
            }
            // One damaged entry does not keep the others from being restored.
            Err(Trouble::Store(error)) if error.kind() == holdall::ErrorKind::Corrupt => {
                self.problems.add(name.as_str(), &crate::failure::describe(&error));
                Ok(Restored::Nothing)
            }
            Err(Trouble::Store(error)) => Err(error.into()),
            Err(Trouble::Stopped) => Ok(Restored::Nothing),
        }
    }

    async fn file(&self, wanted: Wanted) -> Result<Restored, Trouble> {
        let Wanted { name, entry, parts, attributes } = wanted;
        let bytes = entry.size;
        let (restorer, there) = (Arc::clone(&self.restorer), attributes.clone());
        let (parts, partial) = self
            .env
            .blocking(move || match restorer.has(&parts, bytes, &there) {
                Ok(true) => Ok((parts, None)),
                Ok(false) => restorer.begin(&parts).map(|partial| (parts, Some(partial))),
                Err(error) => Err(error),
            })
            .await??;
        drop(parts);
        let Some(partial) = partial else {
            self.progress.add(bytes);
            return Ok(Restored::File { bytes, written: false });
        };
        self.progress.message(name.as_str());
        let reading = self.view.open(&name, entry);
        let partial = self.fill(partial, reading).await?;
        let restorer = Arc::clone(&self.restorer);
        self.env.blocking(move || restorer.end(partial, &attributes)).await??;
        Ok(Restored::File { bytes, written: true })
    }

    /// Writes an entry's bytes, or leaves nothing.
    async fn fill(&self, partial: Partial, reading: Reading) -> Result<Partial, Trouble> {
        let mut partial = Some(partial);
        let filled = self.pour(&mut partial, reading).await;
        match (filled, partial) {
            (Ok(()), Some(partial)) => Ok(partial),
            (Ok(()), None) => Err(Trouble::Stopped),
            (Err(trouble), partial) => {
                partial.into_iter().for_each(Partial::abandon);
                Err(trouble)
            }
        }
    }

    async fn pour(&self, partial: &mut Option<Partial>, reading: Reading) -> Result<(), Trouble> {
        let mut write = async |bytes: holdall::Bytes| -> Result<(), Trouble> {
            let Some(mut file) = partial.take() else {
                return Err(Trouble::Stopped);
            };
            let count = bytes.len() as u64;
            let (file, written) = self
                .env
                .blocking(move || {
                    let written = file.write(&bytes);
                    (file, written)
                })
                .await?;
            *partial = Some(file);
            written?;
            self.progress.add(count);
            Ok(())
        };
        if reading.entry().size <= SMALL {
            return write(reading.bytes().await?).await;
        }
        let mut stream = Box::pin(reading.stream());
        while let Some(piece) = stream.next().await {
            if self.stop.asked() {
                return Err(Trouble::Stopped);
            }
            write(piece?).await?;
        }
        Ok(())
    }
}

/// What was restored.
#[derive(Debug)]
enum Restored {
    Directory(PathBuf, Attributes),
    Symlink {
        written: bool,
    },
    File {
        bytes: u64,
        written: bool,
    },
    /// Nothing: why was reported.
    Nothing,
}

/// Why a file was not restored.
#[derive(Debug)]
enum Trouble {
    Disk(std::io::Error),
    Store(Error),
    Stopped,
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self::Disk(error)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

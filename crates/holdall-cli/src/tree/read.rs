//! Reads files for an import: small ones whole, large ones as a stream.
//!
//! A file that changes while it is read is read again, up to three times; then it is stored as it
//! was read last, and reported. Its attributes are those from before it was read, so that the next
//! import finds it changed and reads it once more.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::Stream;
use futures::executor::block_on;
use holdall::{Bytes, Digest, Env, Error, Operation, Timestamp};
use rustix::fs::OFlags;
use tokio::sync::mpsc;

use super::Stop;
use super::attributes::{Attributes, Kind};
use super::walk::{Item, reading_failed};

/// How often a file is read that changes meanwhile.
pub(crate) const TRIES: usize = 3;
/// How many bytes of a large file are read at once, and how many such pieces ahead.
const PIECE: usize = 1 << 20;
const AHEAD: usize = 4;

/// For so long after a file was modified, it may be modified again without its time showing it:
/// systems count such times in ticks. So it is not read before that.
const TICK: Duration = Duration::from_millis(20);

/// What to say of a file that never stayed the same.
pub(crate) const UNSTEADY: &str = "changed each time it was read; it was stored as read last";

/// What a file was when it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl State {
    fn of(file: &File) -> io::Result<(Self, std::fs::Metadata)> {
        let metadata = file.metadata()?;
        let state = Self {
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        };
        Ok((state, metadata))
    }
}

/// Opens a file for reading, unless something else has taken its place.
fn open(path: &Path, env: &Env) -> io::Result<(File, State, Attributes)> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let (state, metadata) = State::of(&file)?;
    if !metadata.is_file() {
        let message = "something else has taken its place; import it again";
        return Err(io::Error::other(message));
    }
    let modified = u64::try_from(metadata.mtime()).unwrap_or(0).saturating_mul(1_000_000)
        + u64::try_from(metadata.mtime_nsec() / 1000).unwrap_or(0);
    let modified = Timestamp::from_micros(modified);
    let old_enough = modified.plus(TICK);
    if (modified..old_enough).contains(&env.now()) {
        block_on(env.sleep(TICK));
        let (state, metadata) = State::of(&file)?;
        return Ok((file, state, Attributes::of(&metadata, Kind::File, None)));
    }
    Ok((file, state, Attributes::of(&metadata, Kind::File, None)))
}

/// A small file, read whole.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) bytes: Bytes,
    pub(crate) attributes: Attributes,
    /// Whether it changed each time it was read.
    pub(crate) unsteady: bool,
}

/// Reads a small file, or says why that cannot be.
pub(crate) fn read_whole(item: &Item, env: &Env) -> Result<Whole, String> {
    let read = || -> io::Result<(Whole, bool)> {
        let (mut file, state, attributes) = open(&item.path, env)?;
        let mut bytes = Vec::with_capacity(usize::try_from(state.size).unwrap_or(0).min(PIECE));
        // No more than there was: a file may grow for ever.
        (&mut file).take(state.size).read_to_end(&mut bytes)?;
        let steady = State::of(&file)?.0 == state && bytes.len() as u64 == state.size;
        Ok((Whole { bytes: Bytes::from(bytes), attributes, unsteady: !steady }, steady))
    };
    for _ in 1..TRIES {
        let (whole, steady) = read().map_err(|error| reading_failed(&error))?;
        if steady {
            return Ok(whole);
        }
    }
    read().map(|(whole, _)| whole).map_err(|error| reading_failed(&error))
}

/// The digest of a file's bytes.
pub(crate) fn digest(path: &Path, env: &Env, stop: &Stop) -> Result<Digest, String> {
    let read = || -> io::Result<Digest> {
        let (mut file, ..) = open(path, env)?;
        let mut hasher = blake3::Hasher::new();
        let mut piece = vec![0; PIECE];
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(Digest(*hasher.finalize().as_bytes())),
                bytes if !stop.asked() => drop(hasher.update(&piece[..bytes])),
                _ => return Err(io::Error::other("interrupted")),
            }
        }
    };
    read().map_err(|error| reading_failed(&error))
}

/// A large file, being read.
#[derive(Debug)]
pub(crate) struct Streamed {
    file: File,
    state: State,
    pub(crate) attributes: Attributes,
}

/// How the reading of a large file went. Settled once its stream has ended.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    changed: AtomicBool,
    failed: AtomicBool,
}

impl Reading {
    /// Whether the file changed while it was read.
    pub(crate) fn changed(&self) -> bool {
        self.changed.load(Ordering::Acquire)
    }

    /// Whether it was the file that failed, and not the store.
    pub(crate) fn failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }
}

/// Opens a large file.
pub(crate) fn open_stream(path: &Path, env: &Env) -> Result<Streamed, String> {
    let opened = open(path, env).map_err(|error| reading_failed(&error))?;
    let (file, state, attributes) = opened;
    Ok(Streamed { file, state, attributes })
}

impl Streamed {
    /// The file's bytes, read ahead in a thread of their own. `read` is told of each piece.
    pub(crate) fn start(
        self,
        env: &Env,
        stop: &Stop,
        told: Box<dyn Fn(u64) + Send>,
    ) -> (impl Stream<Item = holdall::Result<Bytes>> + Send + use<>, Arc<Reading>) {
        let (sender, mut receiver) = mpsc::channel(AHEAD);
        let reading = Arc::new(Reading::default());
        let (outcome, stop) = (Arc::clone(&reading), stop.clone());
        let job = env.blocking(move || {
            let send = |piece| sender.blocking_send(piece).is_ok();
            if let Err(error) = self.read(&outcome, &stop, &*told, &send) {
                outcome.failed.store(true, Ordering::Release);
                let error = Error::io(Operation::Get, "a file cannot be read", error);
                send(Err(error));
            }
        });
        // The thread ends with the file, or when nobody listens any more.
        drop(job);
        (futures::stream::poll_fn(move |context| receiver.poll_recv(context)), reading)
    }

    fn read(
        mut self,
        outcome: &Reading,
        stop: &Stop,
        told: &dyn Fn(u64),
        send: &dyn Fn(holdall::Result<Bytes>) -> bool,
    ) -> io::Result<()> {
        let mut total = 0;
        loop {
            if stop.asked() {
                return Err(io::Error::other("interrupted"));
            }
            let mut piece = Vec::with_capacity(PIECE);
            (&mut self.file).take(PIECE as u64).read_to_end(&mut piece)?;
            if piece.is_empty() {
                break;
            }
            let bytes = piece.len() as u64;
            total += bytes;
            if !send(Ok(Bytes::from(piece))) {
                return Ok(());
            }
            told(bytes);
        }
        let changed = State::of(&self.file)?.0 != self.state || total != self.state.size;
        outcome.changed.store(changed, Ordering::Release);
        Ok(())
    }
}

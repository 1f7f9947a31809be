//! The leader's work: decide on a group of op-sets, write it to the journal, show it, answer.
//!
//! Order is everything here. Expectations are decided against what is durable plus what comes
//! earlier in the same group. Nothing is shown to readers, and nobody is answered, before the
//! record is on the disk. The answer to a failed expectation waits too, because it may rest on a
//! set of the same group.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::channel::oneshot;
use holdall_core::{Error, Expect, Key, Op, Operation, Result, Revision};

use super::file::JournalFile;
use super::format::{self, Encoder, HEADER_BYTES, Sealed};
use super::overlay::Overlay;
use super::queue::{Group, Verdict, Write};
use super::{Shared, flush, lock, spare};

/// The end of the journal. Only the leader has it.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) file: JournalFile,
    /// Which journal this is.
    pub(crate) journal: u64,
    /// The sequence number of the last record.
    pub(crate) sequence: u64,
    /// The last revision given out.
    pub(crate) revision: u64,
}

/// How often a leader looks for the next writer before it ends. Who was just answered often
/// writes again at once, and starting another leader costs 4 to 20 µs, a look less than one.
const LOOKS: u32 = 64;

/// Commits until nobody waits. Runs as a blocking job.
pub(crate) fn lead(shared: &Arc<Shared>) {
    let unfinished = Unfinished(shared);
    let mut writer = lock(&shared.writer);
    loop {
        while let Some(group) = shared.next_group() {
            if let Some(group) = writer.work(shared, group)
                && shared.stall(group)
            {
                std::mem::forget(unfinished);
                return;
            }
        }
        let found = (0..LOOKS).any(|_| {
            std::thread::yield_now();
            !lock(&shared.queue).is_empty()
        });
        if !found && lock(&shared.queue).end_leading() {
            break;
        }
    }
    std::mem::forget(unfinished);
}

/// Refuses all writes if the leader ends by a panic: nobody would lead any more.
struct Unfinished<'a>(&'a Arc<Shared>);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.0.poison("the committing job ended unexpectedly");
    }
}

/// A writer's answer, until it can be given.
type Answer = (oneshot::Sender<Result<Verdict>>, Result<Verdict>);

impl Writer {
    /// Gives back what must wait for a flush.
    fn work(&mut self, shared: &Arc<Shared>, group: Group) -> Option<Group> {
        match group {
            Group::Writes(writes, bytes) => match self.make_room(shared, bytes) {
                Ok(true) => {
                    self.commit(shared, writes, bytes);
                    spare::prepare(shared, self.file.end());
                    None
                }
                Ok(false) => Some(Group::Writes(writes, bytes)),
                Err(error) => {
                    for write in writes {
                        drop(write.answer.send(Err(error.clone())));
                    }
                    None
                }
            },
            Group::Flush(answer) => self.begin_flush(shared, answer).map(Group::Flush),
        }
    }

    fn begin_flush(
        &mut self,
        shared: &Arc<Shared>,
        answer: oneshot::Sender<Result<Option<u64>>>,
    ) -> Option<oneshot::Sender<Result<Option<u64>>>> {
        let (empty, flushing) = {
            let overlay = shared.overlay();
            (overlay.active().is_empty(), overlay.flushing().map(|rows| rows.number()))
        };
        let begun = match (empty, flushing) {
            (true, flushing) => Ok(flushing),
            (false, Some(_)) => return Some(answer),
            (false, None) => self.rotate(shared).map(|()| Some(self.file.number() - 1)),
        };
        drop(answer.send(begun));
        None
    }

    /// Makes sure that a payload of this size can be written: begins the next generation if this
    /// one is full. `false` if that must wait for a flush.
    fn make_room(&mut self, shared: &Arc<Shared>, payload_bytes: usize) -> Result<bool> {
        let record_bytes = format::padded(HEADER_BYTES + payload_bytes) as u64;
        let over = self.file.end() + record_bytes > shared.settings.journal_bytes;
        let (full, flushing) = {
            let overlay = shared.overlay();
            let full = overlay.active().bytes() >= shared.settings.overlay_bytes;
            (full, overlay.flushing().is_some())
        };
        if self.file.end() > 0 && (over || full) {
            if flushing {
                return Ok(false);
            }
            self.rotate(shared)?;
        }
        match self.file.reserve(shared.disk.as_ref(), record_bytes) {
            Ok(()) => Ok(true),
            Err(error) => self.find_room(shared, record_bytes, error),
        }
    }

    /// The disk is full, but an applied file has room, or soon will.
    fn find_room(&mut self, shared: &Arc<Shared>, record_bytes: u64, error: Error) -> Result<bool> {
        let ready = lock(&shared.spare).ready.is_some();
        let flushing = shared.overlay().flushing().is_some();
        if ready && self.file.end() == 0 {
            self.file = self.next_file(shared, self.file.number())?;
        } else if ready && !flushing {
            self.rotate(shared)?;
        } else {
            return if flushing { Ok(false) } else { Err(error) };
        }
        self.file.reserve(shared.disk.as_ref(), record_bytes).map(|()| true)
    }

    fn next_file(&self, shared: &Shared, number: u64) -> Result<JournalFile> {
        let mut spare = lock(&shared.spare);
        let next = JournalFile::create(&shared.folder, number, &mut spare.ready);
        next.map_err(|source| {
            let message = "cannot make the next journal file; free some room on its disk";
            Error::io(Operation::Apply, message, source)
        })
    }

    /// Begins the next generation, and the flush of this one.
    fn rotate(&mut self, shared: &Arc<Shared>) -> Result<()> {
        let next = self.next_file(shared, self.file.number() + 1)?;
        let full = std::mem::replace(&mut self.file, next);
        let generation = shared.overlay_mut().rotate();
        let marker = format::Marker {
            journal: self.journal,
            applied: generation.number(),
            sequence: self.sequence,
            revision: self.revision,
        };
        let flush = flush::Flush { generation, marker, files: vec![full] };
        shared.env.spawn(flush.run(Arc::clone(shared)));
        Ok(())
    }

    fn commit(&mut self, shared: &Arc<Shared>, writes: Vec<Write>, payload_bytes: usize) {
        let mut encoder = Encoder::with_capacity(payload_bytes);
        let mut revision = self.revision;
        let answers = decide(&shared.overlay(), writes, &mut encoder, &mut revision);
        if encoder.is_empty() {
            return give(answers);
        }
        let sealed = encoder.seal(self.journal, self.file.number(), self.sequence + 1);
        if let Err(error) = self.file.append(shared.disk.as_ref(), &sealed.bytes) {
            shared.poison("a write to the journal failed");
            return give(answers.into_iter().map(|answer| doubt(answer, &error)).collect());
        }
        self.sequence += 1;
        self.revision = revision;
        let (record, rows) = trimmed(sealed);
        shared.overlay_mut().active_mut().insert(&record, rows);
        give(answers);
    }
}

/// Decides on each op-set in turn, and encodes those that happen.
fn decide(
    overlay: &Overlay,
    writes: Vec<Write>,
    encoder: &mut Encoder,
    revision: &mut u64,
) -> Vec<Answer> {
    // What earlier sets of the group do matters only to conditions.
    let conditional = writes.iter().any(|write| !write.seen.revisions.is_empty());
    let mut earlier: HashMap<Key, Option<u64>> = HashMap::new();
    let mut answers = Vec::with_capacity(writes.len());
    for Write { operation, ops, seen, answer } in writes {
        let current = |at: usize, key: &Key| -> Option<Option<u64>> {
            let known = earlier.get(key).copied().or_else(|| overlay.revision(key));
            let fresh = seen.generation > overlay.applied();
            known.or_else(|| seen.revisions.get(at).copied().flatten().filter(|_| fresh))
        };
        let verdict = match check(operation, &ops, current) {
            Ok(true) if ops.iter().all(|op| matches!(op, Op::Check { .. })) => {
                Ok(Verdict::Done(Revision::number(*revision)))
            }
            Ok(true) => {
                *revision += 1;
                encoder.set(*revision, &ops);
                if conditional {
                    remember(&mut earlier, &ops, *revision);
                }
                Ok(Verdict::Done(Revision::number(*revision)))
            }
            Ok(false) => Ok(Verdict::Stale(ops)),
            Err(error) => Err(error),
        };
        answers.push((answer, verdict));
    }
    answers
}

/// Whether all expectations hold; `false` if that cannot be told.
fn check(
    operation: Operation,
    ops: &[Op],
    current: impl Fn(usize, &Key) -> Option<Option<u64>>,
) -> Result<bool> {
    for (at, op) in ops.iter().enumerate() {
        if *op.expect() == Expect::Any {
            continue;
        }
        let Some(revision) = current(at, op.key()) else {
            return Ok(false);
        };
        if !op.expect().holds(revision.map(Revision::number).as_ref()) {
            let message = "the key has changed since it was read; read it again";
            return Err(Error::conflict(operation, message).with_key(op.key()));
        }
    }
    Ok(true)
}

fn remember(earlier: &mut HashMap<Key, Option<u64>>, ops: &[Op], revision: u64) {
    for op in ops {
        let revision = match op {
            Op::Put { .. } => Some(revision),
            Op::Delete { .. } => None,
            Op::Check { .. } => continue,
        };
        earlier.insert(op.key().clone(), revision);
    }
}

/// What a decided writer gets to know when the journal could not be written.
fn doubt((sender, verdict): Answer, cause: &io::Error) -> Answer {
    let verdict = match verdict {
        Ok(Verdict::Done(_)) => {
            let message = "the journal could not be written, so this write may have happened or \
                           not; open the store again and look";
            let cause = io::Error::new(cause.kind(), cause.to_string());
            Err(Error::unknown(Operation::Apply, message).with_source(cause))
        }
        other => other,
    };
    (sender, verdict)
}

fn give(answers: Vec<Answer>) {
    for (sender, verdict) in answers {
        // Who has gone no longer wants the answer.
        drop(sender.send(verdict));
    }
}

/// The record without its filling: the overlay's rows are slices of it, and small records would
/// otherwise be mostly filling.
fn trimmed(sealed: Sealed) -> (Bytes, Vec<format::PlacedRow>) {
    let Sealed { mut bytes, used, rows } = sealed;
    bytes.truncate(used);
    if bytes.capacity() > used + used / 4 {
        bytes.shrink_to_fit();
    }
    (Bytes::from(bytes), rows)
}

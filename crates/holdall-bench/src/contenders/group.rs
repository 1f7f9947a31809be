//! Group commit for engines that have none: one thread commits for all who wait.
//!
//! With one writer there is no such thread: it commits by itself, which is the fastest that each
//! of these engines can be.

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use async_trait::async_trait;
use bytes::Bytes;
use futures::channel::oneshot;

use super::Store;
use crate::Result;

/// A name and its bytes.
pub type Record = (String, Bytes);

/// The most records of one commit.
const RECORDS_MAX: usize = 4096;

/// An engine that commits records together, durably.
pub trait Engine: Send + 'static {
    /// Who it is.
    const NAME: &'static str;
    /// What a commit does.
    const DURABILITY: &'static str;

    /// Commits these records; they are durable when it returns.
    ///
    /// # Errors
    /// If nothing, or not everything, is committed.
    fn commit(&mut self, records: &[Record]) -> Result<()>;

    /// Reads one record.
    ///
    /// # Errors
    /// If it cannot be read.
    fn get(&mut self, name: &str) -> Result<Option<Bytes>>;
}

type Answer = oneshot::Sender<Result<(), String>>;

/// An engine, with a committing thread if there are several writers.
pub struct Grouped<E> {
    engine: Arc<Mutex<E>>,
    queue: Option<mpsc::Sender<(Record, Answer)>>,
}

impl<E: Engine> Grouped<E> {
    /// An engine for so many writers.
    pub fn new(engine: E, writers: usize) -> Self {
        let engine = Arc::new(Mutex::new(engine));
        let queue = (writers > 1).then(|| {
            let (sender, receiver) = mpsc::channel();
            let engine = Arc::clone(&engine);
            // It ends with the last sender.
            thread::spawn(move || commit_all(&engine, &receiver));
            sender
        });
        Self { engine, queue }
    }
}

fn commit_all<E: Engine>(engine: &Mutex<E>, queue: &mpsc::Receiver<(Record, Answer)>) {
    let (mut records, mut answers) = (Vec::new(), Vec::new());
    while let Ok(first) = queue.recv() {
        let group = std::iter::once(first).chain(queue.try_iter()).take(RECORDS_MAX);
        for (record, answer) in group {
            records.push(record);
            answers.push(answer);
        }
        let done = engine.lock().unwrap_or_else(PoisonError::into_inner).commit(&records);
        let done = done.map_err(|error| error.to_string());
        for answer in answers.drain(..) {
            // Who no longer waits needs no answer.
            drop(answer.send(done.clone()));
        }
        records.clear();
    }
}

#[async_trait]
impl<E: Engine> Store for Grouped<E> {
    fn name(&self) -> &'static str {
        E::NAME
    }

    fn durability(&self) -> &'static str {
        E::DURABILITY
    }

    async fn put(&self, name: &str, bytes: Bytes) -> Result<()> {
        let record = (name.to_owned(), bytes);
        let Some(queue) = &self.queue else {
            let mut engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
            return engine.commit(std::slice::from_ref(&record));
        };
        let (answer, done) = oneshot::channel();
        queue.send((record, answer)).map_err(|_| "the committing thread has ended")?;
        Ok(done.await??)
    }

    async fn get(&self, name: &str) -> Result<Option<Bytes>> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner).get(name)
    }

    async fn remove(&self, name: &str) -> Result<()> {
        Err(format!("{}: {name} stays; no row removes small records", E::NAME).into())
    }

    async fn settle(&self) -> Result<()> {
        Ok(())
    }
}

//! What a service really does, tried out when it is opened.
//!
//! An operator says what its service is thought to be able to do. That conditions are kept when
//! many write at once, and that nobody sees a part of a value, it does not say.

use futures::future;
use holdall_core::{Bytes, Conditions, Error, ErrorKind, Operation, Result};
use opendal::options::{DeleteOptions, ListOptions, WriteOptions};
use opendal::{Buffer, ErrorKind as Cause};

use crate::error::{reading, writing};
use crate::head::{HEAD_BYTES, Head};
use crate::names::PROBE_FOLDER;
use crate::{Identity, OpenDal};

/// How many write at once, and how often.
const RACERS: usize = 12;
const ROUNDS: usize = 4;

/// Paths whose order tells byte order from others, as those of keys are made.
const PATHS: [&str; 5] = ["41", "61", "612d", "612d~/2f", "612e"];

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) conditions: Conditions,
    /// Why there are no more conditions.
    pub(crate) lack: &'static str,
    pub(crate) identity: Identity,
    /// Whether names are listed in the order of their bytes.
    pub(crate) ordered: bool,
}

impl OpenDal {
    /// Tries the service out, and removes what that wrote.
    pub(crate) async fn probe(&mut self) -> Result<Found> {
        let run = self.env.random::<8>().map(|byte| format!("{byte:02x}")).concat();
        let folder = format!("{PROBE_FOLDER}{run}/");
        let found = self.try_out(&folder).await;
        let removed = self.tidy(&folder).await;
        let found = found?;
        removed?;
        Ok(found)
    }

    async fn try_out(&mut self, folder: &str) -> Result<Found> {
        self.reads_follow_writes(&format!("{folder}value")).await?;
        self.hides_parts(&format!("{folder}part")).await?;
        let ordered = self.lists(&format!("{folder}names/")).await?;
        self.identity = self.identity_kept(&format!("{folder}identity")).await?;
        let (conditions, lack) = self.conditions(folder).await?;
        Ok(Found { conditions, lack, identity: self.identity, ordered })
    }

    /// A value is there once its write has returned.
    async fn reads_follow_writes(&self, path: &str) -> Result<()> {
        for value in ["one", "two"] {
            self.must_put(path, value).await.map_err(|error| {
                if error.kind() != ErrorKind::Denied {
                    return error;
                }
                let message = "the credentials do not suffice to write, which opening tries; mend \
                               them, or to read alone open without the probe and conditions";
                Error::denied(Operation::Open, message).with_source(error)
            })?;
            if self.value(path).await? != Some(Bytes::from(value)) {
                return Err(unfit("does not show what was just written"));
            }
        }
        Ok(())
    }

    /// Nobody sees a value before it is whole.
    async fn hides_parts(&self, path: &str) -> Result<()> {
        if !self.operator.info().capability().write_can_multi {
            return Ok(());
        }
        self.must_put(path, "first").await?;
        let failed = |error: opendal::Error| reading(Operation::Open, &error);
        let mut writer = self.operator.writer(path).await.map_err(failed)?;
        let sent = async {
            for _ in 0..2 {
                writer.write(Buffer::from(vec![0; 64 << 10])).await?;
            }
            Ok(())
        };
        let sent = sent.await.map_err(failed);
        let seen = self.raw(Operation::Open, path, ..).await;
        // Not all services can; what it wrote is removed with the rest.
        let _ = writer.abort().await;
        sent?;
        let size = HEAD_BYTES as usize + "first".len();
        if seen?.is_some_and(|(bytes, _)| bytes.len() == size && Head::decode(&bytes).is_some()) {
            return Ok(());
        }
        let message = "shows parts of a value that is being written; if it keeps files, give it a \
                       folder in which to write them first (`atomic_write_dir`)";
        Err(unfit(message))
    }

    /// A listing shows what was written; says whether in order.
    async fn lists(&self, folder: &str) -> Result<bool> {
        for name in PATHS {
            self.must_put(&format!("{folder}{name}"), name).await?;
        }
        let found = self.found(folder).await?;
        let names = found.iter().filter_map(|path| path.strip_prefix(folder));
        let listed: Vec<&str> =
            names.filter(|name| !name.is_empty() && !name.ends_with('/')).collect();
        let mut sorted = listed.clone();
        sorted.sort_unstable();
        if sorted != PATHS {
            return Err(unfit("does not list what was just written"));
        }
        Ok(listed == sorted)
    }

    async fn found(&self, folder: &str) -> Result<Vec<String>> {
        let options = ListOptions { recursive: true, ..ListOptions::default() };
        match self.operator.list_options(folder, options).await {
            Ok(entries) => Ok(entries.iter().map(|entry| entry.path().to_owned()).collect()),
            Err(error) if error.kind() == Cause::NotFound => Ok(Vec::new()),
            Err(error) => Err(reading(Operation::Open, &error)),
        }
    }

    /// Whether the service has a word for every state of a value, and never the same for two.
    async fn identity_kept(&self, path: &str) -> Result<Identity> {
        let mut words = Vec::new();
        for value in ["one", "two"] {
            self.must_put(path, value).await?;
            let seen = self.head(Operation::Open, path).await?;
            words.extend(seen.and_then(|seen| seen.identity));
        }
        let told = matches!(words.as_slice(), [first, second] if first != second);
        Ok(if told { self.identity } else { Identity::None })
    }

    async fn conditions(&self, folder: &str) -> Result<(Conditions, &'static str)> {
        if let Some(lack) = self.creating(folder).await? {
            return Ok((Conditions::None, lack));
        }
        match self.updating(folder).await? {
            Some(lack) => Ok((Conditions::Absent, lack)),
            None => Ok((Conditions::Revision, "")),
        }
    }

    /// What is wrong with creating, if something is.
    async fn creating(&self, folder: &str) -> Result<Option<&'static str>> {
        if !self.operator.info().capability().write_with_if_not_exists {
            return Ok(Some("does not create under a condition"));
        }
        let create = || WriteOptions { if_not_exists: true, ..WriteOptions::default() };
        let path = format!("{folder}create");
        if let Err(error) = self.put(&path, "first", create()).await {
            return cannot(&error, "refuses to create under a condition");
        }
        let again = self.put(&path, "second", create()).await;
        let kept = self.value(&path).await? == Some(Bytes::from("first"));
        if !kept || !again.is_err_and(|error| error.kind() == Cause::ConditionNotMatch) {
            return Ok(Some("overwrites where it was told to create"));
        }
        for round in 0..ROUNDS {
            if self.race(&format!("{folder}create-{round}"), &create()).await? != Some(1) {
                return Ok(Some("lets more than one of many racing creators win"));
            }
        }
        Ok(None)
    }

    /// What is wrong with writing and removing where a revision is, if something is.
    async fn updating(&self, folder: &str) -> Result<Option<&'static str>> {
        let able = self.operator.info().capability();
        let asked = match self.identity {
            Identity::None => return Ok(Some("has no word for the state of a value")),
            Identity::ETag => able.write_with_if_match && able.delete_with_if_match,
            Identity::Version => {
                able.write_with_if_version_match && able.delete_with_if_version_match
            }
        };
        if !asked {
            return Ok(Some("does not write and remove where a revision is expected"));
        }
        let path = format!("{folder}update");
        self.must_put(&path, "first").await?;
        let stale = self.current(&path).await?;
        if let Err(error) = self.put(&path, "second", self.guarded(&stale)).await {
            return cannot(&error, "refuses to write where a revision is");
        }
        let refused = self.put(&path, "third", self.guarded(&stale)).await.is_err();
        if !refused || self.value(&path).await? != Some(Bytes::from("second")) {
            return Ok(Some("overwrites where it was told to expect another revision"));
        }
        for _ in 0..ROUNDS {
            let options = self.guarded(&self.current(&path).await?);
            if self.race(&path, &options).await? != Some(1) {
                return Ok(Some("lets more than one of many win who expect one revision"));
            }
        }
        self.removing(&path, stale).await
    }

    async fn removing(&self, path: &str, stale: String) -> Result<Option<&'static str>> {
        let refused = self.erase(path, stale).await.is_err();
        if !refused || self.value(path).await?.is_none() {
            return Ok(Some("removes where it was told to expect another revision"));
        }
        let current = self.current(path).await?;
        let erase = || self.erase(path, current.clone());
        let answers = future::join_all((0..RACERS).map(|_| erase())).await;
        if answers.iter().filter(|answer| answer.is_ok()).count() != 1 {
            return Ok(Some("lets none or more than one of many win who remove one revision"));
        }
        if self.put(path, "fourth", self.guarded(&current)).await.is_ok() {
            return Ok(Some("creates where it was told to expect a revision"));
        }
        Ok(None)
    }

    async fn erase(&self, path: &str, word: String) -> opendal::Result<()> {
        let mut options = DeleteOptions::default();
        match self.identity {
            Identity::Version => options.if_version_match = Some(word),
            Identity::ETag | Identity::None => options.if_match = Some(word),
        }
        self.operator.delete_options(path, options).await
    }

    fn guarded(&self, word: &str) -> WriteOptions {
        let mut options = WriteOptions::default();
        self.guard(word.to_owned(), &mut options);
        options
    }

    async fn current(&self, path: &str) -> Result<String> {
        let seen = self.head(Operation::Open, path).await?;
        seen.and_then(|seen| seen.identity)
            .ok_or_else(|| unfit("says the state of a value at one time and not at another"))
    }

    /// How many of many succeed who write at once; `None` if the value there is no winner's.
    async fn race(&self, path: &str, options: &WriteOptions) -> Result<Option<usize>> {
        // A crowd may be turned away as a whole; then nothing was learnt.
        for _ in 0..ROUNDS {
            let names: Vec<String> = (0..RACERS).map(|racer| racer.to_string()).collect();
            let put = |name: &String| {
                let name = name.clone();
                async move { self.put(path, &name, options.clone()).await }
            };
            let answers = future::join_all(names.iter().map(put)).await;
            let answers = names.iter().zip(&answers);
            let won: Vec<_> =
                answers.filter(|(_, put)| put.is_ok()).map(|(name, _)| name).collect();
            let there = self.value(path).await?;
            match won.as_slice() {
                [] => {}
                [one] if there == Some(Bytes::from((*one).clone())) => return Ok(Some(1)),
                [_] => return Ok(None),
                many => return Ok(Some(many.len())),
            }
        }
        let message = "the service answers none of many who write at once; try again";
        Err(Error::unavailable(Operation::Open, message))
    }

    /// Writes a value with a head, so that no two are ever equal.
    async fn put(&self, path: &str, value: &str, options: WriteOptions) -> opendal::Result<()> {
        let head = Head::new(value.len(), &self.env);
        let bytes = Buffer::from(vec![head.encode(), Bytes::from(value.to_owned())]);
        self.send(path, bytes, options).await
    }

    async fn must_put(&self, path: &str, value: &str) -> Result<()> {
        let put = self.put(path, value, WriteOptions::default()).await;
        put.map_err(|error| reading(Operation::Open, &error))
    }

    async fn value(&self, path: &str) -> Result<Option<Bytes>> {
        Ok(self.whole(Operation::Open, path).await?.map(|object| object.value))
    }

    async fn tidy(&self, folder: &str) -> Result<()> {
        let mut paths = self.found(folder).await?;
        // What lies in a folder goes before it.
        paths.sort_unstable_by(|one, other| other.cmp(one));
        for path in paths {
            let deleted = self.operator.delete(&path).await;
            // Empty folders harm nobody, and not every service has some.
            if !path.ends_with('/') {
                deleted.map_err(|error| writing(Operation::Open, &error))?;
            }
        }
        Ok(())
    }
}

/// A lack, if the service said that it does not offer this; else its error.
fn cannot(error: &opendal::Error, lack: &'static str) -> Result<Option<&'static str>> {
    let error = reading(Operation::Open, error);
    match error.kind() {
        ErrorKind::Unsupported | ErrorKind::Invalid => Ok(Some(lack)),
        _ => Err(error),
    }
}

fn unfit(what: &str) -> Error {
    let message = format!("this service cannot be used: it {what}");
    Error::unsupported(Operation::Open, message)
}

//! Reading: single rows, and many rows of one moment.
//!
//! The store reads up to 100 items of one moment. More are read twice: a row that both times has
//! the same revision did not change in between, because no revision is ever given twice. A key
//! that is missing both times could have come and gone, so deletes are counted, each in the
//! transaction that does it: if no counter moved, nothing came and went.

use std::collections::{BTreeSet, HashMap, HashSet};

use futures::FutureExt;
use holdall_core::{ByteRange, ErrorKind, Key, Object};

use crate::call::{Store, together};
use crate::error::{Failure, Fault};
use crate::names::{Nonce, SHARES, deletes, outcome};
use crate::row::{Item, Row, State, damaged, number, revision};

/// The most items that the store reads or writes in one transaction.
pub(crate) const ITEMS_MAX: usize = 100;
/// How many requests of one call are under way at once.
const AT_ONCE: usize = 8;
/// What tells whether a row has changed.
const HEADS: &str = "k, r, n, w, t, td, tn, tw";

/// Whether a large batch happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Open,
    Happened,
    Cancelled,
}

impl Outcome {
    pub(crate) const fn number(self) -> u64 {
        match self {
            Self::Open => 0,
            Self::Happened => 1,
            Self::Cancelled => 2,
        }
    }
}

/// What is known of the large batches whose marks were met.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    known: HashMap<Nonce, bool>,
    gone: HashSet<Nonce>,
}

impl Store {
    /// What a large batch has come to; nothing if it is over and all its marks were cleared.
    pub(crate) async fn outcome(&self, batch: &Nonce) -> Result<Option<Outcome>, Failure> {
        let Some(item) = self.item(&self.names.meta(), &outcome(batch)).await? else {
            return Ok(None);
        };
        match number(&item, "s")? {
            Some(0) => Ok(Some(Outcome::Open)),
            Some(1) => Ok(Some(Outcome::Happened)),
            Some(2) => Ok(Some(Outcome::Cancelled)),
            _ => Err(damaged()),
        }
    }

    /// Whether the batch of a mark that was just read has happened. `None` if nothing is known of
    /// it: then its marks were cleared meanwhile, or it never will happen. Whoever finds its mark
    /// again after that knows which.
    async fn has_happened(
        &self,
        batch: &Nonce,
        outcomes: &mut Outcomes,
    ) -> Result<Option<bool>, Failure> {
        if let Some(happened) = outcomes.known.get(batch) {
            return Ok(Some(*happened));
        }
        let happened = match self.outcome(batch).await? {
            Some(Outcome::Open) => return Ok(Some(false)),
            Some(outcome) => outcome == Outcome::Happened,
            None if outcomes.gone.insert(*batch) => return Ok(None),
            None => false,
        };
        outcomes.known.insert(*batch, happened);
        Ok(Some(happened))
    }

    /// What is under a key now.
    pub(crate) async fn current(&self, key: &Key) -> Result<Option<State>, Failure> {
        let mut outcomes = Outcomes::default();
        loop {
            let item = self.item(&self.names.row(key), key.as_bytes()).await?;
            let row = item.map_or_else(|| Ok(Row::default()), Row::read)?;
            let Some(mark) = &row.mark else { return Ok(row.state) };
            if let Some(happened) = self.has_happened(&mark.batch, &mut outcomes).await? {
                return Ok(row.settled(happened));
            }
        }
    }

    pub(crate) async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>, Failure> {
        let mut seen = None;
        loop {
            let Some(state) = self.current(key).await? else { return Ok(None) };
            // Whether the range makes sense was looked at before.
            let wanted = range.clip(state.size).map_err(|_| damaged())?;
            if let Some(value) = self.bytes(&state, wanted).await? {
                let (revision, size) = (revision(&state.revision), state.size);
                return Ok(Some(Object { value, revision, size }));
            }
            // The row was replaced before its parts were read; if not, they are lost.
            if seen.replace(state.revision) == Some(state.revision) {
                return Err(damaged());
            }
        }
    }

    pub(crate) async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>, Failure> {
        let distinct: BTreeSet<&Key> = keys.iter().collect();
        let distinct: Vec<&Key> = distinct.into_iter().collect();
        let mut seen: Option<Vec<Option<State>>> = None;
        loop {
            let states = self.moment(&distinct).await?;
            let objects = states.iter().map(|state| self.object(state.as_ref()).boxed());
            let objects = together(objects.collect(), AT_ONCE).await?;
            if let Some(objects) = objects.into_iter().collect::<Option<Vec<Option<Object>>>>() {
                let place = |key| distinct.binary_search(&key).ok();
                let found = |key| place(key).and_then(|place| objects.get(place)?.clone());
                return Ok(keys.iter().map(found).collect());
            }
            if seen.as_ref() == Some(&states) {
                return Err(damaged());
            }
            seen = Some(states);
        }
    }

    /// A value whole; `None` if its parts are gone.
    async fn object(&self, state: Option<&State>) -> Result<Option<Option<Object>>, Failure> {
        let Some(state) = state else { return Ok(Some(None)) };
        let value = self.bytes(state, 0..state.size).await?;
        let (revision, size) = (revision(&state.revision), state.size);
        Ok(value.map(|value| Some(Object { value, revision, size })))
    }

    /// What is under these keys at one moment.
    async fn moment(&self, keys: &[&Key]) -> Result<Vec<Option<State>>, Failure> {
        let places: Vec<Item> =
            keys.iter().map(|key| Self::key(self.names.row(key), key.as_bytes())).collect();
        if places.len() <= ITEMS_MAX
            && let Some(states) = self.moment_at_once(&places).await?
        {
            return Ok(states);
        }
        let (mut outcomes, mut pace) = (Outcomes::default(), self.pace());
        loop {
            if let Some(states) = self.moment_in_two(&places, &mut outcomes).await? {
                return Ok(states);
            }
            if !pace.again().await {
                let message = "others change these keys all the time; ask for fewer, or try again";
                return Err(Failure::new(ErrorKind::Unavailable, message));
            }
        }
    }

    /// One transaction, if it is not too large and meets no marks.
    async fn moment_at_once(&self, places: &[Item]) -> Result<Option<Vec<Option<State>>>, Failure> {
        let items = match self.items(places, None).await {
            Ok(items) => items,
            Err(Fault::TooLarge(_)) => return Ok(None),
            Err(fault) => return Err(fault.failure()),
        };
        let rows = items.into_iter().map(|item| item.map_or(Ok(Row::default()), Row::read));
        let rows = rows.collect::<Result<Vec<Row>, _>>()?;
        let settled = rows.iter().all(|row| row.mark.is_none());
        Ok(settled.then(|| rows.into_iter().map(|row| row.state).collect()))
    }

    /// All rows twice; nothing if they changed meanwhile.
    async fn moment_in_two(
        &self,
        places: &[Item],
        outcomes: &mut Outcomes,
    ) -> Result<Option<Vec<Option<State>>>, Failure> {
        let before = self.deletes().await?;
        let Some(first) = self.collect(places, None, outcomes).await? else { return Ok(None) };
        let Some(second) = self.collect(places, Some(HEADS), outcomes).await? else {
            return Ok(None);
        };
        let name = |state: &Option<State>| state.as_ref().map(|state| state.revision);
        let same = first.iter().map(name).eq(second.iter().map(name));
        let whole = first.iter().all(Option::is_some) || self.deletes().await? == before;
        Ok((same && whole).then_some(first))
    }

    /// The rows one after the other, in transactions of their own; nothing if a mark cannot be
    /// told yet.
    async fn collect(
        &self,
        places: &[Item],
        attributes: Option<&str>,
        outcomes: &mut Outcomes,
    ) -> Result<Option<Vec<Option<State>>>, Failure> {
        let groups = places.chunks(ITEMS_MAX).map(|group| self.rows(group, attributes).boxed());
        let rows = together(groups.collect(), AT_ONCE).await?;
        let rows: Vec<Row> = rows.into_iter().flatten().collect();
        let marks = rows.iter().filter_map(|row| row.mark.as_ref());
        let batches: HashSet<Nonce> = marks.map(|mark| mark.batch).collect();
        let mut happened = HashSet::new();
        for batch in batches {
            match self.has_happened(&batch, outcomes).await? {
                Some(true) => drop(happened.insert(batch)),
                Some(false) => {}
                None => return Ok(None),
            }
        }
        let settle = |row: Row| {
            let happened = row.mark.as_ref().is_some_and(|mark| happened.contains(&mark.batch));
            row.settled(happened)
        };
        Ok(Some(rows.into_iter().map(settle).collect()))
    }

    /// Up to a hundred rows; in several transactions if they are too large for one.
    async fn rows(&self, places: &[Item], attributes: Option<&str>) -> Result<Vec<Row>, Failure> {
        let (mut todo, mut rows) = (vec![places], Vec::with_capacity(places.len()));
        while let Some(group) = todo.pop() {
            match self.items(group, attributes).await {
                Ok(items) => {
                    for item in items {
                        rows.push(item.map_or(Ok(Row::default()), Row::read)?);
                    }
                }
                Err(Fault::TooLarge(_)) if group.len() > 1 => {
                    let (first, second) = group.split_at(group.len() / 2);
                    todo.extend([second, first]);
                }
                Err(fault) => return Err(fault.failure()),
            }
        }
        Ok(rows)
    }

    /// How many deletes there were, by shares.
    async fn deletes(&self) -> Result<Vec<u64>, Failure> {
        let places: Vec<Item> =
            (0..SHARES).map(|share| Self::key(self.names.meta(), &deletes(share))).collect();
        let items = self.items(&places, None).await.map_err(Fault::failure)?;
        let count = |item: Option<Item>| match item {
            Some(item) => number(&item, "n").map(Option::unwrap_or_default),
            None => Ok(0),
        };
        items.into_iter().map(count).collect()
    }

    /// The batches of these rows' marks, each with whether it has happened, as far as that can be
    /// told without reading the rows again.
    pub(crate) async fn happened(
        &self,
        rows: impl Iterator<Item = &Row>,
    ) -> Result<HashMap<Nonce, Option<bool>>, Failure> {
        let marks = rows.filter_map(|row| row.mark.as_ref());
        let batches: HashSet<Nonce> = marks.map(|mark| mark.batch).collect();
        let (mut outcomes, mut happened) = (Outcomes::default(), HashMap::new());
        for batch in batches {
            happened.insert(batch, self.has_happened(&batch, &mut outcomes).await?);
        }
        Ok(happened)
    }
}

//! A tree and a volume side by side, in the order of names.

use std::cmp::Ordering;
use std::collections::VecDeque;

use futures::{Stream, StreamExt};
use holdall::{Entry, ListOptions, Name, Result, View};

use super::walk::Found;

/// How many entries are asked for at once: with inline bytes of at most 64 KiB this bounds memory.
const PAGE: usize = 500;

/// The entries of a volume under a prefix, in order.
#[derive(Debug)]
pub(crate) struct Listing {
    view: View,
    prefix: String,
    ready: VecDeque<(Name, Entry)>,
    after: Option<String>,
    ended: bool,
}

impl Listing {
    /// From the first.
    pub(crate) fn new(view: View, prefix: &str) -> Self {
        let (prefix, ready) = (prefix.to_owned(), VecDeque::new());
        Self { view, prefix, ready, after: None, ended: false }
    }

    /// The next entry.
    pub(crate) async fn next(&mut self) -> Result<Option<(Name, Entry)>> {
        self.fill().await?;
        Ok(self.ready.pop_front())
    }

    /// The name of the next entry, which stays.
    async fn peek(&mut self) -> Result<Option<&str>> {
        self.fill().await?;
        Ok(self.ready.front().map(|(name, _)| name.as_str()))
    }

    async fn fill(&mut self) -> Result<()> {
        while self.ready.is_empty() && !self.ended {
            let mut options = ListOptions::prefix(&self.prefix).limit(PAGE);
            options.after = self.after.take();
            let page = self.view.list(options).await?;
            self.ended = page.next.is_none();
            self.after = page.next;
            self.ready.extend(page.entries);
        }
        Ok(())
    }
}

/// What is under one name.
#[derive(Debug)]
pub(crate) enum Pair {
    /// Only in the tree.
    Tree(Found),
    /// Only in the volume.
    Volume(Name),
    /// In both.
    Both(Found, Entry),
}

/// A tree and a volume side by side.
#[derive(Debug)]
pub(crate) struct Pairs<S> {
    tree: S,
    next: Option<Found>,
    listing: Listing,
}

impl<S: Stream<Item = Found> + Unpin> Pairs<S> {
    /// From the first of both.
    pub(crate) fn new(tree: S, listing: Listing) -> Self {
        Self { tree, next: None, listing }
    }

    /// What is under the next name.
    pub(crate) async fn next(&mut self) -> Result<Option<Pair>> {
        if self.next.is_none() {
            self.next = self.tree.next().await;
        }
        let order = match (&self.next, self.listing.peek().await?) {
            (None, None) => return Ok(None),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(found), Some(name)) => found.name().cmp(name),
        };
        let entry = match order {
            Ordering::Less => None,
            Ordering::Equal | Ordering::Greater => self.listing.next().await?,
        };
        let found = match order {
            Ordering::Greater => None,
            Ordering::Equal | Ordering::Less => self.next.take(),
        };
        Ok(match (found, entry) {
            (Some(found), None) => Some(Pair::Tree(found)),
            (None, Some((name, _))) => Some(Pair::Volume(name)),
            (Some(found), Some((_, entry))) => Some(Pair::Both(found, entry)),
            (None, None) => None,
        })
    }
}

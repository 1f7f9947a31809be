//! The change feed: commits in order, from the catalog or from the log on the data backend.

use std::sync::Arc;

use bytes::Bytes;
use holdall_core::{Error, List, Operation, Result};

use super::ReadContext;
use super::scan::no_value;
use crate::format::entry::Version;
use crate::format::log::{Change, Commit, decode_commits};
use crate::log_reader::{LogItem, read_log};

/// How many rows are read at once: each may hold many commits.
const ROWS: usize = 32;

/// A page ends behind the commit with which it has so many changes.
const CHANGES_MAX: usize = 20_000;

/// Some commits in order, and where to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangePage {
    /// The commits, without inline bytes.
    pub commits: Vec<Commit>,
    /// The last commit of this page, or what was asked for if it is empty: pass it as `after` to
    /// go on.
    pub next: Version,
    /// Whether there are more commits now.
    pub more: bool,
}

/// The commits behind `after`.
pub(super) async fn changes(
    context: &ReadContext,
    after: Version,
    limit: usize,
) -> Result<ChangePage> {
    if limit == 0 {
        let message = "the limit is 0; ask for at least 1 commit";
        return Err(Error::invalid(Operation::List, message));
    }
    let newest = context.head().await?.sequence;
    if after > newest {
        let message = format!("commit {after} is yet to come; the newest is {newest}");
        return Err(Error::invalid(Operation::List, message));
    }
    let page = ChangePage { commits: Vec::new(), next: after, more: false };
    let mut feed = Feed { page, limit, changes: 0 };
    feed.read_catalog(context).await?;
    if feed.page.commits.is_empty() && after < newest {
        feed.read_sealed(context).await?;
    }
    feed.page.more = feed.page.next < newest;
    Ok(feed.page)
}

struct Feed {
    page: ChangePage,
    limit: usize,
    changes: usize,
}

impl Feed {
    /// Takes commits from the catalog, up to a gap or the page's end.
    async fn read_catalog(&mut self, context: &ReadContext) -> Result<()> {
        let first = context.keys.log(self.page.next.saturating_add(1));
        let mut list = List::prefix(context.keys.class('l'))
            .at(first.as_str())
            .limit(ROWS.min(self.limit))
            .with_values();
        loop {
            let page = context.catalog.list(&list).await?;
            for row in &page.rows {
                let Some(object) = &row.object else { return Err(no_value(row)) };
                if !self.add(decode_commits(&row.key, &object.value)?) {
                    return Ok(());
                }
            }
            match page.rows.last() {
                Some(last) if page.more => list = list.after(last.key.as_str()),
                _ => return Ok(()),
            }
        }
    }

    /// Takes commits from the log on the data backend.
    async fn read_sealed(&mut self, context: &ReadContext) -> Result<()> {
        let first = self.page.next + 1;
        let mut log = read_log(Arc::clone(&context.data), context.data_keys.clone(), first);
        while let Some(item) = log.next().await? {
            match item {
                LogItem::Commits(commits) => {
                    if !self.add(commits) {
                        break;
                    }
                }
                LogItem::Gap { .. } => break,
                // Another run may hold the same commits; if none does, a gap follows.
                LogItem::Missing { .. } | LogItem::Damage { .. } => {}
            }
        }
        if !self.page.commits.is_empty() {
            return Ok(());
        }
        let message = format!(
            "commit {first} is no longer kept, neither in the catalog nor in the log; begin anew: \
             note the newest commit, list everything, then follow the changes from that commit on"
        );
        Err(Error::invalid(Operation::List, message))
    }

    /// Adds the commits that come next; false if the page is full or one is missing.
    fn add(&mut self, commits: Vec<Commit>) -> bool {
        for mut commit in commits {
            if commit.sequence <= self.page.next {
                continue;
            }
            let full = self.page.commits.len() >= self.limit || self.changes >= CHANGES_MAX;
            if full || commit.sequence != self.page.next + 1 {
                return false;
            }
            for change in &mut commit.changes {
                if let Change::Put { entry, .. } = change {
                    entry.inline = Bytes::new();
                }
            }
            self.changes += commit.changes.len();
            self.page.next = commit.sequence;
            self.page.commits.push(commit);
        }
        true
    }
}

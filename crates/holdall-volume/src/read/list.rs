//! Listing by prefix and delimiter, in pages.

use holdall_core::{Error, Operation, Result};

use super::ReadContext;
use super::pin::Pin;
use super::scan::{ROWS_MAX, Scan};
use crate::format::entry::{Entry, NAME_BYTES_MAX, Name};

/// How many rows a listing with a delimiter reads at first: most may lie behind one prefix.
const DELIMITED_ROWS: usize = 32;

/// What to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListOptions {
    /// Only names that begin with these characters. Empty means all.
    pub prefix: String,
    /// Names that have this behind the prefix are not listed; what they have in common up to and
    /// with it is, once.
    pub delimiter: Option<String>,
    /// Begin behind this name or common prefix; it need not exist. To go on, give what
    /// [`EntryPage::next`] says.
    pub after: Option<String>,
    /// How many entries and common prefixes together at the most; at least one.
    pub limit: usize,
}

impl Default for ListOptions {
    fn default() -> Self {
        Self { prefix: String::new(), delimiter: None, after: None, limit: 1000 }
    }
}

impl ListOptions {
    /// Names that begin with these characters, up to 1,000.
    pub fn prefix(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..Self::default() }
    }

    /// Lists common prefixes up to this in the stead of what lies behind them.
    #[must_use]
    pub fn delimiter(mut self, delimiter: impl Into<String>) -> Self {
        self.delimiter = Some(delimiter.into());
        self
    }

    /// Begins behind this.
    #[must_use]
    pub fn after(mut self, after: impl Into<String>) -> Self {
        self.after = Some(after.into());
        self
    }

    /// Returns at most so many entries and common prefixes together.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// The common prefix under which this name is listed.
    fn common<'a>(&self, name: &'a str) -> Option<&'a str> {
        let delimiter = self.delimiter.as_ref()?;
        let rest = name.strip_prefix(&self.prefix)?;
        let end = self.prefix.len() + rest.find(delimiter.as_str())? + delimiter.len();
        Some(&name[..end])
    }
}

/// Some entries of a view, in the order of their names, and where to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryPage {
    /// The entries, with their inline bytes.
    pub entries: Vec<(Name, Entry)>,
    /// The common prefixes, in order.
    pub prefixes: Vec<String>,
    /// Pass this as `after` to go on; nothing if this is the last page.
    pub next: Option<String>,
}

/// One page of a listing. It is empty only at the end.
pub(super) async fn list(
    context: &ReadContext,
    pin: Option<&Pin>,
    options: &ListOptions,
) -> Result<EntryPage> {
    if options.delimiter.as_ref().is_some_and(String::is_empty) {
        let message = "the delimiter is empty; give at least one character, or none at all";
        return Err(Error::invalid(Operation::List, message));
    }
    check(options.limit, options.after.as_deref())?;
    let after = options.after.as_deref();
    let rows = match options.delimiter {
        Some(_) => DELIMITED_ROWS.min(options.limit),
        None => options.limit,
    };
    let rows_max = options.limit.min(ROWS_MAX);
    let mut scan = Scan::new(context, pin, &options.prefix, after, (rows, rows_max));
    if let Some(after) = after
        && options.common(after) == Some(after)
    {
        scan.skip(after);
    }
    let mut page = EntryPage::default();
    if options.delimiter.is_none() {
        page.entries.reserve(rows_max);
    }
    loop {
        if page.entries.len() + page.prefixes.len() == options.limit {
            page.next = last(&page).filter(|_| scan.may_go_on());
            return Ok(page);
        }
        if !scan.ready().await? {
            return Ok(page);
        }
        let common = scan.peek().and_then(|name| options.common(name.as_str()));
        if let Some(common) = common.map(str::to_owned) {
            scan.skip(&common);
            page.prefixes.push(common);
        } else {
            page.entries.extend(scan.take());
        }
    }
}

/// The last name or common prefix of a page.
fn last(page: &EntryPage) -> Option<String> {
    let name = page.entries.last().map(|(name, _)| name.as_str());
    name.max(page.prefixes.last().map(String::as_str)).map(str::to_owned)
}

/// Refuses a page of nothing, and to begin behind what cannot be a name.
pub(super) fn check(limit: usize, after: Option<&str>) -> Result<()> {
    if limit == 0 {
        let message = "the limit is 0; ask for at least 1 entry";
        return Err(Error::invalid(Operation::List, message));
    }
    if after.is_some_and(|after| after.len() > NAME_BYTES_MAX || after.contains('\0')) {
        let message = format!(
            "the name to begin behind has more than {NAME_BYTES_MAX} bytes or holds a NUL; pass \
             what the page before gave as next"
        );
        return Err(Error::invalid(Operation::List, message));
    }
    Ok(())
}

//! Finding entries by what is known of them.

use std::collections::BTreeMap;

use holdall_core::{ContentType, Filter, Find, List, Result, Timestamp};

use super::glob::Glob;
use super::list::check;
use super::pin::Pin;
use super::scan::{ROWS_MAX, Scan};
use super::{EntryPage, ReadContext};
use crate::format::entry::{Entry, Name};

/// How many entries one page looks at, so that its work is bounded however few it finds.
const LOOKED_AT_MAX: usize = 10_000;

/// How many entries are looked up at once when an index has named them.
const LOOKED_UP: usize = 500;

/// Which entries to find: those for which everything that is given holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The name begins with this.
    pub prefix: String,
    /// The whole name is like this: `*` stands for any characters, `?` for one, `\` takes the
    /// next character as it is.
    pub name: Option<String>,
    /// The size in bytes is at least this.
    pub size_min: Option<u64>,
    /// The size in bytes is at most this.
    pub size_max: Option<u64>,
    /// It was written at this time or later.
    pub written_after: Option<Timestamp>,
    /// It was written before this time.
    pub written_before: Option<Timestamp>,
    /// The content type is exactly this, or begins with it if it ends in `/*`.
    pub content_type: Option<String>,
    /// It has all these attributes with these values.
    pub attributes: BTreeMap<String, String>,
    /// Begin behind this name. To go on, give what [`EntryPage::next`] says.
    pub after: Option<String>,
    /// How many entries at the most; at least one.
    pub limit: usize,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            prefix: String::new(),
            name: None,
            size_min: None,
            size_max: None,
            written_after: None,
            written_before: None,
            content_type: None,
            attributes: BTreeMap::new(),
            after: None,
            limit: 1000,
        }
    }
}

impl Query {
    /// All that is asked for but the name.
    fn filter(&self) -> Filter {
        Filter {
            size_min: self.size_min,
            size_max: self.size_max,
            written_after: self.written_after,
            written_before: self.written_before,
            content_type: self.content_type.as_deref().map(ContentType::parse),
            attributes: self.attributes.clone(),
        }
    }

    /// What the keys of the index begin with that finds some of what is asked for.
    fn index(&self, context: &ReadContext) -> Option<String> {
        let mut indexed =
            self.attributes.iter().filter(|(name, _)| context.indexed.contains(*name));
        indexed.find_map(|(name, value)| context.keys.attributes(name, value))
    }
}

/// One page of what a query finds.
pub(super) async fn find(
    context: &ReadContext,
    pin: Option<&Pin>,
    query: &Query,
) -> Result<EntryPage> {
    check(query.limit, query.after.as_deref())?;
    let glob = query.name.as_deref().map(Glob::parse).transpose()?;
    let Some(prefix) = prefix(query, glob.as_ref()) else { return Ok(EntryPage::default()) };
    let (filter, page) = (query.filter(), EntryPage::default());
    let search = Search { context, query, filter, glob, prefix, page, looked_at: 0 };
    // Metadata and indexes know the present alone.
    if pin.is_some() {
        return search.by_scan(pin).await;
    }
    if let Some(index) = query.index(context) {
        return search.by_index(&index).await;
    }
    if context.catalog.profile().metadata && search.filter != Filter::default() {
        return search.by_metadata().await;
    }
    search.by_scan(None).await
}

/// What names must begin with by both prefix and pattern; nothing if no name can.
fn prefix(query: &Query, glob: Option<&Glob>) -> Option<String> {
    if query.prefix.contains('\0') {
        return None;
    }
    let Some(exact) = glob.map(Glob::prefix) else { return Some(query.prefix.clone()) };
    if exact.contains('\0') {
        None
    } else if exact.starts_with(&query.prefix) {
        Some(exact)
    } else {
        query.prefix.starts_with(&exact).then(|| query.prefix.clone())
    }
}

struct Search<'a> {
    context: &'a ReadContext,
    query: &'a Query,
    filter: Filter,
    glob: Option<Glob>,
    prefix: String,
    page: EntryPage,
    looked_at: usize,
}

impl Search<'_> {
    async fn by_scan(mut self, pin: Option<&Pin>) -> Result<EntryPage> {
        let prefix = std::mem::take(&mut self.prefix);
        let after = self.query.after.as_deref();
        let rows = (ROWS_MAX.min(2 * self.query.limit.max(32)), ROWS_MAX);
        let mut scan = Scan::new(self.context, pin, &prefix, after, rows);
        while scan.ready().await? {
            let Some((name, entry)) = scan.take() else { break };
            let full = self.is_full();
            if self.take_in(name.clone(), entry) || full {
                self.page.next = scan.may_go_on().then(|| name.into_string());
                break;
            }
        }
        Ok(self.page)
    }

    async fn by_metadata(mut self) -> Result<EntryPage> {
        let keys = &self.context.keys;
        let mut list = List::prefix(keys.entries(&self.prefix)).limit(LOOKED_UP).with_values();
        if let Some(after) = &self.query.after {
            list = list.after(keys.entries(after));
        }
        let mut find = Find { list, filter: self.filter.clone() };
        loop {
            find.list.limit = LOOKED_UP.min(self.query.limit.max(32));
            let page = self.context.catalog.find(&find).await?;
            let now = self.context.env.now();
            let count = page.rows.len();
            for (at, row) in page.rows.iter().enumerate() {
                let name = keys.entry_name(&row.key).map(Name::parse).transpose()?;
                let entry = row.object.as_ref().map(|found| Entry::decode(&row.key, &found.value));
                let (Some(name), Some(entry)) = (name, entry.transpose()?) else { continue };
                let full = self.is_full();
                let taken = !entry.is_expired(now) && self.take_in(name.clone(), entry);
                if taken || full {
                    let more = page.more || at + 1 < count;
                    self.page.next = more.then(|| name.into_string());
                    return Ok(self.page);
                }
            }
            match page.rows.last() {
                Some(last) if page.more => find.list = find.list.after(last.key.as_str()),
                _ => return Ok(self.page),
            }
        }
    }

    async fn by_index(mut self, index: &str) -> Result<EntryPage> {
        let keys = &self.context.keys;
        let mut list = List::prefix(format!("{index}{}", self.prefix)).limit(LOOKED_UP);
        if let Some(after) = &self.query.after {
            list = list.after(format!("{index}{after}"));
        }
        loop {
            let page = self.context.catalog.list(&list).await?;
            let names = page.rows.iter().map(|row| Name::parse(&row.key.as_str()[index.len()..]));
            let names = names.collect::<Result<Vec<_>>>()?;
            let wanted: Vec<_> = names.iter().map(|name| keys.entry(name)).collect();
            let found = self.context.catalog.get_many(&wanted).await?;
            let now = self.context.env.now();
            let count = names.len();
            for (at, (name, (key, object))) in
                names.into_iter().zip(wanted.iter().zip(found)).enumerate()
            {
                let entry = object.map(|found| Entry::decode(key, &found.value)).transpose()?;
                let entry = entry.filter(|entry| !entry.is_expired(now));
                let full = self.is_full();
                let taken = entry.is_some_and(|entry| self.take_in(name.clone(), entry));
                if taken || full {
                    let more = page.more || at + 1 < count;
                    self.page.next = more.then(|| name.into_string());
                    return Ok(self.page);
                }
            }
            match page.rows.last() {
                Some(last) if page.more => list = list.after(last.key.as_str()),
                _ => return Ok(self.page),
            }
        }
    }

    /// Counts an entry that is looked at, and says whether it is the last for this page.
    fn is_full(&mut self) -> bool {
        self.looked_at += 1;
        self.looked_at >= LOOKED_AT_MAX
    }

    fn fits(&self, of: &Entry) -> bool {
        self.filter.fits(of.size, of.written, of.content_type.as_deref(), &of.attributes)
    }

    /// Keeps the entry if it is asked for, and says whether the page is full.
    fn take_in(&mut self, name: Name, entry: Entry) -> bool {
        let like = self.glob.as_ref().is_none_or(|glob| glob.matches(name.as_str()));
        if like && self.fits(&entry) {
            self.page.entries.push((name, entry));
        }
        self.page.entries.len() >= self.query.limit
    }
}

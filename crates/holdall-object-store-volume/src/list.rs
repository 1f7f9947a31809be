//! Listing objects, by a prefix that ends at a slash.

use std::collections::VecDeque;

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use holdall_volume::{EntryPage, ListOptions, Volume};
use object_store::path::{self, DELIMITER, Path};
use object_store::{ListResult, ObjectMeta, Result};

use crate::error::Context;
use crate::meta;

/// Objects below a prefix and behind an offset, page by page. Each page shows one moment.
pub(crate) fn stream(
    volume: &Volume,
    prefix: Option<&Path>,
    offset: Option<&Path>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    let mut options = below(prefix);
    options.after = offset.map(Path::to_string).filter(|offset| !offset.is_empty());
    let start = (volume.clone(), Some(options), VecDeque::new());
    let pages = stream::try_unfold(start, async |(volume, mut next, mut found)| {
        loop {
            if let Some(object) = found.pop_front() {
                return Ok(Some((object, (volume, next, found))));
            }
            let Some(options) = next else { return Ok(None) };
            let page = page(&volume, &options).await?;
            next = page.next.clone().map(|after| options.after(after));
            found = objects(page)?.into();
        }
    });
    pages.into_stream().boxed()
}

/// Objects directly below a prefix, and the prefixes of those deeper down.
pub(crate) async fn folder(volume: &Volume, prefix: Option<&Path>) -> Result<ListResult> {
    let mut options = below(prefix).delimiter(DELIMITER);
    let mut listed = ListResult {
        common_prefixes: Vec::new(),
        objects: Vec::new(),
        extensions: Default::default(),
    };
    loop {
        let page = page(volume, &options).await?;
        let next = page.next.clone();
        for prefix in &page.prefixes {
            listed.common_prefixes.push(exact(prefix.strip_suffix(DELIMITER).unwrap_or(prefix))?);
        }
        listed.objects.extend(objects(page)?);
        match next {
            Some(after) => options = options.after(after),
            None => return Ok(listed),
        }
    }
}

/// Names below a prefix: the prefix itself is none of them.
fn below(prefix: Option<&Path>) -> ListOptions {
    match prefix.map(Path::as_ref).filter(|prefix| !prefix.is_empty()) {
        Some(prefix) => ListOptions::prefix(format!("{prefix}{DELIMITER}")),
        None => ListOptions::default(),
    }
}

async fn page(volume: &Volume, options: &ListOptions) -> Result<EntryPage> {
    let context = Context::read(&Path::from(options.prefix.as_str()));
    volume.list(options.clone()).await.map_err(|error| context.turn(error))
}

/// A name that cannot be a path is an error: leaving it out would hide what is there.
fn objects(page: EntryPage) -> Result<Vec<ObjectMeta>> {
    let object = |(name, entry)| {
        let name: holdall_volume::format::entry::Name = name;
        Ok(meta(exact(name.as_str())?, &entry))
    };
    page.entries.into_iter().map(object).collect()
}

/// The path that is exactly these characters. Parsing alone drops slashes at both ends, and so
/// would take two names for one.
fn exact(name: &str) -> Result<Path> {
    let path = Path::parse(name)?;
    if path.as_ref() == name && !name.is_empty() {
        return Ok(path);
    }
    Err(path::Error::EmptySegment { path: name.to_owned() }.into())
}

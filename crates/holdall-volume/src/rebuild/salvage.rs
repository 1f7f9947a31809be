//! What an old catalog still has and the log has not: brought there before it is thrown away.

use holdall_core::{BackendExt, Error, ErrorKind, Expect, Key, Operation, Result};

use super::{EPOCHS_AHEAD, RebuildOptions, is_damage};
use crate::format::entry::Version;
use crate::format::head::{Head, Sealed};
use crate::format::keys::{CatalogKeys, VolumeId};
use crate::format::log::decode_commits;
use crate::format::policy::VolumeRow;
use crate::format::row;
use crate::gc::pages::Pages;
use crate::volume::{Resources, Volume};

/// Refuses to throw a catalog away unasked; where it is asked for, brings its commits into the
/// log. Returns why that could not be done, if damage is why.
pub(super) async fn salvage(
    resources: &Resources,
    volume: &VolumeRow,
    id: VolumeId,
    options: &RebuildOptions,
) -> Result<Option<String>> {
    let keys = CatalogKeys::new(id);
    // A rebuild that was interrupted has removed the head first, and writes these two last: what
    // it leaves without the volume's row are no commits that anybody made.
    let wanted = [keys.head(), keys.volume()];
    let found = resources.catalog.get_many(&wanted).await?;
    if found.iter().all(Option::is_none) {
        return Ok(None);
    }
    if !options.replace && found.first().is_some_and(Option::is_some) {
        let message = "the catalog still has the volume; run `holdall verify --repair`, or rebuild \
                       with replace";
        return Err(Error::invalid(Operation::Maintain, message).with_key(&wanted[0]));
    }
    let sealed = async {
        mend(resources, volume, &keys).await?;
        let volume = Volume::open_as_it_is(resources.clone(), id).await?;
        volume.shared.nothing_lost();
        volume.seal().await?;
        volume.close().await
    };
    match sealed.await {
        Ok(()) => Ok(None),
        Err(error) if is_damage(&error) || error.kind() == ErrorKind::Invalid => {
            Ok(Some(error.to_string()))
        }
        Err(error) => Err(error),
    }
}

/// Writes those of the volume's three own rows anew that cannot be read, as far as sealing needs
/// them: one bad row must not cost the commits that are still there.
async fn mend(resources: &Resources, volume: &VolumeRow, keys: &CatalogKeys) -> Result<()> {
    if is_unreadable::<VolumeRow>(resources, &keys.volume()).await? {
        put(resources, keys.volume(), volume).await?;
    }
    let no_head = is_unreadable::<Head>(resources, &keys.head()).await?;
    let no_sealed = is_unreadable::<Sealed>(resources, &keys.sealed()).await?;
    if !no_head && !no_sealed {
        return Ok(());
    }
    let now = resources.env.now();
    let last = last_number(resources, keys, 'l').await?.unwrap_or(0);
    if no_sealed {
        let upto = first_unsealed(resources, keys).await?.map_or(last, |first| first - 1);
        put(resources, keys.sealed(), &Sealed { upto, time: now, ..Sealed::default() }).await?;
    }
    if no_head {
        let epoch = last_number(resources, keys, 'w').await?.unwrap_or(0);
        let next_epoch = epoch + EPOCHS_AHEAD;
        let head = Head { sequence: last, time: now, next_epoch, ..Head::default() };
        put(resources, keys.head(), &head).await?;
    }
    Ok(())
}

async fn is_unreadable<T: row::Body>(resources: &Resources, key: &Key) -> Result<bool> {
    let Some(found) = resources.catalog.get_all(key).await? else { return Ok(true) };
    match row::decode::<T>(key, &found.value) {
        Ok(_) => Ok(false),
        Err(error) if is_damage(&error) => Ok(true),
        Err(error) => Err(error),
    }
}

async fn put(resources: &Resources, key: Key, body: &impl serde::Serialize) -> Result<()> {
    let value = row::encode(&key, body);
    resources.catalog.put(&key, value, Expect::Any).await.map(drop)
}

/// The number of the last row of a class.
async fn last_number(
    resources: &Resources,
    keys: &CatalogKeys,
    class: char,
) -> Result<Option<u64>> {
    let mut pages = Pages::keys(keys.class(class));
    let mut last = None;
    while let Some(rows) = pages.next(resources.catalog.as_ref()).await? {
        last = rows.last().and_then(|row| keys.log_sequence(&row.key)).or(last);
    }
    Ok(last)
}

/// The first commit whose inline bytes wait for the log.
async fn first_unsealed(resources: &Resources, keys: &CatalogKeys) -> Result<Option<Version>> {
    let mut pages = Pages::keys(keys.class('v'));
    let rows = pages.next(resources.catalog.as_ref()).await?.unwrap_or_default();
    let last_of_group = rows.first().and_then(|row| keys.log_sequence(&row.key));
    let Some(last_of_group) = last_of_group else { return Ok(None) };
    let key = keys.log(last_of_group);
    let Some(found) = resources.catalog.get_all(&key).await? else { return Ok(None) };
    let commits = decode_commits(&key, &found.value)?;
    Ok(commits.first().map(|commit| commit.sequence))
}

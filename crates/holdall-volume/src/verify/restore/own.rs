//! The volume's own three rows, its object on the data backend, and rows of writers.

use std::sync::Arc;

use holdall_core::{BackendExt, Batch, ErrorKind, Expect, Key, Result, Timestamp};

use super::damaged;
use crate::checkpoint::{self, CheckpointReader, list_checkpoints, verify_checkpoint};
use crate::format::checkpoint::Manifest;
use crate::format::entry::Version;
use crate::format::head::{Head, Sealed, WriterRow};
use crate::format::log;
use crate::format::policy::VolumeRow;
use crate::format::row;
use crate::log_reader::{self, LogItem, read_log};
use crate::rebuild::EPOCHS_AHEAD;
use crate::verify::repair::{Moment, apply};
use crate::verify::rows::REBUILD;
use crate::verify::{Pages, Problem, Severity, Verifier, counters, damage_of};

/// Writes the volume's row anew from its object, or its object from the row.
pub(super) async fn volume(verifier: &mut Verifier<'_>) -> Result<()> {
    let context = verifier.context;
    let (key, object) = (context.catalog_keys.volume(), context.data_keys.volume());
    let mut row = verifier.volume.clone();
    if let Some(moment) = Moment::read(verifier, std::slice::from_ref(&key)).await? {
        match moment.decode::<VolumeRow>(0, &key) {
            Some(found) => row = found,
            None => {
                let mut batch = Batch::new();
                batch.put(key.clone(), row::encode(&key, &row), Expect::Any);
                if apply(verifier, batch, &moment.head, &moment.revision).await?.is_some() {
                    verifier.collector.restored(&key);
                }
                return Ok(());
            }
        }
    }
    let findings = verifier.collector.report.findings.iter();
    if !findings.clone().any(|found| found.problem == Problem::VolumeObject) {
        return Ok(());
    }
    // Whoever changes the row writes the object behind it: so until the row stays the same.
    loop {
        let bytes = row.encode_object(context.data_keys.volume_id())?;
        context.data.put(&object, bytes, Expect::Any).await?;
        let now = context.catalog.get_all(&key).await?;
        let now = now.and_then(|now| row::decode::<VolumeRow>(&key, &now.value).ok());
        match now.filter(|now| *now != row) {
            Some(now) => row = now,
            None => break,
        }
    }
    verifier.collector.repaired(Problem::VolumeObject, &object);
    Ok(())
}

/// Writes the row anew that says how far log and checkpoints reach, if the log has all that the
/// catalog no longer keeps for it.
pub(super) async fn sealed(verifier: &mut Verifier<'_>) -> Result<()> {
    let context = verifier.context;
    let key = context.catalog_keys.sealed();
    let Some(moment) = Moment::read(verifier, std::slice::from_ref(&key)).await? else {
        return Ok(());
    };
    if moment.decode::<Sealed>(0, &key).is_some() {
        return Ok(());
    }
    let message = "the row of how far the log reaches is damaged or missing";
    verifier.collector.error(Problem::DamagedRow, &key, message, REBUILD);
    let upto = match first_unsealed(verifier).await? {
        Unsealed::None => moment.head.sequence,
        Unsealed::From(first) => first.saturating_sub(1),
        Unsealed::Unknown => return Ok(()),
    };
    let checkpoint = newest_checkpoint(verifier).await?;
    let first = checkpoint.as_ref().map_or(0, |manifest| manifest.first);
    if !log_reaches(verifier, first + 1, upto).await? {
        return Ok(());
    }
    let sealed = Sealed {
        upto,
        time: context.env.now(),
        log_bytes: log_bytes(verifier, first).await?,
        checkpoint: first,
        checkpoint_bytes: checkpoint.map_or(0, |manifest| manifest.bytes),
    };
    let mut batch = Batch::new();
    batch.put(key.clone(), row::encode(&key, &sealed), Expect::Any);
    if apply(verifier, batch, &moment.head, &moment.revision).await?.is_some() {
        verifier.collector.restored(&key);
    }
    Ok(())
}

/// What the catalog still keeps for the log.
enum Unsealed {
    None,
    From(Version),
    Unknown,
}

async fn first_unsealed(verifier: &Verifier<'_>) -> Result<Unsealed> {
    let context = verifier.context;
    let keys = &context.catalog_keys;
    let rows = Pages::new(keys.class('v')).next(context.catalog.as_ref()).await?;
    let Some(first) = rows.unwrap_or_default().into_iter().next() else {
        return Ok(Unsealed::None);
    };
    let Some(key) = keys.log_sequence(&first.key).map(|last| keys.log(last)) else {
        return Ok(Unsealed::Unknown);
    };
    let found = context.catalog.get_all(&key).await?;
    let commits = found.and_then(|found| log::decode_commits(&key, &found.value).ok());
    let first = commits.and_then(|commits| commits.first().map(|commit| commit.sequence));
    Ok(first.map_or(Unsealed::Unknown, Unsealed::From))
}

async fn newest_checkpoint(verifier: &Verifier<'_>) -> Result<Option<Manifest>> {
    let context = verifier.context;
    let keys = (&context.catalog_keys, &context.data_keys);
    for id in list_checkpoints(context.data.as_ref(), &context.data_keys).await? {
        if damage_of(verify_checkpoint(&context.data, keys, id).await)?.is_ok() {
            let reader = CheckpointReader::open(&context.data, &context.data_keys, id).await?;
            return Ok(Some(reader.manifest().clone()));
        }
    }
    Ok(None)
}

/// Whether the log on the data backend has all these commits.
async fn log_reaches(verifier: &Verifier<'_>, first: Version, upto: Version) -> Result<bool> {
    let context = verifier.context;
    let mut reader = read_log(Arc::clone(&context.data), context.data_keys.clone(), first);
    while reader.position() <= upto {
        if let Ok(None | Some(LogItem::Gap { .. })) = damage_of(reader.next().await)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The bytes of the log behind a checkpoint.
async fn log_bytes(verifier: &Verifier<'_>, checkpoint: Version) -> Result<u64> {
    let context = verifier.context;
    let mut pages = Pages::keys(context.data_keys.logs());
    let mut bytes = 0;
    while let Some(objects) = pages.next(context.data.as_ref()).await? {
        for object in objects {
            let run = log_reader::parse_key(&context.data_keys, &object.key);
            if run.is_some_and(|(run, _)| run.last > checkpoint) {
                bytes += object.size;
            }
        }
    }
    Ok(bytes)
}

/// Writes the head anew by counting, if all other rows are whole: only then is what they say all.
pub(super) async fn head(verifier: &mut Verifier<'_>) -> Result<()> {
    let context = verifier.context;
    let key = context.catalog_keys.head();
    let found = context.catalog.get_all(&key).await?;
    let decoded = found.as_ref().map(|found| row::decode::<Head>(&key, &found.value));
    if matches!(decoded, Some(Ok(_))) {
        return Ok(());
    }
    let open = verifier.collector.report.findings.iter().filter(|found| {
        !found.repaired && found.severity > Severity::Notice && found.key != key.as_str()
    });
    if open.count() > 0 {
        return Ok(());
    }
    let Some((sequence, time)) = newest_commit(verifier).await? else {
        return Ok(());
    };
    let Some((counted, epoch)) = counters::totals(verifier).await? else {
        return Ok(());
    };
    let next_epoch = epoch.max(stored_epoch(verifier).await?) + EPOCHS_AHEAD;
    let head = Head { sequence, time, next_epoch, epoch: 0, batch: 0, ..counted };
    let expect = Expect::from(found.map(|found| found.revision));
    match context.catalog.put(&key, row::encode(&key, &head), expect).await {
        Ok(_) => {
            verifier.collector.report.sequence = sequence;
            verifier.collector.restored(&key);
            Ok(())
        }
        // It was written meanwhile, so it is whole.
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
        Err(error) => Err(error),
    }
}

/// The highest epoch that the data backend tells of.
async fn stored_epoch(verifier: &Verifier<'_>) -> Result<u64> {
    let keys = &verifier.context.data_keys;
    let mut pages = Pages::keys(keys.root());
    let mut highest = 0;
    while let Some(objects) = pages.next(verifier.context.data.as_ref()).await? {
        for object in objects {
            let segment = keys.segment_id(&object.key).map(|id| id.epoch);
            let run = log_reader::parse_key(keys, &object.key).map(|(run, _)| run.epoch);
            let copy = checkpoint::parse_key(keys, &object.key).map(|(id, _)| id.epoch);
            highest = segment.or(run).or(copy).unwrap_or(0).max(highest);
        }
    }
    Ok(highest)
}

/// The newest commit and its time, from the last row of the log, or else from the sealed log.
async fn newest_commit(verifier: &Verifier<'_>) -> Result<Option<(Version, Timestamp)>> {
    let context = verifier.context;
    let keys = &context.catalog_keys;
    let sealed_key = keys.sealed();
    let sealed = context.catalog.get_all(&sealed_key).await?;
    let sealed = sealed.and_then(|row| row::decode::<Sealed>(&sealed_key, &row.value).ok());
    let Some(sealed) = sealed else { return Ok(None) };
    let mut newest = None;
    let mut pages = Pages::new(keys.class('l'));
    while let Some(rows) = pages.next(context.catalog.as_ref()).await? {
        for found in rows {
            let bytes = found.object.map(|object| object.value).unwrap_or_default();
            let Ok(commits) = log::decode_commits(&found.key, &bytes) else {
                return Ok(None);
            };
            newest = commits.last().map(|commit| (commit.sequence, commit.time));
        }
    }
    if newest.is_some_and(|(sequence, _)| sequence >= sealed.upto) {
        return Ok(newest);
    }
    let (data, keys) = (Arc::clone(&context.data), context.data_keys.clone());
    let mut reader = read_log(data, keys, sealed.upto.max(1));
    if let Ok(Some(LogItem::Commits(commits))) = damage_of(reader.next().await)? {
        newest = commits.last().map(|commit| (commit.sequence, commit.time));
    }
    Ok(newest.filter(|(sequence, _)| *sequence == sealed.upto))
}

/// Ends writers whose rows are damaged: they can commit no more, and a grace later all that they
/// left is swept.
pub(super) async fn writers(verifier: &mut Verifier<'_>) -> Result<()> {
    let now = verifier.context.env.now();
    for key in damaged(verifier, 'w') {
        let rows: [Key; 1] = [key.clone()];
        let Some(moment) = Moment::read(verifier, &rows).await? else {
            return Ok(());
        };
        if !moment.has(0) || moment.decode::<WriterRow>(0, &key).is_some() {
            continue;
        }
        let holder = "unknown: its row was damaged".to_owned();
        let ended = WriterRow { holder, opened: now, lease_until: now, ended: true };
        let mut batch = Batch::new();
        batch.put(key.clone(), row::encode(&key, &ended), Expect::Any);
        if apply(verifier, batch, &moment.head, &moment.revision).await?.is_some() {
            verifier.collector.restored(&key);
        }
    }
    Ok(())
}

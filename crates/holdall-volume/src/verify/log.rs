//! The commit log, the checkpoints, the volume's object, and what else lies on the data backend.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdall_core::{BackendExt, Key, Result};

use super::{
    Collector, GoOn, Pages, Problem, Severity, Verifier, VerifyContext, damage, damage_of,
    row_damage_of, unreadable,
};
use crate::checkpoint::{self, CheckpointReader, list_checkpoints};
use crate::format::checkpoint::{CheckpointId, Manifest};
use crate::format::entry::Name;
use crate::format::head::Sealed;
use crate::format::history::SnapshotRow;
use crate::format::policy::VolumeRow;
use crate::format::row;
use crate::log_reader::{self, LogItem, read_log};
use crate::verify::snapshots::{self, Expected};

const CHECKPOINT: &str = "run `holdall verify --repair`, which writes log and checkpoints anew \
                          from a whole catalog: do not lose it before; if it is not whole either, \
                          `holdall rebuild` brings back what there is";
const REWRITE: &str = "change any setting of the volume, which writes it anew";

/// Who the volume is, from the catalog or else from the data backend.
pub(super) async fn volume_row(
    context: &VerifyContext,
    collector: &mut Collector,
) -> Result<VolumeRow> {
    let key = context.catalog_keys.volume();
    let object = context.catalog.get_all(&key).await?;
    let found = match object {
        Some(object) => row::decode::<VolumeRow>(&key, &object.value),
        None => Err(unreadable("the volume has no row of its own").with_key(&key)),
    };
    let in_catalog = row_damage_of(found)?;
    let data_key = context.data_keys.volume();
    let object = damage_of(context.data.get_all(&data_key).await)?;
    let in_data = match object {
        Ok(Some(object)) => {
            damage_of(VolumeRow::decode_object(context.data_keys.volume_id(), &object.value))?
        }
        Ok(None) => Err("the volume's object on the data backend is missing".to_owned()),
        Err(message) => Err(message),
    };
    match (&in_catalog, &in_data) {
        (Ok(row), Ok(object)) if row == object => {}
        (Ok(_), Ok(_)) => {
            let message = "the volume's object on the data backend is not as its row";
            let (problem, severity) = (Problem::VolumeObject, Severity::Warning);
            collector.find(problem, severity, &data_key, message, REWRITE);
        }
        (Ok(_), Err(message)) => {
            collector.error(Problem::VolumeObject, &data_key, message.as_str(), REWRITE);
        }
        (Err(message), _) => {
            let advice = super::rows::REBUILD;
            collector.error(Problem::DamagedRow, &key, message.as_str(), advice);
        }
    }
    in_catalog.or(in_data).map_err(|_| {
        let message = "neither catalog nor data backend says who the volume is; restore its \
                       `volume` object from another copy";
        unreadable(message).with_key(&key)
    })
}

/// Reads log and checkpoints, and looks for foreign objects.
pub(super) async fn verify(verifier: &mut Verifier<'_>) -> Result<GoOn> {
    let (begins, mut snapshots) = checkpoints(verifier).await?;
    let Some(next) = log(verifier, begins, &mut snapshots).await? else {
        return Ok(false);
    };
    snapshots::verify(verifier, snapshots, next).await?;
    foreign(verifier).await?;
    Ok(true)
}

/// Reads all checkpoints; returns the commit from which on the log must be there, and the
/// snapshots of the newest.
async fn checkpoints(verifier: &mut Verifier<'_>) -> Result<(u64, Expected)> {
    let context = verifier.context;
    let ids = list_checkpoints(context.data.as_ref(), &context.data_keys).await?;
    let mut whole = Vec::new();
    let mut snapshots = Expected::default();
    for id in &ids {
        match read_checkpoint(context, *id).await {
            Ok((manifest, rows)) => {
                if whole.is_empty() {
                    snapshots = Expected::new(id.sequence, rows);
                }
                whole.push(*id);
                verifier.collector.counts().checkpoints += 1;
                verifier.collector.counts().bytes_read += manifest.bytes;
            }
            Err(error) => {
                let manifest = context.data_keys.manifest(id.sequence, id.epoch);
                let key = error.key().cloned().unwrap_or(manifest.clone());
                let message = damage(error)?;
                // It may have been deleted by a newer one meanwhile.
                let gone = CheckpointReader::open(&context.data, &context.data_keys, *id).await;
                if gone.is_ok() || context.data.get_all(&manifest).await?.is_some() {
                    let problem = Problem::DamagedCheckpoint;
                    verifier.collector.error(problem, &key, message, CHECKPOINT);
                }
            }
        }
    }
    newest(verifier, whole.first().map_or(0, |id| id.sequence)).await?;
    Ok((whole.get(1).map_or(1, |older| older.sequence + 1), snapshots))
}

/// Reads a checkpoint whole; returns the snapshots that it has.
async fn read_checkpoint(
    context: &VerifyContext,
    id: CheckpointId,
) -> Result<(Manifest, BTreeMap<Name, SnapshotRow>)> {
    let class = context.catalog_keys.class('p');
    let mut snapshots = BTreeMap::new();
    let mut reader = CheckpointReader::open(&context.data, &context.data_keys, id).await?;
    while let Some(rows) = reader.next().await? {
        for found in rows {
            let key = found.check(&context.catalog_keys)?;
            if let Some(name) = key.as_str().strip_prefix(&class) {
                snapshots.insert(Name::parse(name)?, row::decode(&key, &found.value)?);
            }
        }
    }
    Ok((reader.manifest().clone(), snapshots))
}

/// Whether the checkpoint that the catalog names is there.
async fn newest(verifier: &mut Verifier<'_>, whole: u64) -> Result<()> {
    let named = sealed(verifier).await?.checkpoint;
    // One that was made meanwhile is newer than those that were looked at.
    let ids = list_checkpoints(verifier.context.data.as_ref(), &verifier.context.data_keys).await?;
    let newer = ids.iter().any(|id| id.sequence >= named);
    let before = verifier.collector.report.sequence;
    if whole < named && !(newer && named > before) {
        let key = verifier.context.catalog_keys.sealed();
        let message = format!("the checkpoint of commit {named} is missing or not whole");
        verifier.collector.error(Problem::DamagedCheckpoint, &key, message, CHECKPOINT);
    }
    Ok(())
}

async fn sealed(verifier: &Verifier<'_>) -> Result<Sealed> {
    let key = verifier.context.catalog_keys.sealed();
    let object = verifier.context.catalog.get_all(&key).await?;
    // A damaged row was reported with the rows.
    let row = object.and_then(|object| row::decode::<Sealed>(&key, &object.value).ok());
    Ok(row.unwrap_or_default())
}

/// Reads the log; returns the number behind its last commit, or nothing if it is to stop.
async fn log(
    verifier: &mut Verifier<'_>,
    begins: u64,
    snapshots: &mut Expected,
) -> Result<Option<u64>> {
    let context = verifier.context;
    let sealed = sealed(verifier).await?.upto;
    let mut reader = read_log(Arc::clone(&context.data), context.data_keys.clone(), begins);
    // A part that is missing is an interrupted attempt if another run has its commits.
    loop {
        let next = match reader.next().await {
            Err(error) => {
                let logs = logs_key(verifier);
                let key = error.key().cloned().unwrap_or(logs);
                Some(LogItem::Damage { key, error })
            }
            Ok(item) => item,
        };
        let Some(item) = next else { break };
        match item {
            LogItem::Commits(commits) => {
                verifier.collector.counts().log_commits += commits.len() as u64;
                snapshots.commits(&commits);
            }
            LogItem::Gap { first, last } => {
                snapshots.gap(last);
                gap(verifier, first, last, sealed);
            }
            LogItem::Missing { key } => {
                let message = "a run of the commit log lacks this part";
                let advice = "nothing, unless commits are missing too";
                let (problem, severity) = (Problem::DamagedLog, Severity::Notice);
                verifier.collector.find(problem, severity, &key, message, advice);
            }
            LogItem::Damage { key, error } => {
                let message = damage(error)?;
                verifier.collector.error(Problem::DamagedLog, &key, message, CHECKPOINT);
            }
        }
        if verifier.collector.progress() {
            return Ok(None);
        }
    }
    if reader.position() <= sealed {
        gap(verifier, reader.position(), sealed, sealed);
    }
    Ok(Some(reader.position()))
}

fn gap(verifier: &mut Verifier<'_>, first: u64, last: u64, sealed: u64) {
    let key =
        Key::parse(verifier.context.data_keys.logs()).expect("a prefix of keys is a key itself");
    let message = format!("the commits from {first} to {last} are in no readable part of the log");
    let severity = if first <= sealed { Severity::Error } else { Severity::Warning };
    verifier.collector.find(Problem::LogGap, severity, &key, message, CHECKPOINT);
}

fn logs_key(verifier: &Verifier<'_>) -> Key {
    Key::parse(verifier.context.data_keys.logs()).expect("a prefix of keys is a key itself")
}

async fn foreign(verifier: &mut Verifier<'_>) -> Result<()> {
    let context = verifier.context;
    let keys = &context.data_keys;
    let mut pages = Pages::keys(keys.root());
    while let Some(objects) = pages.next(context.data.as_ref()).await? {
        for object in objects {
            let key = &object.key;
            let ours = *key == keys.volume()
                || keys.segment_id(key).is_some()
                || log_reader::parse_key(keys, key).is_some()
                || checkpoint::parse_key(keys, key).is_some();
            if !ours {
                let message = "no object of a volume has this key";
                let advice = "find out who wrote it; it is left alone";
                let (problem, severity) = (Problem::ForeignObject, Severity::Notice);
                verifier.collector.find(problem, severity, key, message, advice);
            }
        }
    }
    Ok(())
}

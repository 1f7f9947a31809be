//! Every row of the catalog: does it decode, and do rows and indexes agree, both ways?

use std::collections::HashSet;

use bytes::Bytes;
use holdall_core::{BackendExt, Key, Result, Row, Timestamp};

use super::claims::{self, Claim, What};
use super::{GoOn, Pages, Problem, Severity, Verifier, row_damage_of};
use crate::format::chunk::ChunkRow;
use crate::format::entry::{Entry, Name, Version};
use crate::format::head::{Head, Sealed, WriterRow};
use crate::format::history::{HistoryRow, SnapshotRow};
use crate::format::keys::CatalogKeys;
use crate::format::log;
use crate::format::policy::{JobRow, VolumeRow};
use crate::format::row;
use crate::format::segment::{LeftOver, SegmentId, SegmentRow};
use crate::format::upload::{PartRow, UploadRow};

pub(super) const REBUILD: &str =
    "run `holdall verify --repair`; if that does not mend it, `holdall rebuild`";
pub(super) const REINDEX: &str = "run `holdall verify --repair`";

/// What is carried from row to row.
struct Scan {
    claims: Vec<Claim>,
    /// The last commit of the log row before.
    log_last: Version,
    /// How far the log on the data backend reaches.
    sealed: Version,
    /// Segments that have a row, whole or not, and those in which chunks lie.
    segments: HashSet<SegmentId>,
    named: HashSet<SegmentId>,
    /// How many rows of entries there are.
    entries: u64,
    /// Sums over history and over its index, which are equal if both name the same versions.
    history_sum: u128,
    retention_sum: u128,
}

/// Reads all rows.
pub(super) async fn verify(verifier: &mut Verifier<'_>) -> Result<GoOn> {
    let context = verifier.context;
    let head = retention_head(verifier).await?;
    let sealed_key = context.catalog_keys.sealed();
    let sealed = context.catalog.get_all(&sealed_key).await?;
    if sealed.is_none() {
        let message = "the row of how far the log reaches is missing";
        verifier.collector.error(Problem::MissingRow, &sealed_key, message, REBUILD);
    }
    let sealed = sealed.and_then(|object| row::decode::<Sealed>(&sealed_key, &object.value).ok());
    // Without it every commit may be sealed: nothing follows that could be told of others.
    let sealed = sealed.map_or(verifier.collector.report.sequence, |sealed| sealed.upto);
    let mut scan = Scan {
        claims: Vec::new(),
        log_last: 0,
        sealed,
        segments: HashSet::new(),
        named: HashSet::new(),
        entries: 0,
        history_sum: 0,
        retention_sum: 0,
    };
    let mut pages = Pages::new(context.catalog_keys.root().to_owned());
    while let Some(rows) = pages.next(context.catalog.as_ref()).await? {
        for row in rows {
            verifier.collector.counts().rows += 1;
            one(verifier, &mut scan, row)?;
        }
        claims::check(verifier, std::mem::take(&mut scan.claims)).await?;
        if verifier.collector.progress() {
            return Ok(false);
        }
    }
    finish(verifier, &scan, head).await?;
    Ok(true)
}

async fn retention_head(verifier: &Verifier<'_>) -> Result<Option<holdall_core::Revision>> {
    let key = verifier.context.catalog_keys.head();
    Ok(verifier.context.catalog.get_all(&key).await?.map(|object| object.revision))
}

/// What can only be said when all rows were read, and only if no commit came in between.
async fn finish(
    verifier: &mut Verifier<'_>,
    scan: &Scan,
    head: Option<holdall_core::Revision>,
) -> Result<()> {
    let keys = &verifier.context.catalog_keys;
    if retention_head(verifier).await? != head {
        return Ok(());
    }
    let key = keys.head();
    let head = verifier.context.catalog.get_all(&key).await?;
    let head = head.and_then(|object| row::decode::<Head>(&key, &object.value).ok());
    verifier.lost.entries = head.as_ref().is_some_and(|head| head.entries > scan.entries);
    verifier.lost.retention = scan.history_sum != scan.retention_sum;
    let Some(head) = head else {
        let message = "the volume has no readable head";
        verifier.collector.error(Problem::MissingRow, &key, message, REBUILD);
        return Ok(());
    };
    let sequence = head.sequence;
    if sequence != scan.log_last.max(scan.sealed) {
        let message = format!(
            "the newest commit is {sequence}, but the commit log ends at {}",
            scan.log_last
        );
        verifier.collector.error(Problem::MissingRow, &key, message, REBUILD);
    }
    let keys = &verifier.context.catalog_keys;
    for id in scan.named.difference(&scan.segments) {
        let message = "chunks lie in the segment, which has no row";
        verifier.collector.error(Problem::MissingRow, &keys.segment(*id), message, REBUILD);
        verifier.lost.segments.insert(*id);
    }
    // Pruning takes away the front, so where there are rows there is the last one.
    if scan.log_last > 0 && scan.log_last < scan.sealed {
        missing_commits(verifier, scan, scan.log_last + 1, scan.sealed);
    }
    if scan.history_sum != scan.retention_sum {
        let message = "history and the index of its retention do not name the same versions";
        let first = keys.retention(0, 0);
        let severity = Severity::Warning;
        verifier.collector.find(Problem::Index, severity, &first, message, REBUILD);
    }
    Ok(())
}

/// One row by itself, and what it says of others.
fn one(verifier: &mut Verifier<'_>, scan: &mut Scan, found: Row) -> Result<()> {
    let key = found.key;
    let Some(object) = found.object else {
        let message = "the catalog listed the row without its value";
        verifier.collector.error(Problem::DamagedRow, &key, message, REBUILD);
        return Ok(());
    };
    let decoded = decode(verifier, scan, &key, &object.value);
    match row_damage_of(decoded)? {
        Ok(true) => {}
        Ok(false) => {
            let message = "no row of a volume has this key";
            let advice = "find out who wrote it, and delete it";
            verifier.collector.find(Problem::ForeignRow, Severity::Warning, &key, message, advice);
        }
        Err(message) => verifier.collector.error(Problem::DamagedRow, &key, message, REBUILD),
    }
    Ok(())
}

/// Decodes a row by its class; false if there is no such row.
fn decode(verifier: &mut Verifier<'_>, scan: &mut Scan, key: &Key, bytes: &Bytes) -> Result<bool> {
    let keys = verifier.context.catalog_keys.clone();
    let rest = key.as_str().strip_prefix(keys.root()).unwrap_or_default();
    scan.entries += u64::from(rest.starts_with("e/"));
    let Some((class, rest)) = rest.split_once('/') else {
        return Ok(false);
    };
    let name = |text: &str| Name::parse(text).ok();
    match class {
        "m" => return singles(key, rest, bytes),
        "e" => {
            let Some(name) = name(rest) else {
                return Ok(false);
            };
            let entry = Entry::decode(key, bytes)?;
            entry_claims(verifier, scan, key, bytes, &name, &entry);
        }
        "h" => {
            let Some((_, version)) = keys.history_parts(key) else {
                return Ok(false);
            };
            let history = HistoryRow::decode(key, bytes)?;
            if history.entry.version != version || history.superseded <= version {
                return Err(super::unreadable("a superseded version is not that of its key"));
            }
            let name = rest.rsplit_once('\0').map_or("", |(name, _)| name);
            scan.history_sum =
                scan.history_sum.wrapping_add(sum(name, version, history.superseded));
        }
        "c" => {
            let Some(id) = keys.chunk_id(key) else {
                return Ok(false);
            };
            let chunk: ChunkRow =
                row::decode(key, bytes).inspect_err(|_| verifier.note_damaged(id))?;
            verifier.collector.counts().chunks += 1;
            scan.named.insert(chunk.place.segment);
            if (chunk.references == 0) != chunk.idle_since.is_some() {
                return Err(super::unreadable("a chunk's idle time contradicts its references"));
            }
            if let Some(since) = chunk.idle_since {
                scan.claim(key, bytes, keys.idle(since, &id), What::Indexed);
            }
        }
        "s" => {
            let id = keys.segment_id(key);
            scan.segments.extend(id);
            return row::decode::<SegmentRow>(key, bytes).map(|_| id.is_some());
        }
        "d" => return left_over(&keys, key, bytes),
        "w" => {
            let known = keys.writer_epoch(key).is_some();
            return row::decode::<WriterRow>(key, bytes).map(|_| known);
        }
        "j" | "t" => return beside(key, class, bytes),
        "p" => return row::decode::<SnapshotRow>(key, bytes).map(|_| name(rest).is_some()),
        "u" => return row::decode::<UploadRow>(key, bytes).map(|_| true),
        "q" => {
            PartRow::decode(key, bytes)?;
            let Some((upload, _)) = rest.rsplit_once('/') else {
                return Ok(false);
            };
            scan.claim(key, bytes, keys.upload(upload), What::Upload);
        }
        "l" | "v" => return log_row(verifier, scan, key, class, bytes),
        _ => return index(verifier, scan, key, class, rest, bytes),
    }
    Ok(true)
}

/// Rows beside the order of the commits, which need not agree with anything: what is remembered of
/// a job, and when to look at an entry by the lifecycle rules.
fn beside(key: &Key, class: &str, bytes: &Bytes) -> Result<bool> {
    match class {
        "j" => JobRow::decode(key, bytes).map(|_| true),
        _ => row::decode::<Version>(key, bytes).map(|_| true),
    }
}

fn left_over(keys: &CatalogKeys, key: &Key, bytes: &Bytes) -> Result<bool> {
    row::decode::<LeftOver>(key, bytes).map(|_| keys.left_over_parts(key).is_some())
}

fn singles(key: &Key, rest: &str, bytes: &Bytes) -> Result<bool> {
    match rest {
        "volume" => row::decode::<VolumeRow>(key, bytes).map(|_| true),
        "head" => row::decode::<Head>(key, bytes).map(|_| true),
        "sealed" => row::decode::<Sealed>(key, bytes).map(|_| true),
        _ => Ok(false),
    }
}

fn entry_claims(
    verifier: &Verifier<'_>,
    scan: &mut Scan,
    key: &Key,
    bytes: &Bytes,
    name: &Name,
    entry: &Entry,
) {
    let keys = &verifier.context.catalog_keys;
    if let Some(expires) = entry.expires {
        scan.claim(key, bytes, keys.expiry(expires, name), What::Indexed);
    }
    let indexed = &verifier.volume.policy.indexed;
    for (attribute, value) in entry.attributes.iter().filter(|(a, _)| indexed.contains(*a)) {
        if let Some(target) = keys.attribute(attribute, value, name) {
            scan.claim(key, bytes, target, What::Indexed);
        }
    }
}

/// A row of the commit log, or of its inline bytes.
fn log_row(
    verifier: &mut Verifier<'_>,
    scan: &mut Scan,
    key: &Key,
    class: &str,
    bytes: &Bytes,
) -> Result<bool> {
    let keys = &verifier.context.catalog_keys;
    let Some(last) = keys.log_sequence(key) else {
        return Ok(false);
    };
    if class == "v" {
        row::check(key, bytes)?;
        scan.claim(key, bytes, keys.log(last), What::CommitsOf);
        return Ok(true);
    }
    let before = std::mem::replace(&mut scan.log_last, last);
    let commits = log::decode_commits(key, bytes).inspect_err(|_| {
        if last <= scan.sealed {
            // Where the row before is not there any more, it may have had others before its last.
            let first = if before > 0 || last == 1 { before + 1 } else { last };
            verifier.lost.log.insert(last, first);
        }
    })?;
    let first = commits.first().map_or(0, |commit| commit.sequence);
    let in_order = commits.windows(2).all(|two| two[0].sequence + 1 == two[1].sequence);
    if !in_order || commits.last().is_none_or(|commit| commit.sequence != last) {
        return Err(super::unreadable("a log row has not the commits of its key"));
    }
    // Pruning takes away the front, so only what follows a row must follow without a gap.
    if before > 0 && before + 1 != first || before == 0 && first > scan.sealed + 1 {
        let start = if before > 0 { before + 1 } else { scan.sealed + 1 };
        missing_commits(verifier, scan, start, first.saturating_sub(1));
    }
    if last > scan.sealed {
        scan.claim(key, bytes, keys.unsealed(last), What::InlineOf);
    }
    Ok(true)
}

/// Commits have no row in the catalog. Those that are sealed are on the data backend too.
fn missing_commits(verifier: &mut Verifier<'_>, scan: &Scan, first: Version, last: Version) {
    let key = verifier.context.catalog_keys.log(last);
    let message = format!("the commits from {first} to {last} are missing");
    verifier.collector.error(Problem::MissingRow, &key, message, REBUILD);
    if last <= scan.sealed {
        verifier.lost.log.insert(last, first);
    }
}

/// A row of an index.
fn index(
    verifier: &mut Verifier<'_>,
    scan: &mut Scan,
    key: &Key,
    class: &str,
    rest: &str,
    bytes: &Bytes,
) -> Result<bool> {
    let keys = &verifier.context.catalog_keys;
    let time = |hex: &str| u64::from_str_radix(hex, 16).ok().map(Timestamp::from_micros);
    let target = match class {
        "r" => {
            let (name, version): (Name, Version) = row::decode(key, bytes)?;
            let superseded = rest.split_once('/').and_then(|(hex, _)| time(hex));
            superseded.map(|superseded| {
                let superseded = superseded.as_micros();
                scan.retention_sum =
                    scan.retention_sum.wrapping_add(sum(name.as_str(), version, superseded));
                (keys.history(&name, version), What::Superseded(superseded))
            })
        }
        "i" => rest.split_once('/').and_then(|(since, _)| {
            Some((keys.chunk(&keys.chunk_id(key)?), What::IdleSince(time(since)?)))
        }),
        "x" => rest.split_once('/').and_then(|(expires, name)| {
            Some((keys.entry(&Name::parse(name).ok()?), What::Expires(time(expires)?)))
        }),
        "a" => {
            let mut parts = rest.splitn(3, '\0').map(str::to_owned);
            let parts = (parts.next(), parts.next(), parts.next());
            let (Some(attribute), Some(value), Some(name)) = parts else {
                return Ok(false);
            };
            let indexed = verifier.volume.policy.indexed.contains(&attribute);
            let name = Name::parse(name).ok().filter(|_| indexed);
            name.map(|name| (keys.entry(&name), What::Attribute(attribute, value)))
        }
        _ => None,
    };
    let checked = row::check(key, bytes);
    let Some((target, what)) = target else {
        return checked.map(|()| false);
    };
    if checked.is_err() {
        // The key says it all: the row can be written anew, if it is one that must be there.
        let (index, of) = (key.clone(), target.clone());
        verifier.note_index(claims::IndexFix::Add { index, of });
    }
    scan.claim(key, bytes, target, what);
    checked.map(|()| true)
}

/// A number for a version that was superseded, such that sums of them are equal only if the
/// versions are.
fn sum(name: &str, version: Version, superseded: Version) -> u128 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&version.to_le_bytes()).update(&superseded.to_le_bytes());
    hasher.update(name.as_bytes());
    let mut number = [0; 16];
    number.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    u128::from_le_bytes(number)
}

impl Scan {
    fn claim(&mut self, source: &Key, seen: &Bytes, target: Key, what: What) {
        self.claims.push(Claim { source: source.clone(), target, what, seen: seen.clone() });
    }
}

//! The log, the checkpoints and the volume's own object are in every place that takes part.
//!
//! They are few, so that each place is asked what it has of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdall_core::{Backend as _, ByteRange, Key, Result};

use super::Repair;
use crate::placement::member::Member;
use crate::placement::spread::get::is_whole;

/// Copies to each place that answers what it lacks.
pub(super) async fn mend(repair: &mut Repair<'_>) -> Result<bool> {
    let spread = Arc::clone(&repair.spread);
    if !spread.is_many() {
        return Ok(true);
    }
    let table = spread.table();
    for prefix in [spread.data_keys.logs(), spread.data_keys.checkpoints()] {
        let mut held: Vec<(&Member, BTreeMap<Key, u64>)> = Vec::new();
        for member in table.active().filter_map(|seat| seat.member.as_ref()) {
            // One that does not answer is mended when it does.
            if let Ok(found) = member.list_all(&prefix).await {
                held.push((member, found));
            }
        }
        let keys: BTreeSet<&Key> = held.iter().flat_map(|(_, found)| found.keys()).collect();
        for key in keys {
            let longest = held.iter().filter_map(|(_, found)| found.get(key)).max();
            let lacking = held.iter().filter(|(_, found)| found.get(key) != longest);
            let lacking: Vec<&Member> = lacking.map(|(member, _)| *member).collect();
            if !lacking.is_empty() {
                copy(repair, key, &lacking).await?;
            }
            if !repair.go_on() {
                return Ok(false);
            }
        }
    }
    if !repair.options.dry_run {
        repair.shared.mend_objects().await?;
    }
    Ok(repair.go_on())
}

async fn copy(repair: &mut Repair<'_>, key: &Key, places: &[&Member]) -> Result<()> {
    let Some(object) = repair.spread.get(key, ByteRange::ALL).await? else { return Ok(()) };
    if !is_whole(&object.value) {
        return Ok(());
    }
    for member in places {
        let written = repair.options.dry_run
            || super::work::write_checked(member, key, &object.value).await.is_ok();
        repair.report.log_objects_copied += u64::from(written);
    }
    Ok(())
}

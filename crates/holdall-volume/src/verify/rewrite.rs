//! Writes log and checkpoints anew where they are damaged: what they say is in the catalog too.

use holdall_core::Result;

use super::report::{Finding, Problem, Report, Severity, VerifyOptions};
use super::{Verifier, VerifyContext, log};
use crate::volume::Volume;

/// How many checkpoints make all older log and checkpoints needless.
const CHECKPOINTS: usize = 2;

/// Makes two new checkpoints if log or checkpoints are damaged and the catalog is whole. With the
/// second, everything older goes, what is damaged included.
///
/// # Errors
/// Those of the backends.
pub(crate) async fn rewrite(
    volume: &Volume,
    context: &VerifyContext,
    report: &mut Report,
) -> Result<()> {
    let mut open = report.findings.iter().filter(|f| !f.repaired && f.severity == Severity::Error);
    let whole = open.clone().all(is_of_log) && report.findings_dropped == 0 && report.complete;
    if !whole || !open.any(is_of_log) {
        return Ok(());
    }
    for _ in 0..CHECKPOINTS {
        // Each under an epoch of its own: one writer makes one checkpoint of a commit.
        let writer = Volume::open(volume.shared.resources.clone(), volume.id()).await?;
        let made = writer.checkpoint().await?;
        writer.close().await?;
        if made.is_none() {
            return Ok(());
        }
    }
    let mut again = Verifier::open(context, VerifyOptions::default()).await?;
    log::verify(&mut again).await?;
    if !again.collector.report.findings.iter().any(is_of_log) {
        report.findings.iter_mut().filter(|f| is_of_log(f)).for_each(|f| f.repaired = true);
    }
    Ok(())
}

fn is_of_log(found: &Finding) -> bool {
    let log = [Problem::DamagedLog, Problem::LogGap, Problem::DamagedCheckpoint];
    found.severity > Severity::Notice && log.contains(&found.problem)
}

//! `holdall history`: the versions of one entry, or everything that was committed.

use clap::Args;
use holdall::units::format_size;
use holdall::{Change, Commit, Name, Version, VersionInfo, Volume};
use serde_json::json;

use super::shape::EntryShape;
use crate::app::App;
use crate::failure::{Done, Result};
use crate::output::{Table, shown};
use crate::times;

const PAGE: usize = 500;

/// Shows the versions of an entry, newest first; without a name, all commits in order.
///
/// How long versions are kept is said when a volume is made: `holdall volume create --history 7d`.
#[derive(Args, Debug)]
pub(crate) struct History {
    /// The entry's name.
    name: Option<String>,
    /// Only commits behind this one, or with a name versions older than it; the last one shown is
    /// where to go on.
    #[arg(long, value_name = "COMMIT")]
    after: Option<Version>,
    /// At most so many commits, or versions.
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
}

impl History {
    pub(crate) async fn run(self, app: &App) -> Result {
        let volume = app.volume().await?;
        match &self.name {
            Some(name) => self.versions(app, &volume, name).await?,
            None => self.commits(app, &volume).await?,
        }
        Ok(Done::Whole)
    }

    async fn commits(&self, app: &App, volume: &Volume) -> Result<()> {
        let (mut after, mut left) = (self.after.unwrap_or(0), self.limit.unwrap_or(usize::MAX));
        while left > 0 {
            let page = volume.changes(after, left.min(PAGE)).await?;
            for commit in &page.commits {
                app.output.row(&object(commit), || {
                    let time = times::short(commit.time);
                    let lines = commit.changes.iter().map(line);
                    let lines: Vec<String> = lines
                        .map(|line| format!("{:>8}  {time}  {line}", commit.sequence))
                        .collect();
                    match lines.is_empty() {
                        true => format!("{:>8}  {time}  ·", commit.sequence),
                        false => lines.join("\n"),
                    }
                })?;
            }
            left = left.saturating_sub(page.commits.len());
            after = page.next;
            if !page.more || page.commits.is_empty() {
                break;
            }
        }
        Ok(())
    }

    async fn versions(&self, app: &App, volume: &Volume, name: &str) -> Result<()> {
        let entry = Name::parse(name)?;
        let (mut after, mut left) = (self.after, self.limit.unwrap_or(usize::MAX));
        let mut first = true;
        while left > 0 {
            let page = volume.versions(&entry, after, left.min(PAGE)).await?;
            if page.versions.is_empty() && page.next.is_none() && first && after.is_none() {
                return Err(app.no_entry(name));
            }
            if !page.versions.is_empty() {
                show(app, name, &page.versions, first)?;
                first = false;
            }
            left = left.saturating_sub(page.versions.len());
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(())
    }
}

/// Shows some versions, the heads of the columns above the first ones.
fn show(app: &App, name: &str, versions: &[VersionInfo], first: bool) -> Result<()> {
    let mut table = Table::new(&["VERSION", "WRITTEN", "SIZE", "UNTIL", "DIGEST"]);
    for version in versions {
        let entry = &version.entry;
        let superseded = version.superseded;
        if app.output.is_json() {
            app.output.object(&json!({
                "entry": EntryShape::new(name, entry),
                "current": version.current,
                "superseded_by": superseded.map(|(commit, _)| commit),
                "superseded": superseded.map(|(_, time)| times::exact(time)),
            }))?;
            continue;
        }
        let until = match superseded {
            Some((_, time)) => times::short(time),
            None if version.current => "now".to_owned(),
            None => "ended".to_owned(),
        };
        let digest = entry.digest.to_string();
        let short = digest.get(..16).unwrap_or(&digest).to_owned();
        let (written, size) = (times::short(entry.written), format_size(entry.size));
        table.add([entry.version.to_string(), written, size, until, short]);
    }
    if !app.output.is_json() {
        let mut lines = table.lines().skip(usize::from(!first));
        lines.try_for_each(|line| app.output.line(&line))?;
    }
    Ok(())
}

fn line(change: &Change) -> String {
    match change {
        Change::Put { name, entry } => {
            format!("put       {} ({})", shown(name.as_str()), format_size(entry.size))
        }
        Change::Delete { name } => format!("delete    {}", shown(name.as_str())),
        Change::Snapshot { name, .. } => format!("snapshot  {}", shown(name.as_str())),
        Change::Unsnapshot { name } => format!("unsnapshot {}", shown(name.as_str())),
    }
}

fn object(commit: &Commit) -> serde_json::Value {
    let changes = commit.changes.iter().map(|change| match change {
        Change::Put { name, entry } => {
            json!({ "change": "put", "entry": EntryShape::new(name.as_str(), entry) })
        }
        Change::Delete { name } => json!({ "change": "delete", "name": name.as_str() }),
        Change::Snapshot { name, .. } => json!({ "change": "snapshot", "name": name.as_str() }),
        Change::Unsnapshot { name } => json!({ "change": "unsnapshot", "name": name.as_str() }),
    });
    let changes: Vec<_> = changes.collect();
    json!({ "commit": commit.sequence, "time": times::exact(commit.time), "changes": changes })
}

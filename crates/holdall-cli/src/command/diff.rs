//! `holdall diff`: a directory tree against a volume.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::app::App;
use crate::failure::{Done, Result};
use crate::output::{counted, shown};
use crate::problems::Problems;
use crate::tree::attributes::Kind;
use crate::tree::pairs::{Listing, Pair, Pairs};
use crate::tree::walk::{self, Found, Item, Walk};
use crate::tree::{self, Stop, read};

/// Compares a directory tree with what the volume has of it. Exit code 1 if they differ.
///
/// `+` only in the directory, `-` only in the volume, `~` different.
#[derive(Args, Debug)]
pub(crate) struct Diff {
    /// The directory.
    directory: PathBuf,
    /// What the names of its entries begin with, instead of its own name; empty for nothing.
    #[arg(long, value_name = "NAME")]
    prefix: Option<String>,
    /// Reads every file and compares digests; otherwise size, mode and time are compared.
    #[arg(long)]
    checksum: bool,
    /// The volume as it was: a time, `2h ago`, `commit:123` or `snapshot:NAME`.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

#[derive(Default)]
struct Counts {
    same: u64,
    added: u64,
    removed: u64,
    changed: u64,
}

impl Diff {
    pub(crate) async fn run(self, app: &App) -> Result {
        let root = tree::directory(&self.directory)?;
        let prefix = self.prefix.as_deref().map(tree::folder_prefix);
        let prefix = prefix.unwrap_or_else(|| tree::own_prefix(&root));
        let volume = app.volume().await?;
        let view = app.view(&volume, self.at.as_deref()).await?;
        let stop = Stop::at(&app.interrupted);
        let except = app.store_directories()?;
        let except = except.iter().filter_map(|path| walk::identity(path)).collect();
        let walk = Walk { root, prefix: prefix.clone(), except, stop: stop.clone() };
        let mut pairs = Pairs::new(walk.start(&app.env), Listing::new(view, &prefix));
        let problems = Problems::new(app.global.json, &app.progress());
        let mut counts = Counts::default();
        while let Some(pair) = pairs.next().await? {
            match pair {
                Pair::Tree(Found::Problem { path, message, .. })
                | Pair::Both(Found::Problem { path, message, .. }, ..) => {
                    problems.add(&path.to_string_lossy(), &message);
                }
                Pair::Tree(Found::Item(item)) => {
                    counts.added += 1;
                    tell(app, '+', &item.name, &[])?;
                }
                Pair::Volume(name) => {
                    counts.removed += 1;
                    tell(app, '-', name.as_str(), &[])?;
                }
                Pair::Both(Found::Item(item), entry) => {
                    let mut reasons = item.attributes.differences(item.size, &entry);
                    if self.checksum && !reasons.contains(&"size") {
                        match differs(app, &item, entry.digest, &stop).await? {
                            Ok(true) => reasons.push("bytes"),
                            Ok(false) => {}
                            Err(message) => problems.add(&item.path.to_string_lossy(), &message),
                        }
                    }
                    if reasons.is_empty() {
                        counts.same += 1;
                    } else {
                        counts.changed += 1;
                        tell(app, '~', &item.name, &reasons)?;
                    }
                }
            }
        }
        let Counts { same, added, removed, changed } = counts;
        let object = json!({ "same": same, "added": added, "removed": removed, "changed": changed,
            "problems": problems.count() });
        app.output.summary(&object, || {
            format!(
                "{} same, {added} added, {removed} removed, {changed} changed",
                counted(same, "entry")
            )
        })?;
        Ok(Done::unless(added + removed + changed + problems.count() > 0))
    }
}

async fn differs(
    app: &App,
    item: &Item,
    known: holdall::Digest,
    stop: &Stop,
) -> Result<std::result::Result<bool, String>> {
    if item.attributes.kind != Kind::File {
        return Ok(Ok(false));
    }
    let (path, env, stop) = (item.path.clone(), app.env.clone(), stop.clone());
    let found = app.env.blocking(move || read::digest(&path, &env, &stop)).await?;
    Ok(found.map(|found| found != known))
}

fn tell(app: &App, sign: char, name: &str, reasons: &[&str]) -> Result<()> {
    let word = match sign {
        '+' => "added",
        '-' => "removed",
        _ => "changed",
    };
    app.output.row(&json!({ "difference": word, "name": name, "reasons": reasons }), || {
        match reasons.is_empty() {
            true => format!("{sign} {}", shown(name)),
            false => format!("{sign} {} ({})", shown(name), reasons.join(", ")),
        }
    })
}

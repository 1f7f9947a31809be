//! `holdall put`: stores one entry, from a file or a pipe.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use clap::Args;
use futures::Stream;
use holdall::units::parse_duration;
use holdall::{Bytes, Condition, Env, Error, Name, Operation, PutOptions, Version};
use serde_json::json;
use tokio::sync::mpsc;

use crate::app::App;
use crate::failure::{Done, Failure, Result};

/// How many bytes are read at once, and how many such pieces ahead.
const PIECE: usize = 256 << 10;
const AHEAD: usize = 8;

/// Stores one entry, from a file or from standard input.
#[derive(Args, Debug)]
pub(crate) struct Put {
    /// The entry's name.
    name: String,
    /// The file; `-`, or nothing, is standard input.
    file: Option<PathBuf>,
    /// Its media type, such as text/plain.
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Something to remember of it; may be given several times.
    #[arg(long = "attr", value_name = "KEY=VALUE")]
    attributes: Vec<String>,
    /// After which time it ends by itself, such as 30d.
    #[arg(long, value_name = "DURATION")]
    ttl: Option<String>,
    /// Only if there is no entry of this name.
    #[arg(long, conflicts_with = "if_version")]
    if_absent: bool,
    /// Only if the entry there has this version.
    #[arg(long, value_name = "VERSION")]
    if_version: Option<Version>,
}

impl Put {
    pub(crate) async fn run(self, app: &App) -> Result {
        let name = Name::parse(&self.name)?;
        let options = self.options(app)?;
        let source: Box<dyn Read + Send> = match &self.file {
            Some(path) if path.as_os_str() != "-" => Box::new(open(path)?),
            _ => Box::new(std::io::stdin()),
        };
        let volume = app.volume_for_writing().await?;
        let stream = read_ahead(source, &app.env);
        let committed = volume.put_stream(&name, stream, options).await?;
        let entry = volume.get_version(&name, committed.version).await?;
        let size = entry.map_or(0, |reading| reading.entry().size);
        let object = json!({ "name": name.as_str(), "version": committed.version, "size": size });
        app.output.summary(&object, || {
            let size = holdall::units::format_size(size);
            format!("`{name}`: {size}, version {}", committed.version)
        })?;
        Ok(Done::Whole)
    }

    fn options(&self, app: &App) -> Result<PutOptions> {
        let condition = match (self.if_absent, self.if_version) {
            (true, _) => Condition::Absent,
            (false, Some(version)) => Condition::Version(version),
            (false, None) => Condition::Always,
        };
        let ttl = self.ttl.as_deref().map(parse_duration).transpose()?;
        Ok(PutOptions {
            condition,
            content_type: self.content_type.clone(),
            attributes: attributes(&self.attributes)?,
            expires: ttl.map(|ttl| app.now().plus(ttl)),
        })
    }
}

/// Attributes as they are written on a command line.
pub(super) fn attributes(words: &[String]) -> Result<BTreeMap<String, String>> {
    let mut attributes = BTreeMap::new();
    for word in words {
        let Some((key, value)) = word.split_once('=') else {
            let message = format!("the attribute `{word}` has no value; write --attr key=value");
            return Err(Failure::Usage(message));
        };
        attributes.insert(key.to_owned(), value.to_owned());
    }
    Ok(attributes)
}

fn open(path: &std::path::Path) -> Result<std::fs::File> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Failure::NotFound(format!(
            "there is no file `{}`; give one that exists",
            path.display()
        )),
        _ => Error::io(Operation::Get, format!("cannot read `{}`", path.display()), error).into(),
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        let message =
            format!("`{}` is a directory; use `holdall import` for a tree", path.display());
        return Err(Failure::Usage(message));
    }
    Ok(file)
}

/// Reads in a thread of its own, which ends with the source, or when nobody listens any more.
fn read_ahead(
    mut source: Box<dyn Read + Send>,
    env: &Env,
) -> impl Stream<Item = holdall::Result<Bytes>> + Send + use<> {
    let (sender, mut receiver) = mpsc::channel(AHEAD);
    let job = env.blocking(move || {
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            let read = (&mut source).take(PIECE as u64).read_to_end(&mut piece);
            let failed = |error| Error::io(Operation::Get, "cannot read what is to be put", error);
            let ended = read.is_err() || piece.is_empty();
            let piece = read.map(|_| Bytes::from(piece)).map_err(failed);
            if matches!(&piece, Ok(bytes) if bytes.is_empty()) {
                return;
            }
            if sender.blocking_send(piece).is_err() || ended {
                return;
            }
        }
    });
    drop(job);
    futures::stream::poll_fn(move |context| receiver.poll_recv(context))
}

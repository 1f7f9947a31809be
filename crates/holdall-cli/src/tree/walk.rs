//! Walks a directory tree in the order of the entries' names.
//!
//! A volume is ordered by the bytes of whole names, so the children of a directory are ordered by
//! their names with the slash that follows a directory's: `a-b`, `a.c`, `a/`, `a/b`, `a0`.
//! Links are never followed.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use futures::Stream;
use holdall::Env;
use tokio::sync::mpsc;

use super::Stop;
use super::attributes::{Attributes, Kind};
use super::names;

/// How far the walk may be ahead.
const AHEAD: usize = 4096;

/// What a walk comes upon.
#[derive(Debug)]
pub(crate) enum Found {
    /// A file, directory or symlink.
    Item(Item),
    /// Something that cannot be kept, or be read: its name, with a slash at its end if what lies
    /// below cannot be read either, and what to say.
    Problem { name: String, path: PathBuf, message: String },
}

impl Found {
    /// The entry's name.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Item(item) => &item.name,
            Self::Problem { name, .. } => name,
        }
    }
}

/// A file, directory or symlink.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// The entry's name.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) path: PathBuf,
    /// The name's bytes, if they are not UTF-8.
    pub(crate) raw_name: Option<String>,
    pub(crate) size: u64,
    pub(crate) attributes: Attributes,
}

/// A directory as the system knows it, by whatever path.
pub(crate) type Identity = (u64, u64);

/// The identity of what is at a path.
pub(crate) fn identity(path: &Path) -> Option<Identity> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// What to walk.
#[derive(Clone, Debug)]
pub(crate) struct Walk {
    /// The tree's root.
    pub(crate) root: PathBuf,
    /// What names begin with.
    pub(crate) prefix: String,
    /// Directories that are no part of the tree: the store itself.
    pub(crate) except: Vec<Identity>,
    pub(crate) stop: Stop,
}

impl Walk {
    /// Everything below the root, and the root itself if the prefix names it.
    pub(crate) fn start(self, env: &Env) -> impl Stream<Item = Found> + Unpin + Send + use<> {
        let (sender, mut receiver) = mpsc::channel(AHEAD);
        let walking =
            env.blocking(move || self.walk(&mut |found| sender.blocking_send(found).is_ok()));
        // The walk ends when it is done, or nobody listens any more.
        drop(walking);
        futures::stream::poll_fn(move |context| receiver.poll_recv(context))
    }

    /// How many bytes all files have together, roughly; nothing if it was stopped.
    pub(crate) fn measure(&self) -> Option<u64> {
        let mut bytes = 0;
        let whole = self.walk(&mut |found| {
            if let Found::Item(Item { size, attributes, .. }) = found
                && attributes.kind == Kind::File
            {
                bytes += size;
            }
            true
        });
        whole.then_some(bytes)
    }

    /// Tells of everything until `tell` has enough; whether the walk came to its end.
    fn walk(&self, tell: &mut dyn FnMut(Found) -> bool) -> bool {
        let root = Place { name: self.prefix.clone(), path: self.root.clone(), raw_name: None };
        let mut open = vec![vec![root].into_iter()];
        while let Some(siblings) = open.last_mut() {
            let Some(place) = siblings.next() else {
                open.pop();
                continue;
            };
            if self.stop.asked() {
                return false;
            }
            let path = place.path.clone();
            let name = place.name.clone();
            let found = match look(place) {
                Ok(found) => found,
                Err(error) => problem(name.clone(), &path, &reading_failed(&error)),
            };
            let descend = matches!(&found, Found::Item(item)
                if item.attributes.kind == Kind::Directory);
            if !name.is_empty() && !tell(found) {
                return false;
            }
            if !descend {
                continue;
            }
            match self.children(&path, &name) {
                Ok(children) => open.push(children.into_iter()),
                Err(error) => {
                    if !tell(problem(name, &path, &reading_failed(&error))) {
                        return false;
                    }
                }
            }
        }
        true
    }

    fn children(&self, path: &Path, name: &str) -> io::Result<Vec<Place>> {
        let mut children = Vec::new();
        for child in fs::read_dir(path)? {
            let child = child?;
            let file_name = child.file_name();
            let mut child_name = format!("{name}{}", names::escape(&file_name));
            if child.file_type()?.is_dir() {
                if self.is_excepted(&child.path()) {
                    continue;
                }
                child_name.push('/');
            }
            let raw_name = names::raw(&file_name);
            children.push(Place { name: child_name, path: child.path(), raw_name });
        }
        children.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(children)
    }

    fn is_excepted(&self, path: &Path) -> bool {
        !self.except.is_empty() && identity(path).is_some_and(|found| self.except.contains(&found))
    }
}

/// Where something is, and what it is called.
#[derive(Debug)]
struct Place {
    name: String,
    path: PathBuf,
    raw_name: Option<String>,
}

fn look(place: Place) -> io::Result<Found> {
    let Place { name, path, raw_name } = place;
    // The root was followed when it was named, everything below it never is.
    let metadata = fs::symlink_metadata(&path)?;
    let kind = match Kind::of(&metadata) {
        Ok(kind) => kind,
        Err(what) => return Ok(problem(name, &path, &format!("is {what} and was left out"))),
    };
    if (kind == Kind::Directory) != (name.is_empty() || name.ends_with('/')) {
        return Ok(problem(name, &path, "was replaced while the tree was read; import it again"));
    }
    if name.len() > holdall::NAME_BYTES_MAX {
        let message = format!(
            "has a name of {} bytes in the volume, at most {} are allowed; it was left out",
            name.len(),
            holdall::NAME_BYTES_MAX
        );
        return Ok(problem(name, &path, &message));
    }
    let target = match kind {
        Kind::Symlink => Some(OsString::from(fs::read_link(&path)?)),
        _ => None,
    };
    let size = if kind == Kind::File { metadata.len() } else { 0 };
    let attributes = Attributes::of(&metadata, kind, target);
    Ok(Found::Item(Item { name, path, raw_name, size, attributes }))
}

fn problem(name: String, path: &Path, message: &str) -> Found {
    Found::Problem { name, path: path.to_owned(), message: message.to_owned() }
}

/// What to say of a file that cannot be read.
pub(crate) fn reading_failed(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "vanished while the tree was read".to_owned(),
        _ => format!("cannot be read and was left out: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_order_is_that_of_whole_names() {
        let folder = tempfile::tempdir().unwrap();
        for directory in ["a", "b/c", "z"] {
            fs::create_dir_all(folder.path().join(directory)).unwrap();
        }
        for file in ["a-b", "a.c", "a0", "a/b", "b/c/d", "b/c-", "ä"] {
            fs::write(folder.path().join(file), file).unwrap();
        }
        let root = folder.path().to_owned();
        let excepted = identity(&root.join("z")).unwrap();
        let stop = Stop::at(&Arc::default());
        let walk = Walk { root, prefix: "p/".to_owned(), except: vec![excepted], stop };
        let mut names = Vec::new();
        assert!(walk.walk(&mut |found| {
            names.push(found.name().to_owned());
            true
        }));
        let mut sorted = names.clone();
        sorted.sort();
        assert_eq!(names, sorted);
        let expected = ["p/", "p/a-b", "p/a.c", "p/a/", "p/a/b", "p/a0", "p/b/", "p/b/c-"];
        assert_eq!(names[..8], expected);
        assert_eq!(names.len(), 11, "{names:?}");
        assert_eq!(walk.measure(), Some(3 + 3 + 2 + 3 + 5 + 4 + 2));
    }
}

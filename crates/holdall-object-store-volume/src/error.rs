//! The house's errors, turned into those of object stores.

use holdall_core::{Error, ErrorKind};
use object_store::path::Path;

const STORE: &str = "holdall";

/// What was to be done where, and so what a conflict is called.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    location: String,
    conflict: Conflict,
}

#[derive(Clone, Copy, Debug)]
enum Conflict {
    /// The object is in the way.
    Exists,
    /// The object has another version.
    Changed,
}

impl Context {
    pub(crate) fn read(location: &Path) -> Self {
        Self { location: location.to_string(), conflict: Conflict::Changed }
    }

    pub(crate) fn create(location: &Path) -> Self {
        Self { location: location.to_string(), conflict: Conflict::Exists }
    }

    pub(crate) fn update(location: &Path) -> Self {
        Self::read(location)
    }

    pub(crate) fn turn(&self, error: Error) -> object_store::Error {
        let (path, kind) = (self.location.clone(), error.kind());
        let source = Box::new(error);
        match (kind, self.conflict) {
            (ErrorKind::Conflict, Conflict::Exists) => {
                object_store::Error::AlreadyExists { path, source }
            }
            (ErrorKind::Conflict, Conflict::Changed) => {
                object_store::Error::Precondition { path, source }
            }
            (ErrorKind::Denied, _) => object_store::Error::PermissionDenied { path, source },
            (ErrorKind::Unsupported, _) => object_store::Error::NotSupported { source },
            _ => generic(source),
        }
    }
}

pub(crate) fn generic(source: Box<dyn std::error::Error + Send + Sync>) -> object_store::Error {
    object_store::Error::Generic { store: STORE, source }
}

/// There is no such object, or not in the version asked for.
pub(crate) fn missing(location: &Path) -> object_store::Error {
    let source = "the volume has no such entry".into();
    object_store::Error::NotFound { path: location.to_string(), source }
}

/// There is no such upload of the object.
pub(crate) fn no_upload(
    location: &Path,
    source: Box<dyn std::error::Error + Send + Sync>,
) -> object_store::Error {
    object_store::Error::NotFound { path: location.to_string(), source }
}

/// An object cannot be made where it already is.
pub(crate) fn in_the_way(location: &Path) -> object_store::Error {
    let source = "source and target are the same entry".into();
    object_store::Error::AlreadyExists { path: location.to_string(), source }
}

pub(crate) fn unsupported(message: String) -> object_store::Error {
    object_store::Error::NotSupported { source: message.into() }
}

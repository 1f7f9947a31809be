//! Damage to stored bytes: what disks, copies and people do, chosen by a seed.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use holdall_core::{Backend, BackendExt, Bytes, Error, Expect, Key, Operation, Result};

use crate::Chance;

/// What is done to the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Damage {
    /// One bit is changed.
    Flip,
    /// The end is missing, possibly all of it.
    Truncate,
    /// Some bytes in the middle are zeros.
    Zero,
    /// Bytes that nobody wrote follow the end.
    Extend,
    /// Everything is missing.
    Delete,
    /// The bytes of two names have changed places.
    Swap,
}

impl Damage {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Flip, Self::Truncate, Self::Zero, Self::Extend, Self::Delete, Self::Swap];

    /// Damages bytes in place; false if these bytes cannot be damaged so (there are none, or they
    /// are zero already). [`Delete`](Self::Delete) and [`Swap`](Self::Swap) concern names, not
    /// bytes, and leave them.
    pub fn harm(self, bytes: &mut Vec<u8>, chance: &mut Chance) -> bool {
        let len = bytes.len();
        match self {
            Self::Flip if len > 0 => {
                bytes[chance.index(len)] ^= 1 << chance.below(8);
                true
            }
            Self::Truncate if len > 0 => {
                bytes.truncate(chance.index(len));
                true
            }
            Self::Zero if len > 0 => {
                let start = chance.index(len);
                let end = len.min(start + 1 + chance.index(512));
                let harmed = bytes[start..end].iter().any(|byte| *byte != 0);
                bytes[start..end].fill(0);
                harmed
            }
            Self::Extend => {
                let more = 1 + chance.index(512);
                bytes.extend(chance.bytes(more));
                true
            }
            _ => false,
        }
    }
}

/// What was done, and to what: shown in a failing test's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Harm<N> {
    /// What was done.
    pub damage: Damage,
    /// To which key or file; to which two, if they were swapped.
    pub names: Vec<N>,
}

impl<N: fmt::Debug> fmt::Display for Harm<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {:?}", self.damage, self.names)
    }
}

/// Damages one value, chosen by chance among the keys that begin with `prefix`; two, if they are
/// swapped. `None` if there is nothing that can be damaged so.
///
/// # Errors
/// What the backend returns.
pub async fn damage_backend(
    backend: &dyn Backend,
    prefix: &str,
    damage: Damage,
    chance: &mut Chance,
) -> Result<Option<Harm<Key>>> {
    let rows = backend.list_all(prefix, false).await?;
    let keys: Vec<Key> = rows.into_iter().map(|row| row.key).collect();
    let Some(key) = chance.pick(&keys).cloned() else {
        return Ok(None);
    };
    if damage == Damage::Swap {
        let others: Vec<Key> = keys.into_iter().filter(|other| *other != key).collect();
        let Some(other) = chance.pick(&others).cloned() else {
            return Ok(None);
        };
        let (one, two) = (read(backend, &key).await?, read(backend, &other).await?);
        if one == two {
            return Ok(None);
        }
        backend.put(&key, two, Expect::Any).await?;
        backend.put(&other, one, Expect::Any).await?;
        return Ok(Some(Harm { damage, names: vec![key, other] }));
    }
    Ok(damage_key(backend, &key, damage, chance).await?.then(|| Harm { damage, names: vec![key] }))
}

/// Damages the value of one key; false if it cannot be damaged so.
///
/// # Errors
/// What the backend returns; `Invalid` if the key is missing.
pub async fn damage_key(
    backend: &dyn Backend,
    key: &Key,
    damage: Damage,
    chance: &mut Chance,
) -> Result<bool> {
    if damage == Damage::Delete {
        backend.delete(key, Expect::Any).await?;
        return Ok(true);
    }
    let mut bytes = read(backend, key).await?.to_vec();
    let harmed = damage.harm(&mut bytes, chance);
    if harmed {
        backend.put(key, bytes.into(), Expect::Any).await?;
    }
    Ok(harmed)
}

async fn read(backend: &dyn Backend, key: &Key) -> Result<Bytes> {
    let found = backend.get_all(key).await?;
    let missing = || Error::invalid(Operation::Get, "there is nothing to damage").with_key(key);
    found.map(|object| object.value).ok_or_else(missing)
}

/// Damages one file, chosen by chance among all below `folder`; two, if they are swapped. `None`
/// if there is nothing that can be damaged so.
///
/// # Errors
/// What the operating system returns.
pub fn damage_folder(
    folder: &Path,
    damage: Damage,
    chance: &mut Chance,
) -> io::Result<Option<Harm<PathBuf>>> {
    let files = files_below(folder)?;
    let Some(file) = chance.pick(&files).cloned() else {
        return Ok(None);
    };
    if damage == Damage::Swap {
        let others: Vec<PathBuf> = files.into_iter().filter(|other| *other != file).collect();
        let Some(other) = chance.pick(&others).cloned() else {
            return Ok(None);
        };
        let (one, two) = (std::fs::read(&file)?, std::fs::read(&other)?);
        if one == two {
            return Ok(None);
        }
        std::fs::write(&file, two)?;
        std::fs::write(&other, one)?;
        return Ok(Some(Harm { damage, names: vec![file, other] }));
    }
    Ok(damage_file(&file, damage, chance)?.then(|| Harm { damage, names: vec![file] }))
}

/// Damages one file; false if it cannot be damaged so.
///
/// # Errors
/// What the operating system returns.
pub fn damage_file(file: &Path, damage: Damage, chance: &mut Chance) -> io::Result<bool> {
    if damage == Damage::Delete {
        std::fs::remove_file(file)?;
        return Ok(true);
    }
    let mut bytes = std::fs::read(file)?;
    let harmed = damage.harm(&mut bytes, chance);
    if harmed {
        std::fs::write(file, bytes)?;
    }
    Ok(harmed)
}

/// All files below a folder, in the order of their names, so that a seed always finds the same.
///
/// # Errors
/// What the operating system returns.
pub fn files_below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for found in std::fs::read_dir(folder)? {
            let found = found?;
            match found.file_type()? {
                kind if kind.is_dir() => folders.push(found.path()),
                kind if kind.is_file() => files.push(found.path()),
                _ => {}
            }
        }
    }
    files.sort();
    Ok(files)
}

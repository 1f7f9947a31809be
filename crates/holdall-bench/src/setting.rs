//! Where a run takes place, and how large it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdall_core::Env;

use crate::Result;

/// How long it waits after a sync.
const QUIET: Duration = Duration::from_millis(100);

/// How much is done in each row.
#[derive(Clone, Debug)]
pub struct Scale {
    /// How long each contender puts or gets small values in each round.
    pub time: Duration,
    /// How many entries are there for the random gets.
    pub get_entries: u64,
    /// How many entries are listed.
    pub list_entries: u64,
    /// The size of a large object in bytes.
    pub large_bytes: usize,
    /// How many large objects there are in each round.
    pub large_count: u64,
    /// The size of the object that is streamed to see how much memory that takes, in bytes.
    pub stream_bytes: u64,
    /// How many entries the volume has that is opened.
    pub open_entries: u64,
}

impl Scale {
    /// The sizes of the target table.
    pub fn full() -> Self {
        Self {
            time: Duration::from_secs(4),
            get_entries: 500_000,
            list_entries: 1_000_000,
            large_bytes: 64 << 20,
            large_count: 3,
            stream_bytes: 16 << 30,
            open_entries: 10_000_000,
        }
    }

    /// Smaller where the full size takes minutes.
    pub fn quick() -> Self {
        Self {
            time: Duration::from_secs(1),
            get_entries: 200_000,
            list_entries: 200_000,
            large_count: 2,
            stream_bytes: 1 << 30,
            open_entries: 200_000,
            ..Self::full()
        }
    }

    /// Just enough to see that everything works.
    pub fn tiny() -> Self {
        Self {
            time: Duration::from_millis(5),
            get_entries: 100,
            list_entries: 2_500,
            large_bytes: 3 << 20,
            large_count: 1,
            stream_bytes: 8 << 20,
            open_entries: 500,
        }
    }
}

/// Where a run takes place, and how large it is.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Time and tasks.
    pub env: Env,
    /// The folder that everything is written under: all contenders on the same disk.
    pub dir: PathBuf,
    /// How often every contender has its turn.
    pub rounds: usize,
    /// How much is done.
    pub scale: Scale,
    /// This program, for what must happen in a process of its own.
    pub program: PathBuf,
    /// The `holdall` command.
    pub holdall: PathBuf,
    /// The `restic` command.
    pub restic: PathBuf,
    /// The real tree that is imported.
    pub tree: PathBuf,
}

impl Setting {
    /// An empty folder, made anew.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn fresh(&self, name: &str) -> Result<Scratch> {
        let path = self.dir.join(name);
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir_all(&path)?;
        Ok(Scratch(path))
    }

    /// Waits until nothing that was written or removed so far is still under way to the disk: who
    /// is measured next must not pay for who was measured before.
    ///
    /// # Errors
    /// If the file system cannot be synced.
    pub async fn quiet(&self) -> Result<()> {
        let folder = fs::File::open(&self.dir)?;
        self.env.blocking(move || rustix::fs::syncfs(folder)).await??;
        // Room that was given back is told to the device only after the sync.
        self.env.sleep(QUIET).await;
        Ok(())
    }
}

/// The order of turns in a round: each round begins with the next one, so that nobody always
/// comes after the same one.
pub fn turns<T: Copy>(all: &[T], round: usize) -> Vec<T> {
    let mut turns = all.to_vec();
    turns.rotate_left(round % all.len().max(1));
    turns
}

/// A folder that is removed when it is dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is removed when a folder of the same name is made anew.
        drop(fs::remove_dir_all(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::turns;

    #[test]
    fn everyone_is_first_once() {
        assert_eq!(turns(&[1, 2, 3], 0), [1, 2, 3]);
        assert_eq!(turns(&[1, 2, 3], 1), [2, 3, 1]);
        assert_eq!(turns(&[1, 2, 3], 5), [3, 1, 2]);
        assert!(turns::<u8>(&[], 5).is_empty());
    }
}

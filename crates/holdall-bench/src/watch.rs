//! Runs another program: how long it takes, and how much memory it has at the most.

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;

/// How often a running program is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// How a program ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// What it wrote to its standard output.
    pub output: String,
    /// How long it took.
    pub time: Duration,
    /// The most memory that was resident, pages of mapped files included, in bytes. It is looked
    /// at every few milliseconds.
    pub peak_bytes: u64,
}

/// Runs a program to its end. What it says to its standard error is part of the error if it
/// fails.
///
/// # Errors
/// If it cannot be started, or ends with anything but success.
pub fn run(command: &mut Command) -> Result<Ended> {
    let program = command.get_program().to_string_lossy().into_owned();
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{program} cannot be started: {error}"))?;
    let (output, errors) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let mut peak_bytes = 0;
    let status = loop {
        peak_bytes = peak_bytes.max(peak(&child).unwrap_or_default());
        if let Some(status) = child.try_wait()? {
            break status;
        }
        thread::sleep(LOOK);
    };
    let time = started.elapsed();
    let text = |reader: thread::JoinHandle<io::Result<Vec<u8>>>| -> Result<String> {
        let bytes = reader.join().map_err(|_| "a reader of a program's output panicked")??;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let (output, errors) = (text(output)?, text(errors)?);
    if !status.success() {
        return Err(format!("{program} ended with {status}: {}", errors.trim()).into());
    }
    Ok(Ended { output, time, peak_bytes })
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<io::Result<Vec<u8>>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    })
}

/// The most memory that a child has had resident so far, in bytes.
fn peak(child: &Child) -> Option<u64> {
    peak_in(&fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?)
}

/// The same of this process.
///
/// # Errors
/// If the kernel does not tell.
pub fn own_peak() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    Ok(peak_in(&status).ok_or("/proc/self/status tells no VmHWM")?)
}

fn peak_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

/// How many files a tree has, and how many bytes they and the folders' symbolic links hold.
///
/// # Errors
/// If a folder cannot be read.
pub fn tree_size(root: &Path) -> Result<(u64, u64)> {
    let (mut files, mut bytes) = (0, 0);
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                files += 1;
                bytes += metadata.len();
            }
        }
    }
    Ok((files, bytes))
}

/// How many bytes of the disk a tree takes.
///
/// # Errors
/// If a folder cannot be read.
pub fn disk_usage(root: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = fs::metadata(root)?.blocks() * 512;
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            bytes += metadata.blocks() * 512;
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_is_quoted() {
        let error = run(Command::new("sh").args(["-c", "echo so sorry >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("so sorry") && text.contains('3'), "{text}");
        let error = run(&mut Command::new("no-such-program-anywhere")).unwrap_err();
        assert!(error.to_string().contains("no-such-program-anywhere cannot be started"));
    }

    #[test]
    fn a_program_that_ends_well_is_heard() {
        let ended = run(Command::new("sh").args(["-c", "echo well; sleep 0.05"])).unwrap();
        assert_eq!(ended.output, "well\n");
        assert!(ended.peak_bytes > 0);
    }

    #[test]
    fn the_peak_is_read_from_the_kernels_words() {
        assert_eq!(peak_in("Name:\tx\nVmHWM:\t    1234 kB\nVmRSS:\t 1 kB\n"), Some(1234 << 10));
        assert_eq!(peak_in("Name:\tx\n"), None);
        assert!(own_peak().unwrap() > 0);
    }

    #[test]
    fn a_tree_is_counted_to_its_leaves() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("a/b/x"), [7; 5000]).unwrap();
        fs::write(folder.path().join("y"), [7; 10]).unwrap();
        assert_eq!(tree_size(folder.path()).unwrap(), (2, 5010));
        assert!(disk_usage(folder.path()).unwrap() >= 5010);
    }
}

//! What the tests of the command share: a place to run it in, and trees to run it on.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]
#![allow(clippy::disallowed_methods, reason = "tests of a real process on a real machine")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ended {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// Each line of standard output as JSON.
    pub fn objects(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap();
        self.text().lines().map(parse).collect()
    }

    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", String::from_utf8_lossy(&self.stdout), self.stderr);
        self
    }

    /// Ended with this code, and a message of one line that has all these words.
    #[track_caller]
    pub fn refused(self, code: i32, words: &[&str]) -> Self {
        let ended = self.expect(code);
        assert!(ended.stderr.starts_with("holdall: "), "{}", ended.stderr);
        for word in words {
            assert!(ended.stderr.contains(word), "no `{word}` in: {}", ended.stderr);
        }
        ended
    }
}

/// A folder with a store.
#[derive(Debug)]
pub struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    pub fn command<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdall"));
        command.args(words).current_dir(self.folder.path());
        command.env("HOLDALL_HOME", self.path("home"));
        for variable in ["HOLDALL_VOLUME", "HOLDALL_CATALOG", "HOLDALL_DATA", "HOLDALL_CONFIG"] {
            command.env_remove(variable);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs words with blanks between them.
    pub fn run(&self, words: &str) -> Ended {
        self.run_words(words.split_whitespace())
    }

    pub fn run_words<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Ended {
        ended(self.command(words).spawn().unwrap())
    }

    /// Runs with this standard input.
    pub fn pipe(&self, words: &str, input: &[u8]) -> Ended {
        use std::io::Write;
        let mut command = self.command(words.split_whitespace());
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        // A command that refuses early does not read.
        drop(child.stdin.take().unwrap().write_all(input));
        ended(child)
    }

    /// The newest commit of the default volume.
    pub fn sequence(&self) -> u64 {
        let status = self.run("status --json").expect(0);
        status.objects()[0]["sequence"].as_u64().unwrap()
    }

    /// Waits until there are segments on the data backend.
    pub fn wait_for_segments(&self) {
        let data = self.path("home/data");
        eventually("a segment", || {
            let mut open = vec![data.clone()];
            while let Some(folder) = open.pop() {
                for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    if entry.file_type().is_ok_and(|kind| kind.is_dir()) && name != ".tmp" {
                        open.push(entry.path());
                    } else if name.contains("segment") {
                        return true;
                    }
                }
            }
            false
        });
    }
}

pub fn ended(child: Child) -> Ended {
    let output = child.wait_with_output().unwrap();
    Ended {
        code: output.status.code().unwrap_or(-1),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Waits until something is so; a test that waits for ever says for what.
pub fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is() {
        assert!(started.elapsed() < Duration::from_secs(120), "waited two minutes for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Bytes that do not compress and differ for each number.
pub fn noise(number: u64, size: usize) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// Path, kind and mode, time, target, bytes of a file.
pub type Seen = (PathBuf, u32, (i64, i64), PathBuf, Vec<u8>);

/// Everything that an import keeps of a tree.
pub fn picture(root: &Path) -> Vec<Seen> {
    let mut all = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let time = (metadata.mtime(), metadata.mtime_nsec());
        let target = fs::read_link(&path).unwrap_or_default();
        let bytes = if metadata.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        let relative = path.strip_prefix(root).unwrap().to_owned();
        all.push((relative, metadata.mode(), time, target, bytes));
        if metadata.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    all.sort();
    all
}

/// Sets the time of a file, directory or symlink: seconds and nanoseconds since 1970.
pub fn set_time(path: &Path, seconds: i64, nanos: i64) {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// A tree that has everything an import must keep.
pub fn nasty_tree(root: &Path) {
    for folder in ["a/b/c", "a-b", "empty", "we ird", "%20"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    let files: [(&[u8], Vec<u8>); 16] = [
        (b"a/x.txt", b"hello\n".to_vec()),
        (b"a/b/c/deep", noise(1, 100)),
        (b"a.txt", b"between a-b and a/".to_vec()),
        (b"a0", Vec::new()),
        (b"caf\xe9", b"latin one".to_vec()),
        ("caf\u{fffd}E9".as_bytes(), b"looks like it".to_vec()),
        (b"\xff\xfe/", Vec::new()),
        (b"we ird/new\nline", b"1".to_vec()),
        (b"we ird/ blank ", b"2".to_vec()),
        (b"we ird/-rf", b"3".to_vec()),
        (b"%20/%41", b"4".to_vec()),
        ("ünï/".as_bytes(), Vec::new()),
        (b"inline", noise(2, 16 << 10)),
        (b"chunk", noise(3, (16 << 10) + 1)),
        (b"large", noise(4, (3 << 20) + 17)),
        (b"text", b"all the same words again and again ".repeat(9000)),
    ];
    for (name, bytes) in files {
        match name.strip_suffix(b"/") {
            Some(folder) => fs::create_dir_all(root.join(OsStr::from_bytes(folder))).unwrap(),
            None => fs::write(root.join(OsStr::from_bytes(name)), bytes).unwrap(),
        }
    }
    for (target, link) in [("../nowhere", "a/dangling"), ("/etc", "to etc"), ("a", "to a")] {
        std::os::unix::fs::symlink(target, root.join(link)).unwrap();
    }
    let odd = OsStr::from_bytes(b"caf\xe9");
    std::os::unix::fs::symlink(odd, root.join("to latin")).unwrap();
    let mode = |name: &str, mode| {
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("a/x.txt", 0o751);
    mode("a0", 0o400);
    mode("text", 0o4755);
    mode("empty", 0o1777);
    set_time(&root.join("a/x.txt"), 915_152_523, 123_456_789);
    set_time(&root.join("a.txt"), -500, 999_999_999);
    set_time(&root.join("a/dangling"), 1, 2);
    set_time(&root.join("empty"), 1_000_000_000, 1);
    mode("a/b/c", 0o555);
    set_time(&root.join("a/b"), 86_400, 0);
}

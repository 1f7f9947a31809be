//! A real process ends at its crash point: what was before it happened, what is behind it did not.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "the test starts itself as a child process")]

use std::process::Command;
use std::sync::Arc;

use holdall_core::{Backend, Bytes, Expect, Key, Memory};
use holdall_testkit::{CRASH_VARIABLE, CrashPoints, Crashing};

const FILE_VARIABLE: &str = "HOLDALL_CRASH_TEST_FILE";

/// The child's part. Started by the suite itself, without its file, it has nothing to do.
#[tokio::test]
async fn child() {
    let Ok(file) = std::env::var(FILE_VARIABLE) else {
        return;
    };
    let backend = Crashing::new(Arc::new(Memory::new()), CrashPoints::from_environment());
    let mut done = String::new();
    for round in 1..=3 {
        let key = Key::parse(format!("round-{round}")).unwrap();
        backend.put(&key, Bytes::new(), Expect::Any).await.unwrap();
        done.push_str(&format!("put {round};"));
        std::fs::write(&file, &done).unwrap();
        backend.delete(&key, Expect::Any).await.unwrap();
        done.push_str(&format!("delete {round};"));
        std::fs::write(&file, &done).unwrap();
    }
}

fn run_child(point: Option<&str>) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("done");
    std::fs::write(&file, "").unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--test-threads", "1"]).env(FILE_VARIABLE, &file);
    command.env_remove(CRASH_VARIABLE);
    if let Some(point) = point {
        command.env(CRASH_VARIABLE, point);
    }
    let output = command.output().unwrap();
    (output.status.success(), std::fs::read_to_string(file).unwrap())
}

#[test]
fn a_process_ends_at_its_point() {
    let all = "put 1;delete 1;put 2;delete 2;put 3;delete 3;".to_owned();
    assert_eq!(run_child(None), (true, all.clone()));
    assert_eq!(run_child(Some("1")), (false, String::new()));
    assert_eq!(run_child(Some("4")), (false, "put 1;".to_owned()));
    assert_eq!(run_child(Some("delete.before:2")), (false, "put 1;delete 1;put 2;".to_owned()));
    assert_eq!(run_child(Some("99")), (true, all));
    let (slip, _) = run_child(Some("soon"));
    assert!(!slip, "a point that cannot be read must not pass");
}

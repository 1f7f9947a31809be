//! Starting, awaiting and ending processes.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::{Result, Service, Stop};

/// How long a server may take until it answers, on a busy machine.
const READY: Duration = Duration::from_secs(120);

/// How long a server may take to end in good order.
const ENDED: Duration = Duration::from_secs(30);

const PAUSE: Duration = Duration::from_millis(20);

/// The file in a server's folder that its output goes to.
pub(crate) const LOG: &str = "log";

/// A port of 127.0.0.1 that nobody listens on. Somebody may take it before it is used, so a start
/// that fails is tried again with another.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|e| format!("no free port: {e}"))?;
    Ok(listener.local_addr().map_err(|e| format!("no free port: {e}"))?.port())
}

/// Starts a server and waits until it answers.
pub(crate) fn spawn(service: &Service, folder: &Path, port: u16) -> Result<Child> {
    let name = service.name;
    let log = File::options().create(true).append(true).open(folder.join(LOG));
    let log = log.map_err(|e| format!("{name}: its log cannot be written: {e}"))?;
    let errors = log.try_clone().map_err(|e| format!("{name}: its log cannot be shared: {e}"))?;
    let mut command = (service.command)(folder, port)?;
    command.stdin(Stdio::null()).stdout(log).stderr(errors);
    // Ctrl-C at the terminal is for the tests; they end their servers themselves.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command.spawn().map_err(|e| format!("{name} cannot be started: {e}"))?;
    let begun = Instant::now();
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Err(format!("{name} ended with {status} at its start: {}", tail(folder)));
        }
        if (service.ready)(folder, port) {
            return Ok(child);
        }
        if begun.elapsed() > READY {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("{name} does not answer: {}", tail(folder)));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Asks a process to end, and waits until it has; kills it if it takes too long.
pub(crate) fn end(pid: u32, stop: Stop) {
    let signal = match stop {
        Stop::Terminate => Signal::TERM,
        Stop::Interrupt => Signal::INT,
    };
    let Some(process) = process(pid) else { return };
    let _ = kill_process(process, signal);
    let begun = Instant::now();
    while is_alive(pid) {
        if begun.elapsed() > ENDED {
            let _ = kill_process(process, Signal::KILL);
            return;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Waits until nobody listens on a port; false if somebody goes on.
pub(crate) fn is_silent(port: u16) -> bool {
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_ok() {
        if begun.elapsed() > ENDED {
            return false;
        }
        std::thread::sleep(PAUSE);
    }
    true
}

/// Whether there is such a process, and it has not ended.
pub(crate) fn is_alive(pid: u32) -> bool {
    let Some(process) = process(pid) else { return false };
    if test_kill_process(process).is_err() {
        return false;
    }
    // A process that ended but was not waited for is none any more.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

fn process(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

/// The last lines that a server printed.
pub(crate) fn tail(folder: &Path) -> String {
    let log = std::fs::read(folder.join(LOG)).unwrap_or_default();
    let text = String::from_utf8_lossy(&log[log.len().saturating_sub(2000)..]).into_owned();
    if text.trim().is_empty() { "it printed nothing".to_owned() } else { text }
}

/// Runs a program to its end.
///
/// # Errors
/// If it cannot be started or fails, with what it printed.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let line = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|e| format!("{line} cannot be started: {e}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    let (status, out, err) = (output.status, text(&output.stdout), text(&output.stderr));
    Err(format!("{line} ended with {status}: {err}{out}"))
}

/// A program that runs as another user where the tests run as root: some servers refuse root.
pub(crate) fn as_user(user: &str, program: &str) -> Command {
    if !rustix::process::getuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={user}")).arg(format!("--regid={}", group(user)));
    command.args(["--clear-groups", program]);
    command
}

/// Gives a folder to the user that a server runs as.
pub(crate) fn give_to(user: &str, folder: &Path) -> Result<()> {
    if !rustix::process::getuid().is_root() {
        return Ok(());
    }
    run(Command::new("chown").arg(format!("{user}:{}", group(user))).arg(folder)).map(drop)
}

fn group(user: &str) -> &str {
    if user == "nobody" { "nogroup" } else { user }
}

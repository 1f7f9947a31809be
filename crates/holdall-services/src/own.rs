//! A server of one test's own.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{end, free_port, is_silent, spawn};
use crate::{Result, Service};

/// How often a start is tried, each time on another port.
const STARTS: usize = 3;
/// How long to wait before a server is started again that did not start.
const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// A server that this test started. It ends, and its data goes, when this is dropped.
#[derive(Debug)]
pub struct Own {
    service: &'static Service,
    /// The port of 127.0.0.1 that it listens on.
    pub port: u16,
    folder: TempDir,
    child: Option<Child>,
}

/// Starts a server for one test alone.
///
/// # Errors
/// If it cannot be installed or started.
pub fn start(service: &'static Service) -> Result<Own> {
    (service.install)()?;
    let folder = tempfile::Builder::new().prefix("holdall-").tempdir();
    let folder = folder.map_err(|e| format!("no temporary folder: {e}"))?;
    open_to_others(folder.path())?;
    (service.prepare)(folder.path())?;
    let (child, port) = spawn_somewhere(service, folder.path())?;
    let own = Own { service, port, folder, child: Some(child) };
    (service.begin)(own.folder(), port)?;
    Ok(own)
}

impl Own {
    /// Where its data is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends it at once, as a crash does.
    ///
    /// # Errors
    /// If that is not possible.
    pub fn kill(&mut self) -> Result<()> {
        let name = self.service.name;
        let Some(mut child) = self.child.take() else { return Ok(()) };
        child.kill().map_err(|e| format!("{name} cannot be killed: {e}"))?;
        child.wait().map(drop).map_err(|e| format!("{name} does not end: {e}"))?;
        // A child that it had just begun may listen a moment longer.
        if is_silent(self.port) { Ok(()) } else { Err(format!("{name} goes on listening")) }
    }

    /// Ends it in good order.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            end(child.id(), self.service.stop);
            let _ = child.wait();
        }
    }

    /// Starts it again, on the same port and data.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn restart(&mut self) -> Result<()> {
        self.stop();
        let mut tries = 1;
        loop {
            match spawn(self.service, self.folder.path(), self.port) {
                Ok(child) => {
                    self.child = Some(child);
                    return Ok(());
                }
                // What a killed PostgreSQL leaves behind may take a moment to end.
                Err(error) if tries == STARTS => return Err(error),
                Err(_) => tries += 1,
            }
            std::thread::sleep(RESTART_PAUSE);
        }
    }

    /// Its process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Starts a server on a free port, on another if somebody was faster.
pub(crate) fn spawn_somewhere(service: &Service, folder: &Path) -> Result<(Child, u16)> {
    let mut last = String::new();
    for _ in 0..STARTS {
        let port = free_port()?;
        match spawn(service, folder, port) {
            Ok(child) => return Ok((child, port)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Lets other users go through a folder: servers that refuse root run as one.
pub(crate) fn open_to_others(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let permissions = std::fs::Permissions::from_mode(0o755);
    let path: PathBuf = folder.into();
    std::fs::set_permissions(&path, permissions)
        .map_err(|e| format!("{} cannot be opened to others: {e}", path.display()))
}

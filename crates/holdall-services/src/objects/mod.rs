//! Object stores: each with the bucket `holdall`.

mod azurite;
mod garage;
mod gcs;
mod moto;
mod rclone;
mod s3s_fs;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

pub use azurite::AZURITE;
pub use garage::Garage;
pub use gcs::GCS;
pub use moto::MOTO;
pub use rclone::RCLONE;
pub use s3s_fs::S3S_FS;

use crate::Result;
use crate::install::python;

/// Moto's S3 in one thread, started by a script of ours in its folder.
fn moto(script: &str, folder: &Path, port: u16) -> Result<Command> {
    let mut command = Command::new(moto_programs()?.join("python"));
    command.arg(folder.join(script)).arg(port.to_string()).current_dir(folder);
    Ok(command)
}

fn moto_programs() -> Result<PathBuf> {
    python("moto", &["moto[server]==5.2.5"])
}

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))
}

/// The status that a request without a body is answered with.
pub(crate) fn ask(port: u16, method: &str, path: &str) -> Result<u16> {
    let failed = |e| format!("{method} {path} on port {port}: {e}");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(failed)?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(failed)?;
    let status = answer.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    status.ok_or_else(|| format!("{method} {path} on port {port}: no status in the answer"))
}

/// Makes the bucket of a server that checks no signatures.
fn make_bucket(port: u16) -> Result<()> {
    match ask(port, "PUT", "/holdall")? {
        200 => Ok(()),
        status => Err(format!("the bucket cannot be made: status {status}")),
    }
}

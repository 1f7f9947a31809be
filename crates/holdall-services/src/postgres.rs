//! PostgreSQL from the system's packages.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::install::packages;
use crate::process::{as_user, give_to, run};
use crate::{Result, Service, Stop, nothing_more};

/// PostgreSQL. User `holdall` without a password, database `postgres`; tests make databases of
/// their own in it. It syncs, so that it can be killed.
pub const POSTGRES: Service = Service {
    name: "postgres",
    install,
    prepare,
    command,
    ready,
    begin: nothing_more,
    stop: Stop::Interrupt,
};

/// PostgreSQL as strangers reach it: user `holdall` needs the password `let me in`, and
/// connections may be encrypted. `server.crt` in its folder vouches for 127.0.0.1 and for no other
/// name.
pub const POSTGRES_SECURED: Service = Service {
    name: "postgres-secured",
    install,
    prepare: prepare_secured,
    command: command_secured,
    ready,
    begin: nothing_more,
    stop: Stop::Interrupt,
};

/// What the certificate of the secured server says. It is its own authority.
const CERTIFICATE: &str = "[req]
prompt = no
distinguished_name = name
x509_extensions = extensions
[name]
commonName = holdall tests
[extensions]
basicConstraints = critical, CA:FALSE
subjectAltName = IP:127.0.0.1
";

/// It refuses to run as root.
const USER: &str = "postgres";

fn install() -> Result<()> {
    packages(&["/usr/lib/postgresql"], &["postgresql"])?;
    programs().map(drop)
}

/// The folder of programs of the newest version that is installed.
fn programs() -> Result<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql");
    let versions = versions.map_err(|e| format!("postgres is not installed: {e}"))?;
    let newest = versions
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .max()
        .ok_or("there is no version of postgres in /usr/lib/postgresql")?;
    Ok(PathBuf::from(format!("/usr/lib/postgresql/{newest}/bin")))
}

fn program(name: &str) -> Result<Command> {
    Ok(as_user(USER, &programs()?.join(name).to_string_lossy()))
}

fn prepare(folder: &Path) -> Result<()> {
    init(folder, &["-A", "trust"])
}

fn init(folder: &Path, logins: &[&str]) -> Result<()> {
    give_to(USER, folder)?;
    let mut command = program("initdb")?;
    command.arg("-D").arg(folder.join("data")).args(["-U", "holdall"]).args(logins);
    run(command.args(["-E", "UTF8", "--locale=C", "--no-sync"]).current_dir(folder)).map(drop)
}

fn prepare_secured(folder: &Path) -> Result<()> {
    for (name, text) in [("password", "let me in"), ("certificate.conf", CERTIFICATE)] {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    init(folder, &["-A", "scram-sha-256", "--pwfile", "password"])?;
    let mut command = as_user(USER, "openssl");
    command.args(["req", "-x509", "-config", "certificate.conf", "-days", "3650", "-nodes"]);
    command.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    command.args(["-keyout", "server.key", "-out", "server.crt"]);
    run(command.current_dir(folder)).map(drop)
}

fn command(folder: &Path, port: u16) -> Result<Command> {
    let mut command = program("postgres")?;
    command.arg("-D").arg(folder.join("data")).args(["-h", "127.0.0.1", "-p", &port.to_string()]);
    command.arg("-k").arg(folder).args(["-c", "max_connections=200"]).current_dir(folder);
    Ok(command)
}

fn command_secured(folder: &Path, port: u16) -> Result<Command> {
    let mut command = command(folder, port)?;
    for (name, file) in [("ssl_cert_file", "server.crt"), ("ssl_key_file", "server.key")] {
        command.arg("-c").arg(format!("{name}={}", folder.join(file).display()));
    }
    command.args(["-c", "ssl=on"]);
    Ok(command)
}

fn ready(folder: &Path, port: u16) -> bool {
    let Ok(programs) = programs() else { return false };
    let mut command = Command::new(programs.join("pg_isready"));
    command.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string(), "-U", "holdall"]);
    run(command.current_dir(folder)).is_ok()
}

//! S3 by Garage: three nodes on loopback, each of which keeps a copy of everything.
//!
//! It takes some twelve minutes of two cores to build, so `cargo x test --distributed` alone
//! starts it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{ask, write};
use crate::Result;
use crate::install::crate_program;
use crate::process::{free_port, run, tail};

/// How long the nodes may take until they answer, or agree.
const READY: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_millis(50);

const NODES: usize = 3;

/// What the nodes know each other by. They listen on loopback alone.
const RPC_SECRET: &str = "686f6c64616c6c686f6c64616c6c686f6c64616c6c686f6c64616c6c686f6c64";

/// A cluster of three nodes, with the bucket `holdall`. It ends, and its data goes, when this is
/// dropped.
#[derive(Debug)]
pub struct Garage {
    nodes: Vec<Node>,
    /// The name of the key that may use the bucket.
    pub key_id: String,
    /// Its secret.
    pub secret: String,
    _folder: TempDir,
}

#[derive(Debug)]
struct Node {
    folder: PathBuf,
    s3: u16,
    admin: u16,
    child: Option<Child>,
}

impl Garage {
    /// Builds Garage if it was not built before, and starts a new cluster.
    ///
    /// # Errors
    /// If it cannot be built or started.
    pub fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("holdall-garage-").tempdir();
        let folder = folder.map_err(|e| format!("no temporary folder: {e}"))?;
        let nodes = (0..NODES).map(|n| Node::start(folder.path().join(n.to_string())));
        let nodes = nodes.collect::<Result<Vec<_>>>()?;
        for node in &nodes[1..] {
            nodes[0].tell(&["node", "connect", &node.id()?])?;
        }
        for (n, node) in nodes.iter().enumerate() {
            let (id, zone) = (node.id()?, format!("zone{n}"));
            nodes[0].tell(&["layout", "assign", &id[..16], "-z", &zone, "-c", "1G"])?;
        }
        nodes[0].tell(&["layout", "apply", "--version", "1"])?;
        nodes.iter().try_for_each(Node::agrees)?;
        let said = nodes[0].tell(&["key", "create", "holdall"])?;
        let word = |name: &str| {
            let line = said.lines().find_map(|line| line.trim().strip_prefix(name));
            let word = line.map(|rest| rest.trim_start_matches(':').trim().to_owned());
            word.ok_or_else(|| format!("garage said no {name}: {said}"))
        };
        let (key_id, secret) = (word("Key ID")?, word("Secret key")?);
        nodes[0].tell(&["bucket", "create", "holdall"])?;
        let may = ["--read", "--write", "--owner", "holdall", "--key", "holdall"];
        nodes[0].tell(&[&["bucket", "allow"][..], &may[..]].concat())?;
        Ok(Self { nodes, key_id, secret, _folder: folder })
    }

    /// The port of 127.0.0.1 that a node, of 0 to 2, listens on.
    pub fn port(&self, node: usize) -> u16 {
        self.nodes[node].s3
    }

    /// Ends a node at once, as a crash does.
    ///
    /// # Errors
    /// If that is not possible.
    pub fn kill(&mut self, node: usize) -> Result<()> {
        self.nodes[node].kill()
    }

    /// Starts a node again, and waits until all that run agree.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn restart(&mut self, node: usize) -> Result<()> {
        self.nodes[node].spawn()?;
        self.nodes[node].agrees()
    }
}

impl Node {
    fn start(folder: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let (s3, admin, rpc) = (free_port()?, free_port()?, free_port()?);
        let at = folder.display();
        let settings = format!(
            "metadata_dir = \"{at}/meta\"\ndata_dir = \"{at}/data\"\ndb_engine = \"lmdb\"\n\
             replication_factor = {NODES}\nrpc_bind_addr = \"127.0.0.1:{rpc}\"\n\
             rpc_public_addr = \"127.0.0.1:{rpc}\"\nrpc_secret = \"{RPC_SECRET}\"\n\
             [s3_api]\ns3_region = \"garage\"\napi_bind_addr = \"127.0.0.1:{s3}\"\n\
             [admin]\napi_bind_addr = \"127.0.0.1:{admin}\"\nadmin_token = \"holdall\"\n"
        );
        write(&folder, "garage.toml", &settings)?;
        let mut node = Self { folder, s3, admin, child: None };
        node.spawn()?;
        Ok(node)
    }

    /// Starts its process, and waits until it listens.
    fn spawn(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.folder.join("log"));
        let log = log.map_err(|e| format!("garage: its log cannot be written: {e}"))?;
        let errors = log.try_clone().map_err(|e| format!("garage: its log: {e}"))?;
        let mut command = command(&self.folder)?;
        command.arg("server").stdin(Stdio::null()).stdout(log).stderr(errors);
        let child = command.spawn().map_err(|e| format!("garage cannot be started: {e}"))?;
        self.child = Some(child);
        self.until("listen", || ask(self.admin, "GET", "/health").is_ok())
    }

    /// Waits until it finds enough nodes for all it keeps.
    fn agrees(&self) -> Result<()> {
        self.until("agree", || ask(self.admin, "GET", "/health") == Ok(200))
    }

    fn until(&self, what: &str, holds: impl Fn() -> bool) -> Result<()> {
        let begun = Instant::now();
        while !holds() {
            if begun.elapsed() > READY {
                return Err(format!("garage does not {what}: {}", tail(&self.folder)));
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn id(&self) -> Result<String> {
        Ok(self.tell(&["node", "id", "-q"])?.trim().to_owned())
    }

    fn tell(&self, words: &[&str]) -> Result<String> {
        run(command(&self.folder)?.args(words))
    }

    fn kill(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        child.kill().map_err(|e| format!("garage cannot be killed: {e}"))?;
        child.wait().map(drop).map_err(|e| format!("garage does not end: {e}"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn command(folder: &Path) -> Result<Command> {
    let mut command = Command::new(crate_program("garage", "2.5.0", &[])?);
    command.arg("-c").arg(folder.join("garage.toml"));
    Ok(command)
}

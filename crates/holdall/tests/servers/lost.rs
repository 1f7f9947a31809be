//! A Redis that syncs every second is killed, and its machine loses what was not yet synced: no
//! more is gone than that, the volume says so when it is opened, and what the log has comes back.

use std::path::PathBuf;
use std::time::Duration;

use holdall::rebuild::RebuildOptions;
use holdall::{Engine, ErrorKind, PutOptions, ReadOptions, Volume, WriteOptions};
use holdall_services::{Own, REDIS, Service, start};

use crate::places::FILE;
use crate::world::{assert_clean, name, noise, present};

const EVERYSEC: Service = Service {
    name: "redis-everysec",
    command: |folder, port| {
        let mut command = (REDIS.command)(folder, port)?;
        command.args(["--appendfsync", "everysec"]);
        Ok(command)
    },
    ..REDIS
};

/// Longer than such a server may be behind with its syncs.
const SYNCED: Duration = Duration::from_millis(2500);

struct Bed {
    server: Own,
    catalog: String,
    data: String,
    _folder: tempfile::TempDir,
}

impl Bed {
    fn new() -> Self {
        let server = start(&EVERYSEC).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let port = server.port;
        let catalog = format!("redis://127.0.0.1:{port}/0?allow_unsafe_server=true");
        Self { server, catalog, data: FILE(folder.path()), _folder: folder }
    }

    async fn open(&self) -> Engine {
        crate::open(&self.catalog, &self.data).await.unwrap()
    }

    /// The file that the server writes and syncs.
    fn log(&self) -> PathBuf {
        self.server.folder().join("appendonlydir/appendonly.aof.1.incr.aof")
    }

    fn synced(&self) -> u64 {
        std::fs::metadata(self.log()).unwrap().len()
    }

    /// What happens when the machine ends: of the file there is what was synced.
    fn crash(&mut self, synced: u64) {
        self.server.kill().unwrap();
        let log = std::fs::File::options().write(true).open(self.log()).unwrap();
        log.set_len(synced).unwrap();
        self.server.restart().unwrap();
    }
}

async fn put(volume: &Volume, text: &str, seed: u64, size: usize) -> holdall::Result<()> {
    volume.put(&name(text), noise(seed, size), PutOptions::default()).await.map(drop)
}

async fn notes(engine: &Engine) -> String {
    engine.catalog().health().await.unwrap().notes.join("; ")
}

/// Puts small and large entries that are synced when this returns.
async fn early(volume: &Volume) {
    for n in 0..10 {
        put(volume, &format!("early/{n}"), n, if n % 3 == 0 { 200_000 } else { 500 })
            .await
            .unwrap();
    }
    holdall::env().sleep(SYNCED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sealed_comes_back_by_a_rebuild() {
    let mut bed = Bed::new();
    let engine = bed.open().await;
    let volume = engine.create_volume("v").await.unwrap();
    early(&volume).await;
    let (synced, kept) = (bed.synced(), present(&volume).await.unwrap());
    put(&volume, "late", 20, 500).await.unwrap();
    put(&volume, "late large", 21, 200_000).await.unwrap();
    let sealed = volume.seal().await.unwrap().upto;
    let sealed_entries = present(&volume).await.unwrap();
    put(&volume, "late and unsealed", 22, 500).await.unwrap();
    bed.crash(synced);
    // A handle from before ends: what it knows may be gone.
    let error = put(&volume, "from before", 23, 500).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Closed | ErrorKind::Unknown), "{error:?}");

    let again = bed.open().await;
    assert!(notes(&again).await.contains("up to 1 s of writes"), "{}", notes(&again).await);
    let volume = again.volume("v").await.unwrap();
    let lost = volume.lost().unwrap();
    assert!(lost.catalog < lost.data && lost.data == sealed, "{lost:?}, sealed {sealed}");
    assert_eq!(volume.usage().await.unwrap().lost, Some(lost));
    assert!(present(&volume).await.unwrap() == kept);
    let error = put(&volume, "too soon", 24, 500).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    assert!(error.message().contains("rebuild --replace"), "{error}");
    let id = volume.id().to_string();
    drop(volume);

    let options = RebuildOptions { replace: true, ..RebuildOptions::default() };
    let (volume, report) = again.rebuild(&id, options).await.unwrap();
    assert!(report.is_whole() && report.sequence == sealed, "{report:?}");
    assert!(present(&volume).await.unwrap() == sealed_entries);
    put(&volume, "and on", 25, 200_000).await.unwrap();
    assert_eq!(volume.lost(), None);
    assert_clean(&volume).await;
    drop(volume);
    again.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_sealed_is_missed_by_the_server_alone() {
    let mut bed = Bed::new();
    let engine = bed.open().await;
    let volume = engine.create_volume("v").await.unwrap();
    early(&volume).await;
    let (synced, kept) = (bed.synced(), present(&volume).await.unwrap());
    put(&volume, "late", 20, 500).await.unwrap();
    bed.crash(synced);
    let again = bed.open().await;
    assert!(notes(&again).await.contains("since this location was last opened"));
    let volume = again.volume("v").await.unwrap();
    assert!(present(&volume).await.unwrap() == kept);
    // Nothing shows that there was more, so it goes on.
    assert_eq!(volume.lost(), None);
    put(&volume, "and on", 25, 200_000).await.unwrap();
    assert_clean(&volume).await;
    drop(volume);
    again.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_between_syncs_loses_nothing() {
    let mut bed = Bed::new();
    let engine = bed.open().await;
    engine.create_volume("v").await.unwrap();
    let put = async |n: u64| {
        engine.write("v", &format!("{n}"), noise(n, 300), WriteOptions::default()).await.unwrap();
    };
    for n in 0..50 {
        put(n).await;
    }
    bed.server.kill().unwrap();
    bed.server.restart().unwrap();
    let again = bed.open().await;
    assert!(notes(&again).await.contains("since this location was last opened"));
    for n in 0..50 {
        let found = again.read("v", &format!("{n}"), ReadOptions::default()).await.unwrap();
        assert!(found.unwrap() == noise(n, 300), "{n}");
    }
    again.close().await.unwrap();
}

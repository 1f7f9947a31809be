//! Caches and fronts of a configuration: copies are where they were asked for, reads use them, and
//! what a front took first reaches the backend behind it.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::time::Duration;

use holdall::{
    Backend, BackendExt, ByteRange, Config, Engine, Expect, Key, List, ReadOptions, Stacked,
    WriteOptions, env, open_backend, parse_location,
};

/// An engine whose data lies in `far`, with this in front of it.
async fn engine(root: &Path, nearer: &str) -> Engine {
    let root = root.display();
    let text = format!(
        "backends: {{ far: {{ url: 'file://{root}/far', {} }} }}\nvolumes: {{ v: {{ catalog: \
         'lmdb://{root}/catalog', tiers: {{ hot: {{ backends: [far] }} }} }} }}\n",
        nearer.replace("ROOT", &root.to_string())
    );
    let config = Config::parse(&text, []).unwrap();
    Engine::open(config.settings("v", Path::new("/nowhere")).unwrap()).await.unwrap()
}

fn noise(mut state: u64, size: usize) -> Vec<u8> {
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..size).map(|_| next()).collect()
}

async fn alone(root: &Path, scheme: &str, name: &str) -> Stacked {
    let location = parse_location(&format!("{scheme}://{}/{name}", root.display())).unwrap();
    open_backend(&location, "test", &env()).await.unwrap()
}

/// The keys of all segments.
async fn segments(backend: &dyn Backend) -> Vec<Key> {
    let rows = backend.list(&List::prefix("")).await.unwrap().rows.into_iter();
    rows.map(|row| row.key).filter(|key| key.as_str().contains("/segment/")).collect()
}

async fn written(root: &Path, nearer: &str) {
    let engine = engine(root, nearer).await;
    engine.create_volume("v").await.unwrap();
    engine.write("v", "large", noise(1, 3 << 20), WriteOptions::default()).await.unwrap();
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_segments_are_read_without_asking_the_backend() {
    for nearer in [
        "cache: { memory: 64MiB }",
        "cache: { memory: 64MiB, disk: { path: ROOT/cache, size: 64MiB }, policy: write-around }",
        "front: { url: 'lmdb://ROOT/front', size: 64MiB }",
        "cache: { memory: 8MiB }, front: { url: 'lmdb://ROOT/front', policy: write-around }",
        "",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        written(root, nearer).await;
        let engine = engine(root, nearer).await;
        let segment = segments(engine.data().as_ref()).await.remove(0);
        let whole = engine.data().get(&segment, ByteRange::ALL).await.unwrap().unwrap();
        let far = alone(root, "file", "far").await.backend;
        far.delete(&segment, Expect::Any).await.unwrap();
        // Whoever asks the backend finds nothing; a segment's name is never given again, so nobody
        // has to ask.
        let again = engine.data().get_all(&segment).await.unwrap();
        let copy = (!nearer.is_empty()).then_some(whole.value);
        assert!(again.map(|object| object.value) == copy, "{nearer}");
        engine.close().await.unwrap();
        assert_eq!(root.join("cache").exists(), nearer.contains("disk"), "{nearer}");
        assert_eq!(root.join("front").exists(), nearer.contains("front"), "{nearer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_front_took_first_reaches_the_backend_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let nearer = "front: { url: 'lmdb://ROOT/front', policy: write-behind }";
    written(root, nearer).await;
    let engine = engine(root, nearer).await;
    let read = engine.read("v", "large", ReadOptions::default()).await.unwrap().unwrap();
    assert!(read == noise(1, 3 << 20));
    let far = alone(root, "file", "far").await.backend;
    let mut rounds = 0;
    while segments(far.as_ref()).await.is_empty() {
        rounds += 1;
        assert!(rounds < 3000, "nothing reached the backend in a minute and more");
        env().sleep(Duration::from_millis(20)).await;
    }
    engine.close().await.unwrap();
}

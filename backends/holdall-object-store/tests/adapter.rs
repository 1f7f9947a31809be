//! Stores of our own making, which do what the servers at hand do not.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::key;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use holdall_core::{
    Backend, BackendExt, Bytes, Conditions, Env, ErrorKind, Expect, List, async_trait,
};
use holdall_object_store::{ObjectBackend, Options, RevisionBy};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    UploadPart,
};

/// What is wrong with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Nothing,
    /// Looks whether a key is there, and writes later.
    LooksAndWritesLater,
    /// Checks creation, and takes any revision.
    TakesAnyRevision,
    /// Lists from the end.
    ListsBackwards,
    /// Lists every second name first, then the others; the probe's few names stay in order.
    ListsMixed,
    /// Lists nothing.
    ListsNothing,
    /// Shows what was there before the last write.
    ReadsStale,
    /// Says times that are hours off.
    ClockAhead,
    ClockBehind,
    /// Its uploads in parts fail at the second part.
    PartsFail,
    /// Its uploads in parts never end.
    PartsHang,
}

/// How far off a clock is that is wrong.
const HOURS: Duration = Duration::from_secs(3 * 60 * 60);

#[derive(Debug)]
struct Strange {
    inner: InMemory,
    /// What was there before the last write, where that is what is read.
    before: InMemory,
    wrong: Wrong,
    env: Env,
    aborted: Arc<AtomicUsize>,
}

impl fmt::Display for Strange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Strange({:?})", self.wrong)
    }
}

#[async_trait]
impl ObjectStore for Strange {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> Result<PutResult> {
        match (self.wrong, &options.mode) {
            (Wrong::LooksAndWritesLater, PutMode::Create) => {
                if self.inner.head(path).await.is_err() {
                    options.mode = PutMode::Overwrite;
                }
                self.env.sleep(Duration::from_millis(2)).await;
            }
            (Wrong::TakesAnyRevision, PutMode::Update(_)) => options.mode = PutMode::Overwrite,
            (Wrong::ReadsStale, _) => {
                if let Ok(found) = self.inner.get(path).await {
                    self.before.put(path, found.bytes().await?.into()).await?;
                }
            }
            _ => {}
        }
        self.inner.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.inner.put_multipart_opts(path, options).await?;
        let aborted = Arc::clone(&self.aborted);
        Ok(Box::new(Parts { inner, wrong: self.wrong, begun: 0, aborted }))
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        if self.wrong == Wrong::ReadsStale
            && let Ok(found) = self.before.get_opts(path, options.clone()).await
        {
            return Ok(found);
        }
        let mut found = self.inner.get_opts(path, options).await?;
        match self.wrong {
            Wrong::ClockAhead => found.meta.last_modified += HOURS,
            Wrong::ClockBehind => found.meta.last_modified -= HOURS,
            _ => {}
        }
        Ok(found)
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let all = self.inner.list(prefix);
        match self.wrong {
            Wrong::ListsNothing => stream::empty().boxed(),
            Wrong::ListsBackwards => {
                let reversed = all.collect::<Vec<_>>().map(|mut all| {
                    all.reverse();
                    stream::iter(all)
                });
                reversed.flatten_stream().boxed()
            }
            Wrong::ListsMixed => {
                let mixed = all.collect::<Vec<_>>().map(|all| {
                    let (mut first, mut second) = (Vec::new(), Vec::new());
                    for (at, meta) in all.into_iter().map(Result::unwrap).enumerate() {
                        let probe = meta.location.as_ref().contains(".holdall-probe/");
                        let to_first = probe || at % 2 == 0;
                        if to_first { &mut first } else { &mut second }.push(Ok(meta));
                    }
                    stream::iter(first.into_iter().chain(second))
                });
                mixed.flatten_stream().boxed()
            }
            _ => all,
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct Parts {
    inner: Box<dyn MultipartUpload>,
    wrong: Wrong,
    begun: usize,
    aborted: Arc<AtomicUsize>,
}

#[async_trait]
impl MultipartUpload for Parts {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.begun += 1;
        match self.wrong {
            Wrong::PartsHang => futures::future::pending().boxed(),
            Wrong::PartsFail if self.begun == 2 => {
                let source = "the second part".into();
                let error = object_store::Error::Generic { store: "Strange", source };
                futures::future::err(error).boxed()
            }
            _ => self.inner.put_part(data),
        }
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.aborted.fetch_add(1, Ordering::SeqCst);
        self.inner.abort().await
    }
}

fn strange(wrong: Wrong) -> Arc<Strange> {
    let env = holdall_runtime::env();
    let (inner, before) = (InMemory::new(), InMemory::new());
    Arc::new(Strange { inner, before, wrong, env, aborted: Arc::default() })
}

async fn open(store: &Arc<Strange>, options: Options) -> holdall_core::Result<ObjectBackend> {
    let store = Arc::clone(store) as Arc<dyn ObjectStore>;
    ObjectBackend::new(store, options, RevisionBy::ETag, &holdall_runtime::env()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_race_that_more_than_one_wins_is_found_out() {
    for (wrong, conditions, lack) in [
        (Wrong::Nothing, Conditions::Revision, "Strange"),
        (Wrong::LooksAndWritesLater, Conditions::None, "more than one"),
        (Wrong::TakesAnyRevision, Conditions::Absent, "another revision"),
    ] {
        let strange = strange(wrong);
        let store = open(&strange, Options::default()).await.unwrap();
        assert_eq!(store.profile().conditions, conditions, "{wrong:?}");
        let notes = store.health().await.unwrap().notes.join("; ");
        assert!(notes.contains(lack), "{wrong:?}: {notes}");
        let left: Vec<ObjectMeta> = strange.inner.list(None).try_collect().await.unwrap();
        assert!(left.is_empty(), "{left:?}");
        let asked = Options { conditional: Some(Conditions::Revision), ..Options::default() };
        let asked = open(&strange, asked).await;
        assert_eq!(asked.is_ok(), wrong == Wrong::Nothing);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_list_what_is_there_is_refused() {
    let error = open(&strange(Wrong::ListsNothing), Options::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("does not list"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_show_what_was_just_written_is_refused() {
    let error = open(&strange(Wrong::ReadsStale), Options::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("does not show what was just written"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_hours_off_is_told() {
    for (wrong, word) in [(Wrong::ClockAhead, "ahead"), (Wrong::ClockBehind, "behind")] {
        let store = open(&strange(wrong), Options::default()).await.unwrap();
        let notes = store.health().await.unwrap().notes;
        let clock: Vec<&String> = notes.iter().filter(|note| note.contains("clock")).collect();
        assert_eq!(clock.len(), 1, "{notes:?}");
        assert!(clock[0].ends_with(word), "{clock:?}");
        let seconds = clock[0].split(' ').find_map(|part| part.parse::<u64>().ok()).unwrap();
        // However long the answer took.
        assert!(seconds.abs_diff(HOURS.as_secs()) < HOURS.as_secs() / 2, "{clock:?}");
    }
    let store = open(&strange(Wrong::Nothing), Options::default()).await.unwrap();
    let notes = store.health().await.unwrap().notes;
    assert!(notes.iter().all(|note| !note.contains("clock")), "{notes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_lists_in_another_order_is_listed_in_ours() {
    let trusted =
        Options { probe: false, conditional: Some(Conditions::None), ..Options::default() };
    let cases = [Wrong::ListsBackwards, Wrong::ListsMixed];
    let cases =
        cases.iter().flat_map(|wrong| [(wrong, Options::default()), (wrong, trusted.clone())]);
    for (wrong, options) in cases {
        let store = open(&strange(*wrong), options).await.unwrap();
        let names: Vec<String> = (0..25).map(|at| format!("{at:02}")).collect();
        for name in &names {
            store.put(&key(name), Bytes::from("v"), Expect::Any).await.unwrap();
        }
        let (mut list, mut listed) = (List::prefix("").limit(3), Vec::new());
        loop {
            let page = store.list(&list).await.unwrap();
            assert!(page.rows.len() <= 3);
            listed.extend(page.rows.iter().map(|row| row.key.as_str().to_owned()));
            if !page.more {
                break;
            }
            list = list.after(listed.last().unwrap());
        }
        assert_eq!(listed, names);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_fails_or_is_dropped_is_aborted() {
    let env = holdall_runtime::env();
    let value = Bytes::from(vec![1; 11 << 20]);
    let options = Options { part_size: 5 << 20, ..Options::default() };
    let failing = strange(Wrong::PartsFail);
    let store = open(&failing, options.clone()).await.unwrap();
    let put = store.put(&key("k"), value.clone(), Expect::Any).await.unwrap_err();
    assert_eq!(put.kind(), ErrorKind::Unavailable);
    let hanging = strange(Wrong::PartsHang);
    let store = open(&hanging, options).await.unwrap();
    let name = key("k");
    let put = store.put(&name, value, Expect::Any);
    let pause = env.sleep(Duration::from_millis(20));
    let _ = futures::future::select(put, pause).await;
    for strange in [failing, hanging] {
        // The abort runs in the background.
        while strange.aborted.load(Ordering::SeqCst) == 0 {
            env.sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(strange.aborted.load(Ordering::SeqCst), 1);
    }
    assert_eq!(store.get_all(&key("k")).await.unwrap(), None);
}

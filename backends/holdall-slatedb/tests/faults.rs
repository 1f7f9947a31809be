//! Connections that are cut, refused and silent, and stores that say no.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use common::{key, open, prefix, put, s3, text, until};
use futures::future::join;
use holdall_core::{Backend, BackendExt, Bytes, ErrorKind, Expect, List};
use holdall_services::{MOTO, Proxy, Trouble, shared};

/// A store behind a proxy, under a prefix of its own.
struct Behind {
    proxy: Proxy,
    direct: u16,
    prefix: String,
}

impl Behind {
    fn new() -> Self {
        let direct = shared(&MOTO).unwrap().port;
        Self { proxy: Proxy::new(direct).unwrap(), direct, prefix: prefix() }
    }

    fn place(&self, more: &str) -> String {
        s3(self.proxy.port, &self.prefix, &format!("&flush_interval=0s{more}"))
    }

    /// The store as others see it, who do not come through the proxy.
    fn beside(&self) -> String {
        s3(self.direct, &self.prefix, "&read_only=true&poll_interval=50ms")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_found_out_and_the_write_happens_once() {
    let behind = Behind::new();
    let store = open(&behind.place("")).await.unwrap();
    let first = put(&store, "there", "1").await.unwrap();
    let reader = open(&behind.beside()).await.unwrap();
    behind.proxy.set(Trouble::CutAnswers);
    let writes = async {
        let (new, there) = (key("new"), key("there"));
        let created = store.put(&new, Bytes::from("1"), Expect::Absent);
        let replaced = store.put(&there, Bytes::from("2"), Expect::Revision(first.clone()));
        join(created, replaced).await
    };
    let mended = async {
        // The request has arrived, and its answer has not.
        until("the write is in the bucket", async || text(&reader, "new").await.is_some()).await;
        behind.proxy.set(Trouble::None);
    };
    let ((created, replaced), ()) = join(writes, mended).await;
    let found = store.get_all(&key("new")).await.unwrap().unwrap();
    assert_eq!((&found.value[..], found.revision), (&b"1"[..], created.unwrap()));
    let found = store.get_all(&key("there")).await.unwrap().unwrap();
    assert_eq!((&found.value[..], found.revision), (&b"2"[..], replaced.unwrap()));
    // It is still the writer.
    put(&store, "after", "v").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_without_an_answer_is_unknown_and_the_store_goes_on() {
    for trouble in [Trouble::Silence, Trouble::Refuse] {
        let behind = Behind::new();
        let store = open(&behind.place("&timeout=3s")).await.unwrap();
        let first = put(&store, "k", "1").await.unwrap();
        behind.proxy.set(trouble);
        let expect = Expect::Revision(first.clone());
        let late = store.put(&key("k"), Bytes::from("2"), expect.clone()).await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Unknown, "{trouble:?} {late:?}");
        assert!(late.message().contains("look whether"), "{late}");
        // Whoever asks again meets its own write, of which is not known whether it is durable.
        let again = store.put(&key("k"), Bytes::from("2"), expect).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::Unavailable, "{trouble:?} {again:?}");
        assert_eq!(store.health().await.unwrap_err().kind(), ErrorKind::Unavailable);
        // What is not durable is not seen.
        assert_eq!(text(&store, "k").await.as_deref(), Some("1"));
        behind.proxy.set(Trouble::None);
        behind.proxy.cut();
        until("the write is durable", async || text(&store, "k").await.as_deref() == Some("2"))
            .await;
        put(&store, "k", "3").await.unwrap();
        let reader = open(&behind.beside()).await.unwrap();
        assert_eq!(text(&reader, "k").await.as_deref(), Some("3"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_that_need_the_bucket_are_unavailable_without_it() {
    let behind = Behind::new();
    let more = "&timeout=3s&table_size=64KiB&block_cache=0B";
    let store = open(&behind.place(more)).await.unwrap();
    for number in 0..20 {
        let value = Bytes::from(vec![7; 10_000]);
        store.put(&key(format!("k{number:02}")), value, Expect::Any).await.unwrap();
    }
    until("there is a table", async || {
        store.health().await.unwrap().notes.iter().all(|note| !note.contains(" 0 new tables"))
    })
    .await;
    behind.proxy.set(Trouble::Refuse);
    let errors = [
        store.get_all(&key("k01")).await.map(drop).unwrap_err(),
        store.get_many(&[key("k01"), key("k02")]).await.map(drop).unwrap_err(),
        store.list(&List::prefix("k").with_values()).await.map(drop).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    }
    behind.proxy.set(Trouble::None);
    assert_eq!(store.list_all("k", true).await.unwrap().len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_store_is_waited_for() {
    let behind = Behind::new();
    let store = open(&behind.place("")).await.unwrap();
    behind.proxy.set(Trouble::Delay(Duration::from_millis(300)));
    put(&store, "k", "v").await.unwrap();
    assert_eq!(text(&store, "k").await.as_deref(), Some("v"));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_listens_opening_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    for more in ["", "&read_only=true"] {
        let error = open(&s3(port, "p", more)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(error.message().contains("cannot be reached"), "{error}");
    }
}

/// A server that answers by the method of the request; says its port.
fn told(answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 64 << 10];
            let read = stream.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let (status, body) = answer(request.split(' ').next().unwrap_or_default());
            let answer = format!(
                "HTTP/1.1 {status} Told\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    };
    // It ends with the test's process.
    #[allow(clippy::disallowed_methods, reason = "a server beside the test")]
    std::thread::spawn(serve);
    port
}

fn refusal(code: &str) -> String {
    format!(
        "<Error><Code>{code}</Code><Message>why</Message><CanonicalRequest>GET\n\
         x-amz-security-token:hunter2</CanonicalRequest></Error>"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_only_read_is_told_to_open_it_so() {
    let port = told(|method| match method {
        "GET" => {
            let nothing = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
            (200, nothing.to_owned())
        }
        _ => (403, refusal("AccessDenied")),
    });
    let error = open(&s3(port, "p", "")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
    assert!(error.message().contains("read_only=true"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_store_says_is_told_with_what_to_do() {
    for (status, code, kind, advice) in [
        (503, "SlowDown", ErrorKind::Unavailable, "slow down"),
        (429, "", ErrorKind::Unavailable, "slow down"),
        (500, "InternalError", ErrorKind::Unavailable, "try again"),
        (403, "AccessDenied", ErrorKind::Denied, "let the credentials"),
        (403, "RequestTimeTooSkewed", ErrorKind::Denied, "clock"),
        (403, "ExpiredToken", ErrorKind::Denied, "expired"),
        (400, "AuthorizationHeaderMalformed", ErrorKind::Invalid, "region"),
        (404, "NoSuchBucket", ErrorKind::Invalid, "make it"),
        (507, "", ErrorKind::Full, "room"),
    ] {
        let port = told(move |_| (status, refusal(code)));
        let error = open(&s3(port, "p", "")).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{status} {code}: {error:?}");
        assert!(error.message().contains(advice), "{status} {code}: {error}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}

//! Each kind of credentials, from where it is kept to a request that a store takes: on real servers
//! where they check it, and otherwise on a server of our own that shows what was sent.
//!
//! What the client takes from the environment of its process is read in a second process, which has
//! no other environment.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "a second process has an environment of its own")]

mod common;

use std::path::Path;
use std::process::Command;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use common::{AZURITE_KEY, Told, gcs, key, open, prefix};
use holdall_core::{Backend, BackendExt, Bytes, ErrorKind, Expect, Location};
use holdall_services::{AZURITE, GCS, RCLONE, shared};

/// The variable that turns the test [`child`] into the second process, with its location.
const PLACE: &str = "HOLDALL_OBJECT_STORE_TEST_PLACE";

/// Not a test of its own: what the second process does.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Ok(place) = std::env::var(PLACE) else { return };
    match open(&place).await {
        Ok(store) if place.contains("conditional=none") => {
            println!("listed {}", store.list_all("", false).await.unwrap().len());
        }
        Ok(store) => {
            let value = Bytes::from("value");
            store.put(&key("k"), value.clone(), Expect::Any).await.unwrap();
            assert_eq!(store.get_all(&key("k")).await.unwrap().unwrap().value, value);
            println!("kept");
        }
        Err(error) => println!("refused {:?}: {error:?}", error.kind()),
    }
}

/// Opens the location in a process with this environment alone, and says what came of it.
fn in_environment(place: &str, home: &Path, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]).env_clear();
    command.env(PLACE, place).env("HOME", home).envs(variables.iter().copied());
    let output = command.output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{shown}\n{errors}");
    for secret in ["holdallsecret", "hunter2", "asecret", "atoken"] {
        assert!(!shown.contains(secret) && !errors.contains(secret), "{shown}\n{errors}");
    }
    shown
}

fn rclone() -> String {
    let port = shared(&RCLONE).unwrap().port;
    format!("s3://holdall/{}?endpoint=http://127.0.0.1:{port}&names=flat", prefix())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_for_s3_come_from_the_environment() {
    let home = tempfile::tempdir().unwrap();
    let keys = |secret| [("AWS_ACCESS_KEY_ID", "holdallkey"), ("AWS_SECRET_ACCESS_KEY", secret)];
    let kept = in_environment(&rclone(), home.path(), &keys("holdallsecret"));
    assert!(kept.contains("kept"), "{kept}");
    let refused = in_environment(&rclone(), home.path(), &keys("hunter2"));
    assert!(refused.contains("refused Denied"), "{refused}");
}

/// What a cloud's own server says of the keys of a task or a machine.
const LENT: &str = r#"{"AccessKeyId": "holdallkey", "SecretAccessKey": "holdallsecret",
    "Token": "", "Expiration": "2100-01-01T00:00:00Z"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn keys_for_s3_come_from_the_container_and_from_the_machine() {
    let home = tempfile::tempdir().unwrap();
    let token_file = home.path().join("token");
    std::fs::write(&token_file, "atoken").unwrap();
    let server = Told::new(|line| match line.split(' ').nth(1).unwrap() {
        "/task" => (200, LENT.to_owned()),
        "/latest/api/token" => (200, "atoken".to_owned()),
        "/latest/meta-data/iam/security-credentials/" => (200, "arole".to_owned()),
        "/latest/meta-data/iam/security-credentials/arole" => (200, LENT.to_owned()),
        _ => (404, String::new()),
    });
    let address = format!("http://127.0.0.1:{}", server.port);
    let task = format!("{address}/task");
    let kept = in_environment(
        &rclone(),
        home.path(),
        &[
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &task),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token_file.to_str().unwrap()),
        ],
    );
    assert!(kept.contains("kept"), "{kept}");
    let asked = server.asked();
    assert!(asked.iter().any(|head| head.contains("authorization: atoken")), "{asked:?}");
    let machine = [("AWS_METADATA_ENDPOINT", address.as_str())];
    let kept = in_environment(&rclone(), home.path(), &machine);
    assert!(kept.contains("kept"), "{kept}");
}

/// A signature for the container, which azurite checks: `permissions` until `end`.
fn shared_access(permissions: &str, end: &str) -> String {
    let key = BASE64_STANDARD.decode(AZURITE_KEY.replace("%2F", "/").replace("%3D", "=")).unwrap();
    let (version, protocols) = ("2021-08-06", "https,http");
    let container = "/blob/devstoreaccount1/holdall";
    // Without a start, a policy, addresses, a snapshot, a scope of encryption and five headers.
    let begin = [permissions, "", end, container, "", "", protocols, version, "c"];
    let fields = begin.join("\n") + &"\n".repeat(7);
    let signed = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), fields.as_bytes());
    let signature = BASE64_STANDARD.encode(signed);
    let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!("sv={version}&sr=c&sp={permissions}&se={end}&spr={protocols}&sig={signature}")
}

fn azurite(more: &str) -> String {
    let port = shared(&AZURITE).unwrap().port;
    format!(
        "az://holdall/{}?endpoint=http://127.0.0.1:{port}/devstoreaccount1\
         &account=devstoreaccount1{more}",
        prefix()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_access_signature_may_do_what_it_says() {
    let with = |more: &str, permissions: &str, end: &str| {
        let place = Location::parse(&azurite(more)).unwrap();
        place.with_option("sas_token", &shared_access(permissions, end)).expose()
    };
    let (later, unprobed) = ("2100-01-01T00:00:00Z", "&probe=off&conditional=revision");
    let store = open(&with(unprobed, "rwdl", later)).await.unwrap();
    store.put(&key("k"), Bytes::from("value"), Expect::Absent).await.unwrap();
    assert_eq!(store.get_all(&key("k")).await.unwrap().unwrap().value, "value");
    assert_eq!(store.list_all("", false).await.unwrap().len(), 1);
    store.delete(&key("k"), Expect::Any).await.unwrap();
    assert_eq!(store.get_all(&key("k")).await.unwrap(), None);

    let reading = open(&with("", "rl", later)).await.unwrap_err();
    assert_eq!(reading.kind(), ErrorKind::Denied, "{reading:?}");
    assert!(reading.message().contains("probe=off"), "{reading}");
    let reading = open(&with("&probe=off&conditional=none", "rl", later)).await.unwrap();
    assert_eq!(reading.get_all(&key("k")).await.unwrap(), None);
    let put = reading.put(&key("k"), Bytes::from("v"), Expect::Any).await.unwrap_err();
    assert_eq!(put.kind(), ErrorKind::Denied, "{put:?}");

    let ended = with("", "rwdl", "2020-01-01T00:00:00Z");
    let altered = with("", "rwdl", later).replace("rwdl", "rwdla");
    for place in [ended, altered] {
        let error = open(&place).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
        assert!(!format!("{error:?}").contains("sig="), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_key_for_azure_comes_from_the_environment() {
    let home = tempfile::tempdir().unwrap();
    let key = AZURITE_KEY.replace("%2F", "/").replace("%3D", "=");
    let place = azurite("&probe=off&conditional=revision");
    let place = place.replace("&account=devstoreaccount1", "");
    let account = ("AZURE_STORAGE_ACCOUNT_NAME", "devstoreaccount1");
    let environment = [account, ("AZURE_STORAGE_ACCOUNT_KEY", key.as_str())];
    let kept = in_environment(&place, home.path(), &environment);
    assert!(kept.contains("kept"), "{kept}");
}

/// An Azure that hands out tokens, and takes them.
fn azure_with_tokens() -> Told {
    Told::new(|line| {
        let answer = if line.contains("/identity?") {
            r#"{"access_token": "atoken", "expires_on": "4102444800"}"#
        } else if line.contains("/atenant/oauth2/v2.0/token") {
            r#"{"access_token": "atoken", "expires_in": 3600}"#
        } else {
            "<EnumerationResults><Blobs></Blobs></EnumerationResults>"
        };
        (200, answer.to_owned())
    })
}

#[test]
fn tokens_for_azure_are_asked_for_and_sent() {
    let home = tempfile::tempdir().unwrap();
    let token_file = home.path().join("token");
    std::fs::write(&token_file, "asecret").unwrap();
    let token_file = token_file.to_str().unwrap();
    let principal = [("AZURE_TENANT_ID", "atenant"), ("AZURE_CLIENT_ID", "aclient")];
    type Ways<'a> = [(&'a str, &'a str, Vec<(&'a str, &'a str)>); 4];
    let ways: Ways<'_> = [
        ("get /identity?", "", vec![("IDENTITY_HEADER", "asecret")]),
        ("get /identity?", "&client_id=aclient", vec![]),
        ("post /atenant/", "", [&principal[..], &[("AZURE_CLIENT_SECRET", "asecret")]].concat()),
        (
            "post /atenant/",
            "",
            [&principal[..], &[("AZURE_FEDERATED_TOKEN_FILE", token_file)]].concat(),
        ),
    ];
    for (question, more, mut environment) in ways {
        let server = azure_with_tokens();
        let address = format!("http://127.0.0.1:{}", server.port);
        let identity = format!("{address}/identity");
        environment.push(("IDENTITY_ENDPOINT", &identity));
        environment.push(("AZURE_AUTHORITY_HOST", &address));
        let place = format!(
            "az://holdall/p?account=me&endpoint={address}/me&probe=off&conditional=none{more}"
        );
        let listed = in_environment(&place, home.path(), &environment);
        assert!(listed.contains("listed 0"), "{listed}");
        let asked = server.asked();
        let token = asked.iter().find(|head| head.starts_with(question)).unwrap();
        if environment.contains(&("IDENTITY_HEADER", "asecret")) {
            assert!(token.contains("x-identity-header: asecret"), "{token}");
        }
        assert_eq!(token.contains("client_id=aclient"), !more.is_empty(), "{token}");
        let lists: Vec<&String> = asked.iter().filter(|head| head.contains("comp=list")).collect();
        assert!(!lists.is_empty());
        assert!(
            lists.iter().all(|head| head.contains("authorization: bearer atoken")),
            "{lists:?}"
        );
    }
}

/// A service account's key as Google gives it out, and the public half.
fn service_account() -> (String, Vec<u8>) {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let lines = BASE64_STANDARD.encode(private.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{lines}\n-----END PRIVATE KEY-----\n");
    let account = serde_json::json!({
        "type": "service_account",
        "private_key": pem,
        "private_key_id": "akeyid",
        "client_email": "holdall@project.example",
    });
    (account.to_string(), pair.public_key().as_ref().to_vec())
}

/// The client signs its tokens itself, so that there is no server to ask for one.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_signs_its_requests() {
    let folder = tempfile::tempdir().unwrap();
    let (account, public) = service_account();
    let file = folder.path().join("key.json");
    std::fs::write(&file, &account).unwrap();
    let file = file.to_str().unwrap();
    for (option, value) in [
        ("service_account_path", file),
        ("application_credentials", file),
        ("service_account_key", &account),
    ] {
        let empty = "<ListBucketResult></ListBucketResult>";
        let server = Told::new(move |_| (200, empty.to_owned()));
        let place = |port, more: &str| {
            let place = gcs(port, &prefix(), more).replace("&anonymous=true", "");
            Location::parse(&place).unwrap().with_option(option, value).expose()
        };
        open(&place(server.port, "&probe=off&conditional=none")).await.unwrap();
        let asked = server.asked_as_sent();
        let bearer = |head: &String| {
            let line = head.lines().find(|line| line.to_lowercase().starts_with("authorization"));
            line.unwrap().rsplit(' ').next().unwrap().to_owned()
        };
        let token = bearer(&asked[0]);
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).unwrap();
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &public);
        key.verify(signed.as_bytes(), &decode(signature)).unwrap();
        let claims = String::from_utf8(decode(signed.split_once('.').unwrap().1)).unwrap();
        assert!(claims.contains("holdall@project.example"), "{claims}");
        assert!(claims.contains("/auth/cloud-platform"), "{claims}");

        let store = open(&place(shared(&GCS).unwrap().port, "")).await.unwrap();
        let name = common::key(option);
        store.put(&name, Bytes::from("value"), Expect::Absent).await.unwrap();
        assert_eq!(store.get_all(&name).await.unwrap().unwrap().value, "value");
    }
    let empty = "<ListBucketResult></ListBucketResult>";
    let server = Told::new(move |_| (200, empty.to_owned()));
    let place = gcs(server.port, "p", "&probe=off&conditional=none").replace("&anonymous=true", "");
    let environment = [("GOOGLE_APPLICATION_CREDENTIALS", file)];
    let listed = in_environment(&place, folder.path(), &environment);
    assert!(listed.contains("listed 0"), "{listed}");
    let asked = server.asked();
    assert!(asked.iter().all(|head| head.contains("authorization: bearer eyj")), "{asked:?}");

    let broken = account.replace("BEGIN PRIVATE", "BEGIN");
    let place = gcs(1, "p", "").replace("&anonymous=true", "");
    let place = Location::parse(&place).unwrap().with_option("service_account_key", &broken);
    let error = open(&place.expose()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert!(!format!("{error:?}").contains("PRIVATE KEY"), "{error:?}");
}

/// In a pod with a workload identity, and on a machine of Google's, there is a server to ask.
#[test]
fn a_token_for_google_comes_from_the_metadata_server() {
    let home = tempfile::tempdir().unwrap();
    let token = r#"{"access_token": "atoken", "expires_in": 3600, "token_type": "Bearer"}"#;
    let server = Told::new(move |line| {
        let is_token = line.contains("/computemetadata/v1/instance/service-accounts/default/token");
        let listing = "<ListBucketResult></ListBucketResult>";
        (200, if is_token { token } else { listing }.to_owned())
    });
    let place = gcs(server.port, "p", "&probe=off&conditional=none");
    let host = format!("127.0.0.1:{}", server.port);
    let environment = [("GCE_METADATA_HOST", host.as_str())];
    let listed = in_environment(&place.replace("&anonymous=true", ""), home.path(), &environment);
    assert!(listed.contains("listed 0"), "{listed}");
    let asked = server.asked();
    assert!(asked[0].contains("metadata-flavor: google"), "{asked:?}");
    assert!(asked[1..].iter().all(|head| head.contains("authorization: bearer atoken")));
    assert!(asked.len() > 1);
}

//! Configurations that are understood, and what is said of those that are not.
#![allow(clippy::unwrap_used, reason = "tests")]

use holdall_core::ErrorKind;
use holdall_volume::format::policy::{Compression, Policy};

use super::*;

const WHOLE: &str = r#"
backends:
  bucket: { url: "file:///srv/bucket", zone: here }
  base:
    url: "journal+lmdb:///srv/base"
volumes:
  data-volume:
    catalog: base
    tiers: { hot: { backends: [bucket] } }
    quota: 100GiB
    history: 7d
    compression: lz4
    indexed: [owner, project]
  other:
"#;

fn parse(text: &str, variables: &[(&str, &str)]) -> Result<Config> {
    let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::parse(text, owned)
}

#[test]
fn a_whole_configuration_is_understood() {
    let config = parse(WHOLE, &[]).unwrap();
    assert_eq!(config.backends["bucket"].zone.as_deref(), Some("here"));
    let settings = config.settings("data-volume", Path::new("/home")).unwrap();
    assert_eq!(settings.catalog.to_string(), "journal+lmdb:///srv/base");
    assert_eq!(settings.data.to_string(), "file:///srv/bucket");
    let policy = config.volumes["data-volume"].apply_to(Policy::default()).unwrap();
    assert_eq!(policy.quota_bytes, Some(100 << 30));
    assert_eq!(policy.compression, Compression::Lz4);
    assert_eq!(policy.indexed.len(), 2);
    for left_open in ["other", "unheard-of"] {
        let settings = config.settings(left_open, Path::new("/home")).unwrap();
        assert_eq!(settings, Settings::home("/home").unwrap());
    }
    assert_eq!(parse("", &[]).unwrap(), Config::default());
    assert_eq!(parse("# nothing\n", &[]).unwrap(), Config::default());
}

#[test]
fn the_environment_wins_and_may_add() {
    let variables = [
        ("HOLDALL__VOLUMES__DATA_VOLUME__QUOTA", "1GiB"),
        ("HOLDALL__VOLUMES__OTHER__CATALOG", "base"),
        ("HOLDALL__BACKENDS__NEW__URL", "file:///srv/new"),
        ("HOLDALL_HOME", "/elsewhere"),
        ("HOME", "/root"),
    ];
    let config = parse(WHOLE, &variables).unwrap();
    assert_eq!(config.volumes["data-volume"].policy["quota"], "1GiB");
    assert_eq!(config.volumes["other"].catalog.as_ref().unwrap().path(), "/srv/base");
    assert_eq!(config.backends["new"].location.path(), "/srv/new");
}

#[test]
fn what_is_not_known_or_does_not_fit_is_refused_with_its_place() {
    let secret = r#"backends: { b: { url: "s3://b?secret_access_key=hunter2" } }"#;
    for (text, variables, hints) in [
        ("volumez: {}", &[][..], &["`volumez`", "did you mean `volumes`"][..]),
        ("volumes: { a: { quotta: 1GiB } }", &[], &["volumes.a", "did you mean `quota`"]),
        ("volumes: { a: { quota: 1GX } }", &[], &["volumes.a.quota", "no size"]),
        ("volumes: { a: { quota: [1, 2] } }", &[], &["volumes.a.quota"]),
        ("volumes: { a: { catalog: bse } }", &[], &["volumes.a.catalog", "no backend `bse`"]),
        ("volumes: { a: { tiers: { cold: {} } } }", &[], &["volumes.a.tiers", "`cold`"]),
        ("volumes: { a: { tiers: { hot: {} } } }", &[], &["tiers.hot.backends", "name one"]),
        ("volumes: [a]", &[], &["volumes", "names with values"]),
        ("backends: { b: { zone: x } }", &[], &["backends.b", "no `url`"]),
        ("backends: { b: { url: nowhere } }", &[], &["backends.b.url", "no scheme"]),
        ("a: [", &[], &["no YAML"]),
        ("volumes: {}\nvolumes: {}", &[], &["volumes"]),
        (secret, &[], &["backends.b.url", "secret_access_key=env:"]),
        ("", &[("HOLDALL__VOLUMES__A__QUOTTA", "1")], &["volumes.a", "`quota`"]),
        ("", &[("HOLDALL__VOLUMES____QUOTA", "1")], &["leads to no value"]),
        ("volumes: 7", &[("HOLDALL__VOLUMES__A__QUOTA", "1")], &["leads to no value"]),
    ] {
        let error = parse(text, variables).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
        for hint in hints {
            assert!(error.message().contains(hint), "{text}: {error} lacks {hint}");
        }
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}

//! Configurations that are understood, and what is said of those that are not.
#![allow(clippy::unwrap_used, reason = "tests")]

use holdall_core::ErrorKind;
use holdall_volume::format::policy::{Compression, Policy};

use super::*;

const WHOLE: &str = r#"
backends:
  bucket:
    url: "file:///srv/bucket"
    zone: here
    health: { interval: 1m, failures: 5 }
    deadline: 2h
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
    assert_eq!(settings.catalog.location.to_string(), "journal+lmdb:///srv/base");
    assert_eq!(settings.data.location.to_string(), "file:///srv/bucket");
    let health = &settings.data.health;
    assert_eq!((health.interval.as_secs(), health.timeout.as_secs()), (60, 10));
    let usual = Limits::default();
    let hours = Limits { deadline: Some(Duration::from_secs(2 * 60 * 60)), ..usual };
    assert_eq!((settings.data.limits(usual), settings.catalog.limits(usual)), (hours, usual));
    assert_eq!((health.failures, settings.catalog.health.failures), (5, 3));
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
    let catalog = config.volumes["other"].catalog.as_ref().unwrap();
    assert_eq!(catalog.location.path(), "/srv/base");
    assert_eq!(config.backends["new"].location.path(), "/srv/new");
}

#[test]
fn what_is_not_known_or_does_not_fit_is_refused_with_its_place() {
    let secret = r#"backends: { b: { url: "s3://b?secret_access_key=hunter2" } }"#;
    let both = "backends: { b: { url: 'memory:', front: { url: 'memory:' }, cache: { disk: \
                { path: /srv, size: 1GiB } } } }";
    let (broken, twice) = (format!("{secret}\nvolumes: ["), format!("{secret}\n{secret}"));
    let (broken, twice) = (broken.as_str(), twice.as_str());
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
        (broken, &[], &["no YAML"]),
        (twice, &[], &["no YAML"]),
        ("backends: { b: { ulr: hunter2 } }", &[], &["backends.b", "did you mean `url`"]),
        ("backends: { b: { url: [hunter2] } }", &[], &["backends.b.url", "one value"]),
        ("", &[("HOLDALL__BACKENDS__B__URL", "redis://u:hunter2@h")], &["password=env:NAME"]),
        ("", &[("HOLDALL__BACKENDS__B", "hunter2")], &["backends.b", "names with values"]),
        ("", &[("HOLDALL__BACKNDS__B__URL", "hunter2")], &["did you mean `backends`"]),
        ("volumes: { a: { quota: 1 } }", &[("HOLDALL__VOLUMES", "")], &["leads to no value"]),
        ("backends: { b: { url: 'memory:', cache: { disk: { size: 1GiB } } } }", &[], &["`path`"]),
        ("backends: { b: { url: 'memory:', cache: { policy: write-behind } } }", &[], &["no `w"]),
        ("backends: { b: { url: 'memory:', front: { size: 1GiB } } }", &[], &["b.front: it has"]),
        (both, &[], &["backends.b", "choose one"]),
        ("backends: { b: { url: 'memory:', health: { failures: 0 } } }", &[], &["b.health", "0"]),
        ("backends: { b: { url: 'memory:', deadline: 999ms } }", &[], &["b.deadline", "7d"]),
        ("backends: { b: { url: 'memory:', deadline: 8d } }", &[], &["b.deadline", "7d"]),
        ("backends: { b: { url: 'memory:', health: { timeout: x } } }", &[], &["b.health.timeout"]),
        ("backends: { b: { url: 'memory:', health: { failure: 1 } } }", &[], &["`failures`"]),
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

#[test]
fn every_problem_is_found_and_what_is_right_is_understood() {
    let text = r#"
backends:
  good: { url: "memory:" }
  bad: { urll: "memory:", zoen: a }
  worse: 7
volumes:
  one: { catalog: good, quota: 1X, history: soon }
  two: { catalog: bad, qota: 1 }
  three: { catalog: godo }
  four: { tiers: { hot: { backends: [good], replicas: 2 } }, compression: gzip }
other: 1
"#;
    let variables = [("HOLDALL__VOLUMES__ONE__CATALOG__DEEPER".to_owned(), "x".to_owned())];
    let Examined { config, problems } = Config::examine(text, variables);
    let found: Vec<String> = problems.iter().map(|problem| problem.message().to_owned()).collect();
    for words in [
        "CATALOG__DEEPER: this leads to no value",
        "no field `other`",
        "backends.bad: there is no field `urll`; did you mean `url`",
        "backends.bad: there is no field `zoen`; did you mean `zone`",
        "backends.bad: it has no `url`",
        "backends.worse: there must be names",
        "backends.worse: it has no `url`",
        "volumes.one.quota: `1X`",
        "volumes.one.history: `soon`",
        "volumes.two: there is no field `qota`; did you mean `quota`",
        "volumes.three.catalog: there is no backend `godo`; did you mean `good`",
        "volumes.four.tiers.hot: tier `hot` asks for 2 copies",
        "volumes.four.compression: `gzip`",
    ] {
        assert_eq!(
            found.iter().filter(|line| line.contains(words)).count(),
            1,
            "{words}: {found:#?}"
        );
    }
    assert_eq!(found.len(), 13, "{found:#?}");
    assert_eq!(config.backends.keys().collect::<Vec<_>>(), ["good"]);
    // A volume whose place is not known must not be looked for in another.
    assert_eq!(config.volumes.keys().collect::<Vec<_>>(), ["one"]);
    let error = Examined { config, problems }.whole().unwrap_err();
    assert!(error.message().contains("`holdall config check` shows 12 more"), "{error}");
}

/// A value for every field there is, so that a new one is tried here or fails the test.
const FIELDS: &[(&str, &str)] = &[
    ("backends.b.url", "file:///srv/b"),
    ("backends.b.zone", "here"),
    ("backends.b.weight", "3"),
    ("backends.b.health.interval", "7s"),
    ("backends.b.health.timeout", "3s"),
    ("backends.b.health.failures", "9"),
    ("backends.b.deadline", "3h"),
    ("backends.b.cache.memory", "64MiB"),
    ("backends.b.cache.policy", "write-around"),
    ("backends.b.cache.disk.path", "/srv/cache"),
    ("backends.b.cache.disk.size", "10GiB"),
    ("backends.b.front.url", "lmdb:///srv/front"),
    ("backends.b.front.size", "2GiB"),
    ("backends.b.front.policy", "write-behind"),
    ("volumes.v.catalog", "b"),
    ("volumes.v.tiers.hot.backends", "b"),
    ("volumes.v.tiers.hot.replicas", "1"),
    ("volumes.v.tiers.hot.min_zones", "1"),
    ("volumes.v.tiers.hot.prefer_local", "true"),
    ("volumes.v.tiers.hot.ack", "quorum"),
    ("volumes.v.quota", "100GiB"),
    ("volumes.v.history", "7d"),
    ("volumes.v.compression", "zstd:3"),
    ("volumes.v.inline", "8KiB"),
    ("volumes.v.segment", "8MiB"),
    ("volumes.v.grace", "2h"),
    ("volumes.v.lease", "20s"),
    ("volumes.v.indexed", "owner,project"),
    ("volumes.v.jobs", "{ gc: { every: 2h, rate: 50MiB } }"),
    ("volumes.v.lifecycle", "[ { prefix: tmp/, expire: 1d } ]"),
    ("volumes.v.alert", "80%"),
];

#[test]
fn every_value_can_come_from_the_environment_alone() {
    let (backends, volumes) = read::field_paths();
    let tried = |kind: &str| {
        let below = FIELDS.iter().filter_map(|(path, _)| path.strip_prefix(kind));
        below.map(str::to_owned).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(tried("backends.b."), backends);
    assert_eq!(tried("volumes.v."), volumes);

    let variable = |path: &str| format!("HOLDALL__{}", path.replace('.', "__").to_uppercase());
    let all = FIELDS.iter().map(|(path, value)| (variable(path), (*value).to_owned()));
    let config = Config::parse("", all).unwrap();
    let text = "
backends:
  b: { url: 'file:///srv/b', zone: here, weight: 3,
       health: { interval: 7s, timeout: 3s, failures: 9 },
       cache: { memory: 64MiB, policy: write-around, disk: { path: /srv/cache, size: 10GiB } },
       front: { url: 'lmdb:///srv/front', size: 2GiB, policy: write-behind }, deadline: 3h }
volumes:
  v: { catalog: b, tiers: { hot: { backends: [b], replicas: 1, min_zones: 1,
                                   prefer_local: true, ack: quorum } },
       quota: 100GiB, history: 7d, compression: 'zstd:3', inline: 8KiB, segment: 8MiB,
       grace: 2h, lease: 20s, indexed: [owner, project],
       jobs: { gc: { every: 2h, rate: 50MiB } },
       lifecycle: [ { prefix: tmp/, expire: 1d } ], alert: 80% }
";
    assert_eq!(config, parse(text, &[]).unwrap());
    // And each is looked at: what does not fit is refused with its place, but for names.
    let anything = ["zone", "indexed", "disk.path"];
    let picky = |path: &str| !anything.iter().any(|end| path.ends_with(end));
    for (path, _) in FIELDS.iter().filter(|(path, _)| picky(path)) {
        let variable = variable(path);
        let error = parse(text, &[(variable.as_str(), "no such")]).unwrap_err();
        // One value in the place of many is refused by the variable's name.
        let told = [*path, variable.as_str()].iter().any(|name| error.message().contains(name));
        assert!(told, "{path}: {error}");
    }
}

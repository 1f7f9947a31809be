//! `holdall.yaml`: what it sets up, what `config check` finds, and that secrets stay out of sight.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;

use support::Place;

fn configured(place: &Place, volume: &str) {
    let folder = place.path("srv").display().to_string();
    let text = format!(
        "backends:\n  near: {{ url: \"file://{folder}/near\", zone: a }}\n  base: {{ url: \
         \"journal+lmdb://{folder}/base\" }}\nvolumes:\n  photos: {{ catalog: base, tiers: {{ \
         hot: {{ backends: [near] }} }}, {volume} }}\n"
    );
    fs::write(place.path("holdall.yaml"), text).unwrap();
}

#[test]
fn a_configured_volume_is_made_by_its_first_write_with_its_policy() {
    let place = Place::new();
    configured(&place, "quota: 1MiB, compression: lz4");
    place.run("config check").expect(0);
    place.pipe("put --volume photos a", b"bytes").expect(0);
    assert!(place.path("srv/near").is_dir() && place.path("srv/base/engine").is_dir());
    assert_eq!(place.run("cat --volume photos a").expect(0).text(), "bytes");
    place.pipe("put --volume photos b", &support::noise(1, 2 << 20)).refused(4, &["photos"]);
    let status = &place.run("status --volume photos --json").expect(0).objects()[0];
    assert_eq!(status["policy"]["compression"], "lz4", "{status}");

    configured(&place, "quota: 2GiB, compression: lz4");
    let checked = place.run("config check").expect(1);
    assert!(checked.text().contains("quota"), "{}", checked.text());
    place.run("config apply").expect(0);
    place.run("config check").expect(0);
}

#[test]
fn commands_about_a_volume_find_it_where_the_configuration_has_it() {
    let place = Place::new();
    configured(&place, "compression: lz4");
    place.run("volume create photos --quota 3MiB").expect(0);
    assert!(place.path("srv/base/engine").is_dir(), "it is where the configuration says");
    place.pipe("put --volume photos a", b"bytes").expect(0);
    let shown = &place.run("volume show photos --json").expect(0).objects()[0];
    assert_eq!(shown["policy"]["compression"], "lz4", "{shown}");
    assert_eq!(shown["policy"]["quota_bytes"], 3 << 20, "{shown}");
    let copies = place.run("volume replicas photos").expect(0);
    assert!(copies.text().contains("if zone a were lost"), "{}", copies.text());
    place.run("volume delete photos --yes").expect(0);
    place.run("cat --volume photos a").refused(11, &["photos"]);
}

#[test]
fn what_cannot_be_opened_or_understood_is_said_with_its_place() {
    let place = Place::new();
    place.run("config check").refused(11, &["no configuration"]);
    configured(&place, "quotta: 1MiB");
    place.run("ls --volume photos").refused(2, &["volumes.photos", "did you mean `quota`"]);
    fs::write(place.path("occupied"), "a file").unwrap();
    let url = format!("file://{}", place.path("occupied").display());
    let text = format!("backends: {{ wrong: {{ url: \"{url}\" }} }}");
    fs::write(place.path("other.yaml"), text).unwrap();
    let found = place.run("--config other.yaml config check --json").expect(1).objects();
    assert_eq!((found[0]["name"].as_str(), found[0]["ok"].as_bool()), (Some("wrong"), Some(false)));
    place.run("--config missing.yaml ls").refused(2, &["missing.yaml"]);
}

#[test]
fn the_environment_alone_is_a_configuration() {
    let place = Place::new();
    let run = |words: &str, variables: &[(&str, &str)]| {
        let mut command = place.command(words.split_whitespace());
        support::ended(command.envs(variables.iter().copied()).spawn().unwrap())
    };
    let folder = place.path("srv").display().to_string();
    let data = format!("file://{folder}/near");
    let catalog = format!("journal+lmdb://{folder}/base");
    let variables = [
        ("HOLDALL__BACKENDS__NEAR__URL", data.as_str()),
        ("HOLDALL__VOLUMES__DEFAULT__CATALOG", catalog.as_str()),
        ("HOLDALL__VOLUMES__DEFAULT__TIERS__HOT__BACKENDS", "near"),
        ("HOLDALL__VOLUMES__DEFAULT__COMPRESSION", "lz4"),
    ];
    std::fs::write(place.path("a"), "bytes").unwrap();
    run("put a a", &variables).expect(0);
    assert!(place.path("srv/near").is_dir() && place.path("srv/base/engine").is_dir());
    assert!(!place.path("home").exists(), "nothing is in the home folder");
    let status = &run("status --json", &variables).expect(0).objects()[0];
    assert_eq!(status["policy"]["compression"], "lz4", "{status}");
    assert_eq!(status["health"]["data"]["state"], "healthy", "{status}");
    let checked = run("config check", &variables).expect(0);
    assert_eq!(checked.text().lines().count(), 2, "{}", checked.text());

    let wrong = [("HOLDALL__VOLUMES__DEFAULT__QUOTTA", "1GiB")];
    run("ls", &wrong).refused(2, &["volumes.default", "did you mean `quota`"]);
    run("ls", &[("HOLDALL__VOLUMES", "")]).refused(11, &["no store"]);
    use std::os::unix::ffi::OsStrExt;
    let mut command = place.command(["ls"]);
    command.env("HOLDALL__VOLUMES__A__QUOTA", std::ffi::OsStr::from_bytes(b"\xff"));
    support::ended(command.spawn().unwrap()).refused(2, &["HOLDALL__VOLUMES__A__QUOTA"]);
}

#[test]
fn a_check_reports_every_problem_and_no_secret() {
    let place = Place::new();
    fs::write(place.path("occupied"), "a file").unwrap();
    let here = |name: &str| format!("file://{}", place.path(name).display());
    let text = format!(
        r#"
backends:
  good: {{ url: "{}", health: {{ interval: 1m }} }}
  full: {{ url: "{}" }}
  typo: {{ url: "{}", zoen: a }}
  open: {{ url: "redis://u:hunter2@h" }}
  far: {{ url: "redis://u@h?password=env:HOLDALL_NOT_SET" }}
volumes:
  a: {{ quota: 1X }}
  b: {{ catalog: nowhere }}
"#,
        here("good"),
        here("occupied"),
        here("typo"),
    );
    fs::write(place.path("holdall.yaml"), text).unwrap();
    let found = place.run("config check --json").expect(1).objects();
    let failed = |words: &str| {
        let is = |finding: &&serde_json::Value| {
            finding["ok"] == false && finding.to_string().contains(words)
        };
        assert_eq!(found.iter().filter(is).count(), 1, "{words}: {found:#?}");
    };
    failed("did you mean `zone`");
    failed("password=env:NAME");
    failed("volumes.a.quota");
    failed("volumes.b.catalog");
    failed("\"full\"");
    failed("HOLDALL_NOT_SET");
    let good = found.iter().find(|finding| finding["name"] == "good").unwrap();
    assert!(good["ok"] == true && good["message"].as_str().unwrap().contains("every 1m"), "{good}");
    assert_eq!(found.iter().filter(|finding| finding["ok"] == false).count(), 6, "{found:#?}");
    for words in ["config check", "config check --json", "config apply", "ls", "backend stats far"]
    {
        let ended = place.run(words);
        assert!(ended.code != 0, "{words}");
        assert!(!format!("{}{}", ended.text(), ended.stderr).contains("hunter2"), "{words}");
    }
    place.run("config apply").refused(2, &["`holdall config check` shows 3 more"]);
}

#[test]
fn figures_of_backends_survive_the_commands() {
    let place = Place::new();
    place.run("backend stats").refused(11, &["no figures"]);
    let requests = |words: &str| {
        let objects = place.run(&format!("backend stats {words} --json")).expect(0).objects();
        objects.iter().map(|each| each["total"]["requests"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    for number in 0..3 {
        place.pipe(&format!("put {number}"), &support::noise(number, 100_000)).expect(0);
    }
    let before = requests("");
    assert_eq!(before.len(), 2);
    assert_eq!(requests(""), before, "looking counts nothing");
    place.run("cat 1").expect(0);
    assert!(requests("").iter().sum::<u64>() > before.iter().sum());
    assert_eq!(requests("default").len(), 2);
    let data = format!("file://{}", place.path("home/data").display());
    assert_eq!(requests(&data).len(), 1);
    let text = place.run(&format!("backend stats {data}")).expect(0);
    for words in ["requests", "p99", "total", "put", data.as_str()] {
        assert!(text.text().contains(words), "{words}: {}", text.text());
    }
    place.run("backend stats file:///other").refused(11, &["no figures of"]);
    place.run("backend stats elsewhere").refused(11, &["no backend or volume `elsewhere`"]);

    configured(&place, "quota: 1GiB");
    place.pipe("put --volume photos a", &support::noise(1, 100_000)).expect(0);
    assert_eq!((requests("").len(), requests("photos").len(), requests("near").len()), (4, 2, 1));
    place.run("backend stats neer").refused(11, &["did you mean `near`"]);

    for file in fs::read_dir(place.path("home/stats")).unwrap() {
        fs::write(file.unwrap().path(), "no figures").unwrap();
    }
    let ended = place.run("backend stats").expect(1);
    assert!(ended.stderr.contains("damaged"), "{}", ended.stderr);
    assert_eq!(place.run("cat 1").expect(0).stdout, support::noise(1, 100_000));
    assert!(place.run("backend stats").text().contains("were lost"));
}

/// Somebody who waits for a long command wants to see what it does.
#[test]
fn a_running_command_shows_its_figures_to_others() {
    use std::io::Write;
    let place = Place::new();
    let mut command = place.command(["put", "slow"]);
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(&support::noise(1, 40 << 20)).unwrap();
    support::eventually("figures of a command that runs", || {
        let ended = place.run("backend stats");
        ended.code == 0
            && ended.text().contains("holdall put (data)")
            && ended.text().contains("running")
    });
    drop(input);
    support::ended(child).expect(0);
    assert!(!place.run("backend stats").expect(0).text().contains("running"));
}

#[test]
fn secrets_on_the_command_line_are_refused_and_not_repeated() {
    let place = Place::new();
    for words in [
        "--catalog redis://host?password=hunter2 ls",
        "--data=redis://user:hunter2@host ls",
        "backend check redis://user:hunter2@host",
    ] {
        let ended = place.run(words).refused(2, &["password=env:NAME"]);
        assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
    }
}

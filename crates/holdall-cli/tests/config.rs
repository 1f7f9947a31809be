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

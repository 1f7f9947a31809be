//! What the list of backends says of one is what it says of itself once it is open.

use holdall::{BACKENDS, Conditions, Durability, KnownBackend, Profile, Reach, parse_location};

/// Compares a row of `holdall backend list` with a profile.
#[track_caller]
pub(crate) fn assert_listed_as(location: &str, profile: &Profile) {
    let scheme = parse_location(location).unwrap().scheme().to_owned();
    let known: &KnownBackend =
        BACKENDS.iter().find(|known| known.names().any(|name| name == scheme)).unwrap();
    assert!(known.built_in, "{scheme} was opened");
    assert_eq!(known.catalog.starts_with("yes"), profile.atomic, "{scheme}: {known:?}");
    let seen_by: &[&str] = match profile.reach {
        Reach::Process => &["the process", "one process", "one writer, many readers"],
        Reach::Machine => &["the machine"],
        Reach::Network => &["everyone"],
    };
    assert!(seen_by.contains(&known.seen_by), "{scheme}: {known:?}");
    // Where it depends on the server's settings or deeds, the list says so, and no more.
    if !known.survives.contains("said at opening") {
        let survives = match profile.durability {
            Durability::Process => "nothing",
            Durability::Machine => "a loss of power",
            Durability::Store => "what the store promises",
        };
        assert!(known.survives.contains(survives), "{scheme}: {known:?}");
    }
    if !known.conditions.contains("tried out") {
        let full = profile.conditions == Conditions::Revision;
        assert_eq!(known.conditions == "yes", full, "{scheme}: {known:?}");
    }
}

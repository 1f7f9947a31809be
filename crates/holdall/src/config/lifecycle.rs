//! What a configuration says of how entries end.

use std::collections::BTreeMap;

use holdall_core::{Error, Result};
use holdall_volume::format::policy::LifecycleRule;

use super::tree::Node;
use super::wrong;
use crate::units::{parse_duration, parse_size};

const RULE_FIELDS: [&str; 5] = ["prefix", "attributes", "larger", "smaller", "expire"];

/// What people know from elsewhere, and why it is not here.
const ELSEWHERE: [(&str, &str); 8] = [
    ("archive", "this version has one tier, so nothing can be archived"),
    ("not_accessed", "it is not counted when entries are read; write `expire`"),
    ("older", "an age alone does nothing; write `expire: 30d`"),
    ("age", "an age alone does nothing; write `expire: 30d`"),
    ("delete", "what ends is deleted; write `expire: 30d`"),
    ("trash", "what was deleted is kept as history; set `history` of the volume"),
    ("keep_versions", "old versions are kept by time; set `history` of the volume"),
    ("tags", "tags are called `attributes` here"),
];

/// Reads rules from YAML, such as `[ { prefix: tmp/, expire: 1d } ]`.
///
/// # Errors
/// `Invalid` with the first thing that is wrong, and in which rule.
pub(crate) fn parse_lifecycle(text: &str) -> Result<Vec<LifecycleRule>> {
    match Node::parse(text)? {
        Node::List(nodes) => {
            let numbered = nodes.into_iter().enumerate();
            numbered.map(|(at, node)| rule(node, &format!("rule {}", at + 1))).collect()
        }
        Node::Text(text) if text == "none" => Ok(Vec::new()),
        Node::Map(parts) if parts.is_empty() => Ok(Vec::new()),
        _ => Err(wrong("", "there must be a list of rules here, such as [ { expire: 30d } ]")),
    }
}

fn rule(node: Node, at: &str) -> Result<LifecycleRule> {
    if let Node::Map(parts) = &node
        && let Some((name, why)) = ELSEWHERE.iter().find(|(name, _)| parts.contains_key(*name))
    {
        return Err(wrong(at, &format!("there is no field `{name}`: {why}")));
    }
    let mut problems: Vec<Error> = Vec::new();
    let mut fields = node.map(at, &RULE_FIELDS, &mut problems);
    let mut attributes = BTreeMap::new();
    for (name, node) in fields.take_all("attributes", &mut problems) {
        match node {
            Node::Text(value) => drop(attributes.insert(name, value)),
            _ => problems.push(wrong(at, &format!("attribute `{name}` must have one value"))),
        }
    }
    let mut text = |name| fields.take_text(name, &mut problems);
    let (prefix, expire) = (text("prefix"), text("expire"));
    let (larger, smaller) = (text("larger"), text("smaller"));
    if let Some(problem) = problems.into_iter().next() {
        return Err(problem);
    }
    let place = |error: Error| wrong(at, error.message());
    Ok(LifecycleRule {
        prefix: prefix.unwrap_or_default(),
        attributes,
        larger: larger.as_deref().map(parse_size).transpose().map_err(place)?,
        smaller: smaller.as_deref().map(parse_size).transpose().map_err(place)?,
        expire: expire.as_deref().map(parse_duration).transpose().map_err(place)?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::time::Duration;

    use super::*;

    #[test]
    fn rules_are_read_as_people_write_them() {
        let text = "[ { prefix: tmp/, expire: 1d }, \
                    { attributes: { kind: log }, larger: 1MiB, smaller: 1GiB, expire: 90d } ]";
        let rules = parse_lifecycle(text).unwrap();
        assert_eq!((rules[0].prefix.as_str(), rules.len()), ("tmp/", 2));
        assert_eq!(rules[0].expire, Some(Duration::from_secs(86_400)));
        assert_eq!((rules[1].larger, rules[1].smaller), (Some(1 << 20), Some(1 << 30)));
        assert_eq!(rules[1].attributes["kind"], "log");
        for none in ["", "none", "[]"] {
            assert!(parse_lifecycle(none).unwrap().is_empty());
        }
    }

    #[test]
    fn what_is_not_known_or_does_not_fit_is_refused() {
        for (text, word) in [
            ("[ { prefix: a, expires: 1d } ]", "did you mean `expire`"),
            ("[ { expire: 1d }, { archive: 30d } ]", "rule 2"),
            ("[ { not_accessed: 30d } ]", "not counted"),
            ("[ { keep_versions: 3 } ]", "history"),
            ("[ { trash: 7d } ]", "history"),
            ("[ { expire: soon } ]", "soon"),
            ("[ { attributes: kind, expire: 1d } ]", "attributes"),
            ("{ expire: 1d }", "a list of rules"),
        ] {
            let error = parse_lifecycle(text).unwrap_err();
            assert!(error.message().contains(word), "{text}: {error}");
        }
    }
}

//! What the environment says beside a configuration, and before it.

use std::collections::BTreeMap;

use holdall_core::Error;

use super::tree::Node;
use super::{Config, wrong};

/// Sets what variables say, whatever order they come in.
pub(super) fn overlay(
    tree: &mut Node,
    variables: impl IntoIterator<Item = (String, String)>,
    problems: &mut Vec<Error>,
) {
    for (name, value) in variables.into_iter().collect::<BTreeMap<_, _>>() {
        let path = name.strip_prefix(Config::VARIABLES);
        if path.is_some_and(|path| set(tree, path, value).is_none()) {
            let what = "this leads to no value; write HOLDALL__VOLUMES__NAME__FIELD";
            problems.push(wrong(&name, what));
        }
    }
}

/// Sets the value at the end of a path, with all that is missing on the way.
fn set(tree: &mut Node, path: &str, value: String) -> Option<()> {
    let mut node = tree;
    for word in path.split("__") {
        if word.is_empty() {
            return None;
        }
        if matches!(node, Node::Text(text) if text.is_empty()) {
            *node = Node::Map(BTreeMap::new());
        }
        let Node::Map(parts) = node else { return None };
        let word = word.to_lowercase();
        let known = parts.keys().find(|name| name.to_lowercase().replace('-', "_") == word);
        let name = known.cloned().unwrap_or(word);
        node = parts.entry(name).or_insert_with(|| Node::Text(String::new()));
    }
    // One value in the place of many would make them vanish in silence.
    if matches!(node, Node::Map(parts) if !parts.is_empty()) {
        return None;
    }
    *node = Node::Text(value);
    Some(())
}

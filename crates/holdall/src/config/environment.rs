//! What the environment says beside a configuration, and before it.

use std::collections::BTreeMap;

use holdall_core::Result;

use super::tree::Node;
use super::wrong;

/// What names of variables begin with that are values of a configuration.
const PREFIX: &str = "HOLDALL__";

/// Sets what variables say.
pub(super) fn overlay(
    tree: &mut Node,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<()> {
    for (name, value) in variables {
        if let Some(path) = name.strip_prefix(PREFIX) {
            set(tree, path, value).ok_or_else(|| {
                wrong(&name, "this leads to no value; write HOLDALL__VOLUMES__NAME__FIELD")
            })?;
        }
    }
    Ok(())
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
    *node = Node::Text(value);
    Some(())
}

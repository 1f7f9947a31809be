//! A configuration as a tree of texts, whatever they will mean.

use std::collections::BTreeMap;
use std::fmt;

use holdall_core::{Error, Operation, Result};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::wrong;
use crate::units::nearest;

/// A part of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// A value, as it was written.
    Text(String),
    /// Values in order.
    List(Vec<Self>),
    /// Parts by name.
    Map(BTreeMap<String, Self>),
}

/// The parts of a map whose names are all known, and where it stands.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    at: &'a str,
    parts: BTreeMap<String, Node>,
}

impl Node {
    /// Reads YAML. An empty text is an empty map.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let empty = text.lines().all(|line| line.trim().is_empty() || line.starts_with('#'));
        if empty {
            return Ok(Self::Map(BTreeMap::new()));
        }
        serde_saphyr::from_str(text).map_err(|source| {
            let reason = source.to_string();
            let line = reason.lines().next().unwrap_or_default();
            Error::invalid(Operation::Configure, format!("this is no YAML: {line}"))
        })
    }

    /// As YAML on one line; a value is taken for YAML already.
    pub(super) fn to_yaml(&self) -> String {
        match self {
            // As the same in a file would be, if it can be read.
            Self::Text(text) => {
                Self::parse(text).map_or_else(|_| text.clone(), |node| node.to_json().to_string())
            }
            other => other.to_json().to_string(),
        }
    }

    fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::List(nodes) => nodes.iter().map(Self::to_json).collect(),
            Self::Map(parts) => {
                let parts = parts.iter().map(|(name, node)| (name.clone(), node.to_json()));
                serde_json::Value::Object(parts.collect())
            }
        }
    }

    /// The parts of a map. Names that are not known are noted and left out.
    pub(super) fn map<'a>(
        self,
        at: &'a str,
        known: &[&str],
        problems: &mut Vec<Error>,
    ) -> Fields<'a> {
        let mut parts = match self {
            Self::Map(parts) => parts,
            Self::Text(text) if text.is_empty() => BTreeMap::new(),
            _ => {
                problems.push(wrong(at, "there must be names with values here"));
                BTreeMap::new()
            }
        };
        for name in parts.keys().filter(|name| !known.contains(&name.as_str())) {
            let hint = match nearest(name, known.iter().copied()) {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None => format!("there are {}", known.join(", ")),
            };
            problems.push(wrong(at, &format!("there is no field `{name}`; {hint}")));
        }
        parts.retain(|name, _| known.contains(&name.as_str()));
        Fields { at, parts }
    }
}

impl Fields<'_> {
    /// Where a part stands.
    pub(super) fn at(&self, name: &str) -> String {
        if self.at.is_empty() { name.to_owned() } else { format!("{}.{name}", self.at) }
    }

    /// A part.
    pub(super) fn take(&mut self, name: &str) -> Option<Node> {
        self.parts.remove(name)
    }

    /// A value.
    pub(super) fn take_text(&mut self, name: &str, problems: &mut Vec<Error>) -> Option<String> {
        match self.take(name)? {
            Node::Text(text) => Some(text),
            _ => {
                problems.push(wrong(&self.at(name), "there must be one value here"));
                None
            }
        }
    }

    /// Values in order; one alone may be written without brackets.
    pub(super) fn take_list(&mut self, name: &str, problems: &mut Vec<Error>) -> Vec<String> {
        let nodes = match self.take(name) {
            None => return Vec::new(),
            Some(Node::List(nodes)) => nodes,
            Some(node) => vec![node],
        };
        let mut texts = Vec::with_capacity(nodes.len());
        for node in nodes {
            match node {
                Node::Text(text) => texts.push(text),
                _ => problems.push(wrong(&self.at(name), "there must be a list of values here")),
            }
        }
        texts
    }

    /// Parts by names of the user's own.
    pub(super) fn take_all(
        &mut self,
        name: &str,
        problems: &mut Vec<Error>,
    ) -> BTreeMap<String, Node> {
        match self.take(name) {
            None => BTreeMap::new(),
            Some(Node::Map(parts)) => parts,
            Some(Node::Text(text)) if text.is_empty() => BTreeMap::new(),
            Some(_) => {
                problems.push(wrong(&self.at(name), "there must be names with values here"));
                BTreeMap::new()
            }
        }
    }

    /// All values that were not taken; those of a list with commas between them.
    pub(super) fn rest(mut self, problems: &mut Vec<Error>) -> Vec<(String, String)> {
        let names: Vec<String> = self.parts.keys().cloned().collect();
        let mut take = |name: String| {
            let values = self.take_list(&name, problems).join(",");
            (name, values)
        };
        names.into_iter().map(&mut take).collect()
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, a list, or names with values")
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Text(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Text(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Text(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Text(value.to_string()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Text(String::new()))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Text(String::new()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element()? {
            nodes.push(node);
        }
        Ok(Node::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut parts = BTreeMap::new();
        while let Some((name, node)) = map.next_entry::<String, Node>()? {
            if parts.insert(name.clone(), node).is_some() {
                return Err(serde::de::Error::custom(format!("`{name}` is there twice")));
            }
        }
        Ok(Node::Map(parts))
    }
}

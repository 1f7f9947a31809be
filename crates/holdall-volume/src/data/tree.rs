//! Trees of nodes: pure functions that fold long lists into list chunks and find ranges in them.
//!
//! All nodes of one list chunk have the level below the list's. The nodes at the top may have
//! different levels: an entry put together from parts keeps the parts' trees as they are.

use std::ops::Range;

use bytes::Bytes;

use crate::format::chunk::{
    ChunkId, ChunkSecret, Digest, LIST_NODES_MAX, Node, ROOT_NODES_MAX, encode_list,
};

/// A list chunk.
#[derive(Clone, Debug)]
pub(crate) struct List {
    /// The node that stands for it.
    pub node: Node,
    /// What it lists.
    pub nodes: Vec<Node>,
    /// Its bytes.
    pub bytes: Bytes,
}

impl List {
    fn new(secret: &ChunkSecret, nodes: &[Node]) -> Self {
        let bytes = Bytes::from(encode_list(nodes));
        let level = nodes.first().map_or(0, |node| node.level).saturating_add(1);
        let id = ChunkId::new(secret, &Digest::of(&bytes), level);
        let node = Node { id, bytes: size(nodes), level };
        Self { node, nodes: nodes.to_vec(), bytes }
    }
}

/// How many bytes lie under these nodes.
pub(crate) fn size(nodes: &[Node]) -> u64 {
    nodes.iter().map(|node| node.bytes).sum()
}

/// Folds nodes, in the order of their bytes, until at most [`ROOT_NODES_MAX`] are left. Returns
/// these, and the list chunks that had to be made, lower ones first.
///
/// The lowest nodes are folded first, so parts of any shape can be put one after the other.
pub(crate) fn fold(secret: &ChunkSecret, mut nodes: Vec<Node>) -> (Vec<Node>, Vec<List>) {
    let mut lists = Vec::new();
    while nodes.len() > ROOT_NODES_MAX {
        let lowest = nodes.iter().map(|node| node.level).min().unwrap_or(0);
        let mut folded = Vec::new();
        for run in nodes.chunk_by(|a, b| a.level == b.level) {
            if run[0].level != lowest {
                folded.extend_from_slice(run);
                continue;
            }
            for nodes in run.chunks(LIST_NODES_MAX) {
                let list = List::new(secret, nodes);
                folded.push(list.node);
                lists.push(list);
            }
        }
        nodes = folded;
    }
    (nodes, lists)
}

/// The nodes that hold bytes of the range, each with the position of its first byte; `start` is
/// the position of the first node.
pub(crate) fn overlapping<'a>(
    nodes: &'a [Node],
    start: u64,
    range: &Range<u64>,
) -> impl Iterator<Item = (u64, Node)> + use<'a> {
    let range = range.clone();
    nodes
        .iter()
        .scan(start, |at, node| {
            let position = *at;
            *at = at.saturating_add(node.bytes);
            Some((position, *node))
        })
        .take_while(move |(position, _)| *position < range.end)
        .filter(move |(position, node)| position.saturating_add(node.bytes) > range.start)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const SECRET: ChunkSecret = ChunkSecret([5; 32]);

    fn leaf(number: u64, bytes: u64, level: u8) -> Node {
        Node { id: ChunkId::new(&SECRET, &Digest::of(&number.to_le_bytes()), level), bytes, level }
    }

    fn leaves(count: u64, bytes: u64, level: u8) -> Vec<Node> {
        (0..count).map(|number| leaf(number, bytes, level)).collect()
    }

    /// Walks a folded tree down to `level`, checking every list on the way.
    fn unfold(nodes: &[Node], lists: &[List], level: u8) -> Vec<Node> {
        let by_id: HashMap<ChunkId, &List> = lists.iter().map(|l| (l.node.id, l)).collect();
        let mut found = Vec::new();
        for node in nodes {
            if node.level <= level {
                found.push(*node);
                continue;
            }
            let list = by_id[&node.id];
            assert!(list.nodes.len() <= LIST_NODES_MAX);
            assert!(list.nodes.iter().all(|child| child.level + 1 == node.level));
            assert_eq!(size(&list.nodes), node.bytes);
            let decoded = crate::format::chunk::decode_list(&list.bytes).unwrap();
            assert_eq!(decoded, list.nodes);
            found.extend(unfold(&list.nodes, lists, level));
        }
        found
    }

    #[test]
    fn few_nodes_stay_as_they_are() {
        for count in [0, 1, ROOT_NODES_MAX as u64] {
            let (roots, lists) = fold(&SECRET, leaves(count, 9, 0));
            assert_eq!((roots, lists.len()), (leaves(count, 9, 0), 0));
        }
        let (roots, lists) = fold(&SECRET, leaves(ROOT_NODES_MAX as u64 + 1, 9, 0));
        assert_eq!((roots.len(), lists.len(), roots[0].level), (1, 1, 1));
    }

    #[test]
    fn a_hundred_gibibytes_are_one_level_of_lists() {
        let nodes = leaves(100 << 10, 1 << 20, 0);
        let (roots, lists) = fold(&SECRET, nodes.clone());
        assert_eq!((roots.len(), lists.len(), size(&roots)), (25, 25, 100 << 30));
        assert_eq!(unfold(&roots, &lists, 0), nodes);
    }

    #[test]
    fn a_pebibyte_folds_from_the_lists_of_its_parts() {
        // A part of 4 GiB is one list of 4096 chunks; here these lists are the lowest nodes.
        let parts = leaves(1 << 18, 4 << 30, 1);
        let (roots, lists) = fold(&SECRET, parts.clone());
        assert_eq!((roots.len(), size(&roots)), (64, 1 << 50));
        assert!(roots.iter().all(|node| node.level == 2));
        assert_eq!(unfold(&roots, &lists, 1), parts);
    }

    #[test]
    fn parts_of_unlike_depth_fold_without_mixing_levels_in_a_list() {
        let mut nodes = Vec::new();
        for part in 0..200_u64 {
            let level = [0, 1, 0, 2][part as usize % 4];
            nodes.extend((0..3).map(|n| leaf(part * 10 + n, 7 + part, level)));
        }
        let (roots, lists) = fold(&SECRET, nodes.clone());
        assert!(roots.len() <= ROOT_NODES_MAX);
        assert_eq!(size(&roots), size(&nodes));
        let mut found = Vec::new();
        let given: std::collections::HashSet<ChunkId> = nodes.iter().map(|n| n.id).collect();
        let by_id: HashMap<ChunkId, &List> = lists.iter().map(|l| (l.node.id, l)).collect();
        let mut stack: Vec<Node> = roots.into_iter().rev().collect();
        while let Some(node) = stack.pop() {
            if given.contains(&node.id) {
                found.push(node);
            } else {
                let children = &by_id[&node.id].nodes;
                assert!(children.iter().all(|child| child.level + 1 == node.level));
                stack.extend(children.iter().rev());
            }
        }
        assert_eq!(found, nodes);
    }

    #[test]
    fn a_range_finds_exactly_the_nodes_under_it() {
        let nodes = leaves(10, 10, 0);
        let find = |range: Range<u64>| -> Vec<u64> {
            overlapping(&nodes, 100, &range).map(|(position, _)| position).collect()
        };
        assert_eq!(find(100..200).len(), 10);
        assert_eq!(find(110..120), [110]);
        assert_eq!(find(119..121), [110, 120]);
        assert_eq!(find(199..500), [190]);
        assert!(find(200..300).is_empty());
        assert!(find(0..100).is_empty());
    }
}

//! Walks the tree of an entry to the chunks under a range, window by window. At most one list a
//! level is in memory.

use std::collections::VecDeque;
use std::ops::Range;

use holdall_core::Result;

use crate::data::tree;
use crate::format::chunk::Node;

/// About how many bytes are fetched and checked at once.
const WINDOW_BYTES: u64 = 4 << 20;

/// What a small chunk counts as: its frame may hold more.
const LEAF_COST_MIN: u64 = 128 << 10;

/// A chunk of bytes, and which of them are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leaf {
    pub node: Node,
    pub wanted: Range<usize>,
}

/// What comes next on a walk.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// These chunks.
    Window(Vec<Leaf>),
    /// The nodes of this list are needed before the walk can go on.
    List { node: Node, at: u64 },
    /// Nothing.
    End,
}

/// A walk through a tree.
#[derive(Debug)]
pub(crate) struct Walk {
    range: Range<u64>,
    /// Nodes to visit with the positions of their first bytes, those of lower levels first.
    ahead: VecDeque<(u64, Node)>,
    window: Vec<Leaf>,
    window_cost: u64,
}

impl Walk {
    /// A walk through the range of the bytes under these nodes; what is past their end is left out.
    pub(crate) fn new(nodes: &[Node], range: Range<u64>) -> Self {
        let mut walk = Self { range, ahead: VecDeque::new(), window: Vec::new(), window_cost: 0 };
        walk.add(nodes, 0);
        walk
    }

    /// Goes on with the nodes of the list that was asked for.
    pub(crate) fn add(&mut self, nodes: &[Node], at: u64) {
        let found: Vec<(u64, Node)> = tree::overlapping(nodes, at, &self.range).collect();
        for (position, node) in found.into_iter().rev() {
            self.ahead.push_front((position, node));
        }
    }

    /// Goes on.
    pub(crate) fn next(&mut self) -> Step {
        while let Some((at, node)) = self.ahead.pop_front() {
            if node.level > 0 {
                return Step::List { node, at };
            }
            let start = self.range.start.max(at) - at;
            let end = self.range.end.min(at.saturating_add(node.bytes)) - at;
            self.window.push(Leaf { node, wanted: start as usize..end as usize });
            self.window_cost += node.bytes.max(LEAF_COST_MIN);
            if self.window_cost >= WINDOW_BYTES {
                break;
            }
        }
        if self.window.is_empty() {
            return Step::End;
        }
        self.window_cost = 0;
        Step::Window(std::mem::take(&mut self.window))
    }
}

/// Refuses a list that is not what its node says.
///
/// # Errors
/// `Corrupt`.
pub(crate) fn check_list(node: &Node, nodes: &[Node]) -> Result<()> {
    let level = node.level.checked_sub(1);
    let levels = nodes.iter().all(|child| Some(child.level) == level);
    if levels && tree::size(nodes) == node.bytes {
        return Ok(());
    }
    let message = format!(
        "the list of chunks {} does not hold what it stands for; run `holdall verify`",
        node.id
    );
    Err(holdall_core::Error::corrupt(holdall_core::Operation::Get, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::chunk::ChunkId;

    fn node(number: u8, bytes: u64, level: u8) -> Node {
        Node { id: ChunkId([number; 32]), bytes, level }
    }

    #[test]
    fn a_walk_skips_lists_beside_its_range_and_keeps_the_order() {
        let roots = [node(1, 30 << 20, 1), node(2, 1 << 50, 3), node(3, 1 << 20, 0)];
        let start = (30 << 20) + (1 << 49);
        let mut walk = Walk::new(&roots, start..u64::MAX);
        let Step::List { node: list, at } = walk.next() else { panic!("a list") };
        assert_eq!((list, at), (roots[1], 30 << 20));
        let half = 1 << 49;
        walk.add(&[node(4, half, 2), node(5, half - 10, 2), node(6, 10, 2)], at);
        assert_eq!(walk.next(), Step::List { node: node(5, half - 10, 2), at: start });
        walk.add(&[node(7, half - 10, 0)], start);
        let Step::Window(window) = walk.next() else { panic!("a window") };
        assert_eq!(window.len(), 1);
        assert!(matches!(walk.next(), Step::List { node, .. } if node.id == ChunkId([6; 32])));
        walk.add(&[node(8, 10, 0)], start + half - 10);
        let Step::Window(window) = walk.next() else { panic!("a window") };
        let ids: Vec<u8> = window.iter().map(|leaf| leaf.node.id.0[0]).collect();
        assert_eq!((ids, walk.next()), (vec![8, 3], Step::End));
    }

    #[test]
    fn windows_are_bounded() {
        let nodes: Vec<Node> = (0..100).map(|n| node(n, 1, 0)).collect();
        let mut walk = Walk::new(&nodes, 0..100);
        let Step::Window(window) = walk.next() else { panic!("a window") };
        assert_eq!(window.len() as u64, WINDOW_BYTES / LEAF_COST_MIN);
    }

    #[test]
    fn a_list_that_says_too_much_is_refused() {
        let list = node(1, 20, 1);
        assert!(check_list(&list, &[node(2, 10, 0), node(3, 10, 0)]).is_ok());
        assert!(check_list(&list, &[node(2, 10, 0), node(3, 11, 0)]).is_err());
        assert!(check_list(&list, &[node(2, 20, 1)]).is_err());
    }
}

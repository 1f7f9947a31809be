//! Links between the documents lead somewhere.

use super::Finding;
use crate::tree::{File, Tree};

/// The list of decisions, and where they are.
const DECISIONS: (&str, &str) = ("docs/decisions/README.md", "docs/decisions/");

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let documents = tree.files().iter().filter(|file| file.path.ends_with(".md"));
    let mut found: Vec<Finding> = documents.flat_map(|file| broken(tree, file)).collect();
    found.extend(unlisted(tree));
    found
}

/// Decisions that the list of them does not link to.
fn unlisted(tree: &Tree) -> Vec<Finding> {
    let (list, folder) = DECISIONS;
    let listed = tree.find(list).map_or("", |file| file.text.as_str());
    let decisions = tree.files().iter().filter(|file| file.path.starts_with(folder));
    decisions
        .filter(|file| file.path != list && !listed.contains(&format!("]({})", file.name())))
        .map(|file| Finding::new(&file.path, 1, format!("no row of {list} links to it; add one")))
        .collect()
}

fn broken(tree: &Tree, file: &File) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut in_fence = false;
    for (number, line) in file.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
        }
        if in_fence {
            continue;
        }
        for target in targets(line) {
            if let Some(problem) = problem(tree, file, target) {
                let message = format!("the link to `{target}` leads nowhere: {problem}");
                found.push(Finding::new(&file.path, number + 1, message));
            }
        }
    }
    found
}

/// What stands in the round brackets of `[text](target)`, outside of backticks.
fn targets(line: &str) -> Vec<&str> {
    let prose = |position: usize| line[..position].matches('`').count().is_multiple_of(2);
    let links = line.match_indices("](").filter(|(position, _)| prose(*position));
    links
        .filter_map(|(position, open)| {
            let rest = &line[position + open.len()..];
            rest.find(')').map(|end| rest[..end].split(' ').next().unwrap_or_default())
        })
        .collect()
}

/// What is wrong with a link, if anything is. Addresses outside the project are not looked at.
fn problem(tree: &Tree, file: &File, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let full = if path.is_empty() { file.path.clone() } else { resolve(&file.path, path) };
    if !full.is_empty() && !tree.has(&full) {
        return Some(format!("there is no `{full}`"));
    }
    let linked = tree.find(&full).filter(|linked| linked.path.ends_with(".md"))?;
    if anchor.is_empty() || headings(&linked.text).any(|heading| heading == anchor) {
        return None;
    }
    Some(format!("`{full}` has no heading `{anchor}`"))
}

/// A path as seen from the file that names it, from the root. One that leads out of the project
/// keeps its dots, and so is no file of it.
fn resolve(from: &str, path: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                if parts.pop().is_none() {
                    return format!("../{path}");
                }
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// The headings of a document as links name them.
fn headings(text: &str) -> impl Iterator<Item = String> {
    text.lines().filter(|line| line.starts_with('#')).map(|line| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let tree = Tree::sample(&[
            ("README.md", "# Title\n## Ten lines: of `use`\n"),
            ("docs/a.md", text),
            ("docs/decisions/0001-x.md", ""),
            ("docs/decisions/README.md", "[1](0001-x.md)"),
        ]);
        check(&tree).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn good_links_are_left_alone() {
        let good = "[a](../README.md) [b](decisions/0001-x.md \"title\") [c](./decisions)\n\
                    [d](https://example.org/x.md) [e](#here) `[f](gone.md)`\n# Here\n\
                    [g](../README.md#ten-lines-of-use) [h](..)\n```\n[i](gone.md)\n```\n";
        assert_eq!(found(good), Vec::<String>::new());
    }

    #[test]
    fn broken_links_are_found() {
        let bad = found("[a](gone.md) [b](../../out.md)\n[c](#nowhere) [d](../README.md#gone)\n");
        assert_eq!(bad.len(), 4, "{bad:?}");
        assert!(bad[0].contains("no `docs/gone.md`"), "{bad:?}");
        assert!(bad[3].contains("`README.md` has no heading `gone`"), "{bad:?}");
    }

    #[test]
    fn a_decision_without_a_row_is_found() {
        let tree = Tree::sample(&[
            ("docs/decisions/0001-a.md", ""),
            ("docs/decisions/0002-b.md", ""),
            ("docs/decisions/README.md", "| [0001](0001-a.md) | a |\n"),
        ]);
        let found = check(&tree);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, "docs/decisions/0002-b.md");
    }
}

//! Every clause of `docs/contract.md` names its test, and every test of the suite its clause.

use std::collections::BTreeMap;

use super::Finding;
use crate::source::mask;
use crate::tree::Tree;

const DOCUMENT: &str = "docs/contract.md";
/// The table of clauses, from which the suite makes its tests: a function that is named there and
/// does not exist is not compiled.
const TABLE: &str = "crates/holdall-testkit/src/conformance/clauses.rs";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut texts = Vec::new();
    for path in [DOCUMENT, TABLE] {
        match tree.find(path) {
            Some(file) => texts.push(file.text.as_str()),
            None => {
                return vec![Finding::new(path, 1, "there is no such file; say where it is")];
            }
        }
    }
    let promised = promised(texts[0]);
    let tested = tested(texts[1]);
    let mut found = Vec::new();
    for (id, clause) in &promised {
        match tested.get(id) {
            None => {
                let message = format!("clause {id} has no test; add it to {TABLE}");
                found.push(Finding::new(DOCUMENT, clause.line, message));
            }
            Some((_, test)) if !clause.text.contains(&format!("`{test}`")) => {
                let message = format!("clause {id} does not name its test; write `{test}` in it");
                found.push(Finding::new(DOCUMENT, clause.line, message));
            }
            Some(_) => {}
        }
    }
    for (id, (line, test)) in tested.iter().filter(|(id, _)| !promised.contains_key(*id)) {
        let message = format!("`{test}` tests clause {id}, which {DOCUMENT} lacks; write it down");
        found.push(Finding::new(TABLE, *line, message));
    }
    if promised.is_empty() || tested.is_empty() {
        found.push(Finding::new(DOCUMENT, 1, "no clause was found; mend the clause or this rule"));
    }
    found
}

/// What the document says under one number.
struct Promise {
    line: usize,
    text: String,
}

/// The clauses of the document: each begins a line with its number, and goes on to the next.
fn promised(text: &str) -> BTreeMap<String, Promise> {
    let mut clauses: BTreeMap<String, Promise> = BTreeMap::new();
    let mut current = None;
    for (number, line) in text.lines().enumerate() {
        if let Some(id) = id(line.trim_start_matches([' ', '*', '-', '|', '#', '`'])) {
            current = Some(id.clone());
            clauses.entry(id).or_insert(Promise { line: number + 1, text: String::new() });
        } else if line.starts_with('#') {
            current = None;
        }
        if let Some(clause) = current.as_ref().and_then(|id| clauses.get_mut(id)) {
            clause.text.push_str(line);
            clause.text.push('\n');
        }
    }
    clauses
}

/// The number that a line begins with: a capital and digits, such as `G3`, and then no letter.
fn id(line: &str) -> Option<String> {
    let rest = line.strip_prefix(|first: char| first.is_ascii_uppercase())?;
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let ends = !rest[digits..].starts_with(|c: char| c.is_alphanumeric() || c == '-');
    (digits > 0 && ends).then(|| line[..=digits].to_owned())
}

/// The table's clauses: `chapter {` and then a line `G3 name,` for each.
fn tested(text: &str) -> BTreeMap<String, (usize, String)> {
    let code = mask(text).code;
    let mut tests = BTreeMap::new();
    let mut chapter = "";
    for (number, line) in code.lines().enumerate() {
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            [name, "{"] => chapter = name,
            [number_of_clause, name] if name.ends_with(',') => {
                if let Some(id) = id(number_of_clause).filter(|id| id == number_of_clause) {
                    let test = format!("{chapter}::{}", name.trim_end_matches(','));
                    tests.insert(id, (number + 1, test));
                }
            }
            _ => {}
        }
    }
    tests
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "macro_rules! each {\n    ($then:ident) => {\n        get {\n\
                        G1 missing_is_none,\n G2 range,\n }\n put {\n P1 wins,\n }\n}}\n";

    fn found(document: &str) -> Vec<(String, usize)> {
        let found = check(&Tree::sample(&[(DOCUMENT, document), (TABLE, CODE)]));
        found.into_iter().map(|finding| (finding.path, finding.line)).collect()
    }

    #[test]
    fn a_full_match_is_left_alone() {
        let document = "# Contract\nWords: G9 is no clause.\n- **G1** A missing key is `None`.\n\
                        `get::missing_is_none`\n- **G2**: see `get::range`\n## Put\n\
                        | P1 | wins | `put::wins` |\n";
        assert_eq!(found(document), []);
    }

    #[test]
    fn what_one_side_lacks_is_found() {
        let document = "- **G1** A missing key. `get::range`\n- **G7** More. `get::more`\n\
                        - **P1** `put::wins`\n";
        let expected = [(DOCUMENT, 1), (DOCUMENT, 2), (TABLE, 5)];
        assert_eq!(found(document), expected.map(|(path, line)| (path.to_owned(), line)));
    }

    #[test]
    fn finding_no_clause_at_all_is_a_finding() {
        assert!(!found("# Contract\n").is_empty());
        assert_eq!(check(&Tree::sample(&[(TABLE, CODE)])).len(), 1);
    }
}

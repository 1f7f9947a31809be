//! The trait `Backend` has no default bodies: they are how layers lose what they should forward.

use super::Finding;
use crate::source::{closing, functions, mask, words};
use crate::tree::{File, Tree};

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.rust().flat_map(defaults).collect()
}

fn defaults(file: &File) -> Vec<Finding> {
    let code = mask(&file.text).code;
    let mut found = Vec::new();
    for position in words(&code, "Backend") {
        if !code[..position].trim_end().ends_with("trait") {
            continue;
        }
        let Some(open) = code[position..].find('{').map(|offset| position + offset) else {
            continue;
        };
        let end = closing(&code, open).unwrap_or(code.len());
        for function in functions(&code, open..end).iter().filter(|function| function.has_body) {
            let message = format!(
                "`{}` has a default body; take the body out, or move the method to BackendExt",
                function.name
            );
            found.push(Finding::new(&file.path, function.line, message));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_body_is_found() {
        let text = "pub trait BackendExt: Backend {\n    fn comfort(&self) { }\n}\n\
                    pub trait Backend: Send {\n    fn get(&self);\n    fn put(&self) {\n    }\n}\n\
                    fn after() {}\n";
        let found = check(&Tree::sample(&[("a.rs", text)]));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, 6);
        assert!(found[0].message.starts_with("`put`"));
    }
}

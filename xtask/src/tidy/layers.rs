//! No layer knows another: `stack.rs` alone knows which there are and in what order.

use std::collections::BTreeMap;

use super::Finding;
use crate::source::{is_word, line_at, mask, words};
use crate::tree::{File, Tree};

const FOLDER: &str = "crates/holdall-layers/src/";
/// The files that see all layers: one names them, the other puts them in order.
const OVERVIEW: [&str; 2] = ["lib", "stack"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let files: Vec<(&File, &str, String)> = tree
        .rust()
        .filter(|file| !file.is_test())
        .filter_map(|file| Some((file, module(file)?, without_tests(&file.text))))
        .collect();
    let mut layers: BTreeMap<String, &str> = BTreeMap::new();
    for (_, module, code) in &files {
        layers.extend(backends(code).into_iter().map(|name| (name, *module)));
    }
    let mut found = Vec::new();
    for (file, module, code) in files.iter().filter(|(_, module, _)| !OVERVIEW.contains(module)) {
        for (layer, _) in layers.iter().filter(|(_, home)| *home != module) {
            for at in words(code, layer) {
                let message = format!(
                    "the layer `{layer}` is named in another one; take any `Backend`, and let \
                     stack.rs choose"
                );
                found.push(Finding::new(&file.path, line_at(code, at), message));
            }
        }
    }
    found
}

/// The module of the layers' crate that a file belongs to: its own name, or its folder's.
fn module(file: &File) -> Option<&str> {
    let inside = file.path.strip_prefix(FOLDER)?;
    Some(inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs"))
}

fn without_tests(text: &str) -> String {
    let code = mask(text).code;
    code.split("#[cfg(test)]").next().unwrap_or_default().to_owned()
}

/// The types that are made backends here.
fn backends(code: &str) -> Vec<String> {
    const HEAD: &str = "Backend for ";
    let names = code.match_indices(HEAD).map(|(at, _)| {
        let rest = &code[at + HEAD.len()..];
        rest.bytes().take_while(|byte| is_word(*byte)).map(char::from).collect::<String>()
    });
    names.filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_that_names_another_is_found() {
        let metered = "//! Below Limited.\nimpl Backend for Metered {}\n";
        let limited = "use crate::Metered;\nimpl<B> Backend for Limited<B> {}\n\
                       #[cfg(test)]\nmod tests { use crate::Metered; }\n";
        let tree = Tree::sample(&[
            ("crates/holdall-layers/src/lib.rs", "pub use metered::Metered;\n"),
            ("crates/holdall-layers/src/stack.rs", "fn f() { Metered; Limited; }\n"),
            ("crates/holdall-layers/src/metered/mod.rs", metered),
            ("crates/holdall-layers/src/metered/count.rs", "use super::Metered;\n"),
            ("crates/holdall-layers/src/limited.rs", limited),
            ("crates/holdall/src/lib.rs", "pub use holdall_layers::Metered;\n"),
        ]);
        let found: Vec<_> = check(&tree).into_iter().map(|f| (f.path, f.line)).collect();
        assert_eq!(found, [("crates/holdall-layers/src/limited.rs".to_owned(), 1)]);
    }
}

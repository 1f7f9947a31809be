//! Revisions as text that can be stored and read back: `n17` counts, `t"abc"` is an engine's word.

use holdall_core::Revision;

/// The revision as text.
pub(crate) fn to_text(revision: &Revision) -> String {
    match revision.as_number() {
        Some(number) => format!("n{number}"),
        None => format!("t{}", revision.as_text().unwrap_or_default()),
    }
}

/// The revision that [`to_text`] wrote.
pub(crate) fn from_text(text: &str) -> Option<Revision> {
    match text.split_at_checked(1)? {
        ("n", number) => number.parse().ok().map(Revision::number),
        ("t", word) => Some(Revision::text(word)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_comes_back_as_the_revision_it_was() {
        let words = ["", "n17", "\"e-tag\"", "ü"].map(Revision::text);
        for revision in [Revision::number(0), Revision::number(u64::MAX)].iter().chain(&words) {
            assert_eq!(from_text(&to_text(revision)).as_ref(), Some(revision));
        }
        for wrong in ["", "n", "nx", "x1", "ü"] {
            assert_eq!(from_text(wrong), None, "{wrong}");
        }
    }
}

//! Patterns of names: `*` stands for any characters, `?` for one, `\` takes the next as it is.

use holdall_core::{Error, Operation, Result};

/// One part of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// This character.
    Exactly(char),
    /// Any one character.
    One,
    /// Any characters, or none.
    Any,
}

/// A pattern of names.
#[derive(Clone, Debug)]
pub(super) struct Glob(Vec<Part>);

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// `Invalid` if it ends in a lone `\`.
    pub(super) fn parse(pattern: &str) -> Result<Self> {
        let mut parts = Vec::with_capacity(pattern.len());
        let mut characters = pattern.chars();
        while let Some(character) = characters.next() {
            let part = match character {
                '*' => Part::Any,
                '?' => Part::One,
                '\\' => match characters.next() {
                    Some(next) => Part::Exactly(next),
                    None => {
                        let message = "a pattern ends in a backslash; write two for one";
                        return Err(Error::invalid(Operation::List, message));
                    }
                },
                other => Part::Exactly(other),
            };
            if !(part == Part::Any && parts.last() == Some(&Part::Any)) {
                parts.push(part);
            }
        }
        Ok(Self(parts))
    }

    /// What all names that match begin with.
    pub(super) fn prefix(&self) -> String {
        let exact = self.0.iter().map_while(|part| match part {
            Part::Exactly(character) => Some(*character),
            Part::One | Part::Any => None,
        });
        exact.collect()
    }

    /// Whether the whole name matches. Takes at most name × pattern steps.
    pub(super) fn matches(&self, name: &str) -> bool {
        let parts = &self.0;
        let (mut rest, mut at) = (name.chars(), 0);
        // Where to try again: behind the last `*`, with one character more under it.
        let mut again: Option<(std::str::Chars<'_>, usize)> = None;
        loop {
            if parts.get(at) == Some(&Part::Any) {
                at += 1;
                again = Some((rest.clone(), at));
                continue;
            }
            let before = rest.clone();
            let fits = match (parts.get(at), rest.next()) {
                (None, None) => return true,
                (Some(Part::Exactly(wanted)), Some(found)) => *wanted == found,
                (Some(Part::One), Some(_)) => true,
                // The name has ended: more characters under the star make it no longer.
                (Some(_), None) => return false,
                (None, Some(_)) | (Some(Part::Any), _) => false,
            };
            if fits {
                at += 1;
                continue;
            }
            drop(before);
            let Some((mut under, behind)) = again.take() else { return false };
            if under.next().is_none() {
                return false;
            }
            (rest, at) = (under.clone(), behind);
            again = Some((under, behind));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Glob::parse(pattern).unwrap().matches(name)
    }

    #[test]
    fn stars_and_question_marks_stand_for_characters() {
        for (pattern, name) in [
            ("", ""),
            ("*", ""),
            ("*", "a/b"),
            ("a*", "a"),
            ("*.rs", "src/lib.rs"),
            ("*.rs", ".rs.rs"),
            ("a*b*c", "a-b-b-c"),
            ("a?c", "aüc"),
            ("**a", "ba"),
            (r"\*", "*"),
            ("*?", "a"),
            ("*ab*ab", "abab"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("", "a"),
            ("a", ""),
            ("a", "ab"),
            ("?", ""),
            ("*.rs", "lib.rsx"),
            ("a*b*c", "a-c-b"),
            (r"\*", "a"),
            ("*ab*ab", "ab"),
            ("*??", "a"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
        assert!(Glob::parse("a\\").is_err());
        assert_eq!(Glob::parse(r"a\*b*c").unwrap().prefix(), "a*b");
    }

    #[test]
    fn hostile_patterns_end_soon() {
        let name = "a".repeat(900);
        assert!(!matches(&format!("{}b", "*a".repeat(200)), &name));
    }
}

//! Looks at Rust source without compiling it: what is code, what is comment, where a function ends.

use std::ops::Range;

/// The same text twice, each time with the other parts blanked: positions and lines stay.
#[derive(Debug)]
pub(crate) struct Masked {
    /// Without comments and without the insides of strings and characters.
    pub(crate) code: String,
    /// The comments alone.
    pub(crate) comments: String,
}

/// What a stretch of source is.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Code,
    Comment,
    Quoted,
}

/// Tells code from comments and quoted text.
pub(crate) fn mask(text: &str) -> Masked {
    let mut code = text.as_bytes().to_vec();
    let mut comments = code.clone();
    let mut at = 0;
    while at < text.len() {
        let (kind, length) = next(text.as_bytes(), at);
        for position in at..at + length {
            if text.as_bytes()[position] == b'\n' {
                continue;
            }
            if kind != Kind::Code {
                code[position] = b' ';
            }
            if kind != Kind::Comment {
                comments[position] = b' ';
            }
        }
        at += length;
    }
    let string = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Masked { code: string(code), comments: string(comments) }
}

/// The kind and the length in bytes of what begins at `at`.
fn next(text: &[u8], at: usize) -> (Kind, usize) {
    let rest = &text[at..];
    if rest.starts_with(b"//") {
        let length = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        return (Kind::Comment, length);
    }
    if rest.starts_with(b"/*") {
        return (Kind::Comment, block_comment(rest));
    }
    if rest[0] == b'"' {
        return (Kind::Quoted, string(rest));
    }
    if rest[0] == b'\'' {
        return character(rest).map_or((Kind::Code, 1), |length| (Kind::Quoted, length));
    }
    let inside_a_word = at > 0 && is_word(text[at - 1]) && text[at - 1] != b'b';
    if rest[0] == b'r'
        && !inside_a_word
        && let Some(length) = raw_string(rest)
    {
        return (Kind::Quoted, length);
    }
    (Kind::Code, 1)
}

fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn string(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of a character in quotes; nothing where the quote begins a lifetime.
fn character(rest: &[u8]) -> Option<usize> {
    match rest.get(1)? {
        b'\\' => {
            let end = rest.iter().skip(3).position(|byte| *byte == b'\'')?;
            Some(end + 4)
        }
        first => {
            let length = match first {
                0x00..=0x7f => 1,
                0x80..=0xdf => 2,
                0xe0..=0xef => 3,
                _ => 4,
            };
            (rest.get(1 + length) == Some(&b'\'')).then_some(length + 2)
        }
    }
}

fn raw_string(rest: &[u8]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return None;
    }
    let end = [b"\"".as_slice(), &rest[1..1 + hashes]].concat();
    let body = 2 + hashes;
    let found = rest[body..].windows(end.len()).position(|window| window == end);
    Some(found.map_or(rest.len(), |position| body + position + end.len()))
}

/// Whether a byte can be part of a name.
pub(crate) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// The line, counted from 1, that a position is on.
pub(crate) fn line_at(text: &str, position: usize) -> usize {
    text.as_bytes()[..position].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// Where a whole word stands.
pub(crate) fn words(text: &str, word: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let alone = |position: &usize| {
        let before = position.checked_sub(1).is_none_or(|before| !is_word(bytes[before]));
        let after = bytes.get(position + word.len()).is_none_or(|after| !is_word(*after));
        before && after
    };
    text.match_indices(word).map(|(position, _)| position).filter(alone).collect()
}

/// The position behind the bracket that closes the one at `open`.
pub(crate) fn closing(code: &str, open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (offset, byte) in code.as_bytes()[open..].iter().enumerate() {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(open + offset + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// The next `{` or `;` that stands in no brackets: where an item's body begins, or the item ends.
fn body(code: &str, from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(byte) = code.as_bytes().get(at) {
        match byte {
            b'{' | b';' => return Some(at),
            b'(' | b'[' => at = closing(code, at)?,
            _ => at += 1,
        }
    }
    None
}

/// A function in a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    /// Its name.
    pub(crate) name: String,
    /// The line of the word `fn`, counted from 1.
    pub(crate) line: usize,
    /// From the line of the word `fn` to the closing bracket, both counted.
    pub(crate) lines: usize,
    /// Whether it has a body, and is not just promised by a trait.
    pub(crate) has_body: bool,
}

/// The functions in a stretch of masked code. Lines count from the beginning of the code.
pub(crate) fn functions(code: &str, within: Range<usize>) -> Vec<Function> {
    let mut found = Vec::new();
    for position in words(code, "fn").into_iter().filter(|position| within.contains(position)) {
        let rest = code[position + 2..].trim_start();
        let name: String = rest.bytes().take_while(|byte| is_word(*byte)).map(char::from).collect();
        let Some(begin) = body(code, position) else {
            continue;
        };
        if name.is_empty() {
            continue; // a type such as `fn(u8) -> u8`
        }
        let has_body = code.as_bytes()[begin] == b'{';
        let end = if has_body { closing(code, begin).unwrap_or(code.len()) } else { begin + 1 };
        let line = line_at(code, position);
        let lines = line_at(code, end - 1) - line + 1;
        found.push(Function { name, line, lines, has_body });
    }
    found
}

/// How many lines a file has without what is compiled for tests alone.
pub(crate) fn lines_without_tests(code: &str) -> usize {
    let mut tests = 0;
    let mut from = 0;
    while let Some(offset) = code[from..].find("#[cfg(test)]") {
        let start = from + offset;
        let end = match body(code, behind_attributes(code, start)) {
            Some(begin) if code.as_bytes()[begin] == b'{' => closing(code, begin),
            Some(semicolon) => Some(semicolon + 1),
            None => None,
        };
        let end = end.unwrap_or(code.len());
        tests += line_at(code, end.saturating_sub(1)) - line_at(code, start) + 1;
        from = end;
    }
    code.lines().count() - tests
}

/// Behind the attributes that begin at `start`.
fn behind_attributes(code: &str, start: usize) -> usize {
    let mut at = start;
    loop {
        let rest = code[at..].trim_start();
        at = code.len() - rest.len();
        if !rest.starts_with("#[") {
            return at;
        }
        match closing(code, at + 1) {
            Some(end) => at = end,
            None => return at,
        }
    }
}

#[cfg(test)]
mod tests;

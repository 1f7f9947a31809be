//! Samples of source that are easy to misread.

use super::*;

#[test]
fn comments_and_quoted_text_are_not_code() {
    let text = "let a = \"fn // x\"; // fn one\n/* fn /* two */ fn */ let b = 'f'; fn<'a>()";
    let masked = mask(text);
    assert_eq!(masked.code.len(), text.len());
    assert_eq!(words(&masked.code, "fn"), vec![text.rfind("fn").unwrap()]);
    assert!(masked.comments.contains("fn one") && !masked.comments.contains("let"));
    assert_eq!(masked.code.lines().count(), 2);
}

#[test]
fn quotes_of_every_kind_end_where_they_end() {
    for quoted in [
        r##"r#"a " b"#"##,
        r#"br"\""#,
        r#""a \" b""#,
        r#"b"\\""#,
        r"'\''",
        r"'\u{1f600}'",
        "'ä'",
        "'\"'",
        "b'{'",
    ] {
        let code = mask(&format!("({quoted}) + end")).code;
        assert!(code.starts_with('(') && code.ends_with(") + end"), "{quoted} gives {code}");
        assert!(!code.contains('{'), "{quoted} gives {code}");
    }
    assert_eq!(mask("fn f<'a>(x: &'a str)").code, "fn f<'a>(x: &'a str)");
    assert_eq!(mask("for r in list").code, "for r in list");
}

#[test]
fn functions_are_measured_from_head_to_closing_bracket() {
    let code = mask(
        "trait T {\n    fn promised(&self, x: [u8; 4]);\n}\nfn one() { }\n\
         fn long<F: Fn() -> u8>(\n    call: fn(u8) -> u8,\n) {\n    let x = '}';\n}\n",
    )
    .code;
    let found: Vec<_> = functions(&code, 0..code.len())
        .into_iter()
        .map(|function| (function.name, function.line, function.lines, function.has_body))
        .collect();
    let expected = [("promised", 2, 1, false), ("one", 4, 1, true), ("long", 5, 5, true)];
    assert_eq!(found, expected.map(|(name, at, lines, body)| (name.to_owned(), at, lines, body)));
}

#[test]
fn lines_of_tests_are_not_counted() {
    assert_eq!(lines_without_tests("a\nb\n"), 2);
    assert_eq!(lines_without_tests("a\n#[cfg(test)]\nmod tests;\nb\n"), 2);
    let inline = "a\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n    fn f() {\n    }\n}\nb\nc\n";
    assert_eq!(lines_without_tests(inline), 3);
}

#[test]
fn words_stand_alone() {
    assert_eq!(words("async asynchronous r#async", "async"), vec![0, 21]);
}

//! Secrets of locations: named by `env:NAME` or `file:/path`, looked up when a backend is opened,
//! and never shown.

use holdall_core::{Error, Location, Operation, Result};

/// The location with its secrets looked up. What it returns is for opening alone.
///
/// # Errors
/// `Invalid` if a variable is not set or a file cannot be read, naming it.
pub(crate) fn look_up(location: &Location) -> Result<Location> {
    let mut known = location.clone();
    for (option, value) in location.secrets() {
        if let Some(secret) = find(option, value)? {
            known = known.with_option(option, &secret);
        }
    }
    Ok(known)
}

/// Refuses secrets that stand in the location itself, where other people would read them: on a
/// command line, or in a file that is shared.
///
/// # Errors
/// `Invalid`, with how to write it instead.
pub fn refuse_literal(location: &Location) -> Result<()> {
    let plain = |value: &str| !value.starts_with("env:") && !value.starts_with("file:");
    let literal = location.secrets().find(|(_, value)| plain(value)).map(|(option, _)| option);
    let option = match literal {
        Some(option) => option,
        None if location.has_password() => "password",
        None => return Ok(()),
    };
    let message = format!(
        "a secret stands in the location itself, where others can read it; write \
         {option}=env:NAME or {option}=file:/path"
    );
    Err(Error::invalid(Operation::Configure, message))
}

fn find(option: &str, value: &str) -> Result<Option<String>> {
    let missing = |what: String| {
        Error::invalid(Operation::Configure, format!("`{option}` is to come from {what}"))
    };
    if let Some(name) = value.strip_prefix("env:") {
        #[allow(clippy::disallowed_methods, reason = "the facade looks up secrets")]
        let found = std::env::var(name);
        let hint = || missing(format!("the variable {name}, which is not set or not UTF-8"));
        return found.map(Some).map_err(|_| hint());
    }
    if let Some(path) = value.strip_prefix("file:") {
        let text = std::fs::read_to_string(path).map_err(|source| {
            missing(format!("the file {path}, which cannot be read")).with_source(source)
        })?;
        return Ok(Some(text.trim_end_matches(['\n', '\r']).to_owned()));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn secrets_come_from_where_they_are_named_and_are_not_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hunter2\n").unwrap();
        let path = file.path().display();
        let text = format!("redis://host/0?password=file:{path}&prefix=env:NOT");
        let location = Location::parse(&text).unwrap();
        let found = look_up(&location).unwrap();
        assert_eq!(found.option("password"), Some("hunter2"));
        assert_eq!(found.option("prefix"), Some("env:NOT"), "only secrets are looked up");
        assert!(!format!("{found} {found:?}").contains("hunter2"));
        refuse_literal(&location).unwrap();

        for (text, hint) in [
            ("redis://host?password=env:HOLDALL_TEST_UNSET", "HOLDALL_TEST_UNSET"),
            ("redis://host?password=file:/not/there", "/not/there"),
        ] {
            let error = look_up(&Location::parse(text).unwrap()).unwrap_err();
            assert!(error.message().contains(hint), "{error}");
        }
    }

    #[test]
    fn secrets_on_a_command_line_are_refused_without_repeating_them() {
        for text in ["redis://host?password=hunter2", "redis://user:hunter2@host"] {
            let error = refuse_literal(&Location::parse(text).unwrap()).unwrap_err();
            assert!(error.message().contains("password=env:NAME"), "{error}");
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
        refuse_literal(&Location::parse("redis://user@host?prefix=a").unwrap()).unwrap();
    }
}

//! How a backend is named: a URL that shows no secrets.

use std::collections::BTreeMap;
use std::fmt;

use crate::units::nearest;
use crate::{Error, Operation, Result};

mod options;

/// A backend's name, such as `lmdb:///var/lib/x` or `s3://bucket/prefix?region=eu-west-1`.
///
/// `scheme://[user[:password]@][host]/path[?name=value&…]`. Showing a location replaces the
/// password and every option whose name speaks of a secret by `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Location {
    scheme: String,
    authority: String,
    path: String,
    options: BTreeMap<String, String>,
}

/// Options whose names contain one of these are never shown.
const SECRET_WORDS: [&str; 6] = ["secret", "password", "token", "key", "credential", "sas"];

impl Location {
    /// Parses a location.
    ///
    /// # Errors
    /// `Invalid`, saying which part is wrong. The text is not repeated: it may hold a secret.
    pub fn parse(text: &str) -> Result<Self> {
        let invalid = |message: &str| Err(Error::invalid(Operation::Open, message));
        let Some((scheme, rest)) = text.split_once("://") else {
            return invalid("a location has no scheme; write for example file:///var/lib/data");
        };
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
        if scheme.is_empty() || !scheme.chars().all(allowed) {
            return invalid("a location's scheme must be lower-case letters, digits, + - or .");
        }
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(a, b)| (a, Some(b)));
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let mut options = BTreeMap::new();
        for pair in query.unwrap_or("").split('&').filter(|pair| !pair.is_empty()) {
            let Some((name, value)) = pair.split_once('=') else {
                return invalid("a location's option has no value; write ?name=value&name=value");
            };
            let (Some(name), Some(value)) = (percent_decode(name), percent_decode(value)) else {
                return invalid("a location's option is not percent-encoded UTF-8");
            };
            if options.insert(name, value).is_some() {
                return invalid("a location names an option twice; give each option once");
            }
        }
        let Some(path) = percent_decode(path) else {
            return invalid("a location's path is not percent-encoded UTF-8");
        };
        Ok(Self { scheme: scheme.to_owned(), authority: authority.to_owned(), path, options })
    }

    /// The location of a folder: `scheme:///path`.
    pub fn from_path(scheme: &str, path: &str) -> Self {
        Self {
            scheme: scheme.to_owned(),
            authority: String::new(),
            path: path.to_owned(),
            options: BTreeMap::new(),
        }
    }

    /// The part before `://`.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The part between `://` and the path, credentials included. Never show this.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The path, decoded, with its leading slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// One option's value.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// The options that hold secrets, with their values. Never show these.
    pub fn secrets(&self) -> impl Iterator<Item = (&str, &str)> {
        let options = self.options.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        options.filter(|(name, _)| is_secret(name))
    }

    /// Whether there is a password before the host.
    pub fn has_password(&self) -> bool {
        self.authority.rsplit_once('@').is_some_and(|(login, _)| login.contains(':'))
    }

    /// The same location under another scheme: for locations that wrap others (`journal+lmdb`).
    #[must_use]
    pub fn with_scheme(mut self, scheme: &str) -> Self {
        scheme.clone_into(&mut self.scheme);
        self
    }

    /// The same location, with an option set.
    #[must_use]
    pub fn with_option(mut self, name: &str, value: &str) -> Self {
        self.options.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The location whole, secrets included: for opening it again, never for showing.
    pub fn expose(&self) -> String {
        self.render(|_, value| value.to_owned(), &self.authority)
    }

    /// Refuses options that the backend does not know, naming the nearest that it does.
    ///
    /// # Errors
    /// `Invalid`, with the unknown option and the nearest known one.
    pub fn allow_options(&self, known: &[&str]) -> Result<()> {
        for name in self.options.keys() {
            if known.contains(&name.as_str()) {
                continue;
            }
            let hint = match nearest(name, known.iter().copied()) {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None if known.is_empty() => format!("{} takes no options", self.scheme),
                None => format!("it knows {}", known.join(", ")),
            };
            let message = format!("{} has no option `{name}`; {hint}", self.scheme);
            return Err(Error::invalid(Operation::Open, message).with_location(self));
        }
        Ok(())
    }

    fn render(&self, shown: impl Fn(&str, &str) -> String, authority: &str) -> String {
        let mut text =
            format!("{}://{}{}", self.scheme, authority, percent_encode(&self.path, "/"));
        for (index, (name, value)) in self.options.iter().enumerate() {
            text.push(if index == 0 { '?' } else { '&' });
            text.push_str(&percent_encode(name, ""));
            text.push('=');
            text.push_str(&percent_encode(&shown(name, value), "/*"));
        }
        text
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = match self.authority.rsplit_once('@') {
            Some((login, host)) => match login.split_once(':') {
                Some((user, _)) => format!("{user}:***@{host}"),
                None => self.authority.clone(),
            },
            None => self.authority.clone(),
        };
        let shown = |name: &str, value: &str| {
            if is_secret(name) { "***".to_owned() } else { value.to_owned() }
        };
        f.write_str(&self.render(shown, &authority))
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}

impl std::str::FromStr for Location {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

/// Whether an option's name speaks of a secret.
fn is_secret(option: &str) -> bool {
    let option = option.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| option.contains(word))
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = tail.get(2..)?;
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

fn percent_encode(text: &str, kept: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let c = char::from(byte);
        if byte.is_ascii_alphanumeric() || "-._~:".contains(c) || kept.contains(c) {
            encoded.push(c);
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn secrets_are_never_shown() {
        let text = "s3://user:hunter2@host/b?region=eu&secret_access_key=abc&session_token=def";
        let location = Location::parse(text).unwrap();
        for shown in [location.to_string(), format!("{location:?}")] {
            for secret in ["hunter2", "abc", "def"] {
                assert!(!shown.contains(secret), "{shown}");
            }
            assert!(shown.contains("region=eu"), "{shown}");
        }
        assert!(location.has_password());
        let secrets: Vec<_> = location.secrets().collect();
        assert_eq!(secrets, [("secret_access_key", "abc"), ("session_token", "def")]);
        assert_eq!(Location::parse(&location.expose()).unwrap(), location);
    }

    #[test]
    fn paths_survive_a_round_trip() {
        let location = Location::from_path("file", "/var/lib/a b/ü?&%");
        assert_eq!(Location::parse(&location.to_string()).unwrap(), location);
    }

    #[test]
    fn nonsense_is_refused_without_repeating_it() {
        for text in
            ["", "x", "File:///a", "://a", "a://b?c", "a://b?c=1&c=2", "a:///%zz", "a:///%f"]
        {
            let error = Location::parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
        }
        let error = Location::parse("s3:/user:hunter2@host").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn an_unknown_option_names_the_nearest() {
        let location = Location::parse("lmdb:///x?map_sise=1").unwrap();
        let error = location.allow_options(&["map_size", "readers"]).unwrap_err();
        assert!(error.to_string().contains("`map_size`"), "{error}");
        assert!(location.allow_options(&["map_sise"]).is_ok());
    }
}

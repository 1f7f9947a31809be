//! What a person may want to know of a row, told beside its bytes, and the question for it.

use std::collections::BTreeMap;

use crate::{List, Timestamp};

/// What a person may want to know of a row whose bytes only its writer understands.
///
/// An engine that has [`metadata`](crate::Profile::metadata) keeps it beside the row in columns
/// of its own, where its own query language reaches it; every other engine lets it go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// What the named thing is part of.
    pub volume: String,
    /// Its name there.
    pub name: String,
    /// Its size in bytes, wherever these are.
    pub size: u64,
    /// When it was written.
    pub written: Timestamp,
    /// When it ends by itself, if it does.
    pub expires: Option<Timestamp>,
    /// Its media type, if the writer gave one.
    pub content_type: Option<String>,
    /// What else the writer wants remembered. Neither names nor values hold NUL.
    pub attributes: BTreeMap<String, String>,
}

/// What a row's description must say: everything that is given holds. The empty filter lets all
/// pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The size in bytes is at least this.
    pub size_min: Option<u64>,
    /// The size in bytes is at most this.
    pub size_max: Option<u64>,
    /// It was written at this time or later.
    pub written_after: Option<Timestamp>,
    /// It was written before this time.
    pub written_before: Option<Timestamp>,
    /// The content type.
    pub content_type: Option<ContentType>,
    /// It has all these attributes with these values.
    pub attributes: BTreeMap<String, String>,
}

/// Which content types are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContentType {
    /// Exactly this one, to the letter.
    Exactly(String),
    /// All that begin with this, such as `image/`.
    Beginning(String),
}

impl ContentType {
    /// `image/png` is that one, and `image/*` all that begin with `image/`.
    pub fn parse(text: &str) -> Self {
        match text.strip_suffix('*').filter(|kind| kind.ends_with('/')) {
            Some(kind) => Self::Beginning(kind.to_owned()),
            None => Self::Exactly(text.to_owned()),
        }
    }

    /// Whether this content type is meant.
    pub fn fits(&self, found: &str) -> bool {
        match self {
            Self::Exactly(wanted) => found == wanted,
            Self::Beginning(kind) => found.starts_with(kind),
        }
    }
}

impl Filter {
    /// Whether all that is asked for holds of something of this size, and so on.
    pub fn fits(
        &self,
        size: u64,
        written: Timestamp,
        content_type: Option<&str>,
        attributes: &BTreeMap<String, String>,
    ) -> bool {
        self.size_min.is_none_or(|min| size >= min)
            && self.size_max.is_none_or(|max| size <= max)
            && self.written_after.is_none_or(|after| written >= after)
            && self.written_before.is_none_or(|before| written < before)
            && self
                .content_type
                .as_ref()
                .is_none_or(|wanted| content_type.is_some_and(|found| wanted.fits(found)))
            && self.attributes.iter().all(|(name, value)| attributes.get(name) == Some(value))
    }

    /// Whether all that is asked for holds of what is described so.
    pub fn fits_description(&self, of: &Description) -> bool {
        self.fits(of.size, of.written, of.content_type.as_deref(), &of.attributes)
    }
}

/// A question for one page of rows by what is told of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Find {
    /// Among which keys, where to begin, and how many at the most. The rows carry their values
    /// if this asks for them.
    pub list: List,
    /// What their descriptions must say.
    pub filter: Filter,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_lets_pass_what_all_of_it_fits() {
        let attributes = BTreeMap::from([("owner".to_owned(), "ann".to_owned())]);
        let at = Timestamp::from_micros(50);
        let fits = |filter: Filter| filter.fits(10, at, Some("image/png"), &attributes);
        let filter = Filter::default;
        assert!(fits(filter()));
        for (size, kept) in [(9, false), (10, true), (11, true)] {
            assert_eq!(fits(Filter { size_max: Some(size), ..filter() }), kept);
            assert_eq!(fits(Filter { size_min: Some(20 - size), ..filter() }), kept);
        }
        for (micros, kept) in [(49, true), (50, true), (51, false)] {
            let written_after = Some(Timestamp::from_micros(micros));
            assert_eq!(fits(Filter { written_after, ..filter() }), kept);
            assert_eq!(fits(Filter { written_before: written_after, ..filter() }), !kept);
        }
        for (text, kept) in
            [("image/png", true), ("image/*", true), ("image*", false), ("text/*", false)]
        {
            let content_type = Some(ContentType::parse(text));
            assert_eq!(fits(Filter { content_type, ..filter() }), kept, "{text}");
        }
        let content_type = Some(ContentType::parse("image/*"));
        let filter = Filter { content_type, ..filter() };
        assert!(!filter.fits(10, at, None, &attributes), "no type is not any type");
        for (name, value, kept) in
            [("owner", "ann", true), ("owner", "bob", false), ("hue", "ann", false)]
        {
            let attributes = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            assert_eq!(fits(Filter { attributes, ..Filter::default() }), kept);
        }
    }
}

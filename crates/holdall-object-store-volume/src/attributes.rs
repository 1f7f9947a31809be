//! What is remembered of an object, as a volume remembers it.

use holdall_volume::PutOptions;
use holdall_volume::format::entry::Entry;
use object_store::{Attribute, Attributes, Result, TagSet};

use crate::error::unsupported;

/// The headers that a volume has no place of its own for, under these attributes.
const HEADERS: [(Attribute, &str); 4] = [
    (Attribute::CacheControl, "Cache-Control"),
    (Attribute::ContentDisposition, "Content-Disposition"),
    (Attribute::ContentEncoding, "Content-Encoding"),
    (Attribute::ContentLanguage, "Content-Language"),
];

/// The attributes of an object that is written.
pub(crate) fn store(attributes: &Attributes, tags: &TagSet) -> Result<PutOptions> {
    if !tags.encoded().is_empty() {
        return Err(unsupported("a volume keeps no tags; use metadata".to_owned()));
    }
    let mut options = PutOptions::default();
    for (attribute, value) in attributes {
        let header = HEADERS.iter().find(|(known, _)| known == attribute);
        options = match (attribute, header) {
            (Attribute::ContentType, _) => options.content_type(value.as_ref()),
            (Attribute::Metadata(name), _) if HEADERS.iter().any(|(_, known)| known == name) => {
                let message = format!("metadata cannot be called `{name}`: set the header itself");
                return Err(unsupported(message));
            }
            (Attribute::Metadata(name), _) => options.attribute(name.as_ref(), value.as_ref()),
            (_, Some((_, name))) => options.attribute(*name, value.as_ref()),
            (other, None) => {
                let message =
                    format!("a volume keeps no {other:?}; its policy says where bytes lie");
                return Err(unsupported(message));
            }
        };
    }
    Ok(options)
}

/// The attributes of an object that is read.
pub(crate) fn load(entry: &Entry) -> Attributes {
    let mut attributes = Attributes::new();
    if let Some(content_type) = entry.content_type.clone() {
        attributes.insert(Attribute::ContentType, content_type.into());
    }
    for (name, value) in entry.attributes.clone() {
        let header = HEADERS.iter().find(|(_, known)| *known == name);
        let attribute = match header {
            Some((attribute, _)) => attribute.clone(),
            None => Attribute::Metadata(name.into()),
        };
        attributes.insert(attribute, value.into());
    }
    attributes
}

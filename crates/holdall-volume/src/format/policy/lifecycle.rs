//! Rules by which entries end: which entries, and how long after they were written.

use std::collections::BTreeMap;
use std::time::Duration;

use holdall_core::{Error, Operation, Result, Timestamp};
use serde::{Deserialize, Serialize};

use crate::format::entry::Entry;

/// The most rules of a volume: each is tried on every entry that is written.
const RULES_MAX: usize = 1000;

/// A rule: entries that are as it says end so long after they were written. What is not said, any
/// entry is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LifecycleRule {
    /// What their names begin with.
    pub prefix: String,
    /// Attributes that they have, with these values.
    pub attributes: BTreeMap<String, String>,
    /// They have more bytes than this.
    pub larger: Option<u64>,
    /// They have fewer bytes than this.
    pub smaller: Option<u64>,
    /// How long after they were written they end.
    pub expire: Option<Duration>,
}

impl LifecycleRule {
    /// Whether the rule is about this entry.
    pub fn covers(&self, name: &str, entry: &Entry) -> bool {
        name.starts_with(&self.prefix)
            && self.attributes.iter().all(|(key, value)| entry.attributes.get(key) == Some(value))
            && self.larger.is_none_or(|bytes| entry.size > bytes)
            && self.smaller.is_none_or(|bytes| entry.size < bytes)
    }

    fn check(&self) -> Result<()> {
        let wrong = if self.expire.is_none() {
            "does nothing; give it `expire`"
        } else if self.expire.is_some_and(|expire| expire.is_zero()) {
            "ends entries at once; give `expire` a longer time"
        } else if let (Some(larger), Some(smaller)) = (self.larger, self.smaller)
            && smaller <= larger.saturating_add(1)
        {
            "is about no entry: none is both `larger` and `smaller`"
        } else {
            return Ok(());
        };
        let message = format!("the lifecycle rule of prefix {:?} {wrong}", self.prefix);
        Err(Error::invalid(Operation::Configure, message))
    }
}

/// Refuses rules that cannot work.
pub(super) fn check(rules: &[LifecycleRule]) -> Result<()> {
    if rules.len() > RULES_MAX {
        let message = format!("there are more than {RULES_MAX} lifecycle rules; use fewer");
        return Err(Error::invalid(Operation::Configure, message));
    }
    rules.iter().try_for_each(LifecycleRule::check)
}

/// When an entry ends by these rules: the earliest that one of them says; none if none does.
pub fn end_by(rules: &[LifecycleRule], name: &str, entry: &Entry) -> Option<Timestamp> {
    let covering = rules.iter().filter(|rule| rule.covers(name, entry));
    covering.filter_map(|rule| Some(entry.written.plus(rule.expire?))).min()
}

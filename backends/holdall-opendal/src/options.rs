//! How an operator is used.

use holdall_core::{Conditions, Durability, Reach};

/// How an operator is used. What it is, such as its service and its root, the operator knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many values of one call are on their way at the same time; at least one.
    pub concurrency: usize,
    /// Whether opening tries out what the service really does.
    pub probe: bool,
    /// The conditions that the profile says. With the probe: no more than these, and opening
    /// fails if the service keeps less. Without: taken on trust, and it must be said.
    pub conditional: Option<Conditions>,
    /// How far a returned write is safe. OpenDAL does not say; unless it is said here it is
    /// `Store` for services across a network and `Process` for all others: OpenDAL's own file
    /// service writes the file through to the disk, but not its name.
    pub durability: Option<Durability>,
    /// Who sees the same data. Unless it is said here it is what OpenDAL says: `Process` for what
    /// is not shared, `Machine` for files, `Network` for all others.
    pub reach: Option<Reach>,
}

impl Default for Options {
    fn default() -> Self {
        Self { concurrency: 8, probe: true, conditional: None, durability: None, reach: None }
    }
}

/// Conditions as the documents call them.
pub(crate) fn show_conditions(conditions: Conditions) -> &'static str {
    match conditions {
        Conditions::None => "none",
        Conditions::Absent => "absent",
        Conditions::Revision => "revision",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_in_the_page_and_no_other() {
        let Options { concurrency: _, probe: _, conditional: _, durability: _, reach: _ } =
            Options::default();
        let page = include_str!("../../../docs/backends/opendal.md");
        let rows = page.lines().skip_while(|line| !line.starts_with("| option |")).skip(2);
        let rows = rows.take_while(|line| line.starts_with("| `"));
        let named: Vec<&str> = rows.filter_map(|line| line.split('`').nth(1)).collect();
        assert_eq!(named, ["concurrency", "probe", "conditional", "durability", "reach"]);
    }
}

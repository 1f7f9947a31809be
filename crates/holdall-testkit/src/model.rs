//! An oracle for volumes: what every name held at every version, in a `BTreeMap`.

use std::collections::BTreeMap;

/// Remembers every version of everything. `N` is a name, `V` what is kept under it.
///
/// One write, or one transaction of several, is one version, as a volume's commit is. Version 0 is
/// empty.
#[derive(Clone, Debug)]
pub struct Model<N, V> {
    /// For each name, the versions at which it changed; `None` is a deletion.
    changes: BTreeMap<N, BTreeMap<u64, Option<V>>>,
    version: u64,
}

impl<N: Ord + Clone, V: Clone> Default for Model<N, V> {
    fn default() -> Self {
        Self { changes: BTreeMap::new(), version: 0 }
    }
}

impl<N: Ord + Clone, V: Clone> Model<N, V> {
    /// An empty model at version 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// The latest version.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Writes one name; returns the version that this made.
    pub fn put(&mut self, name: N, value: V) -> u64 {
        self.apply([(name, Some(value))])
    }

    /// Deletes one name; returns the version that this made, also where nothing was there.
    pub fn delete(&mut self, name: N) -> u64 {
        self.apply([(name, None)])
    }

    /// Writes and deletes several names in one version. Of a name given twice the last counts.
    pub fn apply(&mut self, changes: impl IntoIterator<Item = (N, Option<V>)>) -> u64 {
        self.version += 1;
        for (name, value) in changes {
            self.changes.entry(name).or_default().insert(self.version, value);
        }
        self.version
    }

    /// What the name holds now.
    pub fn get(&self, name: &N) -> Option<&V> {
        self.get_as_of(name, self.version)
    }

    /// What the name held at this version.
    pub fn get_as_of(&self, name: &N, version: u64) -> Option<&V> {
        let changes = self.changes.get(name)?;
        changes.range(..=version).next_back().and_then(|(_, value)| value.as_ref())
    }

    /// Everything that is there now.
    pub fn list(&self) -> BTreeMap<N, V> {
        self.list_as_of(self.version)
    }

    /// Everything that was there at this version.
    pub fn list_as_of(&self, version: u64) -> BTreeMap<N, V> {
        let names = self.changes.keys();
        let held = names.filter_map(|name| Some((name, self.get_as_of(name, version)?)));
        held.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// The versions at which this name changed, oldest first, with what it held from then on.
    pub fn versions(&self, name: &N) -> Vec<(u64, Option<&V>)> {
        let changes = self.changes.get(name).into_iter().flatten();
        changes.map(|(version, value)| (*version, value.as_ref())).collect()
    }

    /// What changed after `since`, up to and with `until`, in order of version and name: the
    /// change feed.
    pub fn feed(&self, since: u64, until: u64) -> Vec<(u64, N, Option<V>)> {
        let mut feed = Vec::new();
        for (name, changes) in &self.changes {
            let window = changes.iter().filter(|(at, _)| (since + 1..=until).contains(*at));
            feed.extend(window.map(|(at, value)| (*at, name.clone(), value.clone())));
        }
        feed.sort_by(|one, two| (one.0, &one.1).cmp(&(two.0, &two.1)));
        feed
    }

    /// Goes back to an earlier version, as a crash that lost the newest commits would.
    pub fn rewind(&mut self, version: u64) {
        for changes in self.changes.values_mut() {
            changes.retain(|at, _| *at <= version);
        }
        self.changes.retain(|_, changes| !changes.is_empty());
        self.version = self.version.min(version);
    }

    /// Forgets what was superseded at or before this version, as a retention does. Reading as of
    /// this version or later is unchanged.
    pub fn forget(&mut self, version: u64) {
        for changes in self.changes.values_mut() {
            let last = changes.range(..=version).next_back().map(|(at, _)| *at);
            changes.retain(|at, value| match last {
                Some(last) => *at > last || (*at == last && value.is_some()),
                None => true,
            });
        }
        self.changes.retain(|_, changes| !changes.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled() -> Model<&'static str, u32> {
        let mut model = Model::new();
        assert_eq!(model.put("a", 1), 1);
        assert_eq!(model.apply([("b", Some(2)), ("a", Some(3))]), 2);
        assert_eq!(model.delete("a"), 3);
        assert_eq!(model.put("a", 4), 4);
        model
    }

    #[test]
    fn every_version_can_be_read() {
        let model = filled();
        let seen: Vec<Option<u32>> =
            (0..=5).map(|version| model.get_as_of(&"a", version).copied()).collect();
        assert_eq!(seen, [None, Some(1), Some(3), None, Some(4), Some(4)]);
        assert_eq!(model.list_as_of(3), BTreeMap::from([("b", 2)]));
        assert_eq!(model.list(), BTreeMap::from([("a", 4), ("b", 2)]));
        assert_eq!(model.versions(&"b"), [(2, Some(&2))]);
    }

    #[test]
    fn the_feed_is_in_order_and_resumes() {
        let model = filled();
        let all = model.feed(0, 4);
        let order: Vec<(u64, &str)> = all.iter().map(|(at, name, _)| (*at, *name)).collect();
        assert_eq!(order, [(1, "a"), (2, "a"), (2, "b"), (3, "a"), (4, "a")]);
        assert_eq!([model.feed(0, 2), model.feed(2, 4)].concat(), all);
    }

    #[test]
    fn rewinding_undoes_and_forgetting_keeps_the_present() {
        let (mut rewound, mut forgetful) = (filled(), filled());
        rewound.rewind(2);
        assert_eq!(rewound.version(), 2);
        assert_eq!(rewound.list(), filled().list_as_of(2));
        forgetful.forget(3);
        assert_eq!(forgetful.list_as_of(3), filled().list_as_of(3));
        assert_eq!(forgetful.list(), filled().list());
        assert_eq!(forgetful.get_as_of(&"a", 1), None);
    }
}

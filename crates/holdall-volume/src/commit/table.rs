//! Rows of one class as a plan sees them: as loaded, as changed, and how to go back.

use std::collections::HashMap;
use std::hash::Hash;

/// Rows that were loaded, and what the plan has made of them since.
#[derive(Debug)]
pub(crate) struct Table<K, V> {
    loaded: HashMap<K, Option<V>>,
    changed: HashMap<K, Option<V>>,
    undo: Vec<(K, Option<Option<V>>)>,
    missing: Vec<K>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self {
            loaded: HashMap::new(),
            changed: HashMap::new(),
            undo: Vec::new(),
            missing: Vec::new(),
        }
    }
}

impl<K: Clone + Eq + Hash, V: Clone> Table<K, V> {
    /// The row as it is now in the plan. A row that was never loaded is noted as missing, and the
    /// plan must be made again once it is there.
    pub(crate) fn get(&mut self, key: &K) -> Option<&V> {
        if !self.changed.contains_key(key) && !self.loaded.contains_key(key) {
            self.missing.push(key.clone());
            return None;
        }
        self.changed.get(key).or_else(|| self.loaded.get(key)).and_then(Option::as_ref)
    }

    /// Changes a row.
    pub(crate) fn set(&mut self, key: K, value: Option<V>) {
        let before = self.changed.insert(key.clone(), value);
        self.undo.push((key, before));
    }

    /// Whether the row has been loaded.
    pub(crate) fn is_loaded(&self, key: &K) -> bool {
        self.loaded.contains_key(key)
    }

    /// Adds a row as it is in the catalog.
    pub(crate) fn load(&mut self, key: K, value: Option<V>) {
        self.loaded.insert(key, value);
    }

    /// Everything so far will stay.
    pub(crate) fn keep(&mut self) {
        self.undo.clear();
    }

    /// Takes back everything since the last [`keep`](Self::keep).
    pub(crate) fn undo(&mut self) {
        while let Some((key, before)) = self.undo.pop() {
            match before {
                Some(value) => self.changed.insert(key, value),
                None => self.changed.remove(&key),
            };
        }
    }

    /// Forgets all changes, but not what was loaded.
    pub(crate) fn restart(&mut self) {
        self.changed.clear();
        self.undo.clear();
    }

    /// The rows that were asked for and not loaded.
    pub(crate) fn take_missing(&mut self) -> Vec<K> {
        std::mem::take(&mut self.missing)
    }

    /// The rows that differ from what was loaded, as they are now.
    pub(crate) fn take_changed(&mut self) -> impl Iterator<Item = (K, Option<V>)> {
        self.undo.clear();
        std::mem::take(&mut self.changed).into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_taken_back_to_the_last_keep() {
        let mut table = Table::default();
        table.load("a", Some(1));
        table.set("a", Some(2));
        table.keep();
        table.set("a", Some(3));
        table.set("b", Some(4));
        table.set("b", None);
        table.undo();
        assert_eq!(table.get(&"a"), Some(&2));
        assert_eq!(table.take_changed().collect::<Vec<_>>(), [("a", Some(2))]);
    }

    #[test]
    fn rows_that_were_not_loaded_are_noted() {
        let mut table: Table<&str, u8> = Table::default();
        assert_eq!(table.get(&"a"), None);
        assert_eq!(table.take_missing(), ["a"]);
        table.load("a", None);
        assert_eq!(table.get(&"a"), None);
        assert!(table.take_missing().is_empty());
    }
}

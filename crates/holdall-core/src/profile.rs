//! The facts that an opened backend states about itself.

/// How far a returned write is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// Lost when the process ends.
    Process,
    /// On this machine's storage: survives a crash of the process and a loss of power.
    Machine,
    /// As the remote store promises for what it has acknowledged.
    Store,
}

/// Who sees the same data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// Only this process; another that opens the same location is refused, or sees nothing.
    Process,
    /// Processes of this machine.
    Machine,
    /// Everyone who can reach the store.
    Network,
}

/// Which expectations a backend can check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Conditions {
    /// None: only [`Expect::Any`](crate::Expect::Any) is taken.
    None,
    /// That a key is absent.
    Absent,
    /// That a key is absent, or has a revision.
    Revision,
}

/// The facts that an opened backend states about itself. What it lacks, it refuses; the
/// conformance suite tests both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The engine's name: the scheme of its locations.
    pub engine: &'static str,
    /// The longest key in bytes: at least 128, at most [`KEY_BYTES_MAX`](crate::KEY_BYTES_MAX).
    pub key_bytes_max: usize,
    /// The largest value in bytes: at least 4,096.
    pub value_bytes_max: u64,
    /// The most steps in one batch: at least 16; 0 where there are no batches.
    pub batch_ops_max: usize,
    /// The most key and value bytes in one batch: at least 16 KiB; 0 where there are no batches.
    pub batch_bytes_max: u64,
    /// Whether [`apply`](crate::Backend::apply) works, all or nothing. Only such a backend can
    /// hold a catalog.
    pub atomic: bool,
    /// Whether rows keep the [`Description`](crate::Description) that their batch gave them, and
    /// [`find`](crate::Backend::find) works.
    pub metadata: bool,
    /// Which expectations can be checked.
    pub conditions: Conditions,
    /// Who sees the same data.
    pub reach: Reach,
    /// How far a returned write is safe.
    pub durability: Durability,
}

/// What an engine answers when asked whether it can serve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Bytes that can still be written, where the engine knows.
    pub bytes_free: Option<u64>,
    /// Bytes in use, where the engine knows.
    pub bytes_used: Option<u64>,
    /// Short facts for a person, such as the server's version.
    pub notes: Vec<String>,
}

//! Backends wrapped round backends: metered, limited, journaled; stack.rs alone knows their order.
mod journaled;

pub use journaled::{Disk, JournalSettings, Journaled, MARKER_KEY, RealDisk};

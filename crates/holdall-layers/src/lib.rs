//! Backends wrapped round backends: metered, limited, journaled; stack.rs alone knows their order.

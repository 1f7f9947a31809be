//! The contract on the memory backend.

use holdall_core::Memory;

mod memory {
    use super::Memory;

    holdall_testkit::conformance!(Memory::new);
}

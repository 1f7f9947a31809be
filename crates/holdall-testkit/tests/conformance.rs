//! The contract on the memory backend and on the doubles, each of which must keep it.

use std::sync::Arc;

use holdall_core::{Conditions, Memory};
use holdall_testkit::{CrashPoints, Crashing, Faulty, Plan, Recording, Strict};

mod memory {
    use super::Memory;

    holdall_testkit::conformance!(Memory::new);
}

mod memory_with_metadata {
    use super::Memory;

    holdall_testkit::conformance!(|| Memory::new().with_metadata());
}

mod recording {
    use super::{Arc, Memory, Recording};

    holdall_testkit::conformance!(|| Recording::new(Arc::new(Memory::new())));
}

mod strict {
    use super::Strict;

    holdall_testkit::conformance!(Strict::new);
}

mod strict_digests {
    use super::Strict;

    holdall_testkit::conformance!(|| Strict::new().with_digests());
}

mod strict_plain_store {
    use super::Strict;

    holdall_testkit::conformance!(|| Strict::new().without_batches().with_plain_keys());
}

mod strict_absent_only {
    use super::{Conditions, Strict};

    holdall_testkit::conformance!(|| Strict::new().with_conditions(Conditions::Absent));
}

mod strict_nothing {
    use super::{Conditions, Strict};

    holdall_testkit::conformance!(|| {
        Strict::new().with_conditions(Conditions::None).without_batches().with_value_bytes_max(4096)
    });
}

mod faulty_without_faults {
    use super::{Arc, Faulty, Memory, Plan};

    holdall_testkit::conformance!({
        let env = holdall_runtime::env();
        move || Faulty::new(Arc::new(Memory::new()), env.clone(), Plan::new(0))
    });
}

mod crashing_never {
    use super::{Arc, CrashPoints, Crashing, Memory};

    holdall_testkit::conformance!(|| {
        Crashing::new(Arc::new(Memory::new()), CrashPoints::never())
    });
}

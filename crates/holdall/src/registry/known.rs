//! What each backend is for a person who chooses one. Opening it tells the whole truth: what a
//! server promises depends on how it is set up.

use crate::units::nearest;

/// A kind of backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownBackend {
    /// The scheme of its locations.
    pub scheme: &'static str,
    /// Other schemes that mean the same.
    pub aliases: &'static [&'static str],
    /// What a location looks like.
    pub example: &'static str,
    /// Whether this build has it.
    pub built_in: bool,
    /// The feature that brings it.
    pub feature: Option<&'static str>,
    /// What a returned write survives.
    pub survives: &'static str,
    /// Who sees the same data.
    pub seen_by: &'static str,
    /// Which expectations it checks.
    pub conditions: &'static str,
    /// Whether it can hold a catalog.
    pub catalog: &'static str,
}

const POWER: &str = "a crash and a loss of power";
const PROMISED: &str = "what the store promises";

/// Every kind of backend there is, whether this build has it or not.
pub const BACKENDS: &[KnownBackend] = &[
    KnownBackend {
        scheme: "memory",
        aliases: &[],
        example: "memory://",
        built_in: true,
        feature: None,
        survives: "nothing: gone with the process",
        seen_by: "the process",
        conditions: "yes",
        catalog: "yes",
    },
    KnownBackend {
        scheme: "file",
        aliases: &[],
        example: "file:///srv/data",
        built_in: true,
        feature: None,
        survives: POWER,
        seen_by: "the machine",
        conditions: "yes",
        catalog: "no",
    },
    KnownBackend {
        scheme: "lmdb",
        aliases: &[],
        example: "lmdb:///srv/data",
        built_in: cfg!(feature = "lmdb"),
        feature: Some("lmdb"),
        survives: POWER,
        seen_by: "the machine",
        conditions: "yes",
        catalog: "yes",
    },
    KnownBackend {
        scheme: "journal+lmdb",
        aliases: &[],
        example: "journal+lmdb:///srv/data",
        built_in: cfg!(feature = "lmdb"),
        feature: Some("lmdb"),
        survives: POWER,
        seen_by: "one process",
        conditions: "yes",
        catalog: "yes, the default",
    },
    KnownBackend {
        scheme: "sqlite",
        aliases: &[],
        example: "sqlite:///srv/data.db",
        built_in: cfg!(feature = "sqlite"),
        feature: Some("sqlite"),
        survives: POWER,
        seen_by: "the machine",
        conditions: "yes",
        catalog: "yes",
    },
    KnownBackend {
        scheme: "rocksdb",
        aliases: &[],
        example: "rocksdb:///srv/data",
        built_in: cfg!(feature = "rocksdb"),
        feature: Some("rocksdb"),
        survives: POWER,
        seen_by: "one process",
        conditions: "yes",
        catalog: "yes",
    },
    KnownBackend {
        scheme: "postgres",
        aliases: &["postgresql"],
        example: "postgres://holdall@db/holdall",
        built_in: cfg!(feature = "postgres"),
        feature: Some("postgres"),
        survives: PROMISED,
        seen_by: "everyone",
        conditions: "yes",
        catalog: "yes",
    },
    KnownBackend {
        scheme: "mysql",
        aliases: &[],
        example: "mysql://holdall@db/holdall",
        built_in: cfg!(feature = "mysql"),
        feature: Some("mysql"),
        survives: PROMISED,
        seen_by: "everyone",
        conditions: "yes",
        catalog: "yes",
    },
    KnownBackend {
        scheme: "redis",
        aliases: &["rediss"],
        example: "redis://cache/0",
        built_in: cfg!(feature = "redis"),
        feature: Some("redis"),
        survives: "what its persistence is set to, said at opening",
        seen_by: "everyone",
        conditions: "yes",
        catalog: "yes, with that durability",
    },
    KnownBackend {
        scheme: "dynamodb",
        aliases: &[],
        example: "dynamodb://table/prefix?region=eu-west-1",
        built_in: cfg!(feature = "dynamodb"),
        feature: Some("dynamodb"),
        survives: PROMISED,
        seen_by: "everyone",
        conditions: "yes",
        catalog: "yes",
    },
    KnownBackend {
        scheme: "slatedb",
        aliases: &["slatedb+s3", "slatedb+gs", "slatedb+az"],
        example: "slatedb+s3://bucket/prefix?region=eu-west-1",
        built_in: cfg!(feature = "slatedb"),
        feature: Some("slatedb"),
        survives: PROMISED,
        seen_by: "one writer, many readers",
        conditions: "yes",
        catalog: "yes",
    },
    KnownBackend {
        scheme: "s3",
        aliases: &[],
        example: "s3://bucket/prefix?region=eu-west-1",
        built_in: cfg!(feature = "object-store"),
        feature: Some("object-store"),
        survives: PROMISED,
        seen_by: "everyone",
        conditions: "tried out at opening",
        catalog: "no",
    },
    KnownBackend {
        scheme: "gs",
        aliases: &[],
        example: "gs://bucket/prefix",
        built_in: cfg!(feature = "object-store"),
        feature: Some("object-store"),
        survives: PROMISED,
        seen_by: "everyone",
        conditions: "tried out at opening",
        catalog: "no",
    },
    KnownBackend {
        scheme: "az",
        aliases: &[],
        example: "az://container/prefix?account=name",
        built_in: cfg!(feature = "object-store"),
        feature: Some("object-store"),
        survives: PROMISED,
        seen_by: "everyone",
        conditions: "tried out at opening",
        catalog: "no",
    },
];

/// Why a scheme cannot be opened.
pub(super) fn why_not(scheme: &str) -> String {
    let known = BACKENDS.iter().find(|known| known.names().any(|name| name == scheme));
    if let Some(build) = known.and_then(KnownBackend::how_to_build) {
        return format!("this build has no backend `{scheme}`; build holdall with `{build}`");
    }
    let built = || BACKENDS.iter().filter(|known| known.built_in);
    let hint = match nearest(scheme, built().map(|known| known.scheme)) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => {
            let schemes: Vec<_> = built().map(|known| known.scheme).collect();
            format!("this build knows {}", schemes.join(", "))
        }
    };
    format!("there is no backend `{scheme}`; {hint}")
}

impl KnownBackend {
    /// All schemes that mean it.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.scheme).chain(self.aliases.iter().copied())
    }

    /// The command that builds a `holdall` with it, if this build has none.
    pub fn how_to_build(&self) -> Option<String> {
        let feature = self.feature.filter(|_| !self.built_in)?;
        Some(format!("cargo build --release -p holdall-cli --features holdall/{feature}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_built_in_says_how_to_build_it() {
        for known in BACKENDS {
            let why = why_not(known.scheme);
            assert_eq!(known.how_to_build().is_some(), !known.built_in, "{}", known.scheme);
            let feature = known.feature.unwrap_or_default();
            assert_eq!(why.contains(&format!("holdall/{feature}`")), !known.built_in, "{why}");
        }
        let absent = KnownBackend { built_in: false, feature: Some("new"), ..BACKENDS[0] };
        assert!(absent.how_to_build().is_some_and(|build| build.ends_with(" holdall/new")));
    }
}

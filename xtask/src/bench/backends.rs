//! `cargo x bench backends`: every backend beside its bare client library and beside OpenDAL, on
//! one server, with the same work.
//!
//! The library is measured in turns with the backend, by the backend's own example. OpenDAL is a
//! program of its own (`bench/opendal`), because its SQLite and RocksDB cannot be linked with ours;
//! it runs right after. Then come volumes with catalogs across a network, and cached reads.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use holdall_services::{AZURITE, GCS, MARIADB, POSTGRES, RCLONE, REDIS, Service, shared};
use serde_json::Value;

use crate::run::{Result, cargo, command, output, root, show};

/// One backend to measure.
struct Measured {
    name: &'static str,
    /// Its example is called `<package without holdall->_speed`.
    package: &'static str,
    arguments: &'static [&'static str],
    opendal: Option<OpenDal>,
}

/// The server, if there is one, and what OpenDAL is told of its port or of a folder.
type OpenDal = (Option<&'static Service>, fn(u16, &Path) -> Vec<String>);

/// Azurite's only account, as its documentation gives it.
const AZURITE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

const ALL: &[Measured] = &[
    Measured {
        name: "sqlite",
        package: "holdall-sqlite",
        arguments: &[],
        opendal: Some((None, |_, folder| {
            let path = folder.join("opendal.db");
            told("sqlite", &[("connection_string", &format!("sqlite://{}", path.display())), TABLE])
        })),
    },
    Measured {
        name: "rocksdb",
        package: "holdall-rocksdb",
        arguments: &[],
        // OpenDAL's RocksDB is C++ of ten minutes: `bench/opendal/README.md` says how to build it.
        opendal: None,
    },
    Measured {
        name: "postgres",
        package: "holdall-postgres",
        arguments: &[],
        opendal: Some((Some(&POSTGRES), |port, _| {
            let url = format!("postgresql://holdall@127.0.0.1:{port}/postgres");
            told("postgresql", &[("connection_string", &url), TABLE])
        })),
    },
    Measured {
        name: "mysql",
        package: "holdall-mysql",
        arguments: &[],
        opendal: Some((Some(&MARIADB), |port, _| {
            let url = format!("mysql://holdall:holdall@127.0.0.1:{port}/holdall");
            told("mysql", &[("connection_string", &url), TABLE])
        })),
    },
    Measured {
        name: "redis",
        package: "holdall-redis",
        arguments: &[],
        opendal: Some((Some(&REDIS), |port, _| {
            told("redis", &[("endpoint", &format!("redis://127.0.0.1:{port}"))])
        })),
    },
    Measured { name: "dynamodb", package: "holdall-dynamodb", arguments: &[], opendal: None },
    Measured {
        name: "s3",
        package: "holdall-object-store",
        arguments: &["s3"],
        opendal: Some((Some(&RCLONE), |port, _| {
            let endpoint = format!("http://127.0.0.1:{port}");
            let keys = [("access_key_id", "holdallkey"), ("secret_access_key", "holdallsecret")];
            let place = [("bucket", "holdall"), ("region", "us-east-1"), ("endpoint", &*endpoint)];
            told("s3", &[&place[..], &keys].concat())
        })),
    },
    Measured {
        name: "gcs",
        package: "holdall-object-store",
        arguments: &["gcs"],
        opendal: Some((Some(&GCS), |port, _| {
            let endpoint = format!("http://127.0.0.1:{port}");
            let options =
                [("bucket", "holdall"), ("endpoint", &*endpoint), ("skip_signature", "true")];
            told("gcs", &options)
        })),
    },
    Measured {
        name: "azure",
        package: "holdall-object-store",
        arguments: &["azure"],
        opendal: Some((Some(&AZURITE), |port, _| {
            let endpoint = format!("http://127.0.0.1:{port}/devstoreaccount1");
            let account = [("account_name", "devstoreaccount1"), ("account_key", AZURITE_KEY)];
            let place = [("container", "holdall"), ("endpoint", &*endpoint)];
            told("azblob", &[place, account].concat())
        })),
    },
    Measured { name: "slatedb", package: "holdall-slatedb", arguments: &[], opendal: None },
    Measured { name: "opendal", package: "holdall-opendal", arguments: &[], opendal: None },
];

/// What else belongs to the comparison: programs that measure by themselves and print their table.
const FURTHER: [(&str, &[&str]); 2] = [
    ("catalogs", &["run", "--package", "holdall-bench", "--", "catalogs"]),
    ("cached", &["run", "--package", "holdall-layers", "--example", "cached_speed", "--"]),
];

const TABLE: (&str, &str) = ("table", "opendal_bench");

fn told(service: &str, options: &[(&str, &str)]) -> Vec<String> {
    let options = options.iter().map(|(name, value)| format!("{name}={value}"));
    std::iter::once(service.to_owned()).chain(options).collect()
}

/// Measures the backends named, or all.
///
/// # Errors
/// If one is not known, cannot be built, or fails.
pub(super) fn run(names: &[String]) -> Result<()> {
    let all: Vec<_> =
        ALL.iter().map(|one| one.name).chain(FURTHER.iter().map(|(name, _)| *name)).collect();
    if let Some(unknown) = names.iter().find(|name| !all.contains(&name.as_str())) {
        return Err(format!("there is no `{unknown}` to measure; {}", all.join(", ")));
    }
    let wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    let chosen: Vec<&Measured> = ALL.iter().filter(|one| wanted(one.name)).collect();
    if !chosen.is_empty() {
        build(&chosen)?;
    }
    let folder = std::env::temp_dir().join(format!("holdall-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let measured = chosen.iter().try_for_each(|one| measure(one, &folder)).and_then(|()| {
        FURTHER.iter().filter(|(name, _)| wanted(name)).try_for_each(|one| further(one, &folder))
    });
    std::fs::remove_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    measured
}

fn further((name, arguments): &(&str, &[&str]), folder: &Path) -> Result<()> {
    println!("\n{name}:");
    let (run, arguments) = arguments.split_at(1);
    let mut program = cargo();
    program.args(run).args(["--quiet", "--locked", "--release"]).args(arguments);
    if *name == "cached" {
        program.arg(folder);
    }
    show(&mut program)
}

fn build(chosen: &[&Measured]) -> Result<()> {
    holdall_services::compilers()?;
    let mut build = cargo();
    build.args(["build", "--locked", "--release", "--examples"]);
    for one in chosen {
        build.args(["--package", one.package]);
    }
    show(&mut build)?;
    if chosen.iter().all(|one| one.opendal.is_none()) {
        return Ok(());
    }
    let mut build = cargo();
    build.args(["build", "--locked", "--release", "--manifest-path", "bench/opendal/Cargo.toml"]);
    show(build.args(["--target-dir", "target/opendal"]))
}

/// Calls a second, by contender, of each work.
type Figures = BTreeMap<(usize, String), Vec<(String, std::result::Result<f64, String>)>>;

fn measure(one: &Measured, folder: &Path) -> Result<()> {
    let example = one.package.trim_start_matches("holdall-").replace('-', "_") + "_speed";
    let mut ours = command(&built("release/examples").join(example).to_string_lossy());
    ours.args(one.arguments).arg("--json");
    let mut figures = Figures::new();
    read(&output(&mut ours)?, None, &mut figures)?;
    if let Some((service, arguments)) = one.opendal {
        let port = service.map_or(Ok(0), |service| shared(service).map(|server| server.port))?;
        let program = built("opendal/release/opendal-bench");
        let mut opendal = command(&program.to_string_lossy());
        read(&output(opendal.args(arguments(port, folder)))?, Some("OpenDAL"), &mut figures)?;
    }
    print!("\n{}", table(one.name, &figures));
    Ok(())
}

fn built(path: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    match path.strip_prefix("opendal/") {
        Some(_) => root().join("target").join(path),
        None => target.unwrap_or_else(|| root().join("target")).join(path),
    }
}

/// Takes in lines of JSON; works keep the order in which they first come.
fn read(text: &str, contender: Option<&str>, figures: &mut Figures) -> Result<()> {
    for line in text.lines() {
        let row: Value = serde_json::from_str(line).map_err(|e| format!("`{line}`: {e}"))?;
        let said = |name: &str| row[name].as_str().map(str::to_owned);
        let work = format!("{} x{}", said("work").unwrap_or_default(), row["at_once"]);
        let name = contender.map(str::to_owned).or_else(|| said("contender")).unwrap_or_default();
        let figure = row["per_second"]
            .as_f64()
            .ok_or_else(|| said("error").unwrap_or_else(|| "no figure".to_owned()));
        let place = figures.keys().find(|(_, known)| *known == work).map(|(place, _)| *place);
        let place = place.unwrap_or(figures.len());
        figures.entry((place, work)).or_default().push((name, figure));
    }
    Ok(())
}

/// One line a work: calls a second of each, and how many times those of the others ours are.
fn table(name: &str, figures: &Figures) -> String {
    let mut text = format!("{name}: calls a second, medians of 5; ours as a multiple of theirs\n");
    for ((_, work), rows) in figures {
        let _ = write!(text, "  {work:<14}");
        let ours = rows.iter().find(|(name, _)| name == "holdall").map(|(_, figure)| figure);
        for (name, figure) in rows {
            let _ = match (figure, ours) {
                (Ok(rate), Some(Ok(ours))) if name != "holdall" => {
                    write!(text, "  {name} {rate:.0} ({:.2} x)", ours / rate)
                }
                (Ok(rate), _) => write!(text, "  {name} {rate:.0}"),
                (Err(error), _) => {
                    let short: String = error.chars().take(60).collect();
                    write!(text, "  {name}: {short}")
                }
            };
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_both_programs_meet_in_one_line() {
        let ours = r#"{"contender":"holdall","work":"put","at_once":64,"per_second":300.0}
{"contender":"raw","work":"put","at_once":64,"per_second":200.0}
{"contender":"holdall","work":"get","at_once":1,"error":"values are over the limit"}"#;
        let mut figures = Figures::new();
        read(ours, None, &mut figures).unwrap();
        let theirs = r#"{"service":"x","work":"put","at_once":64,"per_second":100.0}"#;
        read(theirs, Some("OpenDAL"), &mut figures).unwrap();
        let text = table("x", &figures);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].contains("holdall 300  raw 200 (1.50 x)  OpenDAL 100 (3.00 x)"), "{text}");
        assert!(lines[2].contains("over the limit"), "{text}");
        assert!(read("no json", None, &mut figures).is_err());
    }

    #[test]
    fn an_unknown_backend_is_refused_before_anything_is_built() {
        let error = run(&["carrier-pigeon".to_owned()]).unwrap_err();
        assert!(error.contains("sqlite, rocksdb"), "{error}");
    }
}

//! Measures OpenDAL on a server and prints one line of JSON a row:
//!
//! ```text
//! opendal-bench <service> <option>=<value>…
//! opendal-bench sqlite connection_string=sqlite:///tmp/bench.db table=bench
//! opendal-bench s3 bucket=holdall endpoint=http://127.0.0.1:9000 secret_access_key=env:SECRET …
//! ```
//!
//! The options are the service's own, as OpenDAL documents them; a value `env:NAME` is that of the
//! environment. `rounds=N` says how often everything is done. SQL services get their table made.
//! Each row is `{service, work, at_once, bytes, operations, seconds, per_second}`, of the median
//! round, or `{service, work, at_once, error}`. Large values are removed at the end; the small ones
//! stay, so give it a database or a bucket of its own.

// The very file, so that both sides of the comparison do the same.
#[path = "../../../crates/holdall-testkit/src/speed/workload.rs"]
mod workload;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use futures::{StreamExt, TryStreamExt, stream};
use opendal::Operator;
use serde_json::json;
use sqlx::Connection;

use workload::{Kind, Noise, ROUNDS, WORKS, Work};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("opendal-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &[String]) -> Result<()> {
    let Some((service, options)) = arguments.split_first() else {
        return Err("say what to measure: opendal-bench <service> <option>=<value>…".into());
    };
    let mut options = read(options)?;
    let rounds = match options.remove("rounds") {
        Some(rounds) => rounds.parse()?,
        None => ROUNDS,
    };
    make_table(service, &options).await?;
    let operator = Operator::via_iter(service, options)?;
    let noise = Noise::new();
    let mut figures: Vec<Vec<f64>> = vec![Vec::new(); WORKS.len()];
    let mut errors: Vec<Option<String>> = vec![None; WORKS.len()];
    for round in 0..rounds {
        for (at, work) in WORKS.iter().enumerate() {
            if errors[at].is_some() {
                continue;
            }
            match measure(&operator, work, round, &noise).await {
                Ok(seconds) => figures[at].push(seconds),
                Err(error) => errors[at] = Some(error.to_string().chars().take(300).collect()),
            }
        }
    }
    for (at, work) in WORKS.iter().enumerate() {
        print(service, work, &mut figures[at], errors[at].take());
    }
    remove(&operator).await
}

fn read(options: &[String]) -> Result<BTreeMap<String, String>> {
    let mut read = BTreeMap::new();
    for option in options {
        let Some((name, value)) = option.split_once('=') else {
            return Err(format!("`{option}` is no option; write name=value").into());
        };
        let value = match value.strip_prefix("env:") {
            Some(variable) => {
                std::env::var(variable).map_err(|_| format!("${variable} is not set"))?
            }
            None => value.to_owned(),
        };
        read.insert(name.to_owned(), value);
    }
    Ok(read)
}

/// OpenDAL expects its table to be there.
async fn make_table(service: &str, options: &BTreeMap<String, String>) -> Result<()> {
    let columns = match service {
        "sqlite" => r#"("key" TEXT NOT NULL PRIMARY KEY, "value" BLOB)"#,
        "postgresql" => r#"("key" TEXT NOT NULL PRIMARY KEY, "value" BYTEA)"#,
        "mysql" => "(`key` VARCHAR(255) NOT NULL PRIMARY KEY, `value` LONGBLOB)",
        _ => return Ok(()),
    };
    let (Some(connection), Some(table)) = (options.get("connection_string"), options.get("table"))
    else {
        return Err("an SQL service needs connection_string and table".into());
    };
    let statement = format!("CREATE TABLE IF NOT EXISTS {table} {columns}");
    match service {
        "sqlite" => {
            let create = connection.parse::<sqlx::sqlite::SqliteConnectOptions>()?;
            let options = create.create_if_missing(true);
            let mut client = sqlx::SqliteConnection::connect_with(&options).await?;
            sqlx::query(&statement).execute(&mut client).await?;
        }
        "postgresql" => {
            let mut client = sqlx::PgConnection::connect(connection).await?;
            sqlx::query(&statement).execute(&mut client).await?;
        }
        _ => {
            let mut client = sqlx::MySqlConnection::connect(connection).await?;
            sqlx::query(&statement).execute(&mut client).await?;
        }
    }
    Ok(())
}

/// The seconds that one round of a work takes.
async fn measure(operator: &Operator, work: &Work, round: usize, noise: &Noise) -> Result<f64> {
    let started = Instant::now();
    let calls = stream::iter(0..work.operations).map(async |operation| {
        let key = work.key(round, operation);
        let bytes = match work.kind {
            Kind::Put => {
                let value = noise.value(round, operation, work.bytes);
                operator.write(&key, value).await?;
                work.bytes
            }
            Kind::Get => operator.read(&key).await?.len(),
            Kind::Range => {
                let start = work.start(operation);
                let range = start..start + work.bytes as u64;
                operator.read_with(&key).range(range).await?.len()
            }
        };
        if bytes != work.bytes {
            return Err(format!("{bytes} bytes came instead of {}", work.bytes).into());
        }
        Ok::<(), Box<dyn std::error::Error>>(())
    });
    calls.buffer_unordered(work.at_once).try_collect::<Vec<()>>().await?;
    Ok(started.elapsed().as_secs_f64())
}

fn print(service: &str, work: &Work, seconds: &mut [f64], error: Option<String>) {
    seconds.sort_by(f64::total_cmp);
    let row = match (error, seconds.get(seconds.len() / 2)) {
        (None, Some(median)) => json!({
            "service": service,
            "work": work.name,
            "at_once": work.at_once,
            "bytes": work.bytes,
            "operations": work.operations,
            "seconds": median,
            "per_second": work.operations as f64 / median,
        }),
        (error, _) => json!({
            "service": service,
            "work": work.name,
            "at_once": work.at_once,
            "error": error.unwrap_or_else(|| "no round".to_owned()),
        }),
    };
    println!("{row}");
}

async fn remove(operator: &Operator) -> Result<()> {
    for work in WORKS.iter().filter(|work| work.kind == Kind::Put && work.is_of_large()) {
        for operation in 0..work.operations {
            operator.delete(&work.key(0, operation)).await?;
        }
    }
    Ok(())
}

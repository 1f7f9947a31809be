//! What is asked of a server when it is opened: whether it is one that keeps the promises, and
//! whether the table is ours.

use std::collections::BTreeMap;

use holdall_core::{Durability, Error, Operation, Result};
use mysql_async as mysql;
use mysql_async::{Opts, OptsBuilder, Row, SslOpts};

use crate::config::{Config, Tls};
use crate::error;
use crate::parts;
use crate::pool::Lease;
use crate::sql::{ROW_BYTES, Statements};

const OPEN: Operation = Operation::Open;
/// Packets must have room for a batch of 16 KiB and what stands beside a value.
const PACKET_BYTES_MIN: u64 = 2 * ROW_BYTES;
/// What a table of ours consists of; widths in brackets are of older servers.
const COLUMNS: [(&str, &str); 13] = [
    ("k", "varbinary(1024)"),
    ("size", "bigint unsigned"),
    ("revision", "bigint unsigned"),
    ("expected", "bigint unsigned"),
    ("v", "longblob"),
    ("volume", "varbinary(1024)"),
    ("name", "varbinary(1024)"),
    ("bytes", "bigint unsigned"),
    ("written", "datetime(6)"),
    ("expires", "datetime(6)"),
    ("content_type", "varbinary(1024)"),
    ("attributes", "json"),
    ("parts", "bigint unsigned"),
];
/// How many of them a table of the first layout has, in which nothing is told of rows.
const UNDESCRIBED: usize = 5;
/// How many a table of the second has, whose large values are in their rows. They stay there until
/// they are written again.
const UNPARTED: usize = 12;
/// What its table of parts consists of.
const PART_COLUMNS: [(&str, &str); 4] = [
    ("k", "varbinary(1024)"),
    ("revision", "bigint unsigned"),
    ("number", "int"),
    ("data", "mediumblob"),
];
const VARIABLES: [&str; 12] = [
    "version",
    "version_comment",
    "max_allowed_packet",
    "innodb_flush_log_at_trx_commit",
    "innodb_flush_method",
    "innodb_doublewrite",
    "log_bin",
    "sync_binlog",
    "binlog_format",
    "read_only",
    "wsrep_on",
    "group_replication_single_primary_mode",
];

/// What is known of a server that was taken.
#[derive(Debug)]
pub(crate) struct Server {
    /// The largest packet that it takes, in bytes.
    pub(crate) packet_bytes: u64,
    pub(crate) durability: Durability,
    /// Short facts for a person.
    pub(crate) notes: Vec<String>,
}

/// How the library is to connect. What each session needs is set as it begins.
pub(crate) fn opts(config: &Config) -> Opts {
    // A call that waits for a lock gives up before the caller does, so that it is told why.
    let lock_wait = (config.statement_timeout.as_secs() / 2).max(1);
    let setup = format!(
        "SET NAMES binary, autocommit = 1, innodb_lock_wait_timeout = {lock_wait}, sql_mode = \
         'STRICT_ALL_TABLES,NO_BACKSLASH_ESCAPES,NO_ENGINE_SUBSTITUTION'; \
         SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
    );
    let tls = match &config.tls {
        Tls::Off => None,
        Tls::Require { ca: None } => Some(SslOpts::default()),
        Tls::Require { ca: Some(ca) } => Some(
            SslOpts::default()
                .with_root_certs(vec![ca.clone().into()])
                .with_disable_built_in_roots(true),
        ),
    };
    OptsBuilder::default()
        .ip_or_hostname(config.host.clone())
        .tcp_port(config.port)
        .user(Some(config.user.clone()))
        .pass(config.password.clone())
        .db_name(Some(config.database.clone()))
        .ssl_opts(tls)
        // What was named is what is connected to, not a socket that the server speaks of.
        .prefer_socket(false)
        .setup(vec![setup])
        .into()
}

/// Asks the server what it promises.
///
/// # Errors
/// `Unsupported` if it cannot keep the contract, or can lose what it has acknowledged and
/// `unsafe_too` is false.
pub(crate) async fn ask(lease: &mut Lease, unsafe_too: bool) -> Result<Server> {
    let names = VARIABLES.map(|name| format!("'{name}'")).join(",");
    let text = format!("SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})");
    let rows = lease.query(text.as_bytes()).await.map_err(|e| error::mysql(OPEN, e))?;
    let variables =
        rows.into_iter().filter_map(|mut row| Some((text_at(&mut row, 0)?, text_at(&mut row, 1)?)));
    judge(&variables.collect(), unsafe_too)
}

/// Makes the tables, or what they lack, and sees that they are ours.
///
/// # Errors
/// `Denied` if one is missing and may not be made, `Invalid` if one is of another shape.
pub(crate) async fn tables(lease: &mut Lease, name: &str, statements: &Statements) -> Result<()> {
    let mut found = made(lease, name, &statements.create).await?;
    for (count, change) in [(UNDESCRIBED, &statements.describe), (UNPARTED, &statements.part)] {
        if found.len() != count || !are(&found, &COLUMNS[..count]) {
            continue;
        }
        match lease.query(change.as_bytes()).await {
            // Another opener was faster.
            Err(source) if error::code(&source) == Some(error::COLUMN_EXISTS) => {}
            changed => drop(changed.map_err(failed)?),
        }
        found = columns(lease, name).await.map_err(failed)?;
    }
    check(lease, name, are(&found, &COLUMNS)).await?;
    let parts = parts::name(name);
    let found = made(lease, &parts, &statements.create_parts).await?;
    check(lease, &parts, are(&found, &PART_COLUMNS)).await?;
    // It may be there, or the user may make tables but no views: nothing here depends on it.
    match lease.query(statements.view.as_bytes()).await {
        Err(source) if source.is_fatal() => Err(failed(source)),
        _ => Ok(()),
    }
}

fn failed(source: mysql::Error) -> Error {
    error::mysql(OPEN, source)
}

fn are(found: &[(String, String)], ours: &[(&str, &str)]) -> bool {
    let found = found.iter().map(|(column, kind)| (column.as_str(), kind.as_str()));
    found.eq(ours.iter().copied())
}

/// The columns of a table, which is made if it is missing.
async fn made(lease: &mut Lease, table: &str, create: &str) -> Result<Vec<(String, String)>> {
    match columns(lease, table).await {
        Err(source) if error::code(&source) == Some(error::NO_TABLE) => {
            lease.query(create.as_bytes()).await.map_err(failed)?;
            columns(lease, table).await.map_err(failed)
        }
        columns => columns.map_err(failed),
    }
}

/// Refuses a table that is not ours, or could not be.
async fn check(lease: &mut Lease, table: &str, is_ours: bool) -> Result<()> {
    let text = format!("SHOW TABLE STATUS WHERE Name = '{table}'");
    let mut status = lease.query(text.as_bytes()).await.map_err(failed)?;
    let engine = status.first_mut().and_then(|row| text_at(row, 1)).unwrap_or_default();
    if is_ours && engine.eq_ignore_ascii_case("InnoDB") {
        return Ok(());
    }
    let message = format!(
        "the table {table} is of another program, or not of the engine InnoDB; choose another \
         with the option table"
    );
    Err(Error::invalid(OPEN, message))
}

async fn columns(lease: &mut Lease, table: &str) -> mysql::Result<Vec<(String, String)>> {
    let rows = lease.query(format!("SHOW COLUMNS FROM `{table}`").as_bytes()).await?;
    let columns = rows.into_iter().filter_map(|mut row| {
        let kind = text_at(&mut row, 1)?.to_ascii_lowercase();
        // Some servers show how wide a number is printed, and JSON as the text it is kept in.
        let kind =
            kind.replace("int(20)", "int").replace("int(11)", "int").replace("longtext", "json");
        Some((text_at(&mut row, 0)?, kind))
    });
    Ok(columns.collect())
}

pub(crate) fn text_at(row: &mut Row, index: usize) -> Option<String> {
    row.take_opt(index)?.ok()
}

/// Judges a server by its variables.
fn judge(variables: &BTreeMap<String, String>, unsafe_too: bool) -> Result<Server> {
    let value = |name: &str| variables.get(name).map_or("", String::as_str);
    let is_on = |name: &str| matches!(value(name), "ON" | "1");
    let unsupported = |message: String| Err(Error::unsupported(OPEN, message));
    let version = value("version");
    if !is_recent(version) {
        return unsupported(format!(
            "the server is of version {version}; MySQL 8.0 or MariaDB 10.5 is the first that serves"
        ));
    }
    if is_on("wsrep_on") || value("group_replication_single_primary_mode") == "OFF" {
        let message = "the server shares writes with others that do not see its locks; name one \
                       whose cluster has a single writer";
        return unsupported(message.to_owned());
    }
    if is_on("log_bin") && value("binlog_format") == "STATEMENT" {
        let message = "the server logs statements, which cannot be told from each other; set its \
                       binlog_format to ROW";
        return unsupported(message.to_owned());
    }
    let packet_bytes = value("max_allowed_packet").parse().unwrap_or(0);
    if packet_bytes < PACKET_BYTES_MIN {
        return unsupported(format!(
            "the server takes packets of {packet_bytes} bytes; raise its max_allowed_packet to \
             128 KiB or more"
        ));
    }
    let risks = risks(variables);
    if !risks.is_empty() && !unsafe_too {
        return unsupported(format!(
            "the server can lose acknowledged writes ({}); set these, or write \
             allow_unsafe_server=true",
            risks.join("; ")
        ));
    }
    let mut notes = vec![
        format!("{version} {}", value("version_comment")).trim().to_owned(),
        format!("takes packets of {packet_bytes} bytes"),
    ];
    if is_on("read_only") {
        notes.push("the server is read-only for most users".to_owned());
    }
    let durability = if risks.is_empty() {
        notes.push("every commit is synced before it is acknowledged".to_owned());
        Durability::Store
    } else {
        notes.extend(risks);
        Durability::Process
    };
    Ok(Server { packet_bytes, durability, notes })
}

/// How the server can lose what it has acknowledged, and which setting mends it.
fn risks(variables: &BTreeMap<String, String>) -> Vec<String> {
    let value = |name: &str| variables.get(name).map_or("", String::as_str);
    let mut risks = Vec::new();
    let mut risk = |holds: bool, text: &str| {
        if holds {
            risks.push(text.to_owned());
        }
    };
    let flush = value("innodb_flush_log_at_trx_commit");
    risk(
        flush == "0",
        "innodb_flush_log_at_trx_commit is 0, not 1: a crash of the server loses the last second",
    );
    risk(
        flush != "0" && flush != "1",
        "innodb_flush_log_at_trx_commit is not 1: a loss of power loses the last second",
    );
    risk(
        matches!(value("log_bin"), "ON" | "1") && value("sync_binlog") != "1",
        "sync_binlog is not 1 and the binary log is on: a loss of power rolls commits back",
    );
    risk(
        matches!(value("innodb_doublewrite"), "OFF" | "0" | "DETECT_ONLY"),
        "innodb_doublewrite is off: a loss of power can leave half-written pages",
    );
    risk(
        value("innodb_flush_method") == "nosync",
        "innodb_flush_method is nosync: a loss of power loses and damages data",
    );
    risks
}

/// Whether the version has what the statements need: window functions, and row-based defaults.
fn is_recent(version: &str) -> bool {
    let plain = version.strip_prefix("5.5.5-").unwrap_or(version);
    let mut numbers = plain.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    let number = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version.to_ascii_lowercase().contains("mariadb") {
        number >= (10, 5)
    } else {
        number >= (8, 0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use holdall_core::ErrorKind;

    use super::*;

    /// A server that keeps everything, but for these variables.
    fn with(changes: &[(&str, &str)], unsafe_too: bool) -> Result<Server> {
        let mut variables: BTreeMap<String, String> = [
            ("version", "8.0.36"),
            ("version_comment", "MySQL Community Server - GPL"),
            ("max_allowed_packet", "67108864"),
            ("innodb_flush_log_at_trx_commit", "1"),
            ("innodb_doublewrite", "ON"),
            ("log_bin", "ON"),
            ("sync_binlog", "1"),
            ("binlog_format", "ROW"),
            ("read_only", "OFF"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        for (name, value) in changes {
            variables.insert((*name).to_owned(), (*value).to_owned());
        }
        judge(&variables, unsafe_too)
    }

    #[test]
    fn a_safe_server_is_taken() {
        for changes in [
            &[][..],
            &[("version", "10.11.19-MariaDB-0+deb12u1"), ("log_bin", "OFF"), ("sync_binlog", "0")],
            &[("version", "5.5.5-10.5.1-MariaDB-log")],
            &[("innodb_doublewrite", "DETECT_AND_RECOVER"), ("wsrep_on", "OFF")],
        ] {
            let server = with(changes, false).unwrap();
            assert_eq!(server.durability, Durability::Store, "{changes:?}");
            assert_eq!(server.packet_bytes, 64 << 20);
        }
    }

    #[test]
    fn a_server_that_can_lose_writes_is_refused_unless_that_is_allowed() {
        for (name, value, hint) in [
            ("innodb_flush_log_at_trx_commit", "0", "crash of the server"),
            ("innodb_flush_log_at_trx_commit", "2", "loss of power loses"),
            ("sync_binlog", "0", "rolls commits back"),
            ("sync_binlog", "1000", "rolls commits back"),
            ("innodb_doublewrite", "OFF", "half-written"),
            ("innodb_doublewrite", "DETECT_ONLY", "half-written"),
            ("innodb_flush_method", "nosync", "damages"),
        ] {
            let error = with(&[(name, value)], false).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{name}");
            assert!(error.message().contains(hint), "{name}: {error}");
            assert!(error.message().contains("allow_unsafe_server=true"), "{error}");
            let server = with(&[(name, value)], true).unwrap();
            assert_eq!(server.durability, Durability::Process, "{name}");
            assert!(server.notes.iter().any(|note| note.contains(name)), "{:?}", server.notes);
        }
    }

    #[test]
    fn a_server_that_cannot_keep_the_contract_is_refused_also_then() {
        for (changes, hint) in [
            (&[("version", "5.7.44")][..], "MySQL 8.0"),
            (&[("version", "10.4.2-MariaDB")], "10.5"),
            (&[("version", "")], "version"),
            (&[("wsrep_on", "ON")], "single writer"),
            (&[("group_replication_single_primary_mode", "OFF")], "single writer"),
            (&[("binlog_format", "STATEMENT")], "ROW"),
            (&[("max_allowed_packet", "131071")], "max_allowed_packet"),
        ] {
            let error = with(changes, true).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{changes:?}");
            assert!(error.message().contains(hint), "{error}");
        }
    }
}

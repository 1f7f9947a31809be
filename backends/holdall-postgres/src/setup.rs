//! Opening: what the server is, what it promises, and making what is missing.

use deadpool_postgres::Client;
use futures::future::try_join_all;
use holdall_core::waiting::Gathering;
use holdall_core::{Env, Error, Health, Operation, Result};
use tokio_postgres::SimpleQueryMessage;

use crate::call::{Kind, Server, give_up, within};
use crate::config::Config;
use crate::statements::Statements;
use crate::{error, lock, pool};

/// What the comment on the table says that this code reads and writes.
const FORMAT: &str = "holdall 2";
/// The layout before it, in which nothing is told of rows.
const UNDESCRIBED: &str = "holdall 1";

/// What the server says about itself and the schema.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    version: String,
    pub(crate) fsync: bool,
    full_page_writes: bool,
    /// The standbys that a commit waits for, if it does.
    standbys: String,
    locks_max: usize,
    /// The comment on the table, where there is one.
    format: Option<String>,
    has_schema: bool,
    may_write: bool,
    /// The version of TLS that this connection speaks.
    tls: Option<String>,
    bytes_used: Option<u64>,
    /// Whether its texts can be of any characters.
    pub(crate) utf8: bool,
}

/// Connects, looks at the server, and makes what is missing.
pub(crate) async fn open(config: &Config, env: &Env) -> Result<(Server, Facts)> {
    config.check().map_err(|message| Error::invalid(Operation::Open, message))?;
    let quoted = format!("\"{}\"", config.schema);
    let mut server = Server {
        pool: pool::pool(config, env).await?,
        gathering: Gathering::default(),
        env: env.clone(),
        statements: Statements::new(&quoted),
        schema: config.schema.clone(),
        values: config.values,
        large_above: config.large_above.cast_signed(),
        locks_max: 0,
        describes: false,
        connect_timeout: config.connect_timeout,
        statement_timeout: config.statement_timeout,
    };
    let mut facts = server.facts(Operation::Open).await?;
    if facts.lacks_something() {
        server.make().await?;
        facts = server.facts(Operation::Open).await?;
    }
    check_format(facts.format.as_deref())?;
    server.describes = facts.utf8;
    // Of the room for locks, the tables and indexes of a write need some.
    server.locks_max = facts.locks_max / 4 * 3;
    // Whether this role may read is known when it has.
    let nothing: &[u8] = &[];
    server.call(Operation::Open, Kind::Read, &server.statements.get, &[&nothing]).await?;
    let first = (0..config.min_connections).map(|_| server.connection(Operation::Open));
    drop(try_join_all(first).await?);
    Ok((server, facts))
}

fn check_format(format: Option<&str>) -> Result<()> {
    let invalid = |message| Err(Error::invalid(Operation::Open, message));
    match format {
        Some(FORMAT) => Ok(()),
        Some(other) if other.starts_with("holdall ") => {
            invalid("the schema was made by another version of holdall; use that one")
        }
        _ => invalid("the schema holds tables of another program; choose another schema"),
    }
}

impl Server {
    /// Asks what the server is. One round trip.
    async fn facts(&self, operation: Operation) -> Result<Facts> {
        let client = self.connection(operation).await?;
        let asked = facts_statement(&self.schema);
        let Some(answer) = within(&self.env, self.limit(), client.simple_query(&asked)).await
        else {
            give_up(client);
            return Err(error::slow(operation));
        };
        let answer = answer.map_err(|source| error::read(operation, source))?;
        let row = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let said = |column: usize| row.and_then(|row| row.get(column));
        let text = |column| said(column).unwrap_or_default().to_owned();
        Ok(Facts {
            version: text(0),
            fsync: said(1) != Some("off"),
            full_page_writes: said(2) != Some("off"),
            standbys: text(3),
            locks_max: said(4).and_then(|text| text.parse().ok()).unwrap_or(0),
            has_schema: said(5) == Some("t"),
            format: said(6).map(str::to_owned),
            may_write: said(7) == Some("t"),
            tls: said(8).map(str::to_owned),
            bytes_used: said(9).and_then(|text| text.parse().ok()),
            utf8: said(10) == Some("UTF8"),
        })
    }

    /// Makes what is missing of schema, tables and functions, all or nothing, unless another
    /// opener was faster.
    async fn make(&self) -> Result<()> {
        let mut client = self.connection(Operation::Open).await?;
        let Some(made) = within(&self.env, self.limit(), self.try_make(&mut client)).await else {
            give_up(client);
            return Err(error::slow(Operation::Open));
        };
        made
    }

    async fn try_make(&self, client: &mut Client) -> Result<()> {
        let failed = |source| error::unsent(Operation::Open, source);
        let lock = format!("SELECT pg_advisory_xact_lock({})", lock::setup(&self.schema));
        // Ends with a rollback if it is dropped.
        let transaction = client.transaction().await.map_err(failed)?;
        transaction.batch_execute(&lock).await.map_err(failed)?;
        let facts = self.facts(Operation::Open).await?;
        if !facts.lacks_something() {
            return Ok(());
        }
        if !facts.has_schema {
            let schema = format!("CREATE SCHEMA \"{}\"", self.schema);
            transaction.batch_execute(&schema).await.map_err(failed)?;
        }
        if facts.format.is_none() {
            transaction.batch_execute(&self.statements.schema).await.map_err(failed)?;
        }
        transaction.batch_execute(&self.statements.describe).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    fn limit(&self) -> std::time::Duration {
        self.statement_timeout + self.connect_timeout
    }

    /// Asks the server whether it can serve, and how it keeps what it commits.
    pub(crate) async fn health(&self) -> Result<Health> {
        let facts = self.facts(Operation::Health).await?;
        if facts.format.as_deref() != Some(FORMAT) {
            let message = "the schema's tables are gone; open the backend again to make new ones";
            return Err(Error::closed(Operation::Health, message));
        }
        Ok(Health { bytes_free: None, bytes_used: facts.bytes_used, notes: facts.notes() })
    }
}

impl Facts {
    /// Whether the schema has nothing of ours yet, or an earlier layout.
    fn lacks_something(&self) -> bool {
        matches!(self.format.as_deref(), None | Some(UNDESCRIBED))
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = vec![format!("PostgreSQL {}", self.version)];
        notes.push(match (self.fsync, self.standbys.as_str()) {
            (false, _) => {
                "fsync is off: a crash of the server loses what it has committed".to_owned()
            }
            (true, "") => "a commit is answered once it is on the server's disk".to_owned(),
            (true, standbys) => format!(
                "a commit is answered once it is on the server's disk and on its standbys: \
                {standbys}"
            ),
        });
        if !self.full_page_writes {
            notes.push(
                "full_page_writes is off: safe only on storage that never writes half a page"
                    .to_owned(),
            );
        }
        notes.push(match &self.tls {
            Some(version) => format!("the connection is encrypted by {version}"),
            None => "the connection is not encrypted".to_owned(),
        });
        if !self.utf8 {
            notes.push("the database is not of encoding UTF8: it keeps no metadata".to_owned());
        }
        if !self.may_write {
            notes.push("this role may read but not write".to_owned());
        }
        notes
    }
}

/// Asks for the columns of [`Facts`]. The schema's name has no character that needs quoting.
fn facts_statement(schema: &str) -> String {
    format!(
        "SELECT current_setting('server_version'), current_setting('fsync'), \
            current_setting('full_page_writes'), current_setting('synchronous_standby_names'), \
            current_setting('max_locks_per_transaction'), n.oid IS NOT NULL, \
            CASE WHEN c.oid IS NOT NULL THEN coalesce(obj_description(c.oid, 'pg_class'), '') END, \
            has_table_privilege(c.oid, 'INSERT'), \
            (SELECT version FROM pg_stat_ssl WHERE ssl AND pid = pg_backend_pid()), \
            (SELECT sum(pg_total_relation_size(t.oid)) FROM pg_class t \
                WHERE t.relnamespace = n.oid AND t.relname IN ('rows', 'chunks')), \
            current_setting('server_encoding') \
        FROM (SELECT 1) AS one \
        LEFT JOIN pg_namespace n ON n.nspname = '{schema}' \
        LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'rows'"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use holdall_core::ErrorKind;

    use super::*;

    #[test]
    fn only_our_own_tables_are_taken() {
        assert!(check_format(Some(FORMAT)).is_ok());
        for (format, hint) in [
            (Some("holdall 3"), "another version"),
            (Some(UNDESCRIBED), "another version"),
            (Some(""), "another program"),
            (Some("theirs"), "another program"),
            (None, "another program"),
        ] {
            let error = check_format(format).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.message().contains(hint), "{error}");
        }
    }

    #[test]
    fn notes_say_what_the_settings_mean() {
        let good = Facts {
            version: "15.1".to_owned(),
            fsync: true,
            full_page_writes: true,
            may_write: true,
            utf8: true,
            ..Facts::default()
        };
        let notes = good.notes().join("; ");
        assert!(notes.contains("PostgreSQL 15.1") && notes.contains("on the server's disk"));
        assert!(!notes.contains("off") && !notes.contains("standbys"), "{notes}");
        let bad =
            Facts { fsync: false, full_page_writes: false, may_write: false, utf8: false, ..good };
        let notes = bad.notes().join("; ");
        for said in
            ["fsync is off", "full_page_writes is off", "may read but not write", "no metadata"]
        {
            assert!(notes.contains(said), "{notes}");
        }
        let replicated = Facts { fsync: true, standbys: "ANY 1 (a, b)".to_owned(), ..bad };
        assert!(replicated.notes().join("; ").contains("standbys: ANY 1 (a, b)"));
    }
}

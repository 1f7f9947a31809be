//! Plain inserts into a PostgreSQL table, each a transaction of its own.

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Mutex, MutexGuard};
use tokio_postgres::{Client, NoTls, Statement};

use super::Store;
use crate::Result;

/// What it does before it says that something is written.
pub const DURABILITY: &str = "the server's log synced at each commit";

struct Connection {
    client: Client,
    put: Statement,
    get: Statement,
}

/// A table, and connections that are used in turn.
pub struct Inserts {
    connections: Vec<Mutex<Connection>>,
}

impl Inserts {
    /// Makes the table anew, and so many connections to the server on this port.
    ///
    /// # Errors
    /// Those of the client.
    pub async fn connect(port: u16, connections: usize) -> Result<Self> {
        let mut opened = Vec::new();
        for number in 0..connections {
            let told = format!("host=127.0.0.1 port={port} user=holdall dbname=postgres");
            let (client, connection) = tokio_postgres::connect(&told, NoTls).await?;
            tokio::spawn(connection);
            if number == 0 {
                let table = "DROP TABLE IF EXISTS inserts; CREATE TABLE inserts \
                    (key text COLLATE \"C\" PRIMARY KEY, value bytea NOT NULL)";
                client.batch_execute(table).await?;
            }
            let put = "INSERT INTO inserts VALUES ($1, $2) \
                ON CONFLICT (key) DO UPDATE SET value = excluded.value";
            let put = client.prepare(put).await?;
            let get = client.prepare("SELECT value FROM inserts WHERE key = $1").await?;
            opened.push(Mutex::new(Connection { client, put, get }));
        }
        Ok(Self { connections: opened })
    }

    /// The first connection that is free, or else the first that becomes so of a random few.
    async fn connection(&self, name: &str) -> MutexGuard<'_, Connection> {
        for connection in &self.connections {
            if let Ok(free) = connection.try_lock() {
                return free;
            }
        }
        let place = name.bytes().map(usize::from).sum::<usize>() % self.connections.len();
        self.connections[place].lock().await
    }
}

#[async_trait]
impl Store for Inserts {
    fn name(&self) -> &'static str {
        "PostgreSQL"
    }

    fn durability(&self) -> &'static str {
        DURABILITY
    }

    async fn put(&self, name: &str, bytes: Bytes) -> Result<()> {
        let connection = self.connection(name).await;
        connection.client.execute(&connection.put, &[&name, &&bytes[..]]).await?;
        Ok(())
    }

    async fn get(&self, name: &str) -> Result<Option<Bytes>> {
        let connection = self.connection(name).await;
        let row = connection.client.query_opt(&connection.get, &[&name]).await?;
        Ok(row.map(|row| row.try_get::<_, Vec<u8>>(0)).transpose()?.map(Bytes::from))
    }

    async fn remove(&self, name: &str) -> Result<()> {
        let connection = self.connection(name).await;
        connection.client.execute("DELETE FROM inserts WHERE key = $1", &[&name]).await?;
        Ok(())
    }

    async fn settle(&self) -> Result<()> {
        Ok(())
    }
}

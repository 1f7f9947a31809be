//! Connections: how they are made, set up, kept and given up.

use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod,
};
use holdall_core::{Env, Error, Operation, Result};
use tokio_postgres::config::SslMode;
use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::config::{Config, Tls};
use crate::tls;

/// The oldest server there are the statements for.
const VERSION_MIN: u32 = 120_000;

/// An idle connection asks its other end so often whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Why a server is not taken. The first may change by itself.
pub(crate) const STANDBY: &str = "the server is a standby, which may be behind; name the primary, \
    or try again once it is promoted";
const UNSAFE: &str = "the server runs with fsync=off and can lose what it commits; switch it on \
    there, or say allow_unsafe_server=true";
const OLD: &str = "the server is older than PostgreSQL 12; upgrade it";

/// A pool for this configuration. Nothing is connected yet.
pub(crate) async fn pool(config: &Config, env: &Env) -> Result<Pool> {
    let mut options = tokio_postgres::Config::new();
    options.host(&config.host).port(config.port).user(&config.user).dbname(&config.database);
    options.connect_timeout(config.connect_timeout).application_name("holdall");
    options.keepalives_idle(KEEPALIVE);
    if let Some(password) = &config.password {
        options.password(password);
    }
    options.ssl_mode(match config.tls {
        Tls::Off => SslMode::Disable,
        Tls::Prefer => SslMode::Prefer,
        Tls::Require => SslMode::Require,
    });
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = match config.tls {
        Tls::Off => Manager::from_config(options, NoTls, recycling),
        Tls::Prefer | Tls::Require => {
            let config = config.clone();
            let connector = env.blocking(move || tls::connector(&config)).await.flatten()?;
            Manager::from_config(options, connector, recycling)
        }
    };
    let (idle, lifetime) = (config.idle_timeout, config.max_lifetime);
    let session = session(config);
    let allow_unsafe = config.allow_unsafe_server;
    let pool = Pool::builder(manager)
        .max_size(config.max_connections)
        .pre_recycle(Hook::sync_fn(move |_, metrics| {
            if metrics.last_used() > idle || metrics.age() > lifetime {
                return Err(HookError::message("the connection is old"));
            }
            Ok(())
        }))
        .post_create(Hook::async_fn(move |client, _| {
            let session = session.clone();
            Box::pin(async move { begin(client, &session, allow_unsafe).await })
        }))
        .build();
    pool.map_err(|source| {
        let message = "the connections cannot be kept; look at max_connections";
        Error::invalid(Operation::Open, message).with_source(source)
    })
}

/// What every session is set to, whatever server, database or role say. All statements find rows
/// by key, so every other plan than the key's index is a wrong guess; all read what is committed,
/// each anew; and a commit is answered when it is synced, or stronger if the server says so.
fn session(config: &Config) -> String {
    let timeout = config.statement_timeout.as_millis();
    format!(
        "SELECT current_setting('server_version_num'), pg_is_in_recovery(), \
            current_setting('fsync'), \
            set_config('synchronous_commit', CASE current_setting('synchronous_commit') \
                WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false), \
            set_config('default_transaction_isolation', 'read committed', false), \
            set_config('statement_timeout', '{timeout}ms', false), \
            set_config('idle_in_transaction_session_timeout', '{timeout}ms', false), \
            set_config('client_min_messages', 'warning', false), \
            set_config('enable_seqscan', 'off', false), \
            set_config('enable_bitmapscan', 'off', false), \
            set_config('enable_hashjoin', 'off', false), \
            set_config('enable_mergejoin', 'off', false), \
            set_config('jit', 'off', false)"
    )
}

/// Sets a new session up, unless its server cannot keep what was promised: after a failover the
/// same name can mean another server.
async fn begin(client: &ClientWrapper, session: &str, allow_unsafe: bool) -> Result<(), HookError> {
    let messages = client.simple_query(session).await.map_err(HookError::Backend)?;
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let said = |column| row.and_then(|row| row.get(column)).unwrap_or_default();
    let version = said(0).parse().unwrap_or(0);
    let refused = if version < VERSION_MIN {
        OLD
    } else if said(1) != "f" {
        STANDBY
    } else if said(2) == "off" && !allow_unsafe {
        UNSAFE
    } else {
        return Ok(());
    };
    Err(HookError::message(refused))
}

//! Makes connections, and sees to it that they lead to the server they should.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use holdall_core::ErrorKind;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, ProtocolVersion, PushInfo,
    PushKind, RedisConnectionInfo, RedisError, TlsCertificates,
};

use crate::config::{Config, shown};
use crate::error::{Failure, answered, code, unconnected};
use crate::live::{Live, survey};
use crate::server::{Persistence, Survey, Wanted};

/// How often a connection is sent on to another node of a cluster.
const REDIRECTS_MAX: usize = 5;

/// How many requests wait in front of a connection before their callers do.
const QUEUE: usize = 256;

type Address = (String, u16);

/// Makes connections for one opened location.
#[derive(Debug)]
pub(crate) struct Dial {
    config: Config,
    certificates: Option<TlsCertificates>,
    /// The key that says in which run of the server the location was last opened.
    opened: String,
    known: Mutex<Known>,
}

/// What is known of the server from earlier connections.
#[derive(Debug, Default)]
struct Known {
    /// The node of the cluster that has the location.
    owner: Option<Address>,
    run: Option<String>,
    persistence: Option<Persistence>,
    /// Why this handle can no longer be used.
    lost: Option<Failure>,
}

enum Reached {
    Server(Live),
    Moved(Address),
}

impl Dial {
    pub(crate) fn new(
        config: Config,
        certificates: Option<TlsCertificates>,
        opened: String,
    ) -> Self {
        Self { config, certificates, opened, known: Mutex::default() }
    }

    pub(crate) fn is_cluster(&self) -> bool {
        self.config.cluster
    }

    /// The key that says in which run of the server the location was last opened.
    pub(crate) fn opened(&self) -> &str {
        &self.opened
    }

    pub(crate) fn wanted(&self) -> Wanted {
        Wanted {
            allow_unsafe_server: self.config.allow_unsafe_server,
            cluster: self.config.cluster,
            replicas: self.config.wait_replicas,
        }
    }

    /// Refuses once the server may have lost what it acknowledged to this handle.
    pub(crate) fn check_usable(&self) -> Result<(), Failure> {
        self.known().lost.clone().map_or(Ok(()), Err)
    }

    /// Notes which node has the location now.
    pub(crate) fn moved(&self, error: &RedisError) {
        let owner = self.known().owner.clone();
        let from = owner.as_ref().or(self.config.servers.first());
        let owner = from.and_then(|from| redirection(error, from));
        self.known().owner = owner;
    }

    /// Connects to the server, or to the node of the cluster that has the location.
    pub(crate) async fn connect(self: Arc<Self>) -> Result<Live, Failure> {
        let owner = self.known().owner.clone();
        let mut addresses: Vec<Address> =
            self.config.servers.iter().rev().cloned().chain(owner).collect();
        let mut redirects = 0;
        let mut failed = Failure::new(ErrorKind::Unavailable, "no node of the cluster has it");
        while let Some(address) = addresses.pop() {
            match self.reach(&address).await {
                Ok(Reached::Server(live)) => {
                    live.survey.check(self.wanted())?;
                    self.accept(&live.survey)?;
                    self.known().owner = self.config.cluster.then_some(address);
                    return Ok(live);
                }
                Ok(Reached::Moved(to)) if redirects < REDIRECTS_MAX => {
                    redirects += 1;
                    addresses.push(to);
                }
                Ok(Reached::Moved(_)) => {}
                Err(failure) => failed = failure,
            }
        }
        Err(failed)
    }

    async fn reach(&self, address: &Address) -> Result<Reached, Failure> {
        let server = shown(&address.0, address.1);
        let client = self.client(address).map_err(|error| unconnected(&server, error))?;
        let ended = Arc::new(AtomicBool::new(false));
        let notice = Arc::clone(&ended);
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.config.connect_timeout))
            .set_response_timeout(Some(self.config.timeout))
            .set_pipeline_buffer_size(QUEUE)
            .set_push_sender(move |push: PushInfo| {
                if push.kind == PushKind::Disconnection {
                    notice.store(true, Ordering::SeqCst);
                }
                Ok::<(), ()>(())
            });
        let connection = client.get_multiplexed_async_connection_with_config(&settings).await;
        let mut connection = connection.map_err(|error| unconnected(&server, error))?;
        let survey = survey(&mut connection, &self.opened).await;
        match survey.map_err(|error| unconnected(&server, error))? {
            Ok(survey) => Ok(Reached::Server(Live { connection, ended, survey: Arc::new(survey) })),
            Err(error) => match redirection(&error, address) {
                Some(to) if self.config.cluster && code(&error) == "MOVED" => {
                    Ok(Reached::Moved(to))
                }
                _ => Err(answered(error)),
            },
        }
    }

    fn client(&self, (host, port): &Address) -> Result<Client, RedisError> {
        let config = &self.config;
        let address = if config.tls {
            let (host, port) = (host.clone(), *port);
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host.clone(), *port)
        };
        // The newer protocol tells at once when the connection has ended.
        let mut login = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP3)
            .set_db(i64::from(config.database));
        if let Some(user) = &config.user {
            login = login.set_username(user);
        }
        if let Some(password) = &config.password {
            login = login.set_password(password);
        }
        let info = address
            .into_connection_info()?
            .set_redis_settings(login)
            .set_tcp_settings(TcpSettings::default().set_nodelay(true));
        match &self.certificates {
            Some(certificates) => Client::build_with_tls(info, certificates.clone()),
            None => Client::open(info),
        }
    }

    /// Refuses a server that may have lost what another run, or another server, acknowledged.
    fn accept(&self, survey: &Survey) -> Result<(), Failure> {
        let mut known = self.known();
        let another = known.run.as_deref().is_some_and(|run| run != survey.run());
        let weakest = [known.persistence, Some(survey.persistence)].into_iter().flatten();
        let weak = weakest.into_iter().find(|persistence| *persistence != Persistence::EveryWrite);
        let changed = known.persistence.is_some_and(|before| before != survey.persistence);
        let lost = match weak {
            _ if another && survey.was_promoted() => {
                Some("a replica took over, which may lack acknowledged writes; open again".into())
            }
            Some(weak) if another => {
                Some(format!("the server restarted, and {}; open again", weak.can_lose()))
            }
            Some(weak) if changed => {
                Some(format!("the server's settings changed: it {}; open again", weak.can_lose()))
            }
            _ => None,
        };
        if let Some(message) = lost {
            let failure = Failure::new(ErrorKind::Closed, message);
            known.lost = Some(failure.clone());
            return Err(failure);
        }
        known.run = Some(survey.run().to_owned());
        known.persistence = Some(survey.persistence);
        Ok(())
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where an error of a node at `from` sends us. A node that does not know its own name gives none.
fn redirection(error: &RedisError, from: &Address) -> Option<Address> {
    let (address, _) = error.redirect_node()?;
    let (host, port) = address.rsplit_once(':')?;
    let host = if host.is_empty() { &from.0 } else { host.trim_matches(['[', ']']) };
    Some((host.to_owned(), port.parse().ok()?))
}

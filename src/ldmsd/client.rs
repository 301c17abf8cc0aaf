//! An asynchronous client of one ldmsd.
//!
//! ```no_run
//! use maestro::ldmsd::auth::{Auth, AuthMethod, Secret};
//! use maestro::ldmsd::status::ProducerStatus;
//! use maestro::ldmsd::{Attribute, Client, Command, ConnectOptions, Verb};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let method = AuthMethod::Ovis(Secret::read("/etc/ldms/secret.conf".as_ref())?);
//! let auth = Auth { domain: "cluster".into(), method };
//! let client = Client::connect(ConnectOptions::new("l1-agg-1", 10401, auth)).await?;
//!
//! // One command. That the daemon refuses it is no error of the client.
//! let add = Command::from_words("prdcr_add name=n1 host=n1 port=411 xprt=sock type=active reconnect=5s".split(' '))?;
//! let answer = client.request(add).await?;
//! if !answer.is_ok() {
//!     println!("refused: {} {}", answer.code, answer.text());
//! }
//!
//! // Many at a time; the answers come in the order of the commands.
//! let status = |name| Command::new(Verb::PrdcrStatus).with(Attribute::Name, name);
//! let within = std::time::Duration::from_secs(5);
//! for answer in client.request_all(vec![status("n1"), status("n2")], within).await? {
//!     for producer in answer.json::<Vec<ProducerStatus>>()? {
//!         println!("{} is {}", producer.name, producer.state);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What would harm the daemon is not sent: see [`hazards`](super::hazards).
//!
//! One task owns the socket and always reads, so that a broken connection is noticed at once and many
//! requests can be in flight. It carries out nothing but the [`ClientSession`]'s wishes.

mod connection;
mod service;
mod socket;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use self::connection::{Connection, Job};
use super::auth::Auth;
use super::codec::{EncodeError, Request, Response};
use super::command::Command;
use super::hazards::{Hazard, HazardAt, Known};
use super::session::{ClientSession, DirectoryAnswer, Peer, SessionError, SessionOptions};
use super::status::{SetInfo, StatusError};
use super::verb::Numbering;

/// How many jobs wait for room in the window of requests in flight before their senders do.
const QUEUED_JOBS: usize = 64;

/// Where and how to connect.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// A host name or an address. Of several addresses those of IPv4 are tried first.
    pub host: String,
    /// The port.
    pub port: u16,
    /// How to authenticate.
    pub auth: Auth,
    /// The time allowed for resolving the host, connecting and authenticating together.
    pub connect_timeout: Duration,
    /// The time allowed for a [`Client::request`].
    pub request_timeout: Duration,
    /// Whether to send what is known to harm the daemon, too (see [`hazards`](super::hazards)).
    pub allow_hazards: bool,
}

impl ConnectOptions {
    /// Options with 5 s to connect and 5 s a request, for harmless commands only.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16, auth: Auth) -> ConnectOptions {
        let (connect_timeout, request_timeout) = (Duration::from_secs(5), Duration::from_secs(5));
        ConnectOptions { host: host.into(), port, auth, connect_timeout, request_timeout, allow_hazards: false }
    }
}

/// Why a daemon could not be asked. That it refused a command is no error but a [`Response`].
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The host name means nothing.
    #[error("cannot resolve the host {host}: {source}")]
    Resolve {
        /// The host.
        host: String,
        /// Why not.
        source: io::Error,
    },
    /// None of the host's addresses can be connected to.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The last address that was tried.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The connection was not ready in time.
    #[error("not connected within {} while {phase}", humantime::format_duration(*.within))]
    ConnectTimeout {
        /// What was going on when the time was over.
        phase: ConnectPhase,
        /// The time allowed.
        within: Duration,
    },
    /// The daemon did not accept this client, or proved not to be what was expected.
    #[error(transparent)]
    Handshake(SessionError),
    /// The command does not exist for this daemon. Nothing was sent.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The command would harm the daemon. Nothing was sent.
    #[error(transparent)]
    Hazard(#[from] Hazard),
    /// The answer did not come in time. The connection is of no further use.
    #[error("no answer to {what} within {}", humantime::format_duration(*.within))]
    Timeout {
        /// The command that was not answered.
        what: String,
        /// The time allowed.
        within: Duration,
    },
    /// The connection has come to its end.
    #[error(transparent)]
    Closed(#[from] CloseReason),
    /// The daemon cannot tell its directory.
    #[error("the daemon cannot list its metric sets: error {0}")]
    Directory(i32),
    /// The directory is not understood.
    #[error(transparent)]
    DirectoryText(#[from] StatusError),
}

/// The part of connecting that took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectPhase {
    /// Looking up the addresses of the host.
    Resolving,
    /// Waiting for the TCP connection.
    Connecting,
    /// Waiting for the daemon to accept and authenticate.
    Authenticating,
}

impl fmt::Display for ConnectPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConnectPhase::Resolving => "looking up the addresses of the host",
            ConnectPhase::Connecting => "waiting for the host to answer",
            ConnectPhase::Authenticating => "waiting for the daemon to accept and authenticate",
        })
    }
}

/// Why an established connection came to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// The daemon closed it, or sent something that it should not.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The network broke it.
    #[error("the connection broke: {0}")]
    Network(io::ErrorKind),
    /// A request was not answered in time. Its answer might still come and belong to nothing.
    #[error("the connection was given up because {0} was not answered in time")]
    Unanswered(String),
}

/// A connection to one ldmsd. Dropping it closes the connection.
#[derive(Debug)]
pub struct Client {
    peer: Peer,
    request_timeout: Duration,
    /// `None` where everything is to be sent.
    known: Option<Mutex<Known>>,
    jobs: mpsc::Sender<Job>,
    end: watch::Sender<Option<CloseReason>>,
    connection: JoinHandle<()>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Client {
    /// Connects and authenticates.
    ///
    /// # Errors
    /// The host cannot be reached, the daemon refuses, or it does not answer in time.
    pub async fn connect(options: ConnectOptions) -> Result<Client, ClientError> {
        let deadline = Instant::now() + options.connect_timeout;
        let mut phase = ConnectPhase::Resolving;
        let established = timeout_at(deadline, establish(&options, deadline, &mut phase)).await;
        let (peer, connection) = match established {
            Ok(established) => established?,
            Err(_) => return Err(ClientError::ConnectTimeout { phase, within: options.connect_timeout }),
        };
        let (jobs, queue) = mpsc::channel(QUEUED_JOBS);
        let end = watch::Sender::new(None);
        let connection = tokio::spawn(connection.run(queue, end.clone()));
        let known = (!options.allow_hazards).then(|| Mutex::new(Known::new(peer.numbering)));
        Ok(Client { peer, request_timeout: options.request_timeout, known, jobs, end, connection })
    }

    /// The command and attribute numbers that the daemon understands.
    #[must_use]
    pub fn numbering(&self) -> Numbering {
        self.peer.numbering
    }

    /// The daemon's process id, by which a restart is known; a daemon of the 4.4 line does not tell.
    #[must_use]
    pub fn peer_pid(&self) -> Option<u32> {
        self.peer.pid
    }

    /// Sends one command and waits for its answer, for at most [`ConnectOptions::request_timeout`].
    ///
    /// # Errors
    /// The command does not exist for this daemon or would harm it, or the connection is of no use (any longer). That the
    /// daemon refuses is no error: see [`Response::is_ok`].
    pub async fn request(&self, command: Command) -> Result<Response, ClientError> {
        let mut responses = self.request_all(vec![command], self.request_timeout).await?;
        // One command, one answer.
        responses.pop().ok_or_else(|| self.close_reason().into())
    }

    /// Sends many commands without waiting in between. The daemon carries them out in their order, and the
    /// answers come in that order; each may be a refusal. Nothing is sent if one of them cannot be, or would harm the
    /// daemon.
    ///
    /// # Errors
    /// As for [`Client::request`], with `within` for all of them together. How many commands the daemon has
    /// carried out is then unknown.
    pub async fn request_all(&self, commands: Vec<Command>, within: Duration) -> Result<Vec<Response>, ClientError> {
        let requests = self.encode(&commands).map_err(|(_, error)| error)?;
        let deadline = Instant::now() + within;
        let mut answers = Vec::with_capacity(requests.len());
        for (request, command) in requests.into_iter().zip(&commands) {
            let (answer, answered) = oneshot::channel();
            let what = || command.verb.to_string();
            self.queue(Job::Request { request, answer }, deadline, within, what).await?;
            answers.push(answered);
        }
        let mut responses = Vec::with_capacity(answers.len());
        for (answered, command) in answers.into_iter().zip(&commands) {
            responses.push(self.wait(answered, deadline, within, || command.verb.to_string()).await?);
        }
        if let Some(mut known) = self.known() {
            commands.iter().zip(&responses).for_each(|(command, response)| known.learn(command, response));
        }
        Ok(responses)
    }

    /// The first of some commands that [`Client::request_all`] would not send, by its place from 0, with the reason.
    #[must_use]
    pub fn objection(&self, commands: &[Command]) -> Option<(usize, ClientError)> {
        self.encode(commands).err()
    }

    /// Asks the daemon what decides whether some commands would harm it, such as `strgp_add` ([`hazards`](super::hazards)).
    /// Without that, such commands are not sent.
    ///
    /// # Errors
    /// As for [`Client::request`].
    pub async fn survey(&self) -> Result<(), ClientError> {
        let questions = self.known().map(|known| known.questions()).unwrap_or_default();
        self.request_all(questions, self.request_timeout).await.map(|_| ())
    }

    fn encode(&self, commands: &[Command]) -> Result<Vec<Request>, (usize, ClientError)> {
        if let Some(known) = self.known() {
            known.check(commands).map_err(|HazardAt { index, hazard }| (index, hazard.into()))?;
        }
        let encode = |(index, command)| {
            Request::from_command(command, self.peer.numbering, 0).map_err(|error| (index, error.into()))
        };
        commands.iter().enumerate().map(encode).collect()
    }

    /// What is known of the daemon; `None` where it does not matter.
    fn known(&self) -> Option<MutexGuard<'_, Known>> {
        // Each change of it is a single assignment, so that a panic elsewhere leaves it whole.
        self.known.as_ref().map(|known| known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The metric sets that the daemon has now, its own and those that it collects.
    ///
    /// # Errors
    /// As for [`Client::request`]; or the daemon cannot tell, or what it tells is not understood.
    pub async fn directory(&self, within: Duration) -> Result<Vec<SetInfo>, ClientError> {
        let deadline = Instant::now() + within;
        let (answer, answered) = oneshot::channel();
        let what = || "dir".to_owned();
        self.queue(Job::Directory { answer }, deadline, within, what).await?;
        let DirectoryAnswer { code, parts, .. } = self.wait(answered, deadline, within, what).await?;
        if code != 0 {
            return Err(ClientError::Directory(code));
        }
        Ok(SetInfo::from_directory(&parts)?)
    }

    /// Waits until the connection has come to its end, and tells why: at once when the daemon closes it or
    /// dies, within about 16 s when its host vanishes.
    pub async fn closed(&self) -> CloseReason {
        let mut end = self.end.subscribe();
        // The sender lives as long as `self`, so that there is no error to wait for.
        let _ = end.wait_for(Option::is_some).await;
        self.close_reason()
    }

    /// Why the connection has ended, once it has.
    fn close_reason(&self) -> CloseReason {
        self.end.borrow().clone().unwrap_or(CloseReason::Session(SessionError::Closed))
    }

    async fn queue(
        &self,
        job: Job,
        deadline: Instant,
        within: Duration,
        what: impl FnOnce() -> String,
    ) -> Result<(), ClientError> {
        if self.end.borrow().is_some() {
            return Err(self.close_reason().into());
        }
        match timeout_at(deadline, self.jobs.send(job)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.close_reason().into()),
            Err(_) => Err(self.give_up(what(), within)),
        }
    }

    async fn wait<T>(
        &self,
        answered: oneshot::Receiver<T>,
        deadline: Instant,
        within: Duration,
        what: impl FnOnce() -> String,
    ) -> Result<T, ClientError> {
        match timeout_at(deadline, answered).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(self.close_reason().into()),
            Err(_) => Err(self.give_up(what(), within)),
        }
    }

    /// Ends the connection because an answer is overdue.
    fn give_up(&self, what: String, within: Duration) -> ClientError {
        self.end.send_if_modified(|end| {
            let first = end.is_none();
            end.get_or_insert_with(|| CloseReason::Unanswered(what.clone()));
            first
        });
        ClientError::Timeout { what, within }
    }
}

async fn establish(
    options: &ConnectOptions,
    deadline: Instant,
    phase: &mut ConnectPhase,
) -> Result<(Peer, Connection), ClientError> {
    let addresses = socket::resolve(&options.host, options.port).await?;
    *phase = ConnectPhase::Connecting;
    let stream = socket::connect(&options.host, &addresses, deadline).await?;
    *phase = ConnectPhase::Authenticating;
    let method = &options.auth.method;
    let credential = service::credential(method, &stream).await.map_err(|source| {
        let domain = options.auth.domain.clone();
        ClientError::Handshake(SessionError::Auth { domain, source })
    })?;
    let session = ClientSession::new(SessionOptions {
        auth: options.auth.clone(),
        pid: std::process::id(),
        rail_gn: rand::random(),
        challenge: rand::random(),
        credential,
    });
    let mut connection = Connection::new(stream, session);
    let peer = connection.authenticated(method).await.map_err(|reason| match reason {
        CloseReason::Session(error) => ClientError::Handshake(error),
        other => ClientError::Closed(other),
    })?;
    Ok((peer, connection))
}

//! A connection to one member of etcd at a time, and the passage to the next one.
//!
//! The client library can spread its requests over all members, but then every request that meets a dead one fails.
//! Here a request goes to the member that answered last, and to the next where that one is silent.

use std::error::Error as _;
use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions, Txn, TxnResponse};
use tokio::time::{Instant, sleep, timeout};

use super::advice::{self, Tls};
use super::{EtcdOptions, Login};
use crate::store::StoreError;

/// How long a member may take to accept a connection and to tell its state.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);

/// How long a member may take for one request. etcd itself gives up a write after five seconds and some elections.
const REQUEST_DEADLINE: Duration = Duration::from_secs(8);

/// How long a session looks for a member once one has answered: enough for etcd to elect another leader.
const RECOVERY_DEADLINE: Duration = Duration::from_secs(10);

/// The pause after all members were silent.
const PAUSE: Duration = Duration::from_millis(200);

/// A ping goes out after this much silence on a connection that waits for an answer (a watch does always). etcd hangs
/// up on clients that ping more often than every five seconds.
const PING_INTERVAL: Duration = Duration::from_secs(8);

/// A member that does not answer a ping within this time is given up.
const PING_DEADLINE: Duration = Duration::from_secs(4);

/// No answer, as far as it matters here, is larger: a page of the longest values that etcd takes is far below.
pub(super) const ANSWER_SIZE_LIMIT_BYTES: usize = 1 << 30;

/// The members of an etcd cluster and how they are talked to.
pub(super) struct Members {
    endpoints: Vec<String>,
    tls: Tls,
    /// The file of our own certificate.
    certificate: Option<PathBuf>,
    options: ConnectOptions,
    login: Option<Login>,
    /// The member that answered last, as an index of `endpoints`. The next session begins with it.
    preferred: AtomicUsize,
}

impl fmt::Debug for Members {
    /// Without the rest: the library's options show the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Members")
            .field("endpoints", &self.endpoints)
            .field("login", &self.login)
            .finish_non_exhaustive()
    }
}

impl Members {
    pub(super) fn new(options: &EtcdOptions) -> Result<Members, StoreError> {
        if options.endpoints.is_empty() {
            return Err(StoreError::NoMember);
        }
        let mut connect = ConnectOptions::new()
            .with_connect_timeout(CONNECT_DEADLINE)
            .with_keep_alive(PING_INTERVAL, PING_DEADLINE)
            // A member that has lost its leader says so instead of letting a watch wait for ever.
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        let mut security = Tls::Off;
        if let Some(files) = &options.tls {
            security = if files.identity.is_some() { Tls::WithIdentity } else { Tls::Anonymous };
            let ca = Certificate::from_pem(read_pem(&files.ca, Pem::Certificate)?);
            let mut tls = TlsOptions::new().ca_certificate(ca);
            if let Some((certificate, key)) = &files.identity {
                let (certificate, key) = (read_pem(certificate, Pem::Certificate)?, read_pem(key, Pem::PrivateKey)?);
                tls = tls.identity(Identity::from_pem(certificate, key));
            }
            connect = connect.with_tls(tls);
        }
        Ok(Members {
            endpoints: options.endpoints.clone(),
            tls: security,
            certificate: options.tls.as_ref().and_then(|files| Some(files.identity.as_ref()?.0.clone())),
            options: connect,
            login: options.login.clone(),
            preferred: AtomicUsize::new(0),
        })
    }

    /// Connects to one member, and has its answer.
    async fn connect(&self, endpoint: &str) -> Result<Client, etcd_client::Error> {
        let scheme = if self.tls == Tls::Off { "http" } else { "https" };
        let url = format!("{scheme}://{endpoint}");
        let anonymous = || Client::connect([&url], Some(self.options.clone()));
        let mut client = match &self.login {
            None => anonymous().await?,
            Some(Login { user, password }) => {
                match Client::connect([&url], Some(self.options.clone().with_user(user, password))).await {
                    Err(etcd_client::Error::GRpcStatus(status)) if is_login_needless(status.message()) => {
                        anonymous().await?
                    }
                    connected => connected?,
                }
            }
        };
        // The library opens the connection with the first request only.
        client.status().await?;
        Ok(client)
    }
}

/// What a file in PEM format is to hold.
enum Pem {
    Certificate,
    PrivateKey,
}

fn read_pem(path: &Path, wanted: Pem) -> Result<Vec<u8>, StoreError> {
    let unusable = |reason: String| StoreError::TlsFile { path: path.to_owned(), reason };
    let pem = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
    let text = String::from_utf8_lossy(&pem);
    let headers: Vec<&str> = text.lines().filter(|line| line.starts_with("-----BEGIN ")).collect();
    // Keys have several headers: `PRIVATE KEY`, `EC PRIVATE KEY`, …
    let (label, name) = match wanted {
        Pem::Certificate => ("CERTIFICATE-----", "certificate"),
        Pem::PrivateKey => ("PRIVATE KEY-----", "private key"),
    };
    if headers.is_empty() {
        return Err(unusable("it is not in PEM format".to_owned()));
    }
    if !headers.iter().any(|header| header.trim_end().ends_with(label)) {
        return Err(unusable(format!("it holds no {name}")));
    }
    Ok(pem)
}

/// How long a session waits for etcd.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For a member to accept a connection and to tell its state.
    pub(super) connect: Duration,
    /// For a member to answer one request.
    pub(super) request: Duration,
    /// For any member, once one has answered.
    pub(super) recovery: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { connect: CONNECT_DEADLINE, request: REQUEST_DEADLINE, recovery: RECOVERY_DEADLINE }
    }
}

/// A conversation with etcd through whichever member answers.
pub(super) struct Session {
    members: Arc<Members>,
    patience: Patience,
    /// The member in use, as an index of its endpoint.
    current: usize,
    client: Option<Client>,
    /// Whether any member has answered yet. An etcd that never did is down or is not there: that is said at once. One
    /// that did gets time to recover.
    answered: bool,
}

/// Why a request got no result.
enum Fault {
    /// The member does not answer, or cannot at the moment: another one may.
    Silent(String),
    /// An answer that would be the same from every member.
    Refused(StoreError),
}

impl Session {
    pub(super) fn new(members: Arc<Members>) -> Session {
        Session::with_patience(members, Patience::default())
    }

    pub(super) fn with_patience(members: Arc<Members>, patience: Patience) -> Session {
        let current = members.preferred.load(Ordering::Relaxed) % members.endpoints.len();
        Session { members, patience, current, client: None, answered: false }
    }

    /// Begins with a member of etcd, by its place in the list, and not with the one that answered last.
    pub(super) fn beginning_with(mut self, member: usize) -> Session {
        self.current = member % self.members.endpoints.len();
        self
    }

    /// The member of etcd that is asked first, by its place in the list.
    pub(super) fn current(&self) -> usize {
        self.current
    }

    /// Makes a request to the first member that answers it. It may reach etcd more than once, so it must be one that
    /// does no harm the second time.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unreachable`] where no member answers, [`StoreError::Denied`] and [`StoreError::Failed`] with what
    /// one has answered.
    pub(super) async fn call<T, F, Answer>(&mut self, request: F) -> Result<T, StoreError>
    where
        F: Fn(Client) -> Answer,
        Answer: Future<Output = Result<T, etcd_client::Error>>,
    {
        let give_up = Instant::now() + self.patience.recovery;
        loop {
            let mut silent = Vec::new();
            for _ in 0..self.members.endpoints.len() {
                match self.call_current(&request).await {
                    Ok(result) => {
                        self.members.preferred.store(self.current, Ordering::Relaxed);
                        self.answered = true;
                        return Ok(result);
                    }
                    Err(Fault::Refused(error)) => return Err(error),
                    Err(Fault::Silent(reason)) => {
                        silent.push((self.endpoint().to_owned(), reason));
                        self.client = None;
                        self.current = (self.current + 1) % self.members.endpoints.len();
                    }
                }
            }
            if !self.answered || Instant::now() >= give_up {
                return Err(self.unreachable(&silent));
            }
            sleep(PAUSE).await;
        }
    }

    /// What an error means that came up in the middle of an answer, as a watch's do.
    pub(super) fn broken_off(&self, error: &etcd_client::Error) -> StoreError {
        match self.fault(error) {
            Fault::Refused(error) => error,
            Fault::Silent(reason) => StoreError::Failed { member: self.endpoint().to_owned(), reason },
        }
    }

    /// One transaction, which may be sent again as [`Session::call`] says.
    ///
    /// # Errors
    ///
    /// Those of [`Session::call`].
    pub(super) async fn transact(&mut self, transaction: &Txn) -> Result<TxnResponse, StoreError> {
        self.call(|mut client| {
            let transaction = transaction.clone();
            async move { client.txn(transaction).await }
        })
        .await
    }

    async fn call_current<T, F, Answer>(&mut self, request: &F) -> Result<T, Fault>
    where
        F: Fn(Client) -> Answer,
        Answer: Future<Output = Result<T, etcd_client::Error>>,
    {
        let client = match &self.client {
            Some(client) => client.clone(),
            None => {
                let connecting = self.members.connect(self.endpoint());
                let client = self.within(self.patience.connect, connecting).await?;
                self.client.insert(client).clone()
            }
        };
        self.within(self.patience.request, request(client)).await
    }

    async fn within<T>(
        &self,
        deadline: Duration,
        answer: impl Future<Output = Result<T, etcd_client::Error>>,
    ) -> Result<T, Fault> {
        match timeout(deadline, answer).await {
            Ok(result) => result.map_err(|error| self.fault(&error)),
            Err(_) => Err(Fault::Silent(format!("no answer within {} s", deadline.as_secs_f32()))),
        }
    }

    fn fault(&self, error: &etcd_client::Error) -> Fault {
        let member = self.endpoint().to_owned();
        let etcd_client::Error::GRpcStatus(status) = error else {
            return Fault::Refused(match (error, &self.members.certificate) {
                // It says so before it connects: such as a certificate and a key that do not belong together.
                (etcd_client::Error::TransportError(error), Some(path)) => {
                    let reason = root_cause(Some(error)).unwrap_or_else(|| error.to_string());
                    StoreError::TlsFile { path: path.clone(), reason }
                }
                _ => StoreError::Failed { member, reason: error.to_string() },
            });
        };
        let reason = status.message().trim_start_matches("etcdserver: ").to_owned();
        match i32::from(status.code()) {
            grpc_code::PERMISSION_DENIED | grpc_code::UNAUTHENTICATED => {
                Fault::Refused(StoreError::Denied { member, reason })
            }
            grpc_code::INVALID_ARGUMENT if is_about_login(&reason) => {
                Fault::Refused(StoreError::Denied { member, reason })
            }
            grpc_code::INVALID_ARGUMENT
            | grpc_code::NOT_FOUND
            | grpc_code::RESOURCE_EXHAUSTED
            | grpc_code::FAILED_PRECONDITION
            | grpc_code::OUT_OF_RANGE
            | grpc_code::UNIMPLEMENTED => Fault::Refused(StoreError::Failed { member, reason }),
            _ => {
                let reason = root_cause(status.source()).unwrap_or(reason);
                Fault::Silent(match advice::on(self.members.tls, &reason) {
                    Some(advice) => format!("{reason} ({advice})"),
                    None => reason,
                })
            }
        }
    }

    fn unreachable(&self, silent: &[(String, String)]) -> StoreError {
        let reason = match silent {
            [(_, first), rest @ ..] if rest.iter().all(|(_, reason)| reason == first) => first.clone(),
            _ => {
                let each: Vec<String> = silent.iter().map(|(member, reason)| format!("{member}: {reason}")).collect();
                each.join("; ")
            }
        };
        StoreError::Unreachable { members: self.members.endpoints.join(", "), reason }
    }

    /// The member in use.
    pub(super) fn endpoint(&self) -> &str {
        &self.members.endpoints[self.current]
    }
}

/// The codes of gRPC, which the client library uses without offering them.
mod grpc_code {
    pub(super) const INVALID_ARGUMENT: i32 = 3;
    pub(super) const NOT_FOUND: i32 = 5;
    pub(super) const PERMISSION_DENIED: i32 = 7;
    pub(super) const RESOURCE_EXHAUSTED: i32 = 8;
    pub(super) const FAILED_PRECONDITION: i32 = 9;
    pub(super) const OUT_OF_RANGE: i32 = 11;
    pub(super) const UNIMPLEMENTED: i32 = 12;
    pub(super) const UNAUTHENTICATED: i32 = 16;
}

/// Whether etcd asks for a revision that is no longer kept.
pub(super) fn is_compacted(error: &etcd_client::Error) -> bool {
    matches!(error, etcd_client::Error::GRpcStatus(status)
        if i32::from(status.code()) == grpc_code::OUT_OF_RANGE && status.message().contains("compacted"))
}

/// A login where etcd's authentication is not enabled is not an error for other clients of etcd either.
fn is_login_needless(message: &str) -> bool {
    message.contains("authentication is not enabled")
}

/// Under the code for an invalid argument, etcd also complains of who is asking.
fn is_about_login(reason: &str) -> bool {
    reason.contains("authentication failed") || reason.contains("user name is empty")
}

/// What lies at the bottom of a transport error, such as `connection refused`.
fn root_cause(error: Option<&(dyn std::error::Error + 'static)>) -> Option<String> {
    let mut cause = error?;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    match cause.downcast_ref::<std::io::Error>() {
        Some(io) if io.raw_os_error().is_some() => Some(io.kind().to_string()),
        _ => Some(cause.to_string()),
    }
}

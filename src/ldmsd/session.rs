//! The client's side of a connection as a state machine: bytes in, bytes and events out, no socket.
//!
//! Connect, authenticate, then requests and directory queries, any number of them in flight. What a daemon
//! may send beyond that is answered (SET_DELETE) or passed over as the wire specification says (section 3.1).

use std::collections::{BTreeMap, VecDeque};
use std::time::SystemTime;

use super::auth::{Auth, AuthError, Credential, Credentials, Handshake, Role};
use super::codec::record::{MAX_RECORD_BYTES, MessageKind, UNIDENTIFIED};
use super::codec::transport::{Directory, Rail};
use super::codec::{
    ConnectError, ConnectMessage, Frame, FrameBody, FrameDecoder, LdmsMessage, RecordAssembler, RecordError, Request,
    Response, TransportError, ZapError,
};
use super::verb::Numbering;

/// The most that the unfinished answers of a daemon may take: 40 times the status of 30 000 producers.
const MAX_UNFINISHED_BYTES: usize = 256 << 20;

/// What is particular to one connection.
#[derive(Debug)]
pub struct SessionOptions {
    /// How to authenticate.
    pub auth: Auth,
    /// The id of this process.
    pub pid: u32,
    /// Random: a daemon refuses a connection whose address, process id and rail number another one has
    /// (the wire specification, section 3.2).
    pub rail_gn: u64,
    /// Random and unpredictable: what the daemon has to prove its knowledge of the secret with.
    pub challenge: u64,
    /// What [`AuthMethod::credential`](super::auth::AuthMethod::credential) made for this connection.
    pub credential: Option<Credential>,
}

/// What has happened on the connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// The connection is authenticated; requests may be sent.
    Connected(Peer),
    /// The answer to a request.
    Response(Response),
    /// The answer to a directory query, complete.
    Directory(DirectoryAnswer),
}

/// What the daemon says of itself when it accepts a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The command and attribute numbers that it understands.
    pub numbering: Numbering,
    /// Its process id; a daemon of the 4.4 line does not tell.
    pub pid: Option<u32>,
}

/// The directory of a daemon's metric sets, as JSON texts.
#[derive(Debug, PartialEq, Eq)]
pub struct DirectoryAnswer {
    /// That of the query.
    pub xid: u64,
    /// 0 or an errno.
    pub code: i32,
    /// The messages of the answer, each a JSON object (the wire specification, section 3.5).
    pub parts: Vec<Vec<u8>>,
}

/// Why a connection came to its end. The texts are for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The daemon refused the connection.
    #[error("the daemon refused the connection: {reason} (authentication domain {domain}, plugin {plugin})")]
    Rejected {
        /// The reason that it gave.
        reason: String,
        /// The authentication domain that was used.
        domain: String,
        /// The plugin of that domain.
        plugin: &'static str,
    },
    /// The daemon's connect message is not acceptable.
    #[error("the daemon introduced itself in a way that is not understood: {0}")]
    Connect(#[from] ConnectError),
    /// The authentication failed on this side.
    #[error("authentication domain {domain}: {source}")]
    Auth {
        /// The authentication domain that was used.
        domain: String,
        /// What was wrong.
        source: AuthError,
    },
    /// The daemon closed the connection before it accepted it.
    #[error("the daemon closed the connection before accepting it: is it an ldmsd with the transport sock?")]
    ClosedBeforeAccepted,
    /// The daemon closed the connection during authentication: the way in which it refuses a client.
    #[error(
        "the daemon closed the connection during authentication: {} (authentication domain {domain}, plugin {plugin})",
        suspicion(plugin)
    )]
    ClosedDuringAuthentication {
        /// The authentication domain that was used.
        domain: String,
        /// The plugin of that domain.
        plugin: &'static str,
    },
    /// The daemon closed the connection.
    #[error("the daemon closed the connection")]
    Closed,
    /// A message that does not belong where it came.
    #[error("the daemon sent a message out of turn")]
    OutOfTurn,
    /// What the daemon sent is not the zap transport.
    #[error(transparent)]
    Zap(#[from] ZapError),
    /// What the daemon sent is not the LDMS transport.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// What the daemon sent is not the request protocol.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The directory of the daemon is larger than anything reasonable.
    #[error("the daemon's directory is larger than {MAX_UNFINISHED_BYTES} bytes")]
    DirectoryTooLarge,
}

/// Why a daemon that uses this plugin has probably closed the connection: it does not say.
fn suspicion(plugin: &str) -> &'static str {
    match plugin {
        "ovis" => "another secret?",
        "munge" => "another munge key, or clocks that differ?",
        _ => "it gives no reason",
    }
}

/// One connection, seen from the client.
#[derive(Debug)]
pub struct ClientSession {
    state: State,
    options: SessionOptions,
    handshake: Handshake,
    frames: FrameDecoder,
    records: RecordAssembler,
    /// The parts of unfinished directories by xid.
    directories: BTreeMap<u64, Vec<Vec<u8>>>,
    directory_bytes: usize,
    output: Vec<u8>,
    events: VecDeque<Event>,
    last_frame_xid: u32,
    last_msg_no: u32,
    last_directory_xid: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// CONNECT is on its way.
    Connecting,
    /// The daemon has accepted; one of the two is not content yet.
    Authenticating(Peer),
    Connected,
}

impl ClientSession {
    /// A session whose output begins with CONNECT.
    #[must_use]
    pub fn new(mut options: SessionOptions) -> ClientSession {
        let credential = options.credential.take();
        let method = &options.auth.method;
        let connect = ConnectMessage {
            auth_plugin: method.plugin().to_owned(),
            rail: Some(Rail::single(options.pid, options.rail_gn)),
        };
        let mut handshake = method.handshake(Role::Client, options.challenge);
        if let Some(credential) = credential {
            handshake.introduce_with(credential);
        }
        let mut session = ClientSession {
            state: State::Connecting,
            options,
            handshake,
            frames: FrameDecoder::new(),
            records: RecordAssembler::new(MAX_RECORD_BYTES, MAX_UNFINISHED_BYTES),
            directories: BTreeMap::new(),
            directory_bytes: 0,
            output: Vec::new(),
            events: VecDeque::new(),
            last_frame_xid: 0,
            last_msg_no: 0,
            last_directory_xid: 0,
        };
        session.send_frame(FrameBody::Connect(connect.encode()));
        session
    }

    /// Takes bytes from the daemon. `now` is the time at which they arrived, which the daemon is told when it
    /// asks for consent to delete a set.
    ///
    /// # Errors
    /// The connection is to be closed; the session is of no further use.
    pub fn receive(&mut self, bytes: &[u8], now: SystemTime) -> Result<(), SessionError> {
        self.frames.push(bytes);
        self.proceed(now)
    }

    /// Looks at what has arrived; at nothing behind a credential that has yet to be checked.
    fn proceed(&mut self, now: SystemTime) -> Result<(), SessionError> {
        while self.handshake.unchecked_credential().is_none()
            && let Some(frame) = self.frames.next_frame()?
        {
            match frame.body {
                FrameBody::Accepted(data) => self.accepted(&data)?,
                FrameBody::Rejected(data) => return Err(self.rejected(&data)),
                FrameBody::SendRecv(_) if self.state == State::Connecting => return Err(SessionError::OutOfTurn),
                FrameBody::SendRecv(data) => self.message(LdmsMessage::decode(&data)?, now)?,
                FrameBody::Connect(_) | FrameBody::AckAccepted => return Err(SessionError::OutOfTurn),
            }
        }
        Ok(())
    }

    /// The daemon's credential, to be checked with the method of the connection; the outcome is for
    /// [`ClientSession::credential_checked`].
    #[must_use]
    pub fn unchecked_credential(&self) -> Option<&Credential> {
        self.handshake.unchecked_credential()
    }

    /// Takes the outcome of checking the daemon's credential, and then looks at what arrived behind it. `now` as for
    /// [`ClientSession::receive`].
    ///
    /// # Errors
    /// It is not genuine, or could not be checked, or what arrived behind it is wrong: the connection is to be closed.
    pub fn credential_checked(
        &mut self,
        outcome: Result<Credentials, AuthError>,
        now: SystemTime,
    ) -> Result<(), SessionError> {
        self.handshake.checked(outcome.map_err(|source| self.auth_failed(source))?);
        self.connected_if_content();
        self.proceed(now)
    }

    /// What the end of the byte stream means at this point.
    #[must_use]
    pub fn end_of_stream(&self) -> SessionError {
        match self.state {
            State::Connecting => SessionError::ClosedBeforeAccepted,
            State::Authenticating(_) => {
                let auth = &self.options.auth;
                SessionError::ClosedDuringAuthentication { domain: auth.domain.clone(), plugin: auth.method.plugin() }
            }
            State::Connected => SessionError::Closed,
        }
    }

    /// The next event, in the order in which things happened.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The bytes to send to the daemon since this was last asked.
    #[must_use]
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Sends a request, under a message number that the session chooses and gives back. Only to be called
    /// once connected: a daemon does not answer earlier requests.
    pub fn request(&mut self, mut request: Request) -> u32 {
        self.last_msg_no = match self.last_msg_no.wrapping_add(1) {
            UNIDENTIFIED => 1,
            next => next,
        };
        request.msg_no = self.last_msg_no;
        for record in request.encode().records(MAX_RECORD_BYTES) {
            self.send(&LdmsMessage::Send(record));
        }
        self.last_msg_no
    }

    /// Asks for the directory of metric sets as it is now; gives the number by which the answer is known.
    pub fn directory(&mut self) -> u64 {
        self.last_directory_xid += 1;
        let xid = self.last_directory_xid;
        self.directories.insert(xid, Vec::new());
        self.send(&LdmsMessage::Dir { xid, flags: 0 });
        xid
    }

    fn accepted(&mut self, data: &[u8]) -> Result<(), SessionError> {
        if self.state != State::Connecting {
            return Err(SessionError::OutOfTurn);
        }
        let server = ConnectMessage::decode(data, self.options.auth.method.plugin())?;
        let peer = Peer { numbering: server.numbering(), pid: server.rail.map(|rail| rail.pid) };
        self.state = State::Authenticating(peer);
        self.send_frame(FrameBody::AckAccepted);
        if let Some(message) = self.handshake.start() {
            self.send(&LdmsMessage::Auth(message));
        }
        self.connected_if_content();
        Ok(())
    }

    fn rejected(&self, data: &[u8]) -> SessionError {
        if self.state != State::Connecting {
            return SessionError::OutOfTurn;
        }
        let reason = String::from_utf8_lossy(data).trim_end_matches('\0').to_owned();
        let auth = &self.options.auth;
        SessionError::Rejected { reason, domain: auth.domain.clone(), plugin: auth.method.plugin() }
    }

    fn message(&mut self, message: LdmsMessage, now: SystemTime) -> Result<(), SessionError> {
        match message {
            LdmsMessage::Auth(message) => self.authenticate(&message),
            LdmsMessage::Send(record) => self.record(&record),
            LdmsMessage::DirReply(directory) => self.directory_part(directory),
            LdmsMessage::SetDelete { xid, .. } => {
                let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                let received = Some((since_1970.as_secs(), u64::from(since_1970.subsec_nanos())));
                self.send(&LdmsMessage::SetDeleteReply { xid, code: 0, received });
                Ok(())
            }
            LdmsMessage::Dir { .. }
            | LdmsMessage::DirCancel { .. }
            | LdmsMessage::DirCancelReply { .. }
            | LdmsMessage::DirUpdate(_)
            | LdmsMessage::SetDeleteReply { .. }
            | LdmsMessage::Other { .. } => Ok(()),
        }
    }

    fn authenticate(&mut self, message: &[u8]) -> Result<(), SessionError> {
        let reply = self.handshake.receive(message);
        let reply = reply.map_err(|source| self.auth_failed(source))?;
        if let Some(reply) = reply {
            self.send(&LdmsMessage::Auth(reply));
        }
        self.connected_if_content();
        Ok(())
    }

    fn auth_failed(&self, source: AuthError) -> SessionError {
        SessionError::Auth { domain: self.options.auth.domain.clone(), source }
    }

    fn connected_if_content(&mut self) {
        if let State::Authenticating(peer) = self.state
            && self.handshake.is_content()
        {
            self.state = State::Connected;
            self.events.push_back(Event::Connected(peer));
        }
    }

    fn record(&mut self, record: &[u8]) -> Result<(), SessionError> {
        // Requests of the daemon are for its peers, of which this program is none (section 5.4).
        if let Some(message) = self.records.push(record)?
            && message.kind == MessageKind::Response
        {
            self.events.push_back(Event::Response(Response::decode(&message)?));
        }
        Ok(())
    }

    fn directory_part(&mut self, part: Directory) -> Result<(), SessionError> {
        let Some(parts) = self.directories.get_mut(&part.xid) else { return Ok(()) };
        self.directory_bytes += part.json.len();
        if self.directory_bytes > MAX_UNFINISHED_BYTES {
            return Err(SessionError::DirectoryTooLarge);
        }
        parts.push(part.json);
        if part.more && part.code == 0 {
            return Ok(());
        }
        let parts = self.directories.remove(&part.xid).unwrap_or_default();
        self.directory_bytes -= parts.iter().map(Vec::len).sum::<usize>();
        self.events.push_back(Event::Directory(DirectoryAnswer { xid: part.xid, code: part.code, parts }));
        Ok(())
    }

    fn send(&mut self, message: &LdmsMessage) {
        self.send_frame(FrameBody::SendRecv(message.encode()));
    }

    fn send_frame(&mut self, body: FrameBody) {
        self.last_frame_xid = self.last_frame_xid.wrapping_add(1).max(1);
        Frame::new(self.last_frame_xid, body).encode_into(&mut self.output);
    }
}

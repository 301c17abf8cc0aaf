//! The task that owns the socket: moves bytes between it and the session, and answers to their askers.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::time::SystemTime;

use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};

use super::CloseReason;
use super::service::check;
use super::socket::acknowledge_at_once;
use crate::ldmsd::auth::AuthMethod;
use crate::ldmsd::codec::{Request, Response};
use crate::ldmsd::session::{ClientSession, DirectoryAnswer, Event, Peer};

/// How many requests may be unanswered at a time: enough to keep a daemon busy, little enough that an
/// urgent request does not wait long behind a burst.
const WINDOW: usize = 256;

/// How many bytes may wait to be sent before further requests have to wait.
const UNSENT_BYTES: usize = 1 << 20;

const READ_BYTES: usize = 32 << 10;

/// How often the socket is read before other tasks and the askers have their turn.
const READS_IN_A_ROW: usize = 16;

/// Something to ask the daemon. Nobody waits any longer where the receiver of the answer is gone.
#[derive(Debug)]
pub(super) enum Job {
    Request { request: Request, answer: oneshot::Sender<Response> },
    Directory { answer: oneshot::Sender<DirectoryAnswer> },
}

pub(super) struct Connection {
    stream: TcpStream,
    session: ClientSession,
    unsent: Vec<u8>,
    /// How much of `unsent` has been sent.
    sent: usize,
    /// The peer takes nothing more. Why, the next read tells.
    write_failed: bool,
    requests: BTreeMap<u32, oneshot::Sender<Response>>,
    directories: BTreeMap<u64, oneshot::Sender<DirectoryAnswer>>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, session: ClientSession) -> Connection {
        Connection {
            stream,
            session,
            unsent: Vec::new(),
            sent: 0,
            write_failed: false,
            requests: BTreeMap::new(),
            directories: BTreeMap::new(),
        }
    }

    /// Goes through connecting and authenticating.
    pub(super) async fn authenticated(&mut self, method: &AuthMethod) -> Result<Peer, CloseReason> {
        loop {
            self.write();
            if let Some(Event::Connected(peer)) = self.session.next_event() {
                return Ok(peer);
            }
            if let Some(credential) = self.session.unchecked_credential() {
                let outcome = check(method.clone(), credential.clone()).await;
                self.session.credential_checked(outcome, SystemTime::now())?;
                continue;
            }
            self.ready().await;
            self.read()?;
        }
    }

    /// Serves jobs until the connection ends, whose reason goes into `end`, or until somebody else sets `end`.
    pub(super) async fn run(mut self, mut jobs: mpsc::Receiver<Job>, end: watch::Sender<Option<CloseReason>>) {
        let mut ended_by_client = end.subscribe();
        let reason = tokio::select! {
            reason = self.serve(&mut jobs) => reason,
            _ = ended_by_client.wait_for(Option::is_some) => return,
        };
        // The reason has to be known before those who wait for answers are told that there are none.
        end.send_if_modified(|end| {
            let first = end.is_none();
            end.get_or_insert(reason);
            first
        });
    }

    async fn serve(&mut self, jobs: &mut mpsc::Receiver<Job>) -> CloseReason {
        loop {
            self.write();
            tokio::select! {
                () = self.ready() => {
                    let read = self.read();
                    // What came before the end still counts.
                    self.deliver();
                    if let Err(reason) = read {
                        return reason;
                    }
                }
                Some(job) = jobs.recv(), if self.has_room() => {
                    self.start(job);
                    while self.has_room() && let Ok(job) = jobs.try_recv() {
                        self.start(job);
                    }
                }
            }
        }
    }

    /// Waits until there is something to read, or room for what is to be sent.
    async fn ready(&self) {
        let has_unsent = self.sent < self.unsent.len() && !self.write_failed;
        let interest = if has_unsent { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        // The error of a socket shows again when it is read.
        let _ = self.stream.ready(interest).await;
    }

    /// Hands what has arrived to the session.
    fn read(&mut self) -> Result<(), CloseReason> {
        // On the stack: a buffer for each of thousands of idle connections would be a waste.
        let mut buffer = [0; READ_BYTES];
        for _ in 0..READS_IN_A_ROW {
            acknowledge_at_once(&self.stream);
            match self.stream.try_read(&mut buffer) {
                Ok(0) => return Err(self.session.end_of_stream().into()),
                Ok(count) => self.session.receive(&buffer[..count], SystemTime::now())?,
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Ok(()),
                    ErrorKind::Interrupted => {}
                    // A daemon that closes while something is on its way to it resets the connection.
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                        return Err(self.session.end_of_stream().into());
                    }
                    kind => return Err(CloseReason::Network(kind)),
                },
            }
        }
        Ok(())
    }

    /// Sends as much as the socket takes.
    fn write(&mut self) {
        loop {
            if self.sent == self.unsent.len() {
                self.sent = 0;
                self.unsent = self.session.take_output();
            }
            if self.unsent.is_empty() || self.write_failed {
                return;
            }
            match self.stream.try_write(&self.unsent[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.write_failed = true,
            }
        }
    }

    /// Tells the askers their answers.
    fn deliver(&mut self) {
        // Whoever does not wait any longer misses nothing; an answer that nobody asked for is dropped.
        while let Some(event) = self.session.next_event() {
            match event {
                Event::Response(response) => {
                    if let Some(asker) = self.requests.remove(&response.msg_no) {
                        let _ = asker.send(response);
                    }
                }
                Event::Directory(directory) => {
                    if let Some(asker) = self.directories.remove(&directory.xid) {
                        let _ = asker.send(directory);
                    }
                }
                Event::Connected(_) => {}
            }
        }
    }

    fn has_room(&self) -> bool {
        self.requests.len() + self.directories.len() < WINDOW && self.unsent.len() - self.sent < UNSENT_BYTES
    }

    fn start(&mut self, job: Job) {
        match job {
            Job::Request { request, answer } => {
                let msg_no = self.session.request(request);
                self.requests.insert(msg_no, answer);
            }
            Job::Directory { answer } => {
                let xid = self.session.directory();
                self.directories.insert(xid, answer);
            }
        }
    }
}

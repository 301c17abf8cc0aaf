//! One connection between two daemons, or a daemon and a client, once it is set up.
//!
//! Both ends are alike: whoever made the connection, either side may ask for the directory, which is how an aggregator
//! collects from a sampler that advertised itself.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use maestro::ldmsd::auth::Handshake;
use maestro::ldmsd::codec::record::{MAX_RECORD_BYTES, MessageKind};
use maestro::ldmsd::codec::transport::Directory;
use maestro::ldmsd::codec::{LdmsMessage, RecordAssembler, Request, Response, WireAttribute};
use maestro::ldmsd::{Attribute, Verb};
use tokio::sync::{mpsc, oneshot};

use super::faults::{FaultKind, Faults, record_bytes};
use super::node::NodeEvent;
use super::pause::Pause;
use super::wire::{Wire, broken, now_us};
use crate::daemon::{Imitation, MetricSet, Reply, directory_text, read_directory};

/// DIR flags: tell of changes from now on.
const FOLLOW: u32 = 1;
/// DIR flags among simulated daemons: the asking daemon looks sets up, as an aggregator does by messages that the
/// simulation does without. It decides who is told of deleted sets (the wire specification, section 3.7).
const LOOKS_UP: u32 = 1 << 31;

/// The most sets in one directory message; a real daemon splits by size, which this stays below.
const DIRECTORY_SETS_MAX: usize = 1500;

/// How much of unfinished messages a connection holds.
const UNFINISHED_BYTES: usize = 8 << 20;

/// What a daemon has a connection do.
#[derive(Debug)]
pub(super) enum PeerCommand {
    /// Ask the peer for its directory, on behalf of this ticket, and follow it.
    ReadDirectory { ticket: u64 },
    /// Tell the peer of a new (2) or changed (3) set, if it follows the directory.
    Announce { kind: u32, set: String },
    /// Tell the peer that a set is gone, if it has looked it up.
    Withdraw { instance: String },
}

/// A connection's task.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) id: u64,
    pub(super) wire: Wire,
    pub(super) handshake: Handshake,
    pub(super) imitation: Imitation,
    pub(super) address: Ipv4Addr,
    pub(super) node: mpsc::Sender<NodeEvent>,
    pub(super) commands: mpsc::UnboundedReceiver<PeerCommand>,
    pub(super) paused: Pause,
    pub(super) faults: Faults,
}

/// What the conversation has led to so far.
#[derive(Debug)]
struct Conversation {
    records: RecordAssembler,
    /// The xid of the peer's DIR that wants to be told of changes, and whether the peer looks sets up.
    follower: Option<(u64, bool)>,
    /// The sets of a directory that has not ended, by its ticket.
    partial: Vec<MetricSet>,
    /// An answer that waits for the next one to overtake it.
    held_back: Option<Response>,
    next_delete_xid: u64,
}

impl Peer {
    /// Runs until either side closes the connection; then the daemon knows.
    pub(super) async fn run(mut self) {
        let mut conversation = Conversation {
            records: RecordAssembler::new(MAX_RECORD_BYTES, UNFINISHED_BYTES),
            follower: None,
            partial: Vec::new(),
            held_back: None,
            next_delete_xid: 1,
        };
        // Whatever the reason: the connection is over.
        let _reason = self.converse(&mut conversation).await;
        let _daemon_is_gone = self.node.send(NodeEvent::Closed { connection: self.id }).await;
    }

    async fn converse(&mut self, conversation: &mut Conversation) -> io::Result<()> {
        let mut paused = self.paused.clone();
        loop {
            if !paused.ends().await {
                return Ok(());
            }
            tokio::select! {
                () = paused.begins() => {}
                message = self.wire.message() => match message? {
                    Some(message) => self.receive(conversation, message).await?,
                    None => return Ok(()),
                },
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(conversation, command).await?,
                    None => return Ok(()),
                },
            }
        }
    }

    async fn obey(&mut self, conversation: &mut Conversation, command: PeerCommand) -> io::Result<()> {
        match (command, conversation.follower) {
            (PeerCommand::ReadDirectory { ticket }, _) => {
                self.wire.send(&LdmsMessage::Dir { xid: ticket, flags: FOLLOW | LOOKS_UP }).await
            }
            (PeerCommand::Announce { kind, set }, Some((xid, _))) => {
                let mut json = directory_text(&[set]).into_bytes();
                // This text alone is NUL-terminated.
                json.push(0);
                self.wire.send(&LdmsMessage::DirUpdate(Directory { xid, code: 0, kind, more: false, json })).await
            }
            (PeerCommand::Withdraw { instance }, Some((_, looks_up)))
                if looks_up || self.imitation != Imitation::Main =>
            {
                let xid = conversation.next_delete_xid;
                conversation.next_delete_xid += 1;
                self.wire.send(&LdmsMessage::SetDelete { xid, instance }).await
            }
            _ => Ok(()),
        }
    }

    async fn receive(&mut self, conversation: &mut Conversation, message: LdmsMessage) -> io::Result<()> {
        match message {
            LdmsMessage::Send(record) => match conversation.records.push(&record) {
                Ok(Some(message)) if message.kind == MessageKind::Request => match Request::decode(&message) {
                    Ok(request) => self.serve(conversation, &request).await,
                    Err(error) => self.complain(&error).await,
                },
                Ok(_) => Ok(()),
                Err(error) => self.complain(&error).await,
            },
            LdmsMessage::Auth(message) => match self.handshake.receive(&message).map_err(broken)? {
                Some(answer) => self.wire.send(&LdmsMessage::Auth(answer)).await,
                None => Ok(()),
            },
            LdmsMessage::Dir { xid, flags } => {
                conversation.follower = (flags != 0).then_some((xid, flags & LOOKS_UP != 0));
                self.serve_directory(xid, flags != 0).await
            }
            LdmsMessage::DirCancel { xid } => {
                conversation.follower = None;
                self.wire.send(&LdmsMessage::DirCancelReply { xid, code: 0 }).await
            }
            LdmsMessage::DirReply(directory) => {
                let sets = read_directory(&directory.json).ok_or_else(|| broken("the directory is not readable"))?;
                conversation.partial.extend(sets);
                if directory.more {
                    return Ok(());
                }
                let sets = std::mem::take(&mut conversation.partial);
                self.tell(NodeEvent::Directory { connection: self.id, ticket: directory.xid, sets }).await
            }
            LdmsMessage::DirUpdate(directory) => {
                let sets = read_directory(&directory.json).ok_or_else(|| broken("the directory is not readable"))?;
                self.tell(NodeEvent::News { connection: self.id, sets }).await
            }
            LdmsMessage::SetDelete { xid, instance } => {
                let now_us = now_us();
                let received = Some((now_us / 1_000_000, now_us % 1_000_000 * 1000));
                self.wire.send(&LdmsMessage::SetDeleteReply { xid, code: 0, received }).await?;
                self.tell(NodeEvent::SetDeleted { connection: self.id, instance }).await
            }
            LdmsMessage::SetDeleteReply { .. } | LdmsMessage::DirCancelReply { .. } | LdmsMessage::Other { .. } => {
                Ok(())
            }
        }
    }

    async fn tell(&self, event: NodeEvent) -> io::Result<()> {
        self.node.send(event).await.map_err(broken)
    }

    async fn complain(&mut self, error: &maestro::ldmsd::codec::RecordError) -> io::Result<()> {
        match error.answer() {
            Some(answer) => self.answer(&answer, MAX_RECORD_BYTES).await,
            None => Err(broken(error)),
        }
    }

    async fn serve_directory(&mut self, xid: u64, follows: bool) -> io::Result<()> {
        let (answer, elements) = oneshot::channel();
        self.tell(NodeEvent::ListSets { connection: self.id, follows, answer }).await?;
        let elements = elements.await.map_err(broken)?;
        let sets_per_message = self.faults.directory_sets().min(DIRECTORY_SETS_MAX);
        let mut parts: Vec<&[String]> = elements.chunks(sets_per_message).collect();
        if parts.is_empty() {
            parts.push(&[]);
        }
        let last = parts.len() - 1;
        for (index, part) in parts.into_iter().enumerate() {
            let json = directory_text(part).into_bytes();
            let part = Directory { xid, code: 0, kind: 0, more: index < last, json };
            self.wire.send(&LdmsMessage::DirReply(part)).await?;
        }
        Ok(())
    }

    /// Carries out a request and answers it, with the faults that the daemon was told to have.
    async fn serve(&mut self, conversation: &mut Conversation, request: &Request) -> io::Result<()> {
        let command = request.to_command(self.imitation.numbering());
        let faults = self.faults.of(command.as_ref().map(|command| command.verb));
        let reply = match (refusal(&faults), command) {
            (Some(refusal), _) => refusal,
            (None, None) => Reply { code: 38, text: Some("The request is not implemented".into()), json: false },
            (None, Some(command)) => self.ask_daemon(command.verb, command.attributes).await?,
        };
        let mut response = Response { msg_no: request.msg_no, code: reply.code, attributes: Vec::new() };
        response.attributes.extend(reply.text.map(|text| match reply.json {
            true => WireAttribute::json(text),
            false => WireAttribute::text(text),
        }));
        let record_bytes = record_bytes(&faults);
        let mut hold_back = false;
        for fault in faults {
            match fault {
                FaultKind::Silent => return Ok(()),
                FaultKind::Delay { ms } => tokio::time::sleep(Duration::from_millis(ms)).await,
                FaultKind::Cut => {
                    let records = response.encode().records(record_bytes);
                    if let Some(record) = records.into_iter().next() {
                        self.wire.send_half(&LdmsMessage::Send(record)).await?;
                    }
                    return Err(broken("cut"));
                }
                FaultKind::Garble => garble(&mut response),
                FaultKind::Swap => hold_back = conversation.held_back.is_none(),
                FaultKind::Quota => {
                    let quota = LdmsMessage::Other { xid: 0, command: 10, body: vec![0; 8] };
                    self.wire.send(&quota).await?;
                }
                FaultKind::Request => {
                    let request = Request { msg_no: request.msg_no, id: 0x603, attributes: Vec::new() };
                    for record in request.encode().records(MAX_RECORD_BYTES) {
                        self.wire.send(&LdmsMessage::Send(record)).await?;
                    }
                }
                FaultKind::SetDelete { instance } => {
                    self.wire.send(&LdmsMessage::SetDelete { xid: 1, instance }).await?;
                }
                FaultKind::Refuse { .. }
                | FaultKind::BadRequest
                | FaultKind::Records { .. }
                | FaultKind::SplitDirectory { .. }
                | FaultKind::Off => {}
            }
        }
        if hold_back {
            conversation.held_back = Some(response);
            return Ok(());
        }
        self.answer(&response, record_bytes).await?;
        match conversation.held_back.take() {
            Some(held_back) => self.answer(&held_back, record_bytes).await,
            None => Ok(()),
        }
    }

    async fn ask_daemon(&self, verb: Verb, attributes: Vec<(Attribute, String)>) -> io::Result<Reply> {
        let (answer, reply) = oneshot::channel();
        let (connection, address) = (self.id, self.address);
        let privileged = self.handshake.peer().uid == 0;
        self.tell(NodeEvent::Request { connection, address, privileged, verb, attributes, answer }).await?;
        reply.await.map_err(broken)
    }

    async fn answer(&mut self, response: &Response, record_bytes: usize) -> io::Result<()> {
        for record in response.encode().records(record_bytes) {
            self.wire.send(&LdmsMessage::Send(record)).await?;
        }
        Ok(())
    }
}

/// The reply of a daemon that was told not to do what it is asked.
fn refusal(faults: &[FaultKind]) -> Option<Reply> {
    faults.iter().find_map(|fault| match fault {
        FaultKind::Refuse { code } => {
            Some(Reply { code: *code, text: Some("Refused by a fault.".into()), json: false })
        }
        FaultKind::BadRequest => {
            Some(Reply { code: 0, text: Some("LDMSD received a bad request.".into()), json: false })
        }
        _ => None,
    })
}

/// Makes a JSON text invalid in the way in which unescaped status texts are: by a backslash in a string.
fn garble(response: &mut Response) {
    for attribute in response.attributes.iter_mut().filter(|attribute| attribute.id == WireAttribute::JSON) {
        let text = String::from_utf8_lossy(&attribute.value).replacen("\":\"", "\":\"\\d", 1);
        attribute.value = text.into_bytes();
    }
}

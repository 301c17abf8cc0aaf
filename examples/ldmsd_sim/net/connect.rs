//! The client's side: an aggregator connects to a producer, an advertiser to an aggregator.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use maestro::ldmsd::auth::{AuthMethod, Handshake, Role};
use maestro::ldmsd::codec::record::MAX_RECORD_BYTES;
use maestro::ldmsd::codec::transport::Rail;
use maestro::ldmsd::codec::{ConnectMessage, FrameBody, LdmsMessage, RecordAssembler, Request, Response};
use maestro::ldmsd::{Attribute, Command, Numbering, Verb};
use tokio::net::TcpStream;

use super::accept::authenticate;
use super::wire::{Wire, broken};
use crate::daemon::{AuthPlugin, Imitation};

/// A connection that has been made.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) wire: Wire,
    pub(super) handshake: Handshake,
}

/// The method of an authentication domain.
pub(super) fn auth_method(domain: &AuthPlugin) -> io::Result<AuthMethod> {
    let options: BTreeMap<String, String> = domain
        .options
        .split_ascii_whitespace()
        .filter_map(|word| word.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    AuthMethod::from_options(&domain.plugin, &options).map_err(broken)
}

/// Connects and authenticates.
pub(super) async fn connect(
    host: &str,
    port: u16,
    auth: &AuthMethod,
    imitation: Imitation,
    pid: u32,
) -> io::Result<Connected> {
    let mut addresses = tokio::net::lookup_host((host, port)).await?;
    let address = addresses.find(SocketAddr::is_ipv4).ok_or_else(|| broken("the host has no IPv4 address"))?;
    let mut wire = Wire::new(TcpStream::connect(address).await?)?;
    let rail = (imitation != Imitation::V44).then(|| Rail::single(pid, rand::random()));
    let hello = ConnectMessage { auth_plugin: auth.plugin().to_owned(), rail };
    wire.send_frame(FrameBody::Connect(hello.encode())).await?;
    match wire.frame().await? {
        Some(FrameBody::Accepted(data)) => ConnectMessage::decode(&data, auth.plugin()).map_err(broken)?,
        _ => return Err(broken("not accepted")),
    };
    wire.send_frame(FrameBody::AckAccepted).await?;
    let handshake = authenticate(&mut wire, auth, Role::Client).await?;
    Ok(Connected { wire, handshake })
}

/// Announces this daemon to the aggregator at the other end.
///
/// The contents of this request are the simulation's own: only simulated daemons send it to each other.
pub(super) async fn advertise(connected: &mut Connected, host_name: &str, port: u16) -> io::Result<()> {
    let command = Command::new(Verb::Advertise).with(Attribute::Host, host_name).with(Attribute::Port, port);
    let request = Request::from_command(&command, Numbering::V45, 1).map_err(broken)?;
    for record in request.encode().records(MAX_RECORD_BYTES) {
        connected.wire.send(&LdmsMessage::Send(record)).await?;
    }
    let mut records = RecordAssembler::new(MAX_RECORD_BYTES, MAX_RECORD_BYTES);
    loop {
        match connected.wire.message().await? {
            Some(LdmsMessage::Send(record)) => {
                let Some(message) = records.push(&record).map_err(broken)? else { continue };
                let response = Response::decode(&message).map_err(broken)?;
                return if response.is_ok() { Ok(()) } else { Err(broken("the advertisement was not wanted")) };
            }
            Some(LdmsMessage::Auth(message)) => {
                if let Some(answer) = connected.handshake.receive(&message).map_err(broken)? {
                    connected.wire.send(&LdmsMessage::Auth(answer)).await?;
                }
            }
            Some(_) => {}
            None => return Err(broken("the aggregator left")),
        }
    }
}

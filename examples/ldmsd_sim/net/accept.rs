//! The server's side of a new connection: connect messages and authentication (the wire specification, sections 2.5,
//! 3.2 and 4).

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use maestro::ldmsd::auth::{AuthMethod, Handshake, Role};
use maestro::ldmsd::codec::transport::Rail;
use maestro::ldmsd::codec::{ConnectMessage, FrameBody, LdmsMessage};
use tokio::net::TcpStream;

use super::wire::{Wire, broken};
use crate::daemon::Imitation;

/// The rails of a daemon's live connections: client address, process id, rail number, index.
#[derive(Debug, Clone, Default)]
pub(super) struct Rails(Arc<Mutex<BTreeSet<RailKey>>>);

type RailKey = (IpAddr, u32, u64, u32);

/// Keeps a rail's place until the connection ends.
#[derive(Debug)]
pub(super) struct RailPlace {
    rails: Rails,
    key: RailKey,
}

impl Rails {
    fn take(&self, key: RailKey) -> Option<RailPlace> {
        let is_free = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
        is_free.then(|| RailPlace { rails: self.clone(), key })
    }
}

impl Drop for RailPlace {
    fn drop(&mut self) {
        self.rails.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// What the server says of itself.
#[derive(Debug, Clone)]
pub(super) struct Host {
    pub(super) imitation: Imitation,
    pub(super) pid: u32,
    pub(super) auth: AuthMethod,
    pub(super) rails: Rails,
}

/// An accepted and authenticated client.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) wire: Wire,
    pub(super) handshake: Handshake,
    pub(super) _rail: Option<RailPlace>,
}

/// Takes a client through connect and authentication. Failures close the connection, after a REJECTED where ldmsd sends one.
pub(super) async fn accept(stream: TcpStream, host: &Host) -> io::Result<Accepted> {
    let address = stream.peer_addr()?.ip();
    let mut wire = Wire::new(stream)?;
    let Some(FrameBody::Connect(data)) = wire.frame().await? else {
        return Err(broken("the first message is no CONNECT"));
    };
    let client = match ConnectMessage::decode(&data, host.auth.plugin()) {
        Ok(client) => client,
        Err(error) => return reject(wire, &error.to_string()).await,
    };
    // A 4.4 daemon ignores what follows the first 20 bytes.
    let client_rail = client.rail.filter(|_| host.imitation != Imitation::V44);
    let mut place = None;
    let mut rail = None;
    if let Some(client) = client_rail {
        let index = client.index;
        if index >= client.connections {
            let last = client.connections.saturating_sub(1);
            return reject(wire, &format!("bad ep_idx {index} (should be in 0..{last} range)")).await;
        }
        place = host.rails.take((address, client.pid, client.rail_gn, index));
        if place.is_none() {
            return reject(wire, &format!("bad ep_idx {index}, the endpoint already existed")).await;
        }
        rail = Some(Rail { connections: client.connections, index, ..Rail::single(host.pid, client.rail_gn) });
    }
    let answer = ConnectMessage { auth_plugin: host.auth.plugin().to_owned(), rail };
    wire.send_frame(FrameBody::Accepted(answer.encode())).await?;
    let Some(FrameBody::AckAccepted) = wire.frame().await? else { return Err(broken("no ACK_ACCEPTED")) };
    let handshake = authenticate(&mut wire, &host.auth, Role::Server).await?;
    Ok(Accepted { wire, handshake, _rail: place })
}

async fn reject(mut wire: Wire, reason: &str) -> io::Result<Accepted> {
    let mut text = reason.as_bytes().to_vec();
    text.push(0);
    wire.send_frame(FrameBody::Rejected(text)).await?;
    Err(broken(reason))
}

/// One side's half of the authentication, begun without waiting for the other. Requests that come before its end get no
/// answer.
pub(super) async fn authenticate(wire: &mut Wire, method: &AuthMethod, role: Role) -> io::Result<Handshake> {
    let mut handshake = method.handshake(role, rand::random::<u64>() >> 1);
    if let Some(credential) = method.credential(wire.local_addr()?).map_err(broken)? {
        handshake.introduce_with(credential);
    }
    if let Some(message) = handshake.start() {
        wire.send(&LdmsMessage::Auth(message)).await?;
    }
    while !handshake.is_content() {
        match wire.message().await? {
            Some(LdmsMessage::Auth(message)) => {
                if let Some(answer) = handshake.receive(&message).map_err(broken)? {
                    wire.send(&LdmsMessage::Auth(answer)).await?;
                }
                if let Some(credential) = handshake.unchecked_credential() {
                    let peer = method.check(credential).map_err(broken)?;
                    handshake.checked(peer);
                }
            }
            Some(_) => {}
            None => return Err(broken("the peer left during the authentication")),
        }
    }
    Ok(handshake)
}

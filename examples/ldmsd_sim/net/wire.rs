//! A TCP connection that carries LDMS messages.

use std::io;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use maestro::ldmsd::codec::{Frame, FrameBody, FrameDecoder, LdmsMessage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The wall clock, in microseconds since 1970.
pub(crate) fn now_us() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX)
}

/// An error that ends a connection.
pub(super) fn broken(reason: impl std::fmt::Display) -> io::Error {
    io::Error::other(reason.to_string())
}

/// A connection with its framing.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    frames: FrameDecoder,
    received: Vec<u8>,
    next_xid: u32,
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> io::Result<Wire> {
        stream.set_nodelay(true)?;
        Ok(Wire { stream, frames: FrameDecoder::new(), received: Vec::with_capacity(1 << 16), next_xid: 1 })
    }

    /// This end's address.
    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// The next frame, `None` at the end of the stream. Nothing is lost when the future is dropped.
    pub(super) async fn frame(&mut self) -> io::Result<Option<FrameBody>> {
        loop {
            if let Some(frame) = self.frames.next_frame().map_err(broken)? {
                return Ok(Some(frame.body));
            }
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Ok(None);
            }
            self.frames.push(&self.received);
            self.received.clear();
        }
    }

    /// The next LDMS message, `None` at the end of the stream.
    pub(super) async fn message(&mut self) -> io::Result<Option<LdmsMessage>> {
        match self.frame().await? {
            None => Ok(None),
            Some(FrameBody::SendRecv(payload)) => LdmsMessage::decode(&payload).map(Some).map_err(broken),
            Some(_) => Err(broken("a connection is set up only once")),
        }
    }

    pub(super) async fn send_frame(&mut self, body: FrameBody) -> io::Result<()> {
        let bytes = self.encode(body);
        self.stream.write_all(&bytes).await
    }

    pub(super) async fn send(&mut self, message: &LdmsMessage) -> io::Result<()> {
        self.send_frame(FrameBody::SendRecv(message.encode())).await
    }

    /// Sends the first half of a message, as a process that dies while it writes.
    pub(super) async fn send_half(&mut self, message: &LdmsMessage) -> io::Result<()> {
        let bytes = self.encode(FrameBody::SendRecv(message.encode()));
        self.stream.write_all(&bytes[..bytes.len() / 2]).await
    }

    fn encode(&mut self, body: FrameBody) -> Vec<u8> {
        let xid = self.next_xid;
        self.next_xid = self.next_xid.wrapping_add(1).max(1);
        Frame::new(xid, body).encode()
    }
}

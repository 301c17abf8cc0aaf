//! The plugin `munge`: each side sends a MUNGE credential, which says who made it, and has munged check the peer's (the wire
//! specification, section 4.4).
//!
//! Making and checking credentials are calls to munged, a service of this host, and may block. So an [`Exchange`], like the
//! handshake that it is a part of, only holds the credentials: its owner makes one beforehand and checks the other.

mod library;

use std::ffi::{CStr, CString};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use self::library::Library;
use super::{AuthError, Credentials};

/// Makes and checks credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Munge {
    /// The socket of munged, where it is not that for which libmunge was built.
    socket: Option<CString>,
}

/// A MUNGE credential as it travels: text with a NUL at its end. `Debug` conceals it, since whoever reads it in time can
/// use it once.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential(Vec<u8>);

impl Credential {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Credential {
    fn from(bytes: Vec<u8>) -> Credential {
        Credential(bytes)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(…)")
    }
}

/// Why MUNGE is of no help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MungeError {
    /// libmunge is not installed.
    #[error(
        "the authentication plugin munge needs libmunge on this host, which cannot be loaded ({0}): \
         install libmunge2 (Debian) or munge-libs (Red Hat)"
    )]
    Library(String),
    /// munged cannot be talked to.
    #[error("munged does not help: {0}. Is it running on this host?")]
    Service(String),
    /// munged does not accept the credential: it was made with another key, too long ago, or has been used before.
    #[error("munged does not accept the credential: {0}")]
    Credential(String),
    /// What should be a credential cannot be one.
    #[error("this is not a munge credential")]
    Malformed,
    /// The path of the socket contains a NUL.
    #[error("the option `socket` of the authentication plugin munge is no path")]
    Socket,
}

impl Munge {
    /// MUNGE by the munged with this socket, or by the one that libmunge was built for.
    ///
    /// # Errors
    /// libmunge is not installed, or the path contains a NUL.
    pub fn new(socket: Option<&str>) -> Result<Munge, MungeError> {
        Library::get()?;
        let socket = socket.map(CString::new).transpose().map_err(|_| MungeError::Socket)?;
        Ok(Munge { socket })
    }

    /// Has munged make a credential for a connection whose end on this host is `local`. Blocks, for seconds where munged
    /// hangs.
    ///
    /// # Errors
    /// libmunge or munged is missing.
    pub fn credential(&self, local: SocketAddr) -> Result<Credential, MungeError> {
        let credential = Library::get()?.encode(self.socket.as_deref(), &payload(local))?;
        // The NUL at the end travels, too.
        Ok(Credential(credential.into_bytes_with_nul()))
    }

    /// Has munged check the credential of a peer, and tell who made it. Blocks, for seconds where munged hangs.
    ///
    /// The payload is not looked at: a daemon that listens on all addresses puts arbitrary bytes into it.
    ///
    /// # Errors
    /// libmunge or munged is missing, or munged does not accept the credential.
    pub fn check(&self, credential: &Credential) -> Result<Credentials, MungeError> {
        let credential = CStr::from_bytes_until_nul(credential.as_bytes()).map_err(|_| MungeError::Malformed)?;
        Library::get()?.decode(self.socket.as_deref(), credential)
    }
}

/// What the credential carries: the socket address of the sender's end as the C structure of its host. It may not be empty:
/// a daemon of the development head dies of an empty payload (section 9).
fn payload(local: SocketAddr) -> Vec<u8> {
    // The families' numbers are in native order, ports and addresses in network order.
    let family = |family: i32| u16::try_from(family).unwrap_or_default().to_ne_bytes();
    let mut out = Vec::with_capacity(28);
    match local.ip().to_canonical() {
        IpAddr::V4(address) => {
            out.extend(family(libc::AF_INET));
            out.extend(local.port().to_be_bytes());
            out.extend(address.octets());
            out.extend([0; 8]);
        }
        IpAddr::V6(address) => {
            out.extend(family(libc::AF_INET6));
            out.extend(local.port().to_be_bytes());
            out.extend([0; 4]);
            out.extend(address.octets());
            out.extend([0; 4]);
        }
    }
    out
}

/// One side's part of the exchange of credentials.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    own: Option<Credential>,
    /// The peer's, as long as nobody has checked it.
    unchecked: Option<Credential>,
    peer: Option<Credentials>,
}

impl Exchange {
    pub(super) fn introduce_with(&mut self, credential: Credential) {
        self.own = Some(credential);
    }

    pub(super) fn introduction(&self) -> Option<Vec<u8>> {
        self.own.as_ref().map(|credential| credential.as_bytes().to_vec())
    }

    pub(super) fn receive(&mut self, message: &[u8]) -> Result<(), AuthError> {
        if self.unchecked.is_some() || self.peer.is_some() {
            return Err(AuthError::Malformed { plugin: "munge" });
        }
        self.unchecked = Some(Credential(message.to_vec()));
        Ok(())
    }

    pub(super) fn unchecked(&self) -> Option<&Credential> {
        self.unchecked.as_ref()
    }

    pub(super) fn checked(&mut self, peer: Credentials) {
        if self.unchecked.take().is_some() {
            self.peer = Some(peer);
        }
    }

    pub(super) fn peer(&self) -> Option<Credentials> {
        self.peer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_carries_the_address_as_the_daemons_do() {
        let v4 = "127.0.0.1:45678".parse().unwrap();
        let mut expected = libc::AF_INET.to_ne_bytes()[..2].to_vec();
        if cfg!(target_endian = "big") {
            expected = libc::AF_INET.to_ne_bytes()[2..].to_vec();
        }
        expected.extend([0xb2, 0x6e, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(payload(v4), expected);
        assert_eq!(payload("[::ffff:127.0.0.1]:45678".parse().unwrap()), expected);
        assert_eq!(payload("[::1]:45678".parse().unwrap()).len(), 28);
    }

    #[test]
    fn a_second_credential_is_out_of_turn() {
        let mut exchange = Exchange::default();
        exchange.receive(b"MUNGE:first:\0").unwrap();
        assert_eq!(exchange.receive(b"MUNGE:second:\0"), Err(AuthError::Malformed { plugin: "munge" }));
        assert_eq!(exchange.unchecked().map(Credential::as_bytes), Some(&b"MUNGE:first:\0"[..]));
        assert!(!format!("{exchange:?}").contains("first"), "{exchange:?}");
        assert_eq!(exchange.peer(), None);
        exchange.checked(Credentials { uid: 7, gid: 8 });
        assert_eq!((exchange.unchecked(), exchange.peer()), (None, Some(Credentials { uid: 7, gid: 8 })));
        assert!(exchange.receive(b"MUNGE:third:\0").is_err());
    }

    #[test]
    fn nobody_is_trusted_without_a_credential() {
        let mut exchange = Exchange::default();
        exchange.checked(Credentials { uid: 0, gid: 0 });
        assert_eq!(exchange.peer(), None);
    }
}

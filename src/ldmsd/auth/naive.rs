//! The plugin `naive`: each side states its ids (the wire specification, section 4.2).

use super::AuthError;

/// A user and its group on the peer's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credentials {
    /// The user id; 0 may do everything.
    pub uid: u32,
    /// The group id.
    pub gid: u32,
}

impl Credentials {
    /// The id that LDMS states when it is not told one; most commands are refused to it.
    pub const NOBODY: u32 = 65534;
}

#[derive(Debug)]
pub(super) struct Naive {
    own: Credentials,
    peer: Option<Credentials>,
}

impl Naive {
    pub(super) fn new(own: Credentials) -> Naive {
        Naive { own, peer: None }
    }

    pub(super) fn introduction(&self) -> Vec<u8> {
        [self.own.uid.to_be_bytes(), self.own.gid.to_be_bytes()].concat()
    }

    pub(super) fn receive(&mut self, message: &[u8]) -> Result<(), AuthError> {
        let malformed = AuthError::Malformed { plugin: "naive" };
        let (uid, gid) = message.split_first_chunk().ok_or_else(|| malformed.clone())?;
        let gid = gid.try_into().map_err(|_| malformed)?;
        self.peer = Some(Credentials { uid: u32::from_be_bytes(*uid), gid: u32::from_be_bytes(gid) });
        Ok(())
    }

    pub(super) fn peer(&self) -> Option<Credentials> {
        self.peer
    }
}

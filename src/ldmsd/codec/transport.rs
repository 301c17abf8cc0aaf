//! The LDMS transport: connect messages and what travels in a SENDRECV (the wire specification, section 3).

use super::field::{Fields, length_field, until_nul};
use crate::ldmsd::verb::Numbering;

const VERSION: [u8; 4] = [4, 2, 0, 0];
const AUTH_NAME_BYTES: usize = 16;
const LEGACY_CONNECT_BYTES: usize = 20;
const RAIL_CONNECT_BYTES: usize = 64;
/// Connect messages below this length are taken as the legacy form.
const LEAST_RAIL_CONNECT_BYTES: usize = 24;
/// The `conn_type` of the rail form.
const RAIL: u32 = 1;

/// The message by which each side introduces itself, in CONNECT and ACCEPTED (section 3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectMessage {
    /// The authentication plugin that the sender uses; at most 15 bytes.
    pub auth_plugin: String,
    /// What LDMS 4.5 and later add; without it the message is the legacy form of 20 bytes.
    pub rail: Option<Rail>,
}

/// The connection as a part of a rail: several TCP connections that count as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rail {
    /// How much message-service traffic the sender accepts, in bytes a second; −1 is unlimited.
    pub rate_limit_bytes: i64,
    /// How many bytes of message-service traffic the sender is prepared to hold; −1 is unlimited.
    pub recv_quota_bytes: i64,
    /// The number of TCP connections of the rail.
    pub connections: u32,
    /// The number of this connection in the rail, from 0.
    pub index: u32,
    /// The process id of the sender.
    pub pid: u32,
    /// Tells apart the rails between a client address with its process id and a server: two live rails with
    /// the same three values collide, so clients choose it at random.
    pub rail_gn: u64,
    /// Whether the sender takes part in the message service (1) or not (0).
    pub msg_enabled: u32,
}

impl Rail {
    /// A rail of one connection, without limits, without message service.
    #[must_use]
    pub fn single(pid: u32, rail_gn: u64) -> Rail {
        Rail { rate_limit_bytes: -1, recv_quota_bytes: -1, connections: 1, index: 0, pid, rail_gn, msg_enabled: 0 }
    }
}

/// Why a connect message is refused. The text is what an LDMS server says in its REJECTED message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Fewer than 4 bytes.
    #[error("Bad conn msg")]
    Truncated,
    /// Another version of the LDMS protocol than 4.2.0.0.
    #[error("Version mismatch")]
    Version([u8; 4]),
    /// Another authentication plugin than the one that was expected.
    #[error("Auth mismatch")]
    Auth {
        /// The plugin that the peer named.
        peer: String,
    },
    /// A rail form of a wrong length or kind.
    #[error("Bad msg")]
    Form,
}

impl ConnectMessage {
    /// The bytes of the message: 20, or 64 with a rail.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(RAIL_CONNECT_BYTES);
        out.extend(VERSION);
        // The last byte of the field stays zero: the peer compares the name as a C string.
        out.extend(self.auth_plugin.bytes().take(AUTH_NAME_BYTES - 1));
        out.resize(LEGACY_CONNECT_BYTES, 0);
        if let Some(rail) = &self.rail {
            out.extend(RAIL.to_be_bytes());
            out.extend(rail.rate_limit_bytes.to_be_bytes());
            out.extend(rail.recv_quota_bytes.to_be_bytes());
            out.extend(rail.connections.to_be_bytes());
            out.extend(rail.index.to_be_bytes());
            out.extend(rail.pid.to_be_bytes());
            out.extend(rail.rail_gn.to_be_bytes());
            out.extend(rail.msg_enabled.to_be_bytes());
        }
        out
    }

    /// Reads the peer's message, with the checks of an LDMS server in their order: version, authentication
    /// plugin, form. The client checks the server's message the same way.
    ///
    /// # Errors
    /// The reason to refuse the peer.
    pub fn decode(bytes: &[u8], auth_plugin: &str) -> Result<ConnectMessage, ConnectError> {
        let mut fields = Fields::new(bytes);
        let version = fields.array().ok_or(ConnectError::Truncated)?;
        if version != VERSION {
            return Err(ConnectError::Version(version));
        }
        let name_end = bytes.len().min(LEGACY_CONNECT_BYTES);
        let name = String::from_utf8_lossy(until_nul(&bytes[VERSION.len()..name_end])).into_owned();
        if name != auth_plugin {
            return Err(ConnectError::Auth { peer: name });
        }
        let rail = if bytes.len() < LEAST_RAIL_CONNECT_BYTES {
            None
        } else if bytes.len() == RAIL_CONNECT_BYTES {
            Some(decode_rail(&bytes[LEGACY_CONNECT_BYTES..]).ok_or(ConnectError::Form)?)
        } else {
            return Err(ConnectError::Form);
        };
        Ok(ConnectMessage { auth_plugin: name, rail })
    }

    /// The numbering that a server with this message understands (section 3.2).
    #[must_use]
    pub fn numbering(&self) -> Numbering {
        if self.rail.is_some() { Numbering::V45 } else { Numbering::V44 }
    }
}

fn decode_rail(bytes: &[u8]) -> Option<Rail> {
    let mut fields = Fields::new(bytes);
    if fields.u32()? != RAIL {
        return None;
    }
    Some(Rail {
        rate_limit_bytes: fields.i64()?,
        recv_quota_bytes: fields.i64()?,
        connections: fields.u32()?,
        index: fields.u32()?,
        pid: fields.u32()?,
        rail_gn: fields.u64()?,
        msg_enabled: fields.u32()?,
    })
}

const DIR: u32 = 0;
const DIR_CANCEL: u32 = 1;
const SEND_MSG: u32 = 5;
const AUTH_MSG: u32 = 6;
const SET_DELETE: u32 = 9;
const DIR_REPLY: u32 = 0x101;
const DIR_CANCEL_REPLY: u32 = 0x102;
const DIR_UPDATE_REPLY: u32 = 0x103;
const SET_DELETE_REPLY: u32 = 0x10a;

const REQUEST_HEADER_BYTES: usize = 16;

/// One message of the LDMS transport (section 3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LdmsMessage {
    /// Asks for the directory of metric sets (3.5). The xid comes back in the replies.
    Dir {
        /// Chosen by the client.
        xid: u64,
        /// 0: list once; otherwise list, then tell of changes.
        flags: u32,
    },
    /// Ends the notification of changes.
    DirCancel {
        /// Chosen by the client.
        xid: u64,
    },
    /// Carries one record of the request protocol (3.3).
    Send(Vec<u8>),
    /// Carries one message of the authentication plugin (3.4).
    Auth(Vec<u8>),
    /// A metric set goes away, and the peer's consent is wanted (3.7).
    SetDelete {
        /// Chosen by the server; the answer repeats it.
        xid: u64,
        /// The instance name of the set.
        instance: String,
    },
    /// A part of the directory (3.5).
    DirReply(Directory),
    /// The answer to DIR_CANCEL.
    DirCancelReply {
        /// That of the DIR_CANCEL.
        xid: u64,
        /// 0 or an errno.
        code: i32,
    },
    /// A change of the directory (3.5).
    DirUpdate(Directory),
    /// Consent to the deletion of a set (3.7).
    SetDeleteReply {
        /// That of the SET_DELETE.
        xid: u64,
        /// 0 or an errno.
        code: i32,
        /// When the SET_DELETE was received, in seconds and nanoseconds since 1970; an LDMS 4.4 leaves it out.
        received: Option<(u64, u64)>,
    },
    /// Anything else, to be ignored: quotas, the message service, remote sets.
    Other {
        /// The xid of the message.
        xid: u64,
        /// The command code.
        command: u32,
        /// What follows the header of 16 bytes.
        body: Vec<u8>,
    },
}

/// The contents of a DIR_REPLY or DIR_UPDATE_REPLY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// That of the DIR.
    pub xid: u64,
    /// 0 or an errno; with an errno there is no text.
    pub code: i32,
    /// 0 list, 1 deleted, 2 added, 3 updated.
    pub kind: u32,
    /// Whether further messages with the same xid follow.
    pub more: bool,
    /// A JSON text, perhaps NUL-terminated, perhaps not quite valid (3.5).
    pub json: Vec<u8>,
}

/// Why the payload of a SENDRECV is not an LDMS message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The payload ends within a field.
    #[error("an LDMS message of {0} bytes ends too early")]
    Truncated(usize),
    /// A length field disagrees with the length of the payload.
    #[error("an LDMS message of {actual_bytes} bytes declares {declared_bytes}")]
    Length {
        /// What the field says.
        declared_bytes: usize,
        /// What the enclosing message says.
        actual_bytes: usize,
    },
}

impl LdmsMessage {
    /// The bytes of the message, the payload of a SENDRECV.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            LdmsMessage::Dir { xid, flags } => message(*xid, DIR, &[&flags.to_be_bytes()]),
            LdmsMessage::DirCancel { xid } => message(*xid, DIR_CANCEL, &[]),
            LdmsMessage::Send(record) => message(0, SEND_MSG, &[&length_field(record.len()), record]),
            LdmsMessage::Auth(bytes) => message(0, AUTH_MSG, &[&length_field(bytes.len()), bytes]),
            LdmsMessage::SetDelete { xid, instance } => {
                message(*xid, SET_DELETE, &[&length_field(instance.len() + 1), instance.as_bytes(), &[0]])
            }
            LdmsMessage::DirReply(directory) => directory.encode(DIR_REPLY),
            LdmsMessage::DirUpdate(directory) => directory.encode(DIR_UPDATE_REPLY),
            LdmsMessage::DirCancelReply { xid, code } => message(*xid, DIR_CANCEL_REPLY, &[&code.to_be_bytes()]),
            LdmsMessage::SetDeleteReply { xid, code, received: None } => {
                message(*xid, SET_DELETE_REPLY, &[&code.to_be_bytes()])
            }
            LdmsMessage::SetDeleteReply { xid, code, received: Some((seconds, nanoseconds)) } => message(
                *xid,
                SET_DELETE_REPLY,
                &[&code.to_be_bytes(), &seconds.to_be_bytes(), &nanoseconds.to_be_bytes()],
            ),
            LdmsMessage::Other { xid, command, body } => message(*xid, *command, &[body]),
        }
    }

    /// Reads the payload of a SENDRECV.
    ///
    /// # Errors
    /// The payload is malformed: the peer is not to be talked to any longer.
    pub fn decode(bytes: &[u8]) -> Result<LdmsMessage, TransportError> {
        let too_short = || TransportError::Truncated(bytes.len());
        let mut fields = Fields::new(bytes);
        let xid = fields.u64().ok_or_else(too_short)?;
        let command = fields.u32().ok_or_else(too_short)?;
        let declared_bytes = fields.length().ok_or_else(too_short)?;
        if declared_bytes != bytes.len() {
            return Err(TransportError::Length { declared_bytes, actual_bytes: bytes.len() });
        }
        Ok(match command {
            DIR => LdmsMessage::Dir { xid, flags: fields.u32().ok_or_else(too_short)? },
            DIR_CANCEL => LdmsMessage::DirCancel { xid },
            SEND_MSG => LdmsMessage::Send(sized(fields)?.to_vec()),
            AUTH_MSG => LdmsMessage::Auth(sized(fields)?.to_vec()),
            SET_DELETE => {
                let instance = String::from_utf8_lossy(until_nul(sized(fields)?)).into_owned();
                LdmsMessage::SetDelete { xid, instance }
            }
            DIR_REPLY => LdmsMessage::DirReply(Directory::decode(xid, fields).ok_or_else(too_short)?),
            DIR_UPDATE_REPLY => LdmsMessage::DirUpdate(Directory::decode(xid, fields).ok_or_else(too_short)?),
            DIR_CANCEL_REPLY => LdmsMessage::DirCancelReply { xid, code: fields.i32().ok_or_else(too_short)? },
            SET_DELETE_REPLY => {
                let code = fields.i32().ok_or_else(too_short)?;
                LdmsMessage::SetDeleteReply { xid, code, received: fields.u64().zip(fields.u64()) }
            }
            command => LdmsMessage::Other { xid, command, body: fields.rest().to_vec() },
        })
    }
}

fn message(xid: u64, command: u32, parts: &[&[u8]]) -> Vec<u8> {
    let length = REQUEST_HEADER_BYTES + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut out = Vec::with_capacity(length);
    out.extend(xid.to_be_bytes());
    out.extend(command.to_be_bytes());
    out.extend(length_field(length));
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// A length field and exactly as many bytes.
fn sized(mut fields: Fields<'_>) -> Result<&[u8], TransportError> {
    let declared_bytes = fields.length().ok_or(TransportError::Truncated(REQUEST_HEADER_BYTES))?;
    let content = fields.rest();
    if content.len() == declared_bytes {
        Ok(content)
    } else {
        Err(TransportError::Length { declared_bytes, actual_bytes: content.len() })
    }
}

impl Directory {
    fn encode(&self, command: u32) -> Vec<u8> {
        message(
            self.xid,
            command,
            &[
                &self.code.to_be_bytes(),
                &self.kind.to_be_bytes(),
                &u32::from(self.more).to_be_bytes(),
                &length_field(self.json.len()),
                &self.json,
            ],
        )
    }

    fn decode(xid: u64, mut fields: Fields<'_>) -> Option<Directory> {
        let code = fields.i32()?;
        let kind = fields.u32()?;
        let more = fields.u32()? != 0;
        // The length field of the text is unreliable; that of the message is not.
        let _json_length = fields.u32()?;
        Some(Directory { xid, code, kind, more, json: fields.rest().to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with_rail() -> ConnectMessage {
        ConnectMessage { auth_plugin: "none".into(), rail: Some(Rail::single(4242, 7)) }
    }

    #[test]
    fn a_server_refuses_connect_messages_as_ldms_does() {
        let good = with_rail().encode();
        let refusal = |bytes: &[u8]| ConnectMessage::decode(bytes, "none").unwrap_err().to_string();

        assert_eq!(refusal(&good[..3]), "Bad conn msg");
        let mut other_version = good.clone();
        other_version[3] = 1;
        assert_eq!(refusal(&other_version), "Version mismatch");
        let munge = ConnectMessage { auth_plugin: "munge".into(), rail: None }.encode();
        assert_eq!(refusal(&munge), "Auth mismatch");
        assert_eq!(refusal(&good[..63]), "Bad msg");
        assert_eq!(refusal(&[&good[..], &[0; 4]].concat()), "Bad msg");
        let mut other_kind = good;
        other_kind[23] = 2;
        assert_eq!(refusal(&other_kind), "Bad msg");
    }

    #[test]
    fn connect_messages_below_24_bytes_are_of_the_4_4_line() {
        let bytes = [&with_rail().encode()[..20], &[0; 3]].concat();
        for length in [19, 20, 23] {
            let message = ConnectMessage::decode(&bytes[..length], "none").unwrap();
            assert_eq!(message.numbering(), Numbering::V44, "{length} bytes");
        }
        assert_eq!(ConnectMessage::decode(&with_rail().encode(), "none").unwrap().numbering(), Numbering::V45);
    }

    #[test]
    fn a_length_that_disagrees_with_the_payload_is_an_error() {
        let mut bytes = LdmsMessage::Send(b"abc".to_vec()).encode();
        bytes[19] = 2;
        let error = TransportError::Length { declared_bytes: 2, actual_bytes: 3 };
        assert_eq!(LdmsMessage::decode(&bytes), Err(error));
        bytes.pop();
        let error = TransportError::Length { declared_bytes: 23, actual_bytes: 22 };
        assert_eq!(LdmsMessage::decode(&bytes), Err(error));
    }

    fn any_message() -> impl Strategy<Value = LdmsMessage> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..100);
        let directory = || {
            (any::<u64>(), any::<i32>(), 0_u32..4, any::<bool>(), bytes())
                .prop_map(|(xid, code, kind, more, json)| Directory { xid, code, kind, more, json })
        };
        prop_oneof![
            (any::<u64>(), any::<u32>()).prop_map(|(xid, flags)| LdmsMessage::Dir { xid, flags }),
            any::<u64>().prop_map(|xid| LdmsMessage::DirCancel { xid }),
            bytes().prop_map(LdmsMessage::Send),
            bytes().prop_map(LdmsMessage::Auth),
            (any::<u64>(), "[^\\x00]{0,40}").prop_map(|(xid, instance)| LdmsMessage::SetDelete { xid, instance }),
            directory().prop_map(LdmsMessage::DirReply),
            directory().prop_map(LdmsMessage::DirUpdate),
            (any::<u64>(), any::<i32>()).prop_map(|(xid, code)| LdmsMessage::DirCancelReply { xid, code }),
            (any::<u64>(), any::<i32>(), any::<Option<(u64, u64)>>())
                .prop_map(|(xid, code, received)| LdmsMessage::SetDeleteReply { xid, code, received }),
            (any::<u64>(), 10_u32..19, bytes()).prop_map(|(xid, command, body)| LdmsMessage::Other {
                xid,
                command,
                body
            }),
        ]
    }

    proptest! {
        #[test]
        fn messages_survive_encoding(message in any_message()) {
            prop_assert_eq!(LdmsMessage::decode(&message.encode()), Ok(message));
        }

        #[test]
        fn a_message_cut_short_is_an_error(message in any_message(), cut in 1_usize..60) {
            let bytes = message.encode();
            let end = bytes.len().saturating_sub(cut);
            prop_assert!(LdmsMessage::decode(&bytes[..end]).is_err());
        }

        #[test]
        fn random_bytes_do_no_harm(
            command in prop_oneof![0_u32..20, 0x100_u32..0x110],
            body in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let _ = LdmsMessage::decode(&message(1, command, &[&body]));
            let _ = LdmsMessage::decode(&body);
            let _ = ConnectMessage::decode(&body, "none");
        }
    }
}

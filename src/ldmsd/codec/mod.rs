//! Bytes into messages and back, for both ends of a connection; no sockets, no clock, no panics.
//!
//! One module a layer, from the outside in (the wire specification, section 1):
//!
//! | layer | module | unit |
//! |---|---|---|
//! | zap `sock` | [`zap`] | [`Frame`]: connection set-up, or a carrier of one LDMS message |
//! | LDMS transport | [`transport`] | [`LdmsMessage`]: authentication, directory, or a carrier of one record |
//! | ldmsd records | [`record`] | a message of the request protocol, cut into records |
//! | ldmsd requests | [`request`] | [`Request`] and [`Response`] with their attributes |
//!
//! Integers are big-endian. Fields that the other side only copies back (`xid`, `ctxt`) are read as
//! big-endian too, so that writing them again restores the same bytes.

mod field;
pub mod record;
pub mod request;
pub mod transport;
pub mod zap;

pub use record::{Message, RecordAssembler, RecordError};
pub use request::{EncodeError, Request, Response, WireAttribute};
pub use transport::{ConnectError, ConnectMessage, LdmsMessage, TransportError};
pub use zap::{Frame, FrameBody, FrameDecoder, ZapError};

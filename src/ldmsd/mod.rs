//! The conversation with an ldmsd: the wire, authentication, commands, status.
//!
//! Nothing here knows of clusters or placement. The codec turns bytes into messages and back without
//! touching a socket, so that recorded conversations replay through it.

pub mod attribute;
pub mod auth;
pub mod client;
pub mod codec;
pub mod command;
pub mod hazards;
pub mod line;
pub mod observation;
pub mod session;
pub mod status;
pub mod verb;

pub use attribute::Attribute;
pub use client::{Client, ClientError, CloseReason, ConnectOptions};
pub use codec::{Request, Response};
pub use command::{Command, CommandError};
pub use hazards::Hazard;
pub use line::LineError;
pub use observation::Observation;
pub use verb::{Numbering, Verb};

//! The conversation with an ldmsd: the wire, authentication, commands, status.
//!
//! Nothing here knows of clusters or placement. The codec turns bytes into messages and back without
//! touching a socket, so that recorded conversations replay through it.

pub mod attribute;
pub mod auth;
pub mod codec;
pub mod command;
pub mod observation;
pub mod session;
pub mod verb;

pub use attribute::Attribute;
pub use command::Command;
pub use observation::Observation;
pub use verb::{Numbering, Verb};

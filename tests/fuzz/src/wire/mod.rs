//! What comes from the other end of a connection to an ldmsd, layer by layer.

pub mod auth;
pub mod records;
pub mod session;
pub mod status;
pub mod transport;
pub mod zap;

//! Simulated daemons behind real sockets: one task a daemon, one a connection.

mod accept;
mod connect;
mod faults;
mod node;
mod pause;
mod peer;
mod wire;

pub(crate) use faults::{Fault, FaultKind};
pub(crate) use node::{ListenAddress, Node, NodeConfig};
pub(crate) use wire::now_us;

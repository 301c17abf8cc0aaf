//! Load balancing and configuration of LDMS monitoring clusters.
pub mod cli;
pub mod cluster;
pub mod conductor;
pub mod desired;
pub mod ldmsd;
pub mod notation;
pub mod placement;
pub mod runtime;
pub mod spec;
pub mod store;

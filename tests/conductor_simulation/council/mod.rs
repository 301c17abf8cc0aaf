//! Worlds with several instances of maestro, which meet at a board as they do in etcd.

pub(crate) mod board;
mod by_sets;
pub(crate) mod faults;
mod member;
mod scenarios;
mod seeds;

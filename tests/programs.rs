//! The programs as an operator runs them: real processes, a real etcd, and a simulated cluster on loopback.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what fails in a test fails the test")]

#[path = "programs/authentication.rs"]
mod authentication;
#[path = "programs/balance.rs"]
mod balance;
#[path = "programs/checking.rs"]
mod checking;
#[path = "programs/command_line.rs"]
mod command_line;
#[path = "programs/etcd_access.rs"]
mod etcd_access;
#[path = "programs/failover.rs"]
mod failover;
#[path = "programs/generating.rs"]
mod generating;
#[path = "programs/interrupted_loading.rs"]
mod interrupted_loading;
#[path = "programs/loading.rs"]
mod loading;
#[path = "programs/mistakes.rs"]
mod mistakes;
#[path = "programs/remembering.rs"]
mod remembering;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "programs/site.rs"]
mod site;
#[path = "programs/sources.rs"]
mod sources;
#[path = "programs/stopping.rs"]
mod stopping;
mod support;

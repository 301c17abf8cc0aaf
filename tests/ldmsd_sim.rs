//! The simulated ldmsd behaves as real ones do.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on shall fail")]

#[path = "ldmsd_sim/cluster.rs"]
mod cluster;
#[path = "../examples/ldmsd_sim/daemon/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the example uses the rest")]
mod daemon;
#[path = "ldmsd_sim/hazards.rs"]
mod hazards;
#[path = "../examples/ldmsd_sim/journal.rs"]
#[allow(dead_code, reason = "the example uses the rest")]
mod journal;
#[path = "ldmsd_sim/recorded_clients.rs"]
mod recorded_clients;
#[path = "ldmsd_sim/replay.rs"]
mod replay;
mod support;
#[path = "ldmsd_sim/timing.rs"]
mod timing;
#[path = "ldmsd_sim/virtual_cluster.rs"]
#[allow(dead_code, reason = "the simulation of the control loop uses the rest")]
mod virtual_cluster;

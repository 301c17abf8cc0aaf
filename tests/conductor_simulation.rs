//! The control loop against simulated daemons on a virtual clock, with faults drawn from seeds.
//!
//! `MAESTRO_SIMULATION_SEEDS=5000 cargo test --test conductor_simulation` tries more worlds than the usual run;
//! `MAESTRO_SIMULATION_SEED=42 MAESTRO_SIMULATION_TRACE=1` shows one.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall fail")]
#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "small numbers")]

#[path = "conductor_simulation/agent.rs"]
mod agent;
#[path = "conductor_simulation/by_sets.rs"]
mod by_sets;
#[path = "conductor_simulation/clusters.rs"]
mod clusters;
#[path = "conductor_simulation/council/mod.rs"]
mod council;
#[path = "../examples/ldmsd_sim/daemon/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the example uses the rest")]
mod daemon;
#[path = "conductor_simulation/faults.rs"]
mod faults;
#[path = "conductor_simulation/history.rs"]
mod history;
#[path = "conductor_simulation/invariants.rs"]
mod invariants;
#[path = "conductor_simulation/meddling.rs"]
mod meddling;
#[path = "conductor_simulation/remembering.rs"]
mod remembering;
#[path = "conductor_simulation/scenarios.rs"]
mod scenarios;
#[path = "conductor_simulation/seeds.rs"]
mod seeds;
#[path = "conductor_simulation/standby.rs"]
mod standby;
#[path = "conductor_simulation/subscriptions.rs"]
mod subscriptions;
#[path = "ldmsd_sim/virtual_cluster.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod virtual_cluster;
#[path = "conductor_simulation/world.rs"]
mod world;

//! From any state that a daemon may be in, maestro makes it right or says why not, and then sends nothing more.
//!
//! One simulated ldmsd has been through things: an earlier configuration, the Python maestro, an operator with
//! `ldmsd_controller`, restarts, an orderly pass that broke off in the middle. Then maestro comes and makes its passes:
//! it looks at the daemon, sends the changes, and looks again. `PROPTEST_CASES=5000 cargo test --test convergence` tries
//! more pasts than the usual run.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall fail")]

#[path = "../examples/ldmsd_sim/daemon/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the example uses the rest")]
mod daemon;
#[path = "convergence/maestro_model.rs"]
mod maestro_model;
#[path = "convergence/past.rs"]
mod past;
#[path = "convergence/properties.rs"]
mod properties;
#[path = "convergence/shown.rs"]
mod shown;
#[path = "convergence/site.rs"]
mod site;
#[path = "ldmsd_sim/virtual_cluster.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod virtual_cluster;

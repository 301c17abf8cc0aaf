//! Load balancing and configuration of LDMS monitoring clusters.
//!
//! Two programs stand on this library: `maestro_ctrl` reads the YAML of a cluster and loads it into etcd, `maestro`
//! keeps every ldmsd of the cluster as that configuration says and balances the producers over the aggregators.
//!
//! ```text
//! LDMS YAML ──spec──▶ Cluster ──store──▶ etcd ──store──▶ Cluster ─┐
//!                                                                 ├─ placement ─▶ who collects what ─┐
//!                 ldmsd ◀──runtime (ldmsd::Client)──▶ Observation ┘                                  │
//!                                                     desired: what each daemon should be ◀──────────┘
//!                                                          │
//!                                             the difference to the Observation ─▶ Commands ─▶ runtime
//! ```
//!
//! A module uses only those above it:
//!
//! | module | holds | never |
//! |---|---|---|
//! | [`notation`] | hostlists, intervals, permissions, names in counting order | knows LDMS or YAML |
//! | [`cluster`] | the resolved model of a cluster | does I/O |
//! | [`spec`] | YAML in three dialects → `Cluster`, with diagnostics that have a place; etcd.yaml | talks to etcd or ldmsd |
//! | [`ldmsd`] | the wire: codec, authentication, commands, status, an async client | knows clusters |
//! | [`placement`] | who collects what: pure functions | reads a clock |
//! | [`members`] | several instances: who is who, who leads, who has which daemon: pure functions | talks to anybody |
//! | [`desired`] | what a daemon should be, the commands that make it so, the file that it can start with | does I/O |
//! | [`store`] | configurations in etcd or in a file, and the keys that they are kept under | decides anything |
//! | [`conductor`] | the control loop: events and the time in, actions out | does I/O, reads a clock |
//! | [`runtime`] | tokio tasks around the conductor: an agent for each daemon, the configuration source | decides anything |
//! | [`local`] | the daemons of this machine: which they are, their processes | talks to a daemon |
//! | [`cli`] | what the two programs share on the command line | |
//! | [`ctrl`] | what `maestro_ctrl` does, an action a file | |
//!
//! Facts about the daemons are taken from two specifications, by section: *the wire specification* (what travels between
//! a controller and an ldmsd) and *operations of a live ldmsd* (what a running daemon bears, measured). What real daemons
//! showed besides, on the lines 4.4, 4.5 and the development head 4.5.1:
//!
//! - `prdcr_start` connects at a random moment within the first second, drawn for each producer, not at a full second.
//! - `updtr_add` without an offset makes an updater that ticks at full multiples of its interval: an offset of zero.
//! - A backslash in a status reply stands for itself: regular expressions come back as they were sent.
//! - `set_stats` without attributes kills a 4.4 daemon, `start` with interval 0 any daemon: what kills or harms one is
//!   never sent ([`ldmsd::hazards`]).
//! - A command with an invalid regular expression is refused with a code of the expression's compiler, 2 or 8 for
//!   example, and `start` takes a negative interval without complaint.
//! - `stream_publish` is answered at once; only `stream_new` never is.
//! - With `naive` a daemon counts 65534 as its own user, who may do everything, whatever its options say; and that is who
//!   a client without options is.

pub mod cli;
pub mod cluster;
pub mod conductor;
pub mod ctrl;
pub mod desired;
pub mod ldmsd;
pub mod local;
pub mod members;
pub mod notation;
pub mod placement;
pub mod runtime;
pub mod spec;
pub mod store;

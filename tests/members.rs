//! Several maestros share the work: three processes, three members of etcd, and a simulated cluster.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what fails in a test fails the test")]

#[path = "members/by_sets.rs"]
mod by_sets;
#[path = "members/council.rs"]
mod council;
#[path = "members/daemons_lost.rs"]
mod daemons_lost;
#[path = "members/etcd_lost.rs"]
mod etcd_lost;
#[path = "members/identity.rs"]
mod identity;
#[path = "members/instances_lost.rs"]
mod instances_lost;
#[path = "members/shares.rs"]
mod shares;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "programs/site.rs"]
mod site;
mod support;

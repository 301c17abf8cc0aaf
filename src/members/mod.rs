//! Several instances of maestro that share the work: who is who, and who has which daemon. Pure.
//!
//! - `identity`: which of the `maestro_members` of etcd.yaml we are.
//! - `role`: whether we lead, follow or stand still, by who is alive.
//! - `share`: which daemons are ours.
//!
//! Everything follows from the list of members and from who of them is alive, which all of them see alike in etcd. So
//! they agree without a word; while one sees a change a moment later than another, two have the same daemon or none
//! has, and both are harmless: what is sent is computed from what the daemon says of itself.

mod identity;
mod role;
mod share;

pub use identity::{IdentityError, find_self};
pub use role::{LiveMember, Role, able, majority, role};
pub use share::share;

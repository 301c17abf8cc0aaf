//! Who collects what.
//!
//! Placement is a pure function of the group, of the aggregators that may be used and of what is
//! placed already: no clock, no I/O, no order of a hash map. The same inputs give the same placement.

mod advertised;
mod by_sets;
mod ownership;
mod producers;
pub mod sets;
mod standby;
mod standby_by_sets;

pub use advertised::place_advertised;
pub use by_sets::{Load, PlacementBySets, SetWeights, ShareMove, place_by_sets};
pub use ownership::Ownership;
pub use producers::{home_blocks, place_on_standbys, place_producers};
pub use standby::place_standbys;
pub use standby_by_sets::place_standbys_by_sets;

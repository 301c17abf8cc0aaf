//! Where a cluster is kept.

mod difference;
mod file;

use std::collections::BTreeMap;

pub use difference::{Change, Difference};
pub use file::{FileEvent, watch_file};

/// A configuration as the store keeps it: keys relative to the cluster's prefix (`daemons/sampler-1/addr`) and their
/// texts.
pub type Tree = BTreeMap<String, String>;

//! Where a cluster is kept.

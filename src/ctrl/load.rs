//! Loading a cluster into etcd, the main job.

use std::path::Path;

use anyhow::Context;

use crate::cli;
use crate::store::{EtcdOptions, EtcdStore, layout};

/// Reads the YAML of a cluster and writes what differs from what etcd holds under `prefix`.
///
/// # Errors
/// The YAML cannot be read or has errors, or etcd does not take it; etcd then holds what it held before, for readers.
pub fn load(ldms_config: &Path, prefix: &str, etcd: &EtcdOptions) -> anyhow::Result<()> {
    let tree = layout::write(&cli::read_cluster(ldms_config)?);
    let store = EtcdStore::new(etcd)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let report = runtime.block_on(store.save(prefix, &tree, |_| ()))?;
    println!("LDMS cluster configuration saved to etcd cluster.");
    eprintln!("{prefix}: {} changed, {} added, {} removed", report.changed, report.added, report.removed);
    Ok(())
}

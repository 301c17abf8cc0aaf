//! Loading a cluster into etcd, the main job.

use std::path::Path;

use anyhow::Context;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use super::progress::Bar;
use crate::cli;
use crate::store::{EtcdOptions, EtcdStore, SaveReport, StoreError, Tree, layout};

/// Reads the YAML of a cluster and writes what differs from what etcd holds under `prefix`.
///
/// # Errors
/// The YAML cannot be read or has errors, etcd does not take it, or a signal interrupts; etcd then holds what it held
/// before, for readers.
pub fn load(ldms_config: &Path, prefix: &str, etcd: &EtcdOptions) -> anyhow::Result<()> {
    let tree = layout::write(&cli::read_cluster(ldms_config)?);
    let store = EtcdStore::new(etcd)?;
    let runtime = Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let report = runtime.block_on(save(&store, prefix, &tree))?;
    println!("LDMS cluster configuration saved to etcd cluster.");
    eprintln!("{prefix}: {} changed, {} added, {} removed", report.changed, report.added, report.removed);
    Ok(())
}

async fn save(store: &EtcdStore, prefix: &str, tree: &Tree) -> anyhow::Result<SaveReport> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stop = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    let bar = Bar::new();
    let saving = store.save_unless(prefix, tree, |progress| bar.show(&progress), stop);
    let saved: Result<SaveReport, StoreError> = bar.shown_if_it_lasts(saving).await;
    Ok(saved?)
}

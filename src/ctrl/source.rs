//! Where an action finds the cluster.

use std::path::PathBuf;

use anyhow::Context;

use crate::cli;
use crate::cluster::Cluster;
use crate::runtime::read_from_etcd;
use crate::store::{EtcdOptions, EtcdStore};

/// Where the cluster is described.
#[derive(Debug, Clone)]
pub enum Source {
    /// In a YAML file.
    File(PathBuf),
    /// In etcd, where it has been loaded.
    Etcd {
        /// How etcd is reached.
        options: EtcdOptions,
        /// The name of the cluster; `None` for the only one there.
        prefix: Option<String>,
    },
}

impl Source {
    pub(super) fn read(self) -> anyhow::Result<Cluster> {
        match self {
            Source::File(path) => cli::read_cluster(&path),
            Source::Etcd { options, prefix } => {
                let store = EtcdStore::new(&options)?;
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
                runtime.block_on(read_from_etcd(&store, prefix))
            }
        }
    }
}

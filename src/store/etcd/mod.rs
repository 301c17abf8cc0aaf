//! A configuration in etcd.
//!
//! Every member of the etcd cluster is as good as the others: the store asks one of them and goes on to the next when
//! it does not answer. A configuration is saved by difference, `last_updated` last, and read as it was when
//! `last_updated` was written; so a reader sees a whole configuration or none, also while a save is running or after
//! one died half way.

mod advice;
mod batch;
mod connection;
mod lock;
mod membership;
mod mirror;
mod options;
mod read;
mod save;
mod state;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use connection::{Members, Session};
pub use membership::{Membership, Presence, Publication, Topic};
pub use options::{EtcdOptions, Login, TlsFiles};
pub use save::{Progress, SaveReport};
pub use state::{Guard, State, StateChanges, StateKey, StateKind, StateStore, Terms};
use tokio::sync::mpsc;
pub use watch::WatchEvent;

use super::keys::ClusterKeys;
use super::{Snapshot, StoreError, Tree};
use crate::notation::Name;

/// The configurations of clusters in etcd. Cheap to clone; every operation has a connection of its own.
#[derive(Debug, Clone)]
pub struct EtcdStore {
    members: Arc<Members>,
}

impl EtcdStore {
    /// Prepares access to etcd. Reads the TLS files, does not connect: whether etcd answers is seen by the operations.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoMember`]; [`StoreError::TlsFile`] where a certificate or key cannot be read.
    pub fn new(options: &EtcdOptions) -> Result<EtcdStore, StoreError> {
        Ok(EtcdStore { members: Arc::new(Members::new(options)?) })
    }

    /// Makes `tree` the configuration of the cluster `prefix`, writing only what differs. Where nothing does,
    /// `last_updated` is not touched either: there is nothing to tell a running maestro.
    ///
    /// A save that dies half way leaves readers with the configuration from before; saving again completes it.
    /// While another save of the same cluster is running, this one waits a little for its end.
    ///
    /// # Errors
    ///
    /// [`StoreError::AnotherSave`], [`StoreError::LockLost`] and [`StoreError::Overtaken`] where programs save at the
    /// same time; [`StoreError::InvalidPrefix`] and [`StoreError::InvalidKey`]; and those of a connection.
    pub async fn save(
        &self,
        prefix: &str,
        tree: &Tree,
        on_progress: impl FnMut(Progress) + Send,
    ) -> Result<SaveReport, StoreError> {
        self.save_unless(prefix, tree, on_progress, std::future::pending()).await
    }

    /// As [`EtcdStore::save`], but gives up as soon as `stop` is ready, with the lock given back: readers then have the
    /// configuration from before, and the next save need not wait.
    ///
    /// # Errors
    ///
    /// [`StoreError::Interrupted`] where it was stopped, and those of [`EtcdStore::save`].
    pub async fn save_unless(
        &self,
        prefix: &str,
        tree: &Tree,
        on_progress: impl FnMut(Progress) + Send,
        stop: impl Future<Output = ()>,
    ) -> Result<SaveReport, StoreError> {
        save::save(&mut self.session(), &ClusterKeys::new(prefix)?, tree, on_progress, stop).await
    }

    /// The configuration of the cluster `prefix` as its last completed save left it; none where etcd has nothing of it.
    ///
    /// # Errors
    ///
    /// [`StoreError::HalfSaved`] where only the remains of an incomplete save are left; [`StoreError::InvalidPrefix`],
    /// [`StoreError::NotText`]; and those of a connection.
    pub async fn load(&self, prefix: &str) -> Result<Option<Snapshot>, StoreError> {
        read::load(&mut self.session(), &ClusterKeys::new(prefix)?).await
    }

    /// The names of the clusters whose configuration etcd holds, in order.
    ///
    /// # Errors
    ///
    /// Those of a connection.
    pub async fn clusters(&self) -> Result<Vec<String>, StoreError> {
        read::clusters(&mut self.session()).await
    }

    /// Follows the configuration of the cluster `prefix` until the receiver is dropped; an outage of etcd is an event,
    /// not an end. `seen` is the snapshot that the caller has already; without it, the present configuration is the first
    /// event. What etcd tells of the keys that change is taken in as it comes, so that a configuration is there as soon
    /// as its save is complete, however large it is.
    ///
    /// Needs a running tokio runtime.
    ///
    /// # Errors
    ///
    /// [`StoreError::InvalidPrefix`]
    pub fn watch(&self, prefix: &str, seen: Option<Snapshot>) -> Result<mpsc::Receiver<WatchEvent>, StoreError> {
        Ok(watch::spawn(self.members.clone(), ClusterKeys::new(prefix)?, seen))
    }

    /// What maestro keeps for itself about the cluster `prefix`, apart from its configuration.
    ///
    /// # Errors
    ///
    /// [`StoreError::InvalidPrefix`]
    pub fn state(&self, prefix: &str) -> Result<StateStore, StoreError> {
        Ok(StateStore::new(self.session(), ClusterKeys::new(prefix)?))
    }

    /// Takes the place of `member` among the instances of maestro that share the cluster `prefix`, and keeps it with
    /// leases of that length, which etcd counts in seconds, at least two.
    ///
    /// Needs a running tokio runtime.
    ///
    /// # Errors
    ///
    /// [`StoreError::InvalidPrefix`]
    pub fn join(&self, prefix: &str, member: &Name, lease: Duration) -> Result<Membership, StoreError> {
        Ok(Membership::join(&self.members, ClusterKeys::new(prefix)?, member, lease))
    }

    fn session(&self) -> Session {
        Session::new(self.members.clone())
    }
}

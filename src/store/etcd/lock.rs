//! One save of a cluster at a time.

use std::time::Duration;

use etcd_client::{Compare, CompareOp, PutOptions, Txn, TxnOp, TxnOpResponse};
use tokio::time::{Instant, sleep, timeout};

use super::Progress;
use super::connection::Session;
use crate::store::StoreError;
use crate::store::keys::ClusterKeys;

/// How long a lock outlives a program that died holding it, in seconds.
const LEASE_SECONDS: i64 = 10;

/// The lease is renewed when this much time has passed.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(3);

/// How long a save waits for another one: somewhat longer than the lock of a dead one lasts.
const PATIENCE: Duration = Duration::from_secs(LEASE_SECONDS as u64 + 5);

/// How long etcd may take to take the lock back; the operator is waiting for the end of the program.
const RELEASE_DEADLINE: Duration = Duration::from_secs(2);

/// How often it looks meanwhile.
const LOOK_INTERVAL: Duration = Duration::from_millis(300);

/// The right to change a cluster's configuration. It is bound to a lease, so it ends soon after the program does.
pub(super) struct SaveLock {
    key: String,
    prefix: String,
    lease: i64,
    renewed: Instant,
}

impl SaveLock {
    /// Waits for the lock, and tells whom it waits for.
    ///
    /// # Errors
    ///
    /// [`StoreError::AnotherSave`] where somebody else keeps it.
    pub(super) async fn acquire(
        session: &mut Session,
        keys: &ClusterKeys,
        on_progress: &mut (impl FnMut(Progress) + Send),
    ) -> Result<SaveLock, StoreError> {
        let give_up = Instant::now() + PATIENCE;
        let lease = session.call(|mut client| async move { client.lease_grant(LEASE_SECONDS, None).await }).await?.id();
        let mut lock =
            SaveLock { key: keys.save_lock(), prefix: keys.prefix().to_owned(), lease, renewed: Instant::now() };
        loop {
            match lock.try_acquire(session).await {
                Ok(None) => return Ok(lock),
                Ok(Some(owner)) if Instant::now() < give_up => {
                    on_progress(Progress::Waiting { owner });
                    sleep(LOOK_INTERVAL).await;
                }
                outcome => {
                    lock.release(session).await;
                    let owner = outcome?.unwrap_or_default();
                    return Err(StoreError::AnotherSave { prefix: keys.prefix().to_owned(), owner });
                }
            }
            lock.keep(session).await?;
        }
    }

    /// Takes the lock, or tells who has it.
    async fn try_acquire(&self, session: &mut Session) -> Result<Option<String>, StoreError> {
        let take = Txn::new()
            .when([Compare::version(&*self.key, CompareOp::Equal, 0)])
            .and_then([TxnOp::put(&*self.key, describe_self(), Some(PutOptions::new().with_lease(self.lease)))])
            .or_else([TxnOp::get(&*self.key, None)]);
        let answer = session.transact(&take).await?;
        if answer.succeeded() {
            return Ok(None);
        }
        let Some(TxnOpResponse::Get(holder)) = answer.op_responses().into_iter().next() else { return Ok(None) };
        Ok(match holder.kvs().first() {
            // An earlier try of ours whose answer was lost.
            Some(holder) if holder.lease() == self.lease => None,
            Some(holder) => Some(String::from_utf8_lossy(holder.value()).into_owned()),
            None => Some(String::new()),
        })
    }

    /// The condition for a transaction that only the holder of the lock may make.
    pub(super) fn is_held(&self) -> Compare {
        Compare::lease(&*self.key, CompareOp::Equal, self.lease)
    }

    /// Renews the lease when it is time to.
    ///
    /// # Errors
    ///
    /// [`StoreError::LockLost`] where it has expired.
    pub(super) async fn keep(&mut self, session: &mut Session) -> Result<(), StoreError> {
        if self.renewed.elapsed() < RENEWAL_INTERVAL {
            return Ok(());
        }
        let lease = self.lease;
        let is_alive = session
            .call(|mut client| async move {
                match client.lease_keep_alive(lease).await {
                    Ok(_) => Ok(true),
                    Err(etcd_client::Error::LeaseKeepAliveError(_)) => Ok(false),
                    Err(error) => Err(error),
                }
            })
            .await?;
        if !is_alive {
            return Err(StoreError::LockLost { prefix: self.prefix.clone() });
        }
        self.renewed = Instant::now();
        Ok(())
    }

    /// Gives the lock back. Where that fails, it ends with its lease.
    pub(super) async fn release(self, session: &mut Session) {
        let lease = self.lease;
        let revoked = session.call(|mut client| async move { client.lease_revoke(lease).await });
        match timeout(RELEASE_DEADLINE, revoked).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(key = self.key, %error, "the save lock is left to expire"),
            Err(_) => tracing::debug!(key = self.key, "the save lock is left to expire: etcd does not answer"),
        }
    }
}

/// What our keys tell another operator about us.
pub(super) fn describe_self() -> String {
    let process = std::process::id();
    match std::fs::read_to_string("/proc/sys/kernel/hostname") {
        Ok(host) => format!("process {process} on {}", host.trim()),
        Err(_) => format!("process {process}"),
    }
}

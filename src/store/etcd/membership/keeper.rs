//! Staying alive in the eyes of etcd, and looking who else is.
//!
//! A lease of a few seconds holds our key. Several times in that span it is renewed and the keys of all members are
//! read, in a way that only a majority of etcd can answer. What was read holds for the length of the lease, counted
//! from when the question went out, less a margin: by then we stop by ourselves, before etcd lets anybody else begin.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Compare, CompareOp, GetOptions, KeyValue, PutOptions, Txn, TxnOp};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::{Own, Presence};
use crate::members::LiveMember;
use crate::notation::Name;
use crate::store::StoreError;
use crate::store::etcd::connection::{Members, Patience, Session};
use crate::store::etcd::lock::describe_self;

/// In a lease, so many times it is renewed.
const BEATS_IN_A_LEASE: u32 = 6;

/// A member of etcd that needs more than this part of a lease for an answer is passed over.
const ANSWERS_IN_A_LEASE: u32 = 5;

/// We give up by this part of a lease before etcd does.
const MARGINS_IN_A_LEASE: u32 = 6;

/// The shortest time between two looks, whatever happens.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);

/// The lease under which we live at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) lease: i64,
    /// When our key was created.
    pub(super) since_revision: i64,
    /// Which member of etcd answers us.
    pub(super) through: usize,
}

/// Resolves when we are alive through another member of etcd than when this was called.
pub(super) async fn moved(mut life: watch::Receiver<Option<Life>>) {
    let begun = life.borrow_and_update().map(|life| life.through);
    let elsewhere = |life: &Option<Life>| begun.is_some() && life.is_some_and(|life| Some(life.through) != begun);
    if life.wait_for(elsewhere).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Keeps our lease.
pub(super) struct Keeper {
    own: Own,
    session: Session,
    lease: Duration,
    presence: watch::Sender<Presence>,
    life: watch::Sender<Option<Life>>,
    /// Somebody came or went.
    look: Arc<Notify>,
    /// The lease that etcd has of us.
    granted: Option<i64>,
}

/// What one look at the members has shown.
enum Seen {
    /// We are among them, since that revision.
    Alive { since_revision: i64, live: Vec<LiveMember> },
    /// Our place is empty, or somebody else's.
    Dead,
}

impl Keeper {
    pub(super) fn new(
        members: &Arc<Members>,
        own: Own,
        lease: Duration,
        presence: watch::Sender<Presence>,
        look: Arc<Notify>,
    ) -> Keeper {
        let answer = lease / ANSWERS_IN_A_LEASE;
        let patience = Patience { connect: answer, request: answer, recovery: Duration::ZERO };
        let session = Session::with_patience(members.clone(), patience);
        Keeper { own, session, lease, presence, life: watch::Sender::new(None), look, granted: None }
    }

    /// The lease under which we live, as it changes.
    pub(super) fn leases(&self) -> watch::Receiver<Option<Life>> {
        self.life.subscribe()
    }

    /// Lives and is reborn, until it is to `resign`.
    pub(super) async fn run(mut self, resign: Arc<Notify>) {
        tokio::select! {
            () = resign.notified() => {}
            () = self.keep_living() => {}
        }
        if let Some(lease) = self.granted {
            self.revoke(lease).await;
        }
    }

    async fn keep_living(&mut self) {
        loop {
            let reason = match self.join().await {
                Ok(lease) => self.stay(lease).await,
                Err(reason) => reason,
            };
            self.life.send_replace(None);
            self.presence.send_replace(Presence::Absent { reason });
            sleep(self.lease / BEATS_IN_A_LEASE).await;
        }
    }

    /// Takes our place with a new lease; the lease, or why it cannot be.
    async fn join(&mut self) -> Result<i64, String> {
        let said = |error: StoreError| error.to_string();
        let key = self.own.live_key();
        let present = self.get(key.clone(), None).await.map_err(said)?;
        if let Some(other) = present.first() {
            // An earlier try of ours whose answer was lost.
            if let Some(lease) = self.granted.filter(|lease| *lease == other.lease()) {
                return Ok(lease);
            }
            let other = String::from_utf8_lossy(other.value());
            return Err(format!("another maestro is member {} ({other}): waiting for its end", self.own.me));
        }
        // Rather longer than what we count on.
        let seconds = i64::try_from(self.lease.as_millis().div_ceil(1000)).unwrap_or(i64::MAX);
        let granted = self.session.call(|mut client| async move { client.lease_grant(seconds, None).await });
        let lease = granted.await.map_err(said)?.id();
        self.granted = Some(lease);
        let take = Txn::new().when([Compare::version(&*key, CompareOp::Equal, 0)]).and_then([TxnOp::put(
            &*key,
            describe_self(),
            Some(PutOptions::new().with_lease(lease)),
        )]);
        // Whether it succeeded is seen by the first look, as is an earlier try whose answer was lost.
        self.session.transact(&take).await.map_err(said)?;
        Ok(lease)
    }

    /// Renews the lease until it is lost, and tells why.
    async fn stay(&mut self, lease: i64) -> String {
        let mut trouble = None;
        loop {
            let sent = Instant::now();
            match self.look(lease).await {
                Ok(Seen::Alive { since_revision, live }) => {
                    trouble = None;
                    let life = Some(Life { lease, since_revision, through: self.session.current() });
                    self.life.send_if_modified(|known| std::mem::replace(known, life) != life);
                    let valid_until = sent + self.lease - self.lease / MARGINS_IN_A_LEASE;
                    self.presence.send_replace(Presence::Present { since_revision, valid_until, live, trouble: None });
                }
                Ok(Seen::Dead) => {
                    self.granted = None;
                    return match trouble {
                        Some(trouble) => trouble,
                        None => format!("etcd has given up member {}", self.own.me),
                    };
                }
                Err(error) => {
                    let reason = error.to_string();
                    self.presence.send_if_modified(|presence| match presence {
                        Presence::Present { trouble, .. } => trouble.replace(reason.clone()).as_ref() != Some(&reason),
                        Presence::Absent { .. } => false,
                    });
                    trouble = Some(reason);
                }
            }
            sleep(SHORTEST_PAUSE).await;
            tokio::select! {
                () = sleep_until(sent + self.lease / BEATS_IN_A_LEASE) => {}
                () = self.look.notified() => {}
            }
        }
    }

    /// Renews the lease and sees who is alive.
    async fn look(&mut self, lease: i64) -> Result<Seen, StoreError> {
        let root = self.own.live_root();
        let key = self.own.live_key();
        let answer = self.session.call(|client| {
            let (root, mut renewing, mut reading) = (root.clone(), client.clone(), client);
            async move {
                let renewed = async {
                    match renewing.lease_keep_alive(lease).await {
                        Ok(_) => Ok(true),
                        Err(etcd_client::Error::LeaseKeepAliveError(_)) => Ok(false),
                        Err(error) => Err(error),
                    }
                };
                let options = GetOptions::new().with_prefix();
                tokio::try_join!(renewed, reading.get(root, Some(options)))
            }
        });
        let (renewed, mut found) = answer.await?;
        let found = found.take_kvs();
        let own = found.iter().find(|entry| entry.key() == key.as_bytes() && entry.lease() == lease);
        let Some(own) = own.filter(|_| renewed) else { return Ok(Seen::Dead) };
        let since_revision = own.create_revision();
        let live = found.iter().filter_map(|entry| live_member(&root, entry));
        Ok(Seen::Alive { since_revision, live: live.collect() })
    }

    async fn get(&mut self, key: String, options: Option<GetOptions>) -> Result<Vec<KeyValue>, StoreError> {
        let answer = self.session.call(|mut client| {
            let (key, options) = (key.clone(), options.clone());
            async move { client.get(key, options).await }
        });
        Ok(answer.await?.take_kvs())
    }

    async fn revoke(&mut self, lease: i64) {
        if let Err(error) = self.session.call(|mut client| async move { client.lease_revoke(lease).await }).await {
            tracing::debug!(%error, "our place among the maestro members is left to expire");
        }
    }
}

fn live_member(root: &str, entry: &KeyValue) -> Option<LiveMember> {
    let name = std::str::from_utf8(entry.key()).ok()?.strip_prefix(root)?;
    Some(LiveMember { name: Name::from(name), since_revision: entry.create_revision() })
}

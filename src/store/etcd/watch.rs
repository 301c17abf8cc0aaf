//! Following a configuration through changes and outages.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{EventType, WatchOptions};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::connection::{Members, Session};
use super::read::{last_updated, load};
use crate::store::keys::ClusterKeys;
use crate::store::{Snapshot, StoreError};

/// The pause after the first failure; it doubles with every further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Events that wait for a slow receiver. Changes do not pile up: what is read is always the newest configuration.
const QUEUE_LENGTH: usize = 4;

/// What a watch of a configuration tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEvent {
    /// The configuration is another one; all of it. Several saves in short succession may be one change.
    Changed(Snapshot),
    /// The configuration cannot be read, for this reason. Told once; the watch goes on trying.
    Unavailable(String),
    /// The configuration can be read again. What has changed meanwhile follows.
    Available,
}

/// Starts a watch as a task of its own, which ends when the receiver is dropped.
pub(super) fn spawn(members: Arc<Members>, keys: ClusterKeys, seen: Option<i64>) -> mpsc::Receiver<WatchEvent> {
    let (events, receiver) = mpsc::channel(QUEUE_LENGTH);
    let watch = Watch { members, keys, seen, is_available: true, events };
    tokio::spawn(watch.run());
    receiver
}

struct Watch {
    members: Arc<Members>,
    keys: ClusterKeys,
    /// The revision of the snapshot that the receiver has.
    seen: Option<i64>,
    /// What the receiver was told last of etcd.
    is_available: bool,
    events: mpsc::Sender<WatchEvent>,
}

/// Why the watch stopped following.
enum Stop {
    ReceiverGone,
    Failed(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Stop {
        Stop::Failed(error)
    }
}

impl Watch {
    async fn run(mut self) {
        let mut failures = 0;
        let receiver = self.events.clone();
        loop {
            let mut was_following = false;
            let stop = tokio::select! {
                () = receiver.closed() => return,
                Err(stop) = self.follow(&mut was_following) => stop,
            };
            let Stop::Failed(error) = stop else { return };
            if was_following {
                // A broken connection is not an outage yet: the next member, or the same one, may answer at once.
                failures = 0;
            } else if self.is_available {
                self.is_available = false;
                if self.events.send(WatchEvent::Unavailable(error.to_string())).await.is_err() {
                    return;
                }
            }
            tracing::debug!(cluster = self.keys.prefix(), %error, failures, "the watch of the configuration broke off");
            tokio::select! {
                () = receiver.closed() => return,
                () = sleep(pause(failures)) => {}
            }
            failures += 1;
        }
    }

    /// Delivers the configuration if it is another one than the receiver has, then every change, until something fails.
    /// `was_following` is set as soon as a change could not have been missed any more.
    async fn follow(&mut self, was_following: &mut bool) -> Result<Infallible, Stop> {
        let mut session = Session::new(self.members.clone());
        let state = last_updated(&mut session, &self.keys).await?;
        let key = self.keys.last_updated();
        // From the revision of that reading on, so that nothing falls between the two.
        let options = WatchOptions::new().with_start_revision(state.now + 1);
        let mut changes = session
            .call(|mut client| {
                let (key, options) = (key.clone(), options.clone());
                async move { client.watch(key, Some(options)).await }
            })
            .await?;
        // Another one, not a newer one: an etcd restored from a backup has gone back in time.
        let news = match state.saved {
            Some(revision) if self.seen != Some(revision) => load(&mut session, &self.keys).await?,
            _ => None,
        };
        *was_following = true;
        if !self.is_available {
            self.is_available = true;
            self.tell(WatchEvent::Available).await?;
        }
        self.deliver(news).await?;
        loop {
            let change = changes.message().await.map_err(|error| session.broken_off(&error))?;
            let Some(change) = change.filter(|change| !change.canceled()) else {
                return Err(session
                    .broken_off(&etcd_client::Error::WatchError("the watch was cancelled".into()))
                    .into());
            };
            let newest = change.events().iter().filter(|event| event.event_type() == EventType::Put);
            let newest = newest.filter_map(|event| event.kv()).map(etcd_client::KeyValue::mod_revision).max();
            if newest.is_some() && newest > self.seen {
                let news = load(&mut session, &self.keys).await?;
                self.deliver(news).await?;
            }
        }
    }

    async fn deliver(&mut self, news: Option<Snapshot>) -> Result<(), Stop> {
        let Some(snapshot) = news else { return Ok(()) };
        self.seen = Some(snapshot.revision);
        self.tell(WatchEvent::Changed(snapshot)).await
    }

    async fn tell(&self, event: WatchEvent) -> Result<(), Stop> {
        self.events.send(event).await.map_err(|_| Stop::ReceiverGone)
    }
}

/// The pause after a number of failures. With jitter, so that many instances do not come back at the same moment.
pub(super) fn pause(failures: u32) -> Duration {
    let longest = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST_PAUSE);
    longest.mul_f64(rand::random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_limit() {
        assert!(pause(0) <= FIRST_PAUSE);
        assert!(pause(3) > FIRST_PAUSE);
        for failures in [10, 100, u32::MAX] {
            assert!(pause(failures) >= LONGEST_PAUSE / 2 && pause(failures) <= LONGEST_PAUSE);
        }
    }
}

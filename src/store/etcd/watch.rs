//! Following a configuration through changes and outages.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{EventType, WatchOptions, WatchResponse};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::connection::{ANSWER_SIZE_LIMIT_BYTES, Members, Session};
use super::mirror::{KeyEvent, Mirror, News, NotText};
use super::read::{LastUpdated, last_updated, load, read_now};
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
    /// The configuration is another one. Several saves in short succession may be one change.
    Changed {
        /// All of it.
        snapshot: Snapshot,
        /// The sections (first steps of keys) in which it may differ from the one that this watch told of before, or
        /// that its owner had; `None` for any.
        sections: Option<BTreeSet<String>>,
    },
    /// The configuration cannot be read, for this reason. Told once; the watch goes on trying.
    Unavailable(String),
    /// The configuration can be read again. What has changed meanwhile follows.
    Available,
}

/// Starts a watch as a task of its own, which ends when the receiver is dropped.
pub(super) fn spawn(members: Arc<Members>, keys: ClusterKeys, seen: Option<Snapshot>) -> mpsc::Receiver<WatchEvent> {
    let (events, receiver) = mpsc::channel(QUEUE_LENGTH);
    let mirror = seen.as_ref().map(Mirror::of_snapshot);
    let seen = seen.map(|snapshot| snapshot.revision);
    let watch = Watch { members, keys, seen, mirror, is_available: true, events };
    tokio::spawn(watch.run());
    receiver
}

struct Watch {
    members: Arc<Members>,
    keys: ClusterKeys,
    /// The revision of the snapshot that the receiver has.
    seen: Option<i64>,
    /// What etcd holds, as far as it is known; without it, each change is read as a whole.
    mirror: Option<Mirror>,
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
        let (news, begin) = self.catch_up(&mut session).await?;
        let (root, options) = (self.keys.root(), WatchOptions::new().with_range(self.keys.end()));
        let options = options.with_start_revision(begin);
        let mut changes = session
            .call(|client| {
                let options = options.clone();
                async move {
                    let mut client = client.watch_client().max_decoding_message_size(ANSWER_SIZE_LIMIT_BYTES);
                    client.watch(root, Some(options)).await
                }
            })
            .await?;
        *was_following = true;
        if !self.is_available {
            self.is_available = true;
            self.tell(WatchEvent::Available).await?;
        }
        self.deliver(news).await?;
        loop {
            let change = changes.message().await.map_err(|error| session.broken_off(&error))?;
            let Some(change) = change.filter(|change| !change.canceled()) else {
                // It may be that etcd no longer knows what happened since. What there is now it does.
                self.mirror = None;
                return Err(session
                    .broken_off(&etcd_client::Error::WatchError("the watch was cancelled".into()))
                    .into());
            };
            let news = match self
                .mirror
                .as_mut()
                .map(|mirror| mirror.apply(&self.keys, change.events().iter().filter_map(KeyEvent::of)))
            {
                Some(Ok(news)) => news,
                Some(Err(NotText)) | None => {
                    self.mirror = None;
                    self.read_what_is_saved(&mut session, &change).await?
                }
            };
            self.deliver(news).await?;
        }
    }

    /// Gives the configuration if it is another one than the receiver has, and the revision from which changes have to be
    /// followed.
    async fn catch_up(&mut self, session: &mut Session) -> Result<(Option<News>, i64), StoreError> {
        let LastUpdated { saved, now } = last_updated(session, &self.keys).await?;
        // Another one, not a newer one: an etcd restored from a backup has gone back in time.
        if saved.is_some()
            && saved != self.seen
            && let Some(snapshot) = load(session, &self.keys).await?
        {
            self.mirror = Some(Mirror::of_snapshot(&snapshot));
            let begin = snapshot.revision + 1;
            return Ok((Some(News { snapshot, sections: None }), begin));
        }
        // In the middle of a save, such an etcd may hold other keys than were mirrored.
        if let Some(mirror) = self.mirror.take_if(|mirror| saved == Some(mirror.revision())) {
            let begin = mirror.revision() + 1;
            self.mirror = Some(mirror);
            return Ok((None, begin));
        }
        self.mirror = match read_now(session, &self.keys, |_| {}).await {
            Ok(contents) if contents.last_updated == saved => Some(Mirror::of_contents(contents)),
            // A save has been completed meanwhile, which is yet to be delivered. Or there is something that is no text,
            // which is an error once it is saved, but somebody may be just about to put it right.
            Ok(_) | Err(StoreError::NotText { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok((None, self.mirror.as_ref().map_or(now, Mirror::revision) + 1))
    }

    /// Where there is no mirror: the configuration, if the change completes a save.
    async fn read_what_is_saved(
        &mut self,
        session: &mut Session,
        change: &WatchResponse,
    ) -> Result<Option<News>, StoreError> {
        let last_updated = self.keys.last_updated();
        let saves = |event: &etcd_client::Event| {
            let is_put = event.event_type() == EventType::Put;
            is_put && event.kv().is_some_and(|entry| entry.key() == last_updated.as_bytes())
        };
        if !change.events().iter().any(saves) {
            return Ok(None);
        }
        let snapshot = load(session, &self.keys).await?;
        self.mirror = snapshot.as_ref().map(Mirror::of_snapshot);
        Ok(snapshot.map(|snapshot| News { snapshot, sections: None }))
    }

    async fn deliver(&mut self, news: Option<News>) -> Result<(), Stop> {
        let Some(News { snapshot, sections }) = news else { return Ok(()) };
        self.seen = Some(snapshot.revision);
        self.tell(WatchEvent::Changed { snapshot, sections }).await
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

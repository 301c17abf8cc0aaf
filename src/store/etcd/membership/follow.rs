//! Following what the others publish.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use etcd_client::{EventType, GetOptions, WatchOptions, WatchResponse};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::sleep;

use super::keeper::{Life, moved};
use super::{Kind, Own, Place, Publication, Topic};
use crate::notation::Name;
use crate::store::StoreError;
use crate::store::document::{self, HEAD, Parts};
use crate::store::etcd::connection::{ANSWER_SIZE_LIMIT_BYTES, Members, Session};
use crate::store::etcd::read::{get, revision_of};
use crate::store::etcd::watch::pause;

/// Keys in one request.
const PAGE_KEYS: i64 = 10_000;

/// Follows the publications.
pub(super) struct Follower {
    members: Arc<Members>,
    own: Own,
    /// Wakes who looks at the members.
    look: Arc<Notify>,
    life: watch::Receiver<Option<Life>>,
    publications: mpsc::Sender<Publication>,
    documents: BTreeMap<String, Document>,
    /// The documents that have changed and were not told yet.
    untold: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Document {
    kind: Kind,
    member: Option<Name>,
    /// What it is about, as was told last.
    told: Option<Topic>,
    parts: Parts,
}

/// Why following stopped.
enum Stop {
    ReceiverGone,
    Failed(StoreError),
    /// The member of etcd that answers is another one now.
    Moved,
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Stop {
        Stop::Failed(error)
    }
}

impl Follower {
    pub(super) fn new(
        members: &Arc<Members>,
        own: Own,
        look: Arc<Notify>,
        life: watch::Receiver<Option<Life>>,
        publications: mpsc::Sender<Publication>,
    ) -> Follower {
        let (documents, untold) = (BTreeMap::new(), BTreeSet::new());
        Follower { members: members.clone(), own, look, life, publications, documents, untold }
    }

    pub(super) async fn run(mut self) {
        let mut failures = 0;
        loop {
            let mut was_complete = false;
            let moved = moved(self.life.clone());
            let stop = tokio::select! {
                Err(stop) = self.follow(&mut was_complete) => stop,
                () = moved => Stop::Moved,
            };
            if was_complete {
                failures = 0;
            }
            match stop {
                Stop::ReceiverGone => return,
                Stop::Moved => {}
                Stop::Failed(error) => {
                    let reason = error.to_string();
                    tracing::debug!(reason, "cannot follow the other maestro members");
                    if self.tell(Publication::Interrupted { reason }).await.is_err() {
                        return;
                    }
                    sleep(pause(failures)).await;
                    failures += 1;
                }
            }
        }
    }

    /// Tells all that is not known yet, then every change.
    async fn follow(&mut self, was_complete: &mut bool) -> Result<Infallible, Stop> {
        let mut session = Session::new(self.members.clone());
        if let Some(life) = *self.life.borrow() {
            session = session.beginning_with(life.through);
        }
        let revision = loop {
            if let Some(revision) = self.read_all(&mut session).await? {
                break revision;
            }
        };
        let options =
            WatchOptions::new().with_range(self.own.keys.behind_instances()).with_start_revision(revision + 1);
        let key = self.own.keys.instances();
        let mut changes = session
            .call(|client| {
                let (key, options) = (key.clone(), options.clone());
                let mut watch = client.watch_client().max_decoding_message_size(ANSWER_SIZE_LIMIT_BYTES);
                async move { watch.watch(key, Some(options)).await }
            })
            .await?;
        *was_complete = true;
        self.tell(Publication::Complete).await?;
        loop {
            let change = changes.message().await.map_err(|error| session.broken_off(&error))?;
            let Some(change) = change.filter(|change| !change.canceled()) else {
                let ended = etcd_client::Error::WatchError("the watch was cancelled".into());
                return Err(session.broken_off(&ended).into());
            };
            self.take_in(&change).await?;
        }
    }

    /// Reads everything at one revision, and tells what differs from what was known. None where etcd compacts faster.
    async fn read_all(&mut self, session: &mut Session) -> Result<Option<i64>, Stop> {
        let mut found: BTreeMap<String, Document> = BTreeMap::new();
        let mut start = self.own.keys.instances().into_bytes();
        let mut revision = 0;
        loop {
            let options = GetOptions::new().with_range(self.own.keys.behind_instances()).with_limit(PAGE_KEYS);
            let Some(mut page) = get(session, &start, &options.with_revision(revision)).await? else { return Ok(None) };
            if revision == 0 {
                revision = revision_of(&page);
            }
            let more = page.more();
            for (key, text) in page.take_kvs().into_iter().map(etcd_client::KeyValue::into_key_value) {
                if let (Ok(key), Ok(text)) = (std::str::from_utf8(&key), String::from_utf8(text))
                    && let Some(Place::Part { document, kind, member, id }) = self.own.place(key)
                {
                    let found = found.entry(document.to_owned()).or_default();
                    found.kind = kind;
                    found.member = member.map(Name::from);
                    found.parts.insert(id.to_owned(), text);
                }
                start = key;
            }
            if !more {
                break;
            }
            start.push(0);
        }
        // Members may have come or gone unseen.
        self.look.notify_one();
        for (key, known) in &mut self.documents {
            if !found.contains_key(key) {
                known.parts.clear();
                self.untold.insert(key.clone());
            }
        }
        for (key, document) in found {
            let known = self.documents.entry(key.clone()).or_default();
            if known.parts != document.parts {
                known.kind = document.kind;
                known.member = document.member;
                known.parts = document.parts;
                self.untold.insert(key);
            }
        }
        self.tell_changes().await?;
        Ok(Some(revision))
    }

    async fn take_in(&mut self, change: &WatchResponse) -> Result<(), Stop> {
        for event in change.events() {
            let Some(entry) = event.kv() else { continue };
            let Ok(key) = std::str::from_utf8(entry.key()) else { continue };
            let (document, kind, member, id) = match self.own.place(key) {
                Some(Place::Live(_)) => {
                    self.look.notify_one();
                    continue;
                }
                Some(Place::Part { document, kind, member, id }) => (document, kind, member, id),
                None => continue,
            };
            let known = self.documents.entry(document.to_owned()).or_default();
            known.kind = kind;
            known.member = member.map(Name::from);
            if event.event_type() == EventType::Put {
                known.parts.insert(id.to_owned(), String::from_utf8_lossy(entry.value()).into_owned());
            } else {
                known.parts.remove(id);
            }
            // The head is written last; a document without one is gone.
            if id == HEAD {
                self.untold.insert(document.to_owned());
            }
        }
        self.tell_changes().await
    }

    async fn tell_changes(&mut self) -> Result<(), Stop> {
        while let Some(key) = self.untold.first().cloned() {
            if let Some(publication) = self.publication(&key) {
                self.tell(publication).await?;
            }
            // Not before: this may end at any moment, to be begun again.
            self.untold.remove(&key);
            if let Some(document) = self.documents.get_mut(&key)
                && !document.parts.contains_key(HEAD)
            {
                document.told = None;
                if document.parts.is_empty() {
                    self.documents.remove(&key);
                }
            }
        }
        Ok(())
    }

    /// What there is to tell of a document; nothing of our own, of one whose parts do not belong together, and of one
    /// that came and went.
    fn publication(&mut self, key: &str) -> Option<Publication> {
        let document = self.documents.get_mut(key)?;
        let member = document.member.clone();
        if member.as_ref() == Some(&self.own.me) {
            return None;
        }
        if !document.parts.contains_key(HEAD) {
            return Some(Publication::Changed { member, topic: document.told.clone()?, value: None });
        }
        // Parts that do not belong together are being written, or their writer has died: the next head tells.
        let (name, value) = document::join(&document.parts)?;
        let topic = document.kind.of(Name::from(name));
        document.told = Some(topic.clone());
        Some(Publication::Changed { member, topic, value: Some(value) })
    }

    async fn tell(&self, publication: Publication) -> Result<(), Stop> {
        self.publications.send(publication).await.map_err(|_| Stop::ReceiverGone)
    }
}

//! Publishing, as long as we are alive: only what differs, in as few transactions as etcd takes.
//!
//! A request that got no answer may still be on its way, in a member of etcd that hangs. So each transaction counts,
//! and holds only directly after the one before: what comes late is void.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use etcd_client::{Compare, CompareOp, GetOptions, PutOptions, Txn, TxnOp, TxnOpResponse};
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::keeper::{Life, moved};
use super::{Own, Topic};
use crate::store::StoreError;
use crate::store::document::{self, HEAD, Parts};
use crate::store::etcd::batch::batches;
use crate::store::etcd::connection::{Members, Session};
use crate::store::etcd::read::get;
use crate::store::etcd::watch::pause;

/// Documents that are written together, at most. What changes meanwhile is then written once.
const DOCUMENTS_AT_ONCE: usize = 1000;

/// Something to publish.
#[derive(Debug)]
pub(super) struct Order {
    /// The life in which it was decided.
    pub(super) since_revision: i64,
    pub(super) topic: Topic,
    pub(super) value: Option<Value>,
}

/// Publishes what it is told to.
pub(super) struct Publisher {
    members: Arc<Members>,
    own: Own,
    session: Session,
    life: watch::Receiver<Option<Life>>,
    orders: mpsc::UnboundedReceiver<Order>,
    /// The life that the rest is about.
    since_revision: i64,
    /// What has to be written. Groups come first.
    pending: BTreeMap<Topic, Option<Value>>,
    /// The parts that etcd has of each document, as far as we know.
    written: BTreeMap<Topic, Parts>,
    /// The documents of which etcd may have other parts.
    uncertain: BTreeSet<Topic>,
    /// The revision of our last transaction; 0 before the first one in a life.
    last_write: i64,
}

/// How a transaction went.
enum Outcome {
    Written,
    /// We have been given up.
    Dead,
    /// An earlier transaction, whose answer was lost, has been carried out.
    Behind,
}

/// One key and its text, or none for one that has to go.
struct Operation {
    key: String,
    text: Option<String>,
    lease: Option<i64>,
}

impl Publisher {
    pub(super) fn new(
        members: &Arc<Members>,
        own: Own,
        life: watch::Receiver<Option<Life>>,
        orders: mpsc::UnboundedReceiver<Order>,
    ) -> Publisher {
        Publisher {
            members: members.clone(),
            own,
            session: Session::new(members.clone()),
            life,
            orders,
            since_revision: 0,
            pending: BTreeMap::new(),
            written: BTreeMap::new(),
            uncertain: BTreeSet::new(),
            last_write: 0,
        }
    }

    pub(super) async fn run(mut self) {
        let mut failures = 0;
        loop {
            if self.pending.is_empty() {
                let Some(order) = self.orders.recv().await else { return };
                self.take(order);
            }
            while let Ok(order) = self.orders.try_recv() {
                self.take(order);
            }
            let Some(life) = self.current_life().await else { return };
            if life.since_revision != self.since_revision {
                // What was decided in another life is void; in the new one it will be decided anew.
                self.pending.clear();
                continue;
            }
            let topics: Vec<Topic> = self.pending.keys().take(DOCUMENTS_AT_ONCE).cloned().collect();
            let moved = moved(self.life.clone());
            let written = tokio::select! {
                written = self.write(&topics, life) => Some(written),
                () = moved => None,
            };
            match written {
                Some(Ok(Outcome::Written)) => {
                    failures = 0;
                    continue;
                }
                Some(Ok(Outcome::Dead)) => self.pending.clear(),
                Some(Ok(Outcome::Behind)) => {}
                Some(Err(error)) => {
                    tracing::debug!(%error, failures, "cannot publish to the other maestro members");
                    sleep(pause(failures)).await;
                    failures += 1;
                }
                None => {}
            }
            self.uncertain.extend(topics);
            self.session = Session::new(self.members.clone()).beginning_with(life.through);
        }
    }

    fn take(&mut self, order: Order) {
        if order.since_revision != self.since_revision {
            self.since_revision = order.since_revision;
            self.pending.clear();
            self.written.clear();
            self.uncertain.clear();
            self.last_write = 0;
        }
        self.pending.insert(order.topic, order.value);
    }

    async fn current_life(&mut self) -> Option<Life> {
        self.life.wait_for(Option::is_some).await.ok().and_then(|life| *life)
    }

    /// Writes what is pending on some topics.
    async fn write(&mut self, topics: &[Topic], life: Life) -> Result<Outcome, StoreError> {
        let mut operations = Vec::new();
        let mut parts_of: BTreeMap<Topic, Parts> = BTreeMap::new();
        for topic in topics {
            let known = match (self.written.get(topic), topic) {
                _ if self.uncertain.contains(topic) => self.read(topic).await?,
                (Some(parts), _) => parts.clone(),
                (None, Topic::Group(_)) => self.read(topic).await?,
                // What we said in an earlier life has gone with its lease.
                (None, _) => Parts::new(),
            };
            let lease = topic.is_leased().then_some(life.lease);
            let wanted = match self.pending.get(topic) {
                Some(Some(value)) => document::cut(topic.name(), value.clone()),
                _ => Parts::new(),
            };
            operations.extend(difference(&self.own.document(topic), &known, &wanted, lease));
            parts_of.insert(topic.clone(), wanted);
        }
        let size_bytes = |operation: &Operation| operation.key.len() + operation.text.as_ref().map_or(0, String::len);
        for batch in batches(operations, size_bytes) {
            match self.transact(&batch, life).await? {
                Outcome::Written => {}
                other => return Ok(other),
            }
        }
        for topic in topics {
            self.pending.remove(topic);
            self.uncertain.remove(topic);
        }
        self.written.extend(parts_of);
        Ok(Outcome::Written)
    }

    async fn transact(&mut self, batch: &[Operation], life: Life) -> Result<Outcome, StoreError> {
        let (live, last) = (self.own.live_key(), self.own.last_write_key());
        let counted = TxnOp::put(&*last, "", Some(PutOptions::new().with_lease(life.lease)));
        let transaction = Txn::new()
            .when([
                Compare::create_revision(&*live, CompareOp::Equal, life.since_revision),
                Compare::mod_revision(&*last, CompareOp::Equal, self.last_write),
            ])
            .and_then(std::iter::once(counted).chain(batch.iter().map(Operation::encode)).collect::<Vec<_>>())
            .or_else([TxnOp::get(live, None), TxnOp::get(last, None)]);
        let answer = self.session.transact(&transaction).await?;
        if answer.succeeded() {
            self.last_write = answer.header().map_or(0, etcd_client::ResponseHeader::revision);
            return Ok(Outcome::Written);
        }
        let mut found = answer.op_responses().into_iter().map(|response| match response {
            TxnOpResponse::Get(mut found) => found.take_kvs().into_iter().next(),
            _ => None,
        });
        let (live, last) = (found.next().flatten(), found.next().flatten());
        if live.is_none_or(|live| live.create_revision() != life.since_revision) {
            return Ok(Outcome::Dead);
        }
        self.last_write = last.map_or(0, |last| last.mod_revision());
        Ok(Outcome::Behind)
    }

    /// What etcd has of a document that somebody else may have written.
    async fn read(&mut self, topic: &Topic) -> Result<Parts, StoreError> {
        let root = self.own.document(topic);
        let options = GetOptions::new().with_prefix();
        let found = get(&mut self.session, root.as_bytes(), &options).await?;
        let mut parts = Parts::new();
        for (key, text) in
            found.into_iter().flat_map(|mut found| found.take_kvs()).map(etcd_client::KeyValue::into_key_value)
        {
            if let (Ok(key), Ok(text)) = (String::from_utf8(key), String::from_utf8(text))
                && let Some(id) = key.strip_prefix(&root)
            {
                parts.insert(id.to_owned(), text);
            }
        }
        Ok(parts)
    }
}

/// What has to be done to a document, its head last.
fn difference(root: &str, known: &Parts, wanted: &Parts, lease: Option<i64>) -> Vec<Operation> {
    let operation =
        |id: &str, text: Option<&String>| Operation { key: format!("{root}{id}"), text: text.cloned(), lease };
    let gone = known.keys().filter(|id| !wanted.contains_key(*id)).map(|id| operation(id, None));
    let new =
        wanted.iter().filter(|(id, text)| known.get(*id) != Some(text)).map(|(id, text)| operation(id, Some(text)));
    let mut operations: Vec<Operation> = gone.chain(new).collect();
    operations.sort_by_key(|operation| operation.key.ends_with(&format!("/{HEAD}")));
    operations
}

impl Operation {
    fn encode(&self) -> TxnOp {
        let options = self.lease.map(|lease| PutOptions::new().with_lease(lease));
        match &self.text {
            Some(text) => TxnOp::put(&*self.key, &**text, options),
            None => TxnOp::delete(&*self.key, None),
        }
    }
}

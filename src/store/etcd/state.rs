//! What maestro keeps for itself about a cluster: small texts by kind and name, apart from the configuration.

use std::collections::BTreeMap;

use etcd_client::{Compare, CompareOp, GetOptions, PutOptions, Txn, TxnOp};

use super::batch::batches;
use super::connection::Session;
use super::read::{get, revision_of};
use crate::store::StoreError;
use crate::store::keys::ClusterKeys;

/// Keys in one request.
const PAGE_KEYS: i64 = 10_000;

/// How often a reading begins anew because etcd dropped the revision it was reading at.
const ATTEMPTS: usize = 3;

/// What a piece of state is about, which says where it lies: under `/maestro/PREFIX/KIND/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StateKind {
    /// What maestro knows of a daemon that the daemon does not show.
    Daemons,
    /// The producers that the aggregators of a group may have because of maestro.
    Producers,
}

impl StateKind {
    /// The step of the key.
    pub(crate) fn word(self) -> &'static str {
        match self {
            StateKind::Daemons => "daemons",
            StateKind::Producers => "producers",
        }
    }
}

/// The name of a piece of state: `/maestro/PREFIX/KIND/NAME`, or `…/NAME/PART`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateKey {
    /// What it is about.
    pub kind: StateKind,
    /// Of which daemon or group; a slash in it is escaped.
    pub name: String,
    /// The number of the part, where a piece is so large that it is kept in several.
    pub part: Option<u16>,
}

/// What is to be written: the text of each key, or that there is to be none.
pub type StateChanges = BTreeMap<StateKey, Option<String>>;

/// All state of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// The texts.
    pub entries: BTreeMap<StateKey, String>,
    /// etcd's revision at which all this was so.
    pub revision: i64,
}

/// A condition under which a write is valid: a key is there and is still the one that was created at that revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// The key, as etcd has it.
    pub key: String,
    /// The revision at which it was created.
    pub create_revision: i64,
}

/// The terms of a write. Without any, it is made in any case and stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// Nothing is written where this does not hold.
    pub guard: Option<Guard>,
    /// What is put goes with this lease.
    pub lease: Option<i64>,
}

/// maestro's own state of one cluster, over one connection.
pub struct StateStore {
    session: Session,
    keys: ClusterKeys,
}

impl StateStore {
    pub(super) fn new(session: Session, keys: ClusterKeys) -> StateStore {
        StateStore { session, keys }
    }

    /// All state of a kind, as it was at one moment. A key that maestro would not have written is passed over.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotText`], and those of a connection.
    pub async fn read(&mut self, kind: StateKind) -> Result<State, StoreError> {
        for _ in 0..ATTEMPTS {
            if let Some(state) = self.read_at_once(kind).await? {
                return Ok(state);
            }
        }
        let reason = format!("it compacts faster than {} can be read", self.keys.state_root(kind));
        Err(StoreError::Failed { member: self.session.endpoint().to_owned(), reason })
    }

    /// None where etcd meanwhile dropped the revision that the first page was of.
    async fn read_at_once(&mut self, kind: StateKind) -> Result<Option<State>, StoreError> {
        let root = self.keys.state_root(kind);
        // Behind everything that begins with the closing slash: `0` follows `/`.
        let end = format!("{}0", root.trim_end_matches('/'));
        let mut state = State::default();
        let mut start = root.into_bytes();
        loop {
            let options = GetOptions::new().with_range(&*end).with_limit(PAGE_KEYS).with_revision(state.revision);
            let Some(mut page) = get(&mut self.session, &start, &options).await? else { return Ok(None) };
            if state.revision == 0 {
                state.revision = revision_of(&page);
            }
            let more = page.more();
            for (key, text) in page.take_kvs().into_iter().map(etcd_client::KeyValue::into_key_value) {
                if let Some(entry) = self.keys.read_state_entry(kind, &key) {
                    let not_text = |_| StoreError::NotText { key: String::from_utf8_lossy(&key).into_owned() };
                    state.entries.insert(entry, String::from_utf8(text).map_err(not_text)?);
                }
                start = key;
            }
            if !more {
                return Ok(Some(state));
            }
            start.push(0);
        }
    }

    /// Writes changes, in transactions of as much as etcd takes; so of a large change a part may be seen, and where a
    /// guard fails in the middle, the beginning has been written. A text has to stay below a mebibyte.
    ///
    /// A transaction may reach etcd twice, where the answer to the first was lost.
    ///
    /// # Errors
    ///
    /// [`StoreError::Superseded`] where the guard does not hold, and those of a connection.
    pub async fn write(&mut self, changes: &StateChanges, terms: &Terms) -> Result<(), StoreError> {
        let size_bytes = |(key, text): &(&StateKey, &Option<String>)| {
            self.keys.state_entry(key).len() + text.as_ref().map_or(0, String::len)
        };
        let options = terms.lease.map(|lease| PutOptions::new().with_lease(lease));
        for batch in batches(changes, size_bytes) {
            let operations = batch.into_iter().map(|(key, text)| {
                let key = self.keys.state_entry(key);
                match text {
                    Some(text) => TxnOp::put(key, text.as_str(), options.clone()),
                    None => TxnOp::delete(key, None),
                }
            });
            let guard = terms.guard.iter();
            let guard =
                guard.map(|guard| Compare::create_revision(&*guard.key, CompareOp::Equal, guard.create_revision));
            let transaction = Txn::new().when(guard.collect::<Vec<_>>()).and_then(operations.collect::<Vec<_>>());
            let answer = self.session.transact(&transaction).await?;
            if !answer.succeeded() {
                return Err(StoreError::Superseded { prefix: self.keys.prefix().to_owned() });
            }
        }
        Ok(())
    }
}

//! What outlives the process, in etcd: written behind, so that no command ever waits for it.
//!
//! Notes are collected for a second and written together; of several about the same thing only the last counts. Where
//! etcd is away they are kept, as many as there are daemons, and written when it is back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use crate::conductor::{Memo, Memory};
use crate::notation::Name;
use crate::store::{EtcdStore, State, StateChanges, StateKey, StateKind, StateStore, StoreError, Terms};

/// How long notes are collected.
const COLLECTING: Duration = Duration::from_secs(1);
/// The longest pause after etcd did not take them.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long the end of the program waits for the last ones.
const CLOSING: Duration = Duration::from_secs(1);

/// Where the conductor's notes go. Dropping it loses what was not written yet.
#[derive(Debug)]
pub struct Notebook(Option<Writing>);

#[derive(Debug)]
struct Writing {
    pages: Arc<Pages>,
    task: JoinHandle<()>,
}

/// What is to be written.
#[derive(Debug, Default)]
struct Pages {
    changes: Mutex<StateChanges>,
    added: Notify,
    closing: Notify,
}

impl Notebook {
    /// For one that has nothing to write in: what is noted is forgotten.
    #[must_use]
    pub fn none() -> Notebook {
        Notebook(None)
    }

    /// Reads what an earlier maestro has noted of the cluster `prefix`, and begins to write there. What cannot be
    /// understood is passed over, with a warning.
    ///
    /// # Errors
    /// etcd cannot be read.
    pub async fn open(store: &EtcdStore, prefix: &str) -> Result<(Memory, Notebook), StoreError> {
        let mut state = store.state(prefix)?;
        let memory = Memory {
            daemons: understood(state.read(StateKind::Daemons).await?, |key| Name::from(key.name)),
            producers: understood(state.read(StateKind::Producers).await?, |key| {
                (Name::from(key.name), key.part.unwrap_or_default())
            }),
        };
        let pages = Arc::new(Pages::default());
        let task = tokio::spawn(write_behind(state, Arc::clone(&pages)));
        Ok((memory, Notebook(Some(Writing { pages, task }))))
    }

    /// Takes a note, to be written soon.
    pub(super) fn write(&self, memo: Memo) {
        let Some(Writing { pages, .. }) = &self.0 else { return };
        let (key, text) = match memo {
            Memo::Daemon { daemon, record } => {
                let key = StateKey { kind: StateKind::Daemons, name: daemon.to_string(), part: None };
                (key, record.map(|record| written(&record)))
            }
            Memo::Producers { group, part, names } => {
                let key = StateKey { kind: StateKind::Producers, name: group.to_string(), part: Some(part) };
                (key, names.map(|names| written(&names)))
            }
        };
        match text.transpose() {
            Ok(text) => drop(pages.lock().insert(key, text)),
            Err(error) => warn!("cannot note what is known of {}: {error}", key.name),
        }
        pages.added.notify_one();
    }

    /// Writes what is left, or gives up after a second.
    pub(super) async fn close(self) {
        let Some(Writing { pages, task }) = self.0 else { return };
        pages.closing.notify_one();
        if timeout(CLOSING, task).await.is_err() {
            debug!("etcd did not take the last notes: the next maestro sends some commands again");
        }
    }
}

impl Pages {
    fn lock(&self) -> std::sync::MutexGuard<'_, StateChanges> {
        // A thread that panicked while it held the lock has left whole entries behind.
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes until the notebook is closed.
async fn write_behind(mut state: StateStore, pages: Arc<Pages>) {
    let mut is_closing = false;
    let mut failures = 0;
    loop {
        if !is_closing {
            tokio::select! {
                () = pages.closing.notified() => is_closing = true,
                () = pages.added.notified() => tokio::select! {
                    () = pages.closing.notified() => is_closing = true,
                    () = sleep(pause(failures)) => {}
                },
            }
        }
        let changes = std::mem::take(&mut *pages.lock());
        match state.write(&changes, &Terms::default()).await {
            Ok(()) => failures = 0,
            Err(error) => {
                // Whoever runs without write access is to know what that costs; an outage is told of by others.
                match &error {
                    StoreError::Unreachable { .. } => debug!("cannot note what is known of the daemons: {error}"),
                    _ if failures == 0 => warn!("cannot note what is known of the daemons for the next start: {error}"),
                    _ => {}
                }
                failures += 1;
                let mut newer = pages.lock();
                for (key, text) in changes {
                    newer.entry(key).or_insert(text);
                }
                pages.added.notify_one();
            }
        }
        if is_closing {
            return;
        }
    }
}

/// How long notes are collected after a number of failures.
fn pause(failures: u32) -> Duration {
    COLLECTING.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST_PAUSE)
}

fn written(value: &impl Serialize) -> Result<String, serde_json::Error> {
    serde_json::to_string(value)
}

fn understood<K: Ord, T: DeserializeOwned>(state: State, name: impl Fn(StateKey) -> K) -> BTreeMap<K, T> {
    let read = state.entries.into_iter().filter_map(|(key, text)| match serde_json::from_str(&text) {
        Ok(value) => Some((name(key), value)),
        Err(error) => {
            warn!("what is noted in etcd of {} cannot be read, and is passed over: {error}", key.name);
            None
        }
    });
    read.collect()
}

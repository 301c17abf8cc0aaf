//! What outlives the process, in etcd: written behind, so that no command ever waits for it.
//!
//! Notes are collected for a second and written together; of several about the same thing only the last counts. Where
//! etcd is away they are kept, as many as there are daemons, and written when it is back.
//!
//! Among several instances each writes what it knows of its own daemons, as long as it is alive, and reads what was
//! written of one that it gets from another.

use std::collections::{BTreeMap, BTreeSet};
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
use crate::store::{EtcdStore, Guard, State, StateChanges, StateKey, StateKind, StateStore, StoreError, Terms};

/// How long notes are collected.
const COLLECTING: Duration = Duration::from_secs(1);
/// The longest pause after etcd did not take them.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long the end of the program waits for the last ones.
const CLOSING: Duration = Duration::from_secs(1);
/// How long the daemons of another instance wait for what that has noted.
const LOOKING_UP: Duration = Duration::from_secs(1);

/// Where the conductor's notes go. Dropping it loses what was not written yet.
#[derive(Debug)]
pub struct Notebook(Option<Writing>);

#[derive(Debug)]
struct Writing {
    reader: Reader,
    pages: Arc<Pages>,
    task: JoinHandle<()>,
}

/// Who reads what others have noted meanwhile.
#[derive(Debug, Clone)]
pub struct Reader {
    store: EtcdStore,
    prefix: String,
}

/// What is to be written.
#[derive(Debug, Default)]
struct Pages {
    changes: Mutex<StateChanges>,
    footing: Mutex<Footing>,
    added: Notify,
    closing: Notify,
}

/// What the right to write stands on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Footing {
    /// There is nobody else.
    #[default]
    Alone,
    /// Being alive among others, which we are not yet, or no more: notes wait.
    Nothing,
    /// Being alive among others.
    Life(Guard),
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
        let memory = read_all(&mut state).await?;
        let pages = Arc::new(Pages::default());
        let task = tokio::spawn(write_behind(state, Arc::clone(&pages)));
        let reader = Reader { store: store.clone(), prefix: prefix.to_owned() };
        Ok((memory, Notebook(Some(Writing { reader, pages, task }))))
    }

    /// Who reads what others note, where there is something to read.
    #[must_use]
    pub fn reader(&self) -> Option<Reader> {
        self.0.as_ref().map(|writing| writing.reader.clone())
    }

    /// From now on notes are written as long as `guard` holds; without one they wait. The daemons are `mine`: what has
    /// not been written yet of others is for who has had them since.
    pub(super) fn stand_on(&self, guard: Option<Guard>, mine: &BTreeSet<Name>) {
        let Some(Writing { pages, .. }) = &self.0 else { return };
        let footing = guard.map_or(Footing::Nothing, Footing::Life);
        if *pages.footing() == footing {
            return;
        }
        let is_ours = |key: &StateKey| key.kind != StateKind::Daemons || mine.contains(&Name::from(key.name.as_str()));
        pages.lock().retain(|key, text| text.is_none() || is_ours(key));
        *pages.footing() = footing;
        pages.added.notify_one();
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
        let Some(Writing { pages, task, .. }) = self.0 else { return };
        pages.closing.notify_one();
        if timeout(CLOSING, task).await.is_err() {
            debug!("etcd did not take the last notes: the next maestro sends some commands again");
        }
    }
}

impl Reader {
    /// What is noted of some daemons, which another instance has had so far. What cannot be read soon is not waited for:
    /// then some commands are sent again.
    pub(super) async fn look_up(self, daemons: BTreeSet<Name>) -> Memory {
        let reading = async {
            let mut memory = read_all(&mut self.store.state(&self.prefix)?).await?;
            memory.daemons.retain(|name, _| daemons.contains(name));
            Ok::<_, StoreError>(memory)
        };
        match timeout(LOOKING_UP, reading).await {
            Ok(Ok(memory)) => return memory,
            Ok(Err(error)) => debug!("what another maestro has noted of its daemons cannot be read: {error}"),
            Err(_) => debug!("what another maestro has noted of its daemons cannot be read in time"),
        }
        Memory::default()
    }
}

impl Pages {
    fn lock(&self) -> std::sync::MutexGuard<'_, StateChanges> {
        // A thread that panicked while it held the lock has left whole entries behind.
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn footing(&self) -> std::sync::MutexGuard<'_, Footing> {
        self.footing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes notes back that could not be written; newer ones stay.
    fn put_back(&self, changes: StateChanges) {
        let mut newer = self.lock();
        for (key, text) in changes {
            newer.entry(key).or_insert(text);
        }
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
        let footing = pages.footing().clone();
        let guard = match &footing {
            Footing::Alone => None,
            Footing::Life(guard) => Some(guard.clone()),
            Footing::Nothing if is_closing => return,
            Footing::Nothing => continue,
        };
        let changes = std::mem::take(&mut *pages.lock());
        match state.write(&changes, &Terms { guard, lease: None }).await {
            Ok(()) => failures = 0,
            Err(StoreError::Superseded { .. }) => {
                // They wait for another life: what became of these daemons meanwhile is known then.
                pages.put_back(changes);
                let mut current = pages.footing();
                if *current == footing {
                    *current = Footing::Nothing;
                } else {
                    pages.added.notify_one();
                }
            }
            Err(error) => {
                // Whoever runs without write access is to know what that costs; an outage is told of by others.
                match &error {
                    StoreError::Unreachable { .. } => debug!("cannot note what is known of the daemons: {error}"),
                    _ if failures == 0 => warn!("cannot note what is known of the daemons for the next start: {error}"),
                    _ => {}
                }
                failures += 1;
                pages.put_back(changes);
                pages.added.notify_one();
            }
        }
        if is_closing {
            return;
        }
    }
}

async fn read_all(state: &mut StateStore) -> Result<Memory, StoreError> {
    Ok(Memory {
        daemons: understood(state.read(StateKind::Daemons).await?, |key| Name::from(key.name)),
        producers: understood(state.read(StateKind::Producers).await?, |key| {
            (Name::from(key.name), key.part.unwrap_or_default())
        }),
    })
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

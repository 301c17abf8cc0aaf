//! Saving a configuration by difference.
//!
//! Readers look at the revision at which `last_updated` was written, so what this writes is visible to them only when
//! it is complete. The key of the unfinished save is for those who can no longer read at that revision.

use std::time::{SystemTime, UNIX_EPOCH};

use etcd_client::{Compare, CompareOp, Txn, TxnOp, TxnOpResponse};

use super::batch::batches;
use super::connection::Session;
use super::lock::SaveLock;
use super::read::{Contents, count, read_now};
use crate::store::keys::ClusterKeys;
use crate::store::{Difference, StoreError, Tree};

/// What a save has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaveReport {
    /// The number of keys that are new.
    pub added: usize,
    /// The number of keys that have another text.
    pub changed: usize,
    /// The number of keys that are gone.
    pub removed: usize,
    /// The number of keys that were as they should be.
    pub unchanged: usize,
    /// The revision at which `last_updated` was written, by this save or, if nothing had to be done, by an earlier one.
    pub revision: i64,
}

/// How far a save has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Another save of the same cluster is running, and this one waits for its end.
    Waiting {
        /// Who it is, as it described itself.
        owner: String,
    },
    /// It reads what etcd holds.
    Reading {
        /// The number of keys that are read.
        keys: usize,
    },
    /// It writes what differs.
    Writing {
        /// The number of keys that are written or deleted.
        done: usize,
        /// The number of keys that will be.
        total: usize,
    },
}

pub(super) async fn save(
    session: &mut Session,
    keys: &ClusterKeys,
    tree: &Tree,
    mut on_progress: impl FnMut(Progress) + Send,
    stop: impl Future<Output = ()>,
) -> Result<SaveReport, StoreError> {
    tree.keys().try_for_each(|key| keys.check(key))?;
    let mut lock = None;
    let written = tokio::select! {
        biased;
        () = stop => Err(StoreError::Interrupted { prefix: keys.prefix().to_owned() }),
        written = async {
            let lock = lock.insert(SaveLock::acquire(session, keys, &mut on_progress).await?);
            write_difference(session, keys, lock, tree, on_progress).await
        } => written,
    };
    let Some(mut lock) = lock else { return written.map(|written| written.report) };
    // Not to be stopped any more: whoever stops a save is told that readers do not see it.
    let outcome = match written {
        Ok(Written { mut report, replaces: Some(replaces) }) => {
            let mut writer = Writer { session, keys, lock: &mut lock, replaces };
            writer.complete().await.map(|revision| {
                report.revision = revision;
                report
            })
        }
        written => written.map(|written| written.report),
    };
    lock.release(session).await;
    outcome
}

/// What was written, before readers see it.
struct Written {
    report: SaveReport,
    /// The revision of the `last_updated` that is to be replaced (0: there is none); none where readers see already
    /// what they should.
    replaces: Option<i64>,
}

async fn write_difference(
    session: &mut Session,
    keys: &ClusterKeys,
    lock: &mut SaveLock,
    tree: &Tree,
    mut on_progress: impl FnMut(Progress) + Send,
) -> Result<Written, StoreError> {
    let present = read_now(session, keys, |keys| on_progress(Progress::Reading { keys })).await?;
    let difference = Difference::between(&present.tree, tree);
    let mut report = SaveReport {
        added: difference.added.len(),
        changed: difference.changed.len(),
        removed: difference.removed.len(),
        unchanged: present.tree.len() - difference.changed.len() - difference.removed.len(),
        revision: 0,
    };
    if difference.is_empty()
        && let Some(revision) = what_readers_see(session, keys, &present).await?
    {
        report.revision = revision;
        return Ok(Written { report, replaces: None });
    }

    let replaces = present.last_updated.unwrap_or(0);
    let mut writer = Writer { session, keys, lock, replaces };
    writer.begin().await?;
    let total = difference.len();
    let mut done = 0;
    for batch in batches(operations(&difference), Operation::size_bytes) {
        writer.write(batch.iter().map(|operation| operation.encode(keys)).collect()).await?;
        done += batch.len();
        on_progress(Progress::Writing { done, total });
    }
    Ok(Written { report, replaces: Some(replaces) })
}

/// The revision of `last_updated`, if a reader finds there what is present now.
async fn what_readers_see(
    session: &mut Session,
    keys: &ClusterKeys,
    present: &Contents,
) -> Result<Option<i64>, StoreError> {
    let Some(saved) = present.last_updated.filter(|_| present.is_as_saved()) else { return Ok(None) };
    // Nothing was written since, so as many keys are the same keys.
    let then = count(session, keys, saved).await?;
    let now = count(session, keys, present.revision).await?;
    Ok((then.is_none() || then == now).then_some(saved))
}

/// What happens to one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation<'a> {
    Put { key: &'a str, text: &'a str },
    Delete { key: &'a str },
}

impl Operation<'_> {
    fn encode(&self, keys: &ClusterKeys) -> TxnOp {
        match self {
            Operation::Put { key, text } => TxnOp::put(keys.absolute(key), *text, None),
            Operation::Delete { key } => TxnOp::delete(keys.absolute(key), None),
        }
    }

    fn size_bytes(&self) -> usize {
        match self {
            Operation::Put { key, text } => key.len() + text.len(),
            Operation::Delete { key } => key.len(),
        }
    }
}

fn operations<'a>(difference: &Difference<'a>) -> impl Iterator<Item = Operation<'a>> {
    let added = difference.added.iter().map(|&(key, text)| Operation::Put { key, text });
    let changed = difference.changed.iter().map(|change| Operation::Put { key: change.key, text: change.new });
    let removed = difference.removed.iter().map(|&(key, _)| Operation::Delete { key });
    added.chain(changed).chain(removed)
}

/// Writes under the lock, and only as long as nobody else completes a save.
struct Writer<'a> {
    session: &'a mut Session,
    keys: &'a ClusterKeys,
    lock: &'a mut SaveLock,
    /// The revision of the `last_updated` that this save replaces; 0 where there is none.
    replaces: i64,
}

impl Writer<'_> {
    async fn begin(&mut self) -> Result<(), StoreError> {
        self.write(vec![TxnOp::put(self.keys.unfinished_save(), "", None)]).await
    }

    async fn write(&mut self, operations: Vec<TxnOp>) -> Result<(), StoreError> {
        match self.transact(operations).await? {
            Outcome::Done { .. } => Ok(()),
            Outcome::Refused { error, .. } => Err(error),
        }
    }

    /// Ends the save and returns the revision at which readers see it.
    async fn complete(&mut self) -> Result<i64, StoreError> {
        let time = seconds_since_epoch();
        let operations =
            vec![TxnOp::put(self.keys.last_updated(), &*time, None), TxnOp::delete(self.keys.unfinished_save(), None)];
        match self.transact(operations).await? {
            Outcome::Done { revision } => Ok(revision),
            // A first try went through and its answer was lost.
            Outcome::Refused { last_updated: Some((text, revision)), .. } if text == time => Ok(revision),
            Outcome::Refused { error, .. } => Err(error),
        }
    }

    /// Makes a transaction. To make it twice does no harm, so it may be repeated with another member.
    async fn transact(&mut self, operations: Vec<TxnOp>) -> Result<Outcome, StoreError> {
        self.lock.keep(self.session).await?;
        let last_updated = self.keys.last_updated();
        let nobody_else_saved = Compare::mod_revision(&*last_updated, CompareOp::Equal, self.replaces);
        let transaction = Txn::new()
            .when([self.lock.is_held(), nobody_else_saved])
            .and_then(operations)
            .or_else([TxnOp::get(last_updated, None)]);
        let answer = self.session.transact(&transaction).await?;
        if answer.succeeded() {
            return Ok(Outcome::Done { revision: answer.header().map_or(0, etcd_client::ResponseHeader::revision) });
        }
        let last_updated = answer.op_responses().into_iter().find_map(|response| match response {
            TxnOpResponse::Get(found) => {
                let entry = found.kvs().first()?;
                Some((String::from_utf8_lossy(entry.value()).into_owned(), entry.mod_revision()))
            }
            _ => None,
        });
        let prefix = self.keys.prefix().to_owned();
        let error = if last_updated.as_ref().map_or(0, |(_, revision)| *revision) == self.replaces {
            StoreError::LockLost { prefix }
        } else {
            StoreError::Overtaken { prefix }
        };
        Ok(Outcome::Refused { last_updated, error })
    }
}

/// What became of a transaction.
enum Outcome {
    Done {
        revision: i64,
    },
    /// The lock is lost or somebody else has completed a save.
    Refused {
        /// The text and the revision of `last_updated`.
        last_updated: Option<(String, i64)>,
        error: StoreError,
    },
}

/// The text of `last_updated`, as the Python maestro writes it.
fn seconds_since_epoch() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:06}", now.as_secs(), now.subsec_micros())
}

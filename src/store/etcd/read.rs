//! Reading a configuration as it was when `last_updated` was written.

use std::sync::Arc;

use etcd_client::{GetOptions, GetResponse};

use super::connection::{ANSWER_SIZE_LIMIT_BYTES, Session, is_compacted};
use crate::store::keys::{ClusterKeys, first_step};
use crate::store::{Snapshot, StoreError, Tree};

/// Keys in one request. With 100 bytes a key about one megabyte.
const PAGE_KEYS: i64 = 10_000;

/// How often a reading begins anew because etcd dropped the revision it was reading at.
const ATTEMPTS: usize = 3;

pub(super) async fn load(session: &mut Session, keys: &ClusterKeys) -> Result<Option<Snapshot>, StoreError> {
    for _ in 0..ATTEMPTS {
        let Some(revision) = last_updated(session, keys).await?.saved else {
            let is_empty = count(session, keys, 0).await? == Some(0);
            return if is_empty { Ok(None) } else { Err(half_saved(keys)) };
        };
        if let Some(contents) = read_at(session, keys, revision, |_| {}).await? {
            return Ok(Some(Snapshot { tree: Arc::new(contents.tree), revision }));
        }
        // etcd no longer knows what there was at that revision; what there is now may be the same still.
        let contents = read_now(session, keys, |_| {}).await?;
        let Some(revision) = contents.last_updated else { continue };
        return if contents.is_as_saved() {
            Ok(Some(Snapshot { tree: Arc::new(contents.tree), revision }))
        } else {
            Err(half_saved(keys))
        };
    }
    Err(half_saved(keys))
}

pub(super) async fn clusters(session: &mut Session) -> Result<Vec<String>, StoreError> {
    // From key to key, past all the other keys of a cluster: a few requests for each cluster, however large.
    let mut prefixes = Vec::new();
    let mut start = b"/".to_vec();
    while let Some(mut key) = first_key_from(session, &start).await? {
        let Some((prefix, behind)) = first_step(&key) else {
            key.push(0);
            start = key;
            continue;
        };
        if let Ok(keys) = ClusterKeys::new(prefix)
            && last_updated(session, &keys).await?.saved.is_some()
        {
            prefixes.push(prefix.to_owned());
        }
        start = behind.into_bytes();
    }
    prefixes.sort();
    Ok(prefixes)
}

/// The time at which a cluster was saved, as a revision.
pub(super) struct LastUpdated {
    /// The revision at which `last_updated` was written; none where there is no such key.
    pub(super) saved: Option<i64>,
    /// etcd's revision when this was read.
    pub(super) now: i64,
}

pub(super) async fn last_updated(session: &mut Session, keys: &ClusterKeys) -> Result<LastUpdated, StoreError> {
    let key = keys.last_updated();
    let answer = session
        .call(|mut client| {
            let key = key.clone();
            async move { client.get(key, Some(GetOptions::new().with_keys_only())).await }
        })
        .await?;
    Ok(LastUpdated { saved: answer.kvs().first().map(etcd_client::KeyValue::mod_revision), now: revision_of(&answer) })
}

/// Everything under a cluster's prefix at one revision.
pub(super) struct Contents {
    /// The configuration, whole or not.
    pub(super) tree: Tree,
    /// The revision at which `last_updated` was written.
    pub(super) last_updated: Option<i64>,
    /// The youngest revision of any other key.
    youngest: i64,
    /// Whether a save had begun and not ended.
    pub(super) has_unfinished_save: bool,
    /// The revision at which all this was so.
    pub(super) revision: i64,
}

impl Contents {
    /// Whether nothing has been written since `last_updated` was. What somebody has deleted by hand is not seen.
    pub(super) fn is_as_saved(&self) -> bool {
        !self.has_unfinished_save && self.last_updated.is_some_and(|saved| self.youngest <= saved)
    }
}

/// Reads what there is now. `on_page` is told the number of keys so far.
pub(super) async fn read_now(
    session: &mut Session,
    keys: &ClusterKeys,
    mut on_page: impl FnMut(usize),
) -> Result<Contents, StoreError> {
    for _ in 0..ATTEMPTS {
        let now = last_updated(session, keys).await?.now;
        if let Some(contents) = read_at(session, keys, now, &mut on_page).await? {
            return Ok(contents);
        }
    }
    Err(half_saved(keys))
}

/// The number of keys at a revision (0: now); none where etcd no longer keeps it.
pub(super) async fn count(session: &mut Session, keys: &ClusterKeys, revision: i64) -> Result<Option<i64>, StoreError> {
    let options = GetOptions::new().with_range(keys.end()).with_revision(revision).with_count_only();
    Ok(get(session, keys.root().as_bytes(), &options).await?.map(|answer| answer.count()))
}

/// Reads what there was at a revision; none where etcd no longer keeps it.
async fn read_at(
    session: &mut Session,
    keys: &ClusterKeys,
    revision: i64,
    mut on_page: impl FnMut(usize),
) -> Result<Option<Contents>, StoreError> {
    let options = GetOptions::new().with_revision(revision).with_count_only();
    let Some(marker) = get(session, keys.unfinished_save().as_bytes(), &options).await? else { return Ok(None) };
    let mut contents = Contents {
        tree: Tree::new(),
        last_updated: None,
        youngest: 0,
        has_unfinished_save: marker.count() > 0,
        revision,
    };
    let options = GetOptions::new().with_range(keys.end()).with_revision(revision).with_limit(PAGE_KEYS);
    let mut start = keys.root().as_bytes().to_vec();
    loop {
        let Some(mut page) = get(session, &start, &options).await? else { return Ok(None) };
        let more = page.more();
        for entry in page.take_kvs() {
            let written = entry.mod_revision();
            let (key, text) = entry.into_key_value();
            start.clone_from(&key);
            if key == keys.last_updated().as_bytes() {
                contents.last_updated = Some(written);
                continue;
            }
            let relative = key.get(keys.root().len()..).unwrap_or_default().to_vec();
            match (String::from_utf8(relative), String::from_utf8(text)) {
                (Ok(relative), Ok(text)) => contents.tree.insert(relative, text),
                _ => return Err(StoreError::NotText { key: String::from_utf8_lossy(&key).into_owned() }),
            };
            contents.youngest = contents.youngest.max(written);
        }
        on_page(contents.tree.len());
        if !more {
            return Ok(Some(contents));
        }
        start.push(0);
    }
}

async fn first_key_from(session: &mut Session, start: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    // All keys that begin with a slash, and no others: `0` follows `/`.
    let options = GetOptions::new().with_range("0").with_limit(1).with_keys_only();
    let answer = get(session, start, &options).await?;
    Ok(answer.and_then(|answer| Some(answer.kvs().first()?.key().to_vec())))
}

/// A range read; none where etcd no longer keeps the revision.
pub(super) async fn get(
    session: &mut Session,
    start: &[u8],
    options: &GetOptions,
) -> Result<Option<GetResponse>, StoreError> {
    session
        .call(|client| async move {
            let mut kv = client.kv_client().max_decoding_message_size(ANSWER_SIZE_LIMIT_BYTES);
            match kv.get(start, Some(options.clone())).await {
                Err(error) if is_compacted(&error) => Ok(None),
                answer => answer.map(Some),
            }
        })
        .await
}

fn half_saved(keys: &ClusterKeys) -> StoreError {
    StoreError::HalfSaved { prefix: keys.prefix().to_owned() }
}

pub(super) fn revision_of(answer: &GetResponse) -> i64 {
    answer.header().map_or(0, etcd_client::ResponseHeader::revision)
}

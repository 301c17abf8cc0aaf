//! What etcd holds of one cluster, kept up to date by what a watch tells of its keys: reading the hundreds of thousands
//! of keys of a large cluster again for each change would take longer than everything else that the change needs.

use std::collections::BTreeSet;
use std::sync::Arc;

use etcd_client::EventType;

use super::read::Contents;
use crate::store::keys::ClusterKeys;
use crate::store::{Snapshot, Tree};

/// Every key of a cluster and its text at one revision, be that in the middle of a save or not.
#[derive(Debug)]
pub(super) struct Mirror {
    tree: Arc<Tree>,
    revision: i64,
    /// The sections that have been written to since the configuration that was given last; none where that was
    /// another one than what this began with.
    written: Option<BTreeSet<String>>,
}

/// A configuration, and how it differs from the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct News {
    pub(super) snapshot: Snapshot,
    /// The sections (first steps of keys) that are not as they were in the configuration given before; none where that is
    /// not known.
    pub(super) sections: Option<BTreeSet<String>>,
}

/// What happened to a key at a revision.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyEvent<'e> {
    revision: i64,
    key: &'e [u8],
    /// What was written; none where the key was deleted.
    text: Option<&'e [u8]>,
}

impl<'e> KeyEvent<'e> {
    pub(super) fn of(event: &'e etcd_client::Event) -> Option<KeyEvent<'e>> {
        let entry = event.kv()?;
        let text = (event.event_type() == EventType::Put).then(|| entry.value());
        Some(KeyEvent { revision: entry.mod_revision(), key: entry.key(), text })
    }
}

/// A key or its text is no text: what it is mirrored in has no place for it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotText;

impl Mirror {
    /// The configuration that was given last.
    pub(super) fn of_snapshot(snapshot: &Snapshot) -> Mirror {
        let tree = Arc::clone(&snapshot.tree);
        Mirror { tree, revision: snapshot.revision, written: Some(BTreeSet::new()) }
    }

    /// What there was at the revision of a reading.
    pub(super) fn of_contents(contents: Contents) -> Mirror {
        Mirror { tree: Arc::new(contents.tree), revision: contents.revision, written: None }
    }

    /// The revision up to which all changes are in it.
    pub(super) fn revision(&self) -> i64 {
        self.revision
    }

    /// Takes in the next events of a watch: all of one or several revisions, in their order; those that it knows already
    /// do not count. Gives the configuration as
    /// the last save among them left it, whatever has been written since.
    ///
    /// # Errors
    ///
    /// [`NotText`]; the mirror is of no use any more.
    pub(super) fn apply<'e>(
        &mut self,
        keys: &ClusterKeys,
        events: impl IntoIterator<Item = KeyEvent<'e>>,
    ) -> Result<Option<News>, NotText> {
        let known = self.revision;
        let mut saved = None;
        let mut news: Option<News> = None;
        for KeyEvent { revision, key, text } in events.into_iter().filter(|event| event.revision > known) {
            if let Some(saved) = saved.take_if(|saved| *saved < revision) {
                news = Some(self.news(saved, news));
            }
            self.revision = self.revision.max(revision);
            if key == keys.last_updated().as_bytes() {
                // Who deletes it has not saved anything.
                saved = text.map(|_| revision).or(saved);
                continue;
            }
            let relative = key.get(keys.root().len()..).and_then(|key| str::from_utf8(key).ok()).ok_or(NotText)?;
            let section = relative.split('/').next().unwrap_or(relative);
            if let Some(written) = self.written.as_mut().filter(|written| !written.contains(section)) {
                written.insert(section.to_owned());
            }
            let tree = Arc::make_mut(&mut self.tree);
            match text {
                Some(text) => tree.insert(relative.to_owned(), str::from_utf8(text).map_err(|_| NotText)?.to_owned()),
                None => tree.remove(relative),
            };
        }
        Ok(match saved {
            Some(saved) => Some(self.news(saved, news)),
            None => news,
        })
    }

    /// What there is now, as one configuration; `untold` is one before it that is not given any more.
    fn news(&mut self, revision: i64, untold: Option<News>) -> News {
        let mut sections = self.written.replace(BTreeSet::new());
        if let Some(untold) = untold {
            sections = sections.zip(untold.sections).map(|(later, before)| &later | &before);
        }
        News { snapshot: Snapshot { tree: Arc::clone(&self.tree), revision }, sections }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What one transaction does to a few keys; `None` deletes. Some complete a save.
    type Transaction = (Vec<(String, Option<String>)>, bool);

    fn transactions() -> impl Strategy<Value = Vec<Transaction>> {
        let operation = ("[a-c]/[a-c]", proptest::option::weighted(0.7, "[xyz]"));
        let operations = proptest::collection::btree_map(operation.0, operation.1, 0..4);
        let transaction = (operations.prop_map(|operations| operations.into_iter().collect()), any::<bool>());
        proptest::collection::vec(transaction, 0..20)
    }

    fn keys() -> ClusterKeys {
        ClusterKeys::new("orion").unwrap()
    }

    /// An event as owned values: revision, key, text.
    type Owned = (i64, String, Option<String>);

    fn borrowed(event: &Owned) -> KeyEvent<'_> {
        KeyEvent { revision: event.0, key: event.1.as_bytes(), text: event.2.as_deref().map(str::as_bytes) }
    }

    fn events_of(revision: i64, (operations, saves): &Transaction) -> Vec<Owned> {
        let keys = keys();
        let mut events: Vec<Owned> =
            operations.iter().map(|(key, text)| (revision, keys.absolute(key), text.clone())).collect();
        if *saves {
            // Not necessarily the last of its transaction.
            events.insert(events.len() / 2, (revision, keys.last_updated(), Some("1.0".to_owned())));
        }
        events
    }

    proptest! {
        /// However etcd portions the events, each portion gives what was there when its last save was complete.
        #[test]
        fn what_it_gives_is_what_was_there_at_the_save(
            transactions in transactions(),
            portions in proptest::collection::vec(1usize..6, 20),
        ) {
            let start = Snapshot { tree: Arc::new([("a/a".to_owned(), "x".to_owned())].into()), revision: 10 };
            let mut mirror = Mirror::of_snapshot(&start);
            let mut truth = (*start.tree).clone();
            let mut given = truth.clone();
            let mut revision = start.revision;
            let mut rest = transactions.as_slice();
            for size in portions {
                let (portion, later) = rest.split_at(size.min(rest.len()));
                rest = later;
                let mut events = Vec::new();
                let mut expected = None;
                for transaction in portion {
                    revision += 1;
                    events.extend(events_of(revision, transaction));
                    for (key, text) in &transaction.0 {
                        match text {
                            Some(text) => truth.insert(key.clone(), text.clone()),
                            None => truth.remove(key),
                        };
                    }
                    if transaction.1 {
                        expected = Some(Snapshot { tree: Arc::new(truth.clone()), revision });
                    }
                }
                let news = mirror.apply(&keys(), events.iter().map(borrowed)).unwrap();
                prop_assert_eq!(news.as_ref().map(|news| &news.snapshot), expected.as_ref());
                if let Some(news) = news {
                    let sections = news.sections.unwrap();
                    let missed = differing(&given, &news.snapshot.tree).find(|section| !sections.contains(*section));
                    prop_assert_eq!(missed, None);
                    given = (*news.snapshot.tree).clone();
                }
            }
            prop_assert_eq!(&*mirror.tree, &truth);
        }
    }

    /// The sections that differ.
    fn differing<'t>(before: &'t Tree, after: &'t Tree) -> impl Iterator<Item = &'t str> {
        let keys = before.keys().chain(after.keys());
        keys.filter(|key| before.get(*key) != after.get(*key)).filter_map(|key| key.split('/').next())
    }

    #[test]
    fn only_sections_that_were_written_to_count_as_changed() {
        let start = Snapshot { tree: Arc::default(), revision: 1 };
        let mut mirror = Mirror::of_snapshot(&start);
        let written: &[(i64, &[u8])] =
            &[(2, b"/orion/plugins/a"), (3, b"/orion/last_updated"), (4, b"/orion/daemons/b/c")];
        let events = written.iter().map(|(revision, key)| KeyEvent { revision: *revision, key, text: Some(b"1") });
        let news = mirror.apply(&keys(), events).unwrap().unwrap();
        assert_eq!(news.sections, Some(["plugins".to_owned()].into()));
        let saved = KeyEvent { revision: 5, key: b"/orion/last_updated", text: Some(b"2") };
        let news = mirror.apply(&keys(), [saved]).unwrap().unwrap();
        assert_eq!(news.sections, Some(["daemons".to_owned()].into()));
    }

    /// What is mirrored need not be what was given before.
    #[test]
    fn after_a_reading_any_section_may_differ_once() {
        let mut mirror =
            Mirror { written: None, ..Mirror::of_snapshot(&Snapshot { tree: Arc::default(), revision: 1 }) };
        for (revision, sections) in [(2, None), (3, Some(BTreeSet::new()))] {
            let saved = KeyEvent { revision, key: b"/orion/last_updated", text: Some(b"1") };
            assert_eq!(mirror.apply(&keys(), [saved]).unwrap().unwrap().sections, sections);
        }
    }

    #[test]
    fn what_is_no_text_is_not_mirrored() {
        let start = Snapshot { tree: Arc::default(), revision: 1 };
        for (key, text) in [(&b"/orion/\xff"[..], &b"x"[..]), (b"/orion/a", b"\xff")] {
            let event = KeyEvent { revision: 2, key, text: Some(text) };
            assert_eq!(Mirror::of_snapshot(&start).apply(&keys(), [event]), Err(NotText));
        }
    }
}

//! What has been sent to one run of a daemon that the daemon does not show (operations of a live ldmsd, section 13).
//!
//! Only digests are kept: they are compared, never sent, and they are remembered in etcd, where options may be secrets.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::change::Change;
use crate::ldmsd::Verb;

/// Bytes of a digest: the texts that are compared are few and nobody's attack.
const DIGEST_BYTES: usize = 8;
/// More entries are not remembered: tombstones can be as many as producers.
const MOST_REMEMBERED: usize = 2_000;
/// In place of a digest, where it is not known how much of a change arrived.
const UNKNOWN: &str = "unknown";
/// Before a digest in writing: somebody else may have undone it.
const DOUBTFUL: char = '?';

/// What has been sent to one run of a daemon: emptied when the daemon restarts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ledger {
    sent: BTreeMap<String, Sent>,
}

/// One entry of a [`Ledger`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerEntry {
    /// What it is about: a later entry of the same key replaces it.
    key: String,
    digest: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
struct Sent {
    digest: String,
    /// It is what was sent last, but may not be in force any more.
    is_doubtful: bool,
}

impl LedgerEntry {
    /// That `text` has been sent under `key`.
    #[must_use]
    pub fn new(key: impl Into<String>, text: &str) -> LedgerEntry {
        LedgerEntry { key: key.into(), digest: digest(text) }
    }
}

impl Ledger {
    /// Whether exactly this has been sent last under its key, and nobody can have undone it.
    #[must_use]
    pub fn holds(&self, entry: &LedgerEntry) -> bool {
        self.sent.get(&entry.key).is_some_and(|sent| sent.digest == entry.digest && !sent.is_doubtful)
    }

    /// Whether something else has been sent last under its key.
    #[must_use]
    pub fn contradicts(&self, entry: &LedgerEntry) -> bool {
        self.sent.get(&entry.key).is_some_and(|sent| sent.digest != entry.digest)
    }

    /// Remembers that it has been sent.
    pub fn enter(&mut self, entry: LedgerEntry) {
        self.sent.insert(entry.key, Sent { digest: entry.digest, is_doubtful: false });
    }

    /// Forgets what is not to be told from what was never sent.
    pub(super) fn retain(&mut self, mut keeps: impl FnMut(&str) -> bool) {
        self.sent.retain(|key, _| keeps(key));
    }

    /// Somebody else has changed the daemon: what can be sent again without harm is to be. That does not go for the
    /// configuration of a plugin, which stays known.
    pub fn doubt(&mut self) {
        for sent in self.sent.values_mut() {
            sent.is_doubtful = true;
        }
    }

    /// The daemon was lost while these changes were under way, and some of their commands may have been carried out.
    pub fn break_off(&mut self, changes: &[Change]) {
        self.doubt();
        for change in changes {
            let loads = change.steps.iter().any(|step| matches!(step.command.verb, Verb::Load | Verb::Term));
            if let Some(entry) = change.remember.as_ref().filter(|_| loads) {
                let unknown = Sent { digest: UNKNOWN.to_owned(), is_doubtful: true };
                self.sent.insert(entry.key.clone(), unknown);
            }
        }
    }

    /// As much of it as outlives the process: all of it, but for a daemon with very many tombstones, which come last.
    #[must_use]
    pub fn to_remember(&self) -> Ledger {
        let first = self.sent.iter().take(MOST_REMEMBERED);
        Ledger { sent: first.map(|(key, sent)| (key.clone(), sent.clone())).collect() }
    }

    /// Whether nothing has been sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }
}

fn digest(text: &str) -> String {
    Sha256::digest(text).iter().take(DIGEST_BYTES).fold(String::new(), |mut hex, byte| {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

impl From<String> for Sent {
    fn from(text: String) -> Sent {
        match text.strip_prefix(DOUBTFUL) {
            Some(digest) => Sent { digest: digest.to_owned(), is_doubtful: true },
            None => Sent { digest: text, is_doubtful: false },
        }
    }
}

impl From<Sent> for String {
    fn from(sent: Sent) -> String {
        if sent.is_doubtful { format!("{DOUBTFUL}{}", sent.digest) } else { sent.digest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::{Step, Subject};
    use crate::ldmsd::{Attribute, Command};

    fn entry(key: &str, text: &str) -> LedgerEntry {
        LedgerEntry::new(key, text)
    }

    #[test]
    fn what_somebody_may_have_undone_is_sent_again_and_still_known() {
        let mut ledger = Ledger::default();
        ledger.enter(entry("plugin mem", "schema=a"));
        assert!(
            ledger.holds(&entry("plugin mem", "schema=a")) && !ledger.contradicts(&entry("plugin mem", "schema=a"))
        );
        ledger.doubt();
        assert!(
            !ledger.holds(&entry("plugin mem", "schema=a")) && !ledger.contradicts(&entry("plugin mem", "schema=a"))
        );
        assert!(ledger.contradicts(&entry("plugin mem", "schema=b")));
        ledger.enter(entry("plugin mem", "schema=a"));
        assert!(ledger.holds(&entry("plugin mem", "schema=a")));
    }

    #[test]
    fn it_is_written_without_what_was_sent_and_read_as_it_was() {
        let mut ledger = Ledger::default();
        ledger.enter(entry("environment", "PASSWORD=opensesame"));
        ledger.doubt();
        ledger.enter(entry("stream service", "stream_enable"));
        let text = serde_json::to_string(&ledger).unwrap();
        assert!(!text.contains("opensesame"), "{text}");
        assert_eq!(serde_json::from_str::<Ledger>(&text).unwrap(), ledger);
    }

    #[test]
    fn of_a_plugin_that_was_being_loaded_nothing_is_known() {
        let named = |verb| Step::from(Command::new(verb).with(Attribute::Name, "x"));
        let change = |name: &str, verb| Change {
            subject: Subject::Plugin(name.into()),
            steps: vec![named(Verb::Stop), named(verb)],
            remember: Some(entry(name, "new")),
        };
        let mut ledger = Ledger::default();
        for name in ["loaded", "started", "other"] {
            ledger.enter(entry(name, "old"));
        }
        ledger.break_off(&[change("loaded", Verb::Load), change("started", Verb::Start)]);
        assert!(ledger.contradicts(&entry("loaded", "old")) && ledger.contradicts(&entry("loaded", "new")));
        for name in ["started", "other"] {
            assert!(!ledger.contradicts(&entry(name, "old")) && !ledger.holds(&entry(name, "old")), "{name}");
        }
    }
}

//! What has been sent to one run of a daemon that the daemon does not show (operations of a live ldmsd, section 13).
//!
//! Only digests are kept: they are compared, never sent, and they are remembered in etcd, where options may be secrets.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::change::{Change, Subject};
use super::given::{Given, Unshown};
use crate::ldmsd::Verb;
use crate::notation::Name;

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
#[serde(default)]
pub struct Ledger {
    /// What producers were given.
    #[serde(skip_serializing_if = "Given::is_empty")]
    pub(super) producers: Given,
    /// What updaters were given, by their names on the daemon.
    #[serde(skip_serializing_if = "Given::is_empty")]
    pub(super) updaters: Given,
    #[serde(flatten)]
    sent: BTreeMap<String, Sent>,
}

/// One entry of a [`Ledger`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerEntry(Entry);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Sent {
        /// What it is about: a later entry of the same key replaces it.
        key: String,
        digest: String,
    },
    Producer(Name, Unshown),
    Updater(Name, Unshown),
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
        LedgerEntry(Entry::Sent { key: key.into(), digest: digest(text) })
    }

    /// What a producer was given.
    pub(super) fn of_producer(name: &Name, given: Unshown) -> LedgerEntry {
        LedgerEntry(Entry::Producer(name.clone(), given))
    }

    /// What an updater was given, by its name on the daemon.
    pub(super) fn of_updater(on_daemon: &Name, given: Unshown) -> LedgerEntry {
        LedgerEntry(Entry::Updater(on_daemon.clone(), given))
    }
}

impl Ledger {
    /// Whether exactly this has been sent last under its key, and nobody can have undone it.
    #[must_use]
    pub fn holds(&self, entry: &LedgerEntry) -> bool {
        match &entry.0 {
            Entry::Sent { key, digest } => {
                self.sent.get(key).is_some_and(|sent| sent.digest == *digest && !sent.is_doubtful)
            }
            Entry::Producer(name, given) => self.producers.of(name) == Some(*given),
            Entry::Updater(name, given) => self.updaters.of(name) == Some(*given),
        }
    }

    /// Whether something else has been sent last under its key.
    #[must_use]
    pub fn contradicts(&self, entry: &LedgerEntry) -> bool {
        match &entry.0 {
            Entry::Sent { key, digest } => self.sent.get(key).is_some_and(|sent| sent.digest != *digest),
            Entry::Producer(name, given) => self.producers.of(name).is_some_and(|known| known != *given),
            Entry::Updater(name, given) => self.updaters.of(name).is_some_and(|known| known != *given),
        }
    }

    /// Whether anything has been sent for a subject in this run of the daemon.
    #[must_use]
    pub fn knows(&self, subject: &Subject) -> bool {
        self.sent.contains_key(&subject.to_string())
    }

    /// Remembers that it has been sent.
    pub fn enter(&mut self, entry: LedgerEntry) {
        match entry.0 {
            Entry::Sent { key, digest } => drop(self.sent.insert(key, Sent { digest, is_doubtful: false })),
            Entry::Producer(name, given) => self.producers.enter(&name, given),
            Entry::Updater(name, given) => self.updaters.enter(&name, given),
        }
    }

    /// Takes an entry for known of whose subject nothing is known.
    pub(super) fn assume(&mut self, entry: LedgerEntry) {
        if let Entry::Sent { key, digest } = entry.0 {
            self.sent.entry(key).or_insert(Sent { digest, is_doubtful: false });
        }
    }

    /// The keys of what has been sent.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.sent.keys().map(String::as_str)
    }

    /// Forgets what is about something that is not there any more.
    pub(super) fn forget(&mut self, is_gone: impl Fn(&str) -> bool) {
        self.sent.retain(|key, _| !is_gone(key));
    }

    /// What has these keys is to be sent again once it is wanted again.
    pub(super) fn doubt_those(&mut self, mut those: impl FnMut(&str) -> bool) {
        for (_, sent) in self.sent.iter_mut().filter(|(key, _)| those(key)) {
            sent.is_doubtful = true;
        }
    }

    /// Somebody else has changed the daemon: what can be sent again without harm is to be. That does not go for the
    /// configuration of a plugin, which stays known.
    pub fn doubt(&mut self) {
        for sent in self.sent.values_mut() {
            sent.is_doubtful = true;
        }
    }

    /// A step of a change was refused, by its place from 0: a plugin that was unloaded before is not configured as it was.
    pub fn refuse(&mut self, change: &Change, step: usize) {
        let is_gone = change.steps.iter().take(step).any(|done| done.command.verb == Verb::Term);
        if let Some(LedgerEntry(Entry::Sent { key, .. })) = change.remember.clone().filter(|_| is_gone) {
            self.sent.insert(key, Sent { digest: UNKNOWN.to_owned(), is_doubtful: true });
        }
    }

    /// The daemon was lost while these changes were under way, and some of their commands may have been carried out.
    pub fn break_off(&mut self, changes: &[Change]) {
        self.doubt();
        for change in changes {
            let Some(entry) = change.remember.clone() else { continue };
            let any = |verbs: &[Verb]| change.steps.iter().any(|step| verbs.contains(&step.command.verb));
            match entry.0 {
                // It is as it was, or as it was to become.
                Entry::Sent { key, .. } if any(&[Verb::Load, Verb::Term, Verb::StrgpDel]) => {
                    let unknown = Sent { digest: UNKNOWN.to_owned(), is_doubtful: true };
                    self.sent.insert(key, unknown);
                }
                // It is not there, or as it was to become.
                Entry::Producer(..) | Entry::Updater(..) => self.enter(entry),
                Entry::Sent { .. } if any(&[Verb::StrgpAdd]) => self.enter(entry),
                Entry::Sent { .. } => {}
            }
        }
    }

    /// As much of it as outlives the process: all of it, but for a daemon with very many tombstones, which come last.
    #[must_use]
    pub fn to_remember(&self) -> Ledger {
        let first = self.sent.iter().take(MOST_REMEMBERED);
        Ledger {
            producers: self.producers.clone(),
            updaters: self.updaters.clone(),
            sent: first.map(|(key, sent)| (key.clone(), sent.clone())).collect(),
        }
    }

    /// Whether nothing has been sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty() && self.producers.is_empty() && self.updaters.is_empty()
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

    #[test]
    fn a_plugin_that_could_not_be_made_anew_is_not_what_it_was() {
        let steps = [Verb::Stop, Verb::Term, Verb::Load, Verb::Config].map(|verb| Step::from(Command::new(verb)));
        let change =
            Change { subject: Subject::Plugin("m".into()), steps: steps.to_vec(), remember: Some(entry("m", "new")) };
        for (refused, is_known) in [(0, true), (1, true), (2, false), (3, false)] {
            let mut ledger = Ledger::default();
            ledger.enter(entry("m", "old"));
            ledger.refuse(&change, refused);
            assert_eq!(ledger.holds(&entry("m", "old")), is_known, "{refused}");
            assert_eq!(ledger.contradicts(&entry("m", "old")), !is_known, "{refused}");
        }
    }

    #[test]
    fn what_was_being_added_counts_as_added_and_a_policy_that_was_being_replaced_is_unknown() {
        let policy = |name: &str, verbs: &[Verb]| Change {
            subject: Subject::StoragePolicy(name.into()),
            steps: verbs.iter().map(|verb| Command::new(*verb).with(Attribute::Name, name).into()).collect(),
            remember: Some(entry(name, "new")),
        };
        let given = Unshown::of_updater(&crate::cluster::Updater {
            name: "updtr_0".into(),
            mode: crate::cluster::UpdaterMode::Pull,
            interval: crate::notation::Interval::from_us(1_000_000),
            offset: None,
            perm: Some(crate::notation::Permission(0o700)),
            producers: Vec::new(),
            sets: Vec::new(),
        });
        let producer = Change {
            subject: Subject::Producer("node-1".into()),
            steps: vec![Command::new(Verb::PrdcrAdd).with(Attribute::Name, "node-1").into()],
            remember: Some(LedgerEntry::of_producer(&"node-1".into(), given)),
        };
        let mut ledger = Ledger::default();
        for name in ["added", "replaced"] {
            ledger.enter(entry(name, "old"));
        }
        let replaced = policy("replaced", &[Verb::StrgpStop, Verb::StrgpDel, Verb::StrgpAdd]);
        ledger.break_off(&[policy("added", &[Verb::StrgpAdd]), replaced, producer]);
        assert!(ledger.holds(&entry("added", "new")));
        assert!(ledger.contradicts(&entry("replaced", "old")) && ledger.contradicts(&entry("replaced", "new")));
        assert!(ledger.contradicts(&LedgerEntry::of_producer(&"node-1".into(), Unshown::default())));
    }
}

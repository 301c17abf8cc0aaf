//! What comes in over the connections to producers, and the daemon's copies of their metric sets.

use std::collections::BTreeSet;

use super::producers::{ProducerSet, ProducerState, SetState};
use super::request::Reply;
use super::sets::MetricSet;
use super::updaters::Updater;
use super::{Action, Daemon};

/// A directory, or news of one, from a producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Listing {
    /// The whole directory, as the answer to the [`Action::ReadDirectory`] with this ticket.
    Whole { ticket: u64, sets: Vec<MetricSet> },
    /// Sets that are new or have changed.
    News(Vec<MetricSet>),
}

impl Daemon {
    /// The connection to a producer is made and authenticated.
    pub(crate) fn connected(&mut self, name: &str) {
        let Some(producer) = self.producers.get_mut(name) else { return };
        if producer.state == ProducerState::Connecting {
            producer.state = ProducerState::Connected;
            if producer.is_collected() {
                self.read_directory(name);
            }
        }
    }

    /// The connection to a producer could not be made, or has broken.
    pub(crate) fn disconnected(&mut self, name: &str) {
        self.drop_sets(name);
        let Some(producer) = self.producers.get_mut(name) else { return };
        match producer.state {
            ProducerState::Standby => producer.state = ProducerState::Stopped,
            ProducerState::Connecting | ProducerState::Connected => producer.state = ProducerState::Disconnected,
            ProducerState::Stopped | ProducerState::Disconnected | ProducerState::Stopping => {}
        }
    }

    /// A producer in STANDBY is started: its connection exists, so that it is read at once.
    pub(super) fn leave_standby(&mut self, name: &str) -> Reply {
        if let Some(producer) = self.producers.get_mut(name) {
            producer.state = ProducerState::Connected;
            self.read_directory(name);
        }
        Reply::ok()
    }

    /// Asks a producer for its directory; gives the ticket of the answer.
    pub(super) fn read_directory(&mut self, producer: &str) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.actions.push(Action::ReadDirectory { producer: producer.to_owned(), ticket });
        ticket
    }

    /// A producer has told its directory or news of it.
    ///
    /// A whole directory completes the lookups and updates that waited for it: this stands for the transfer of the
    /// sets' contents, which a simulation has no use for.
    pub(crate) fn listing(&mut self, producer_name: &str, listing: Listing, now_us: u64) {
        let Some(producer) = self.producers.get(producer_name) else { return };
        if producer.state != ProducerState::Connected {
            return;
        }
        let (answered, sets) = match listing {
            Listing::Whole { ticket, sets } => (ticket, sets),
            Listing::News(sets) => (0, sets),
        };
        if answered > 0 {
            let listed: BTreeSet<&str> = sets.iter().map(|set| set.instance.as_str()).collect();
            let gone: Vec<String> =
                producer.sets.keys().filter(|name| !listed.contains(name.as_str())).cloned().collect();
            for instance in gone {
                self.set_deleted(producer_name, &instance);
            }
        }
        if self.updaters.values().any(Updater::goes_by_hints) {
            // A new hint may be a new schedule.
            self.wake_at(now_us);
        }
        for set in sets {
            self.set_listed(producer_name, set, answered, now_us);
        }
    }

    fn set_listed(&mut self, producer_name: &str, listed: MetricSet, answered: u64, now_us: u64) {
        let Some(producer) = self.producers.get_mut(producer_name) else { return };
        let Some(set) = producer.sets.get_mut(&listed.instance) else {
            let set = ProducerSet { state: SetState::Start, source_hint: listed.hint.clone(), copy: listed };
            producer.sets.insert(set.copy.instance.clone(), set);
            return;
        };
        set.source_hint.clone_from(&listed.hint);
        match &set.state {
            SetState::Start => set.copy = listed,
            SetState::Lookup { ticket, .. } if *ticket <= answered => {
                // A lookup fetches what the set is like, not its values.
                set.copy = MetricSet { sampled_us: 0, ..listed };
                set.state = SetState::Ready { since_us: now_us };
                self.actions.push(Action::Announce { kind: 2, set: set.copy.to_json('R') });
            }
            SetState::Updating { ticket, since_us, hint, .. } if *ticket <= answered => {
                let is_new = listed.sampled_us > set.copy.sampled_us;
                // The copy passes on when it is updated here, which is what the level above goes by (measured).
                let hint_changed = set.copy.hint.as_deref() != Some(hint.as_str());
                set.copy = MetricSet { hint: Some(hint.clone()), ..listed };
                set.state = SetState::Ready { since_us: *since_us };
                if hint_changed {
                    self.actions.push(Action::Announce { kind: 3, set: set.copy.to_json('R') });
                }
                if is_new {
                    let (instance, sampled_us) = (set.copy.instance.clone(), set.copy.sampled_us);
                    let schema = set.copy.schema.clone();
                    let metrics = set.copy.metrics;
                    self.store_sample(producer_name, &schema, metrics);
                    self.actions.push(Action::Collected { producer: producer_name.to_owned(), instance, sampled_us });
                }
            }
            _ => {}
        }
    }

    /// A producer withdrew a set.
    pub(crate) fn set_deleted(&mut self, producer: &str, instance: &str) {
        let set = self.producers.get_mut(producer).and_then(|producer| producer.sets.remove(instance));
        if set.is_some_and(|set| set.state.is_exported()) {
            self.actions.push(Action::Withdraw { instance: instance.to_owned() });
        }
    }

    /// Drops the copies of all sets of a producer.
    pub(super) fn drop_sets(&mut self, producer: &str) {
        let Some(producer) = self.producers.get_mut(producer) else { return };
        for (instance, set) in std::mem::take(&mut producer.sets) {
            if set.state.is_exported() {
                self.actions.push(Action::Withdraw { instance });
            }
        }
    }

    /// Whether a set of that name is in the daemon, its own or a copy. A name exists once: who looked it up first keeps it.
    pub(super) fn holds_set(&self, instance: &str) -> bool {
        let own = self.plugins.values().filter_map(|plugin| plugin.set.as_ref()).any(|set| set.instance == instance);
        own || self
            .producers
            .values()
            .filter_map(|producer| producer.sets.get(instance))
            .any(|set| set.state != SetState::Start)
    }

    /// The elements of the daemon's directory: its own sets and its copies of others'.
    pub(crate) fn directory(&self, now_us: u64) -> Vec<String> {
        let own = self.own_current_sets(now_us).map(|set| set.to_json('L'));
        own.chain(self.copied_sets().map(|set| set.to_json('R'))).collect()
    }

    /// The same as values, for a reader in the same process.
    #[allow(dead_code, reason = "for simulations of a whole cluster on a virtual clock")]
    pub(crate) fn directory_sets(&self, now_us: u64) -> Vec<MetricSet> {
        self.own_current_sets(now_us).chain(self.copied_sets().cloned()).collect()
    }

    fn own_current_sets(&self, now_us: u64) -> impl Iterator<Item = MetricSet> {
        self.plugins.values().filter_map(move |plugin| plugin.current_set(now_us))
    }

    fn copied_sets(&self) -> impl Iterator<Item = &MetricSet> {
        let sets = self.producers.values().flat_map(|producer| producer.sets.values());
        sets.filter(|set| set.state.is_exported()).map(|set| &set.copy)
    }
}

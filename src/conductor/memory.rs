//! What outlives the process: what each daemon was sent and has because of maestro, and the producers of each group.
//!
//! The conductor asks for a note whenever something of that has changed, and is given all notes when it begins. They are
//! what a daemon does not show; everything else is read from the daemons. A note that is lost costs little: what is
//! blind is sent again, and what left the configuration meanwhile stays where it is.
//!
//! A daemon's note is written when there is nothing to send to it. Its producers are not in it, so that a takeover
//! changes the count of its commands in it and no more, and that only when the takeover is over. The producers of a
//! group are listed once: those that its configuration has, and those that have left it until no aggregator has them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::daemons::DaemonState;
use super::event::Action;
use super::{Conductor, Now};
use crate::desired::{DaemonRecord, Possessions, Retired};
use crate::notation::{Name, NameSet};

/// Names in one part of a group's list: with the longest names that there are, a part stays below a mebibyte.
const NAMES_IN_A_PART: usize = 4_096;

/// All notes, or some of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// Of each daemon.
    pub daemons: BTreeMap<Name, DaemonRecord>,
    /// The parts of the list of each group's producers.
    pub producers: BTreeMap<(Name, u16), NameSet>,
}

/// A note that has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Memo {
    /// Of a daemon.
    Daemon {
        /// The daemon.
        daemon: Name,
        /// What is remembered of it now; `None` for one that can be forgotten.
        record: Option<Box<DaemonRecord>>,
    },
    /// A part of the list of the producers that the aggregators of a group may have.
    Producers {
        /// The group.
        group: Name,
        /// The number of the part.
        part: u16,
        /// The names; `None` where the list has become shorter.
        names: Option<NameSet>,
    },
}

/// The notes as they are.
#[derive(Debug, Default)]
pub(super) struct Notes {
    daemons: BTreeMap<Name, DaemonRecord>,
    groups: BTreeMap<Name, GroupNote>,
}

/// The list of one group.
#[derive(Debug, Default)]
struct GroupNote {
    parts: BTreeMap<u16, NameSet>,
    /// Those that its configuration has no more.
    left: BTreeSet<Name>,
}

impl GroupNote {
    fn names(&self) -> impl Iterator<Item = &Name> {
        self.parts.values().flat_map(|part| part.iter())
    }

    fn has(&self, name: &Name) -> bool {
        self.parts.values().any(|part| part.contains(name))
    }
}

impl Conductor {
    /// Takes in notes of an earlier maestro, or of the one that has had a daemon so far.
    pub(super) fn remembered(&mut self, memory: Memory, now: Now) {
        for ((group, part), names) in memory.producers {
            self.notes.groups.entry(group).or_default().parts.entry(part).or_insert(names);
        }
        // Of a daemon that this one is connected to, nobody knows more.
        let connected = |name: &Name| self.daemons.get(name).is_some_and(DaemonState::is_connected);
        let news: Vec<(Name, DaemonRecord)> = memory.daemons.into_iter().filter(|(name, _)| !connected(name)).collect();
        for (name, record) in news {
            self.notes.daemons.insert(name.clone(), record);
            if self.daemons.contains_key(&name) {
                self.recall(&name);
                let cluster = Arc::clone(&self.cluster);
                if let Some(target) = self.target(&cluster, &name) {
                    self.aim_at(target, now);
                }
                self.dirty_daemons.insert(name);
            }
        }
    }

    /// Takes what is noted of a daemon for known.
    pub(super) fn recall(&mut self, name: &Name) {
        let left = self.left_behind(name);
        if let (Some(state), Some(record)) = (self.daemons.get_mut(name), self.notes.daemons.get(name)) {
            state.retired.extend(left);
            state.recall(record);
        }
    }

    /// From now on another instance has a daemon, and what that has sent to it is not known here.
    pub(super) fn leave_notes(&mut self, name: &Name) {
        if let Some(record) = self.notes.daemons.get_mut(name) {
            *record = DaemonRecord { groups: std::mem::take(&mut record.groups), ..DaemonRecord::default() };
        }
    }

    /// What a daemon may have because of an earlier maestro, and is not to have.
    pub(super) fn left_behind(&self, name: &Name) -> Retired {
        let record = self.notes.daemons.get(name);
        let mut retired = record.map(|record| record.has.beyond(&self.possessions(name))).unwrap_or_default();
        let own = self.relations.group_of(name);
        let configured = own.and_then(|group| self.cluster.groups.get(group));
        let groups: BTreeSet<&Name> = record.into_iter().flat_map(|record| &record.groups).chain(own).collect();
        for note in groups.into_iter().filter_map(|group| self.notes.groups.get(group)) {
            let is_wanted = |name: &&Name| configured.is_some_and(|group| group.producers.contains_key(*name));
            retired.producers.extend(note.names().filter(|name| !is_wanted(name)).cloned());
        }
        retired
    }

    /// The configuration changes: what other instances send to their daemons because of that is not known here.
    pub(super) fn doubt_notes_of_others(&mut self) {
        let of_others = self.notes.daemons.keys().filter(|name| !self.council.has(name));
        for name in of_others.cloned().collect::<Vec<_>>() {
            self.leave_notes(&name);
        }
    }

    /// The configuration has changed: forgets daemons that have left it, and brings the lists of producers up to date.
    pub(super) fn revise_notes(&mut self) {
        let gone = self.notes.daemons.extract_if(.., |name, _| !self.cluster.daemons.contains_key(name));
        let gone = gone.map(|(daemon, _)| Action::Remember(Memo::Daemon { daemon, record: None }));
        self.actions.extend(gone);
        let groups: BTreeSet<Name> = self.notes.groups.keys().chain(self.cluster.groups.keys()).cloned().collect();
        for group in groups {
            self.list_producers(&group);
        }
    }

    /// Notes what a daemon was sent and has, where that is something else than is noted. While it is not `at_rest`, a
    /// mere further command is not worth it.
    pub(super) fn remember(&mut self, name: &Name, at_rest: bool) {
        let Some(state) = self.daemons.get(name) else { return };
        let left = state.retired.left_on(&state.observed, state.numbering);
        let own = self.relations.group_of(name).cloned();
        let others = self.notes.groups.iter().filter(|(_, note)| left.producers.iter().any(|name| note.has(name)));
        let groups: BTreeSet<Name> = others.map(|(group, _)| group.clone()).chain(own).collect();
        let record = DaemonRecord { groups, has: self.possessions(name).with(left), ..state.to_record() };
        let before = self.notes.daemons.get(name);
        let is_noted = before.is_some_and(|before| {
            *before == record || (!at_rest && *before == DaemonRecord { cfg_cntr: before.cfg_cntr, ..record.clone() })
        });
        let former = before.map(|before| before.groups.clone()).unwrap_or_default();
        let concerned: BTreeSet<Name> = former.union(&record.groups).cloned().collect();
        if !is_noted {
            self.notes.daemons.insert(name.clone(), record.clone());
            self.actions.push(Action::Remember(Memo::Daemon { daemon: name.clone(), record: Some(Box::new(record)) }));
        }
        for group in concerned {
            if self.notes.groups.get(&group).is_some_and(|note| !note.left.is_empty()) {
                self.list_producers(&group);
            }
        }
    }

    /// What the configuration gives to a daemon, but for producers.
    fn possessions(&self, name: &Name) -> Possessions {
        Possessions::wanted((&self.cluster, &self.relations), name, self.advertisers.get(name))
    }

    /// Brings the list of a group up to date: the producers that its configuration has, and those that have left it and
    /// that some aggregator may still have.
    fn list_producers(&mut self, group: &Name) {
        let config = self.cluster.groups.get(group);
        let mut names: BTreeSet<Name> =
            config.into_iter().flat_map(|config| config.producers.keys()).cloned().collect();
        let noted = self.notes.daemons.iter().filter(|(_, record)| record.groups.contains(group));
        let holders: BTreeSet<&Name> =
            noted.map(|(name, _)| name).chain(config.into_iter().flat_map(|config| &config.aggregators)).collect();
        let may_have = |holder: &Name, producer: &Name| {
            let state = self.daemons.get(holder);
            state.is_some_and(|state| !state.is_connected() || state.observed.producers.contains_key(producer))
        };
        let before = self.notes.groups.get(group).map(|note| note.parts.clone()).unwrap_or_default();
        let gone = before.values().flat_map(|part| part.iter()).filter(|name| !names.contains(*name));
        let left: BTreeSet<Name> =
            gone.filter(|name| holders.iter().any(|holder| may_have(holder, name))).cloned().collect();
        names.extend(left.iter().cloned());
        let names: Vec<Name> = names.into_iter().collect();
        let parts = (0_u16..).zip(names.chunks(NAMES_IN_A_PART).map(|part| part.iter().cloned().collect()));
        let parts: BTreeMap<u16, NameSet> = parts.collect();
        for part in before.keys().chain(parts.keys()).copied().collect::<BTreeSet<u16>>() {
            if before.get(&part) != parts.get(&part) {
                let names = parts.get(&part).cloned();
                self.actions.push(Action::Remember(Memo::Producers { group: group.clone(), part, names }));
            }
        }
        if parts.is_empty() {
            self.notes.groups.remove(group);
        } else {
            self.notes.groups.insert(group.clone(), GroupNote { parts, left });
        }
    }
}

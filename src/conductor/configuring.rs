//! A configuration is taken, as a whole: which daemons there are from now on, and what of them matters.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::daemons::DaemonState;
use super::event::{Action, Sections, Target};
use super::groups::GroupState;
use super::notice::Notice;
use super::{Conductor, Now, late_services};
use crate::cluster::{Cluster, Relations};
use crate::desired::{advertisers_to_all, retire};
use crate::notation::Name;

impl Conductor {
    /// Takes a configuration over.
    pub(super) fn configure(&mut self, cluster: Arc<Cluster>, now: Now) {
        let relations = Relations::of(&cluster);
        let daemons = self.daemons.iter_mut().map(|(name, state)| (name, &mut state.retired));
        retire((&self.cluster, &self.relations), (&cluster, &relations), daemons);
        for (name, state) in &mut self.daemons {
            let before = late_services::wanted(&self.cluster, &self.relations, name);
            let now = late_services::wanted(&cluster, &relations, name);
            state.lacks_services |= (now.0 && !before.0) || (now.1 && !before.1);
        }
        self.late_services.retain_known(&cluster);
        self.relations = relations;
        let before = std::mem::replace(&mut self.advertisers, advertisers_to_all(&cluster, &self.relations));
        for (name, state) in &mut self.daemons {
            let is_wanted = |advertiser: &Name| self.advertisers.get(name).is_some_and(|a| a.contains_key(advertiser));
            state.retired.advertisers.extend(before.get(name).into_iter().flat_map(BTreeMap::keys).cloned());
            state.retired.advertisers.retain(|advertiser| !is_wanted(advertiser));
        }
        if !self.cluster.daemons.is_empty() {
            self.doubt_notes_of_others();
        }
        self.tell_of_missing_standbys(&cluster);
        self.cluster = Arc::clone(&cluster);
        let targets: BTreeMap<Name, Target> =
            cluster.daemons.keys().filter_map(|name| Some((name.clone(), self.target(&cluster, name)?))).collect();
        let gone: Vec<Name> = self.daemons.keys().filter(|name| !targets.contains_key(*name)).cloned().collect();
        for name in gone {
            self.daemons.remove(&name);
            self.council.published.remove(&name);
            if self.council.has(&name) {
                self.actions.push(Action::Forget(name));
            }
        }
        for target in targets.into_values() {
            self.aim_at(target, now);
        }
        self.revise_notes();
        self.groups.retain(|name, _| cluster.groups.contains_key(name));
        let new_groups: Vec<Name> =
            cluster.groups.keys().filter(|name| !self.groups.contains_key(*name)).cloned().collect();
        for (name, group) in &cluster.groups {
            let by_sets = self.goes_by_sets(group);
            let state = self.groups.entry(name.clone()).or_insert_with(|| GroupState::new(now));
            state.balance_by_sets(by_sets);
            state.drop_all_but(&group.producers);
        }
        self.report(Notice::Configured {
            daemons: cluster.daemons.len(),
            managed: self.daemons.len(),
            groups: cluster.groups.len(),
            producers: cluster.groups.values().map(|group| group.producers.len()).sum(),
        });
        self.dirty_daemons.extend(self.daemons.keys().cloned());
        self.dirty_groups.extend(self.groups.keys().cloned());
        self.review_plans(&new_groups, now);
    }

    /// From now on a daemon is there, and this of it matters.
    pub(super) fn aim_at(&mut self, target: Target, now: Now) {
        let name = target.daemon.clone();
        let is_mine = self.council.has(&name);
        match self.daemons.get_mut(&name) {
            Some(known) if known.target == target => {}
            // Its connection is what its producers' placement stands on.
            Some(known) if known.target.differs_in_less_sections(&target) => {
                let sections = target.sections;
                known.target = target;
                if is_mine {
                    self.actions.push(Action::Attend { daemon: name, sections });
                }
            }
            known => {
                let mut state = DaemonState::new(target.clone());
                let is_new = known.is_none();
                if let Some(known) = known {
                    known.break_off();
                    state.retired = known.retired.clone();
                    state.recall(&known.to_record());
                }
                self.daemons.insert(name.clone(), state);
                if is_new {
                    self.recall(&name);
                }
                if is_mine {
                    self.actions.push(Action::Connect(target));
                }
                self.introduce(&name, now);
            }
        }
    }

    pub(super) fn target(&self, cluster: &Cluster, name: &Name) -> Option<Target> {
        let daemon = cluster.daemons.get(name)?;
        let endpoint = daemon.control_endpoint()?;
        let group = self.relations.group_of(name).and_then(|group| cluster.groups.get(group));
        // One that aggregates no more is looked at until it is rid of what it collected.
        let retired = match self.daemons.get(name) {
            Some(known) => Cow::Borrowed(&known.retired),
            None => Cow::Owned(self.left_behind(name)),
        };
        let collected = !retired.producers.is_empty() || !retired.policies.is_empty();
        Some(Target {
            daemon: name.clone(),
            host: daemon.host_of(endpoint).to_owned(),
            port: endpoint.port,
            auth: endpoint.auth.clone(),
            sections: Sections {
                aggregates: group.is_some() || collected,
                samples: !retired.plugins.is_empty()
                    || self.is_weighed(name)
                    || !self.relations.sampler_groups_of(name).is_empty()
                    || group.is_some_and(|group| !group.plugins.is_empty()),
                advertises: self.advertisers.contains_key(name) || !retired.advertisers.is_empty(),
                listens: group.is_some_and(|group| !group.listeners.is_empty()) || !retired.listeners.is_empty(),
            },
        })
    }
}

//! Maestro at one daemon: looks, sends what is to be changed, remembers.

use std::collections::{BTreeMap, BTreeSet};

use maestro::cluster::{Cluster, Relations, UpdaterMode};
use maestro::conductor::Sections;
use maestro::desired::advertisers_to_all;
use maestro::desired::{
    Advertising, BoostConfig, Change, DaemonConfig, DaemonRecord, Ledger, Possessions, Retired, Roles, Subject,
    changes, daemon_config, retire, review, tombstone,
};
use maestro::ldmsd::codec::WireAttribute;
use maestro::ldmsd::hazards::Known;
use maestro::ldmsd::status::SetInfo;
use maestro::ldmsd::{Command, Observation, Request, Response, Verb};
use maestro::notation::Name;
use maestro::runtime::inquiry::{self, Inquiry};

use crate::daemon::directory_text;
use crate::past::Site;
use crate::site::Edition;

const BUSY: i32 = 16;
/// After so many refusals because of use, a producer counts as one that the daemon never deletes.
const REFUSALS_OF_THE_UNDELETABLE: usize = 4;

/// What placement gives to the daemon: a bit for each producer says whether it runs here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placement {
    pub(crate) started: u8,
    pub(crate) as_they_are: u8,
    /// Which others stand by; `None` where nothing does, and the updaters are for all.
    pub(crate) standbys: Option<u8>,
    pub(crate) boosts: bool,
}

/// A maestro that keeps one daemon.
#[derive(Debug, Clone)]
pub(crate) struct Maestro {
    daemon: Name,
    cluster: Cluster,
    placement: Placement,
    retired: Retired,
    ledger: Ledger,
    observed: Observation,
    known: Known,
    /// What the daemon refused last, and how often in a row.
    pub(crate) refused: BTreeMap<Subject, usize>,
}

impl Maestro {
    pub(crate) fn new(daemon: &str, edition: &Edition, placement: Placement, site: &Site) -> Maestro {
        Maestro {
            daemon: daemon.into(),
            cluster: edition.cluster(),
            placement,
            retired: Retired::default(),
            ledger: Ledger::default(),
            observed: Observation::default(),
            known: Known::new(site.imitation.numbering()),
            refused: BTreeMap::new(),
        }
    }

    /// The operator has loaded another configuration.
    pub(crate) fn reconfigure(&mut self, edition: &Edition, placement: Placement) {
        let (before, after) = (std::mem::replace(&mut self.cluster, edition.cluster()), edition.cluster());
        let (old, new) = (Relations::of(&before), Relations::of(&after));
        let daemons = [(&self.daemon, &mut self.retired)];
        retire((&before, &old), (&after, &new), daemons.into_iter());
        let (was, is) = (advertisers_to_all(&before, &old), advertisers_to_all(&after, &new));
        let is_wanted = |name: &Name| is.get(&self.daemon).is_some_and(|wanted| wanted.contains_key(name));
        self.retired.advertisers.extend(was.get(&self.daemon).into_iter().flat_map(BTreeMap::keys).cloned());
        self.retired.advertisers.retain(|name| !is_wanted(name));
        self.placement = placement;
    }

    /// Somebody else has changed the daemon.
    pub(crate) fn doubt(&mut self) {
        self.ledger.doubt();
    }

    /// Another process takes over, and knows the configuration only.
    pub(crate) fn restart(&mut self) {
        self.retired = Retired::default();
        self.observed = Observation::default();
        self.forget();
    }

    /// Another process takes over, and has what this one has noted; the configuration may be another one.
    pub(crate) fn restart_with_notes(&mut self, edition: &Edition, placement: Placement, site: &Site) {
        let left = self.retired.left_on(&self.observed, site.imitation.numbering());
        let record = DaemonRecord {
            sent: self.ledger.to_remember(),
            has: self.possessions().with(self.retired.clone()),
            ..DaemonRecord::default()
        };
        let text = serde_json::to_string(&record).unwrap();
        let record: DaemonRecord = serde_json::from_str(&text).unwrap();
        let mut producers = left.producers;
        producers.extend(self.producers());
        self.restart();
        self.cluster = edition.cluster();
        self.placement = placement;
        self.ledger = record.sent;
        self.retired = record.has.beyond(&self.possessions());
        let wanted = self.producers();
        self.retired.producers = producers.into_iter().filter(|name| !wanted.contains(name)).collect();
    }

    fn possessions(&self) -> Possessions {
        let relations = Relations::of(&self.cluster);
        let advertisers = advertisers_to_all(&self.cluster, &relations);
        Possessions::wanted((&self.cluster, &relations), &self.daemon, advertisers.get(&self.daemon))
    }

    fn producers(&self) -> BTreeSet<Name> {
        let relations = Relations::of(&self.cluster);
        let group = relations.group_of(&self.daemon).and_then(|group| self.cluster.groups.get(group));
        group.into_iter().flat_map(|group| group.producers.keys()).cloned().collect()
    }

    /// The daemon has been restarted.
    pub(crate) fn forget(&mut self) {
        self.ledger = Ledger::default();
        self.refused.clear();
    }

    /// What leaves this aggregator has been taken over by others.
    pub(crate) fn end_moves(&mut self) {
        self.placement.boosts = false;
        self.placement.as_they_are = 0;
    }

    /// What the daemon is to be.
    pub(crate) fn config(&self) -> DaemonConfig {
        let relations = Relations::of(&self.cluster);
        let producers = self.cluster.groups.values().flat_map(|group| group.producers.keys());
        let numbered = |bits: u8| {
            let chosen = producers.clone().enumerate().filter(move |(index, _)| bits >> index & 1 == 1);
            chosen.map(|(_, name)| name.clone())
        };
        let boost = BoostConfig {
            name: "boost-1".into(),
            producers: producers.clone().take(1).cloned().collect(),
            sets: Default::default(),
            interval_us: 105_000,
        };
        let is_aggregator = relations.group_of(&self.daemon).is_some();
        let advertisers = advertisers_to_all(&self.cluster, &relations).remove(&self.daemon).unwrap_or_default();
        let Placement { started, as_they_are, standbys, .. } = self.placement;
        let roles = Roles {
            started: numbered(started).collect(),
            as_they_are: numbered(as_they_are).collect(),
            standbys: numbered(standbys.unwrap_or(0)).collect(),
            collected: standbys.map(|_| numbered(started | as_they_are).collect()),
            retired: self.retired.clone(),
            advertised: BTreeMap::new(),
            advertising: Some(Advertising { advertisers, starts_what_comes: false }),
            boosts: if self.placement.boosts && is_aggregator { vec![boost] } else { Vec::new() },
            parts: None,
        };
        let mut config = daemon_config(&self.cluster, &relations, &self.daemon, &roles);
        if self.observed.development_line {
            config.updaters.retain(|updater| !matches!(updater.mode, UpdaterMode::Push | UpdaterMode::OnChange));
        }
        config
    }

    pub(crate) fn look(&mut self, site: &mut Site) {
        let sections = Sections { aggregates: true, samples: true, advertises: true, listens: true };
        let scope = inquiry::everything(sections);
        let inquiry = Inquiry::new(&scope, sections, site.imitation.numbering());
        let answers: Vec<Response> =
            inquiry.questions().iter().filter_map(|question| self.ask(question, site)).collect();
        let sets: Vec<String> = site.sets().iter().map(|set| set.to_json('L')).collect();
        let directory = SetInfo::from_directory(&[directory_text(&sets).into_bytes()]).unwrap();
        let (observed, _) = inquiry.read(&answers, directory);
        observed.update(&mut self.observed);
    }

    fn ask(&mut self, command: &Command, site: &mut Site) -> Option<Response> {
        let reply = site.send(command)?;
        let attribute = if reply.json { WireAttribute::json } else { WireAttribute::text };
        let answer =
            Response { msg_no: 0, code: reply.code, attributes: reply.text.map(attribute).into_iter().collect() };
        self.known.learn(command, &answer);
        Some(answer)
    }

    pub(crate) fn changes(&mut self, site: &Site) -> Vec<Change> {
        let config = self.config();
        review(&config, &self.observed, &mut self.ledger);
        changes(&config, &self.observed, &self.ledger, site.imitation.numbering())
    }

    /// One pass: looks, and sends what is to be changed; of that no more than `most` commands, as one that dies.
    /// Says what was changed.
    pub(crate) fn pass(&mut self, site: &mut Site, most: usize) -> Vec<Change> {
        self.look(site);
        let changes = self.changes(site);
        let mut left = most;
        for change in &changes {
            if left < change.steps.len() {
                for step in change.steps.iter().take(left) {
                    let _cut_off = self.ask(&step.command, site);
                }
                self.ledger.break_off(&changes);
                break;
            }
            left -= change.steps.len();
            self.send(change, site);
        }
        let still_wanted = |subject: &Subject| changes.iter().any(|change| change.subject == *subject);
        self.refused.retain(|subject, _| still_wanted(subject) || self.ledger.holds(&tombstone_of(subject)));
        changes
    }

    fn send(&mut self, change: &Change, site: &mut Site) {
        let commands: Vec<Command> = change.steps.iter().map(|step| step.command.clone()).collect();
        let numbering = site.imitation.numbering();
        let unknown = commands.iter().any(|command| Request::from_command(command, numbering, 0).is_err());
        let mut refusal = None;
        if unknown || self.known.check(&commands).is_err() {
            refusal = Some((0, 0));
        } else {
            for (place, step) in change.steps.iter().enumerate() {
                let Some(answer) = self.ask(&step.command, site) else { return };
                if refusal.is_none() && !step.succeeded(answer.code) {
                    refusal = Some((place, answer.code));
                }
            }
        }
        match refusal {
            None => {
                self.refused.remove(&change.subject);
                self.ledger_enter(change);
            }
            Some((step, code)) => {
                self.ledger.refuse(change, step);
                let times = self.refused.entry(change.subject.clone()).or_insert(0);
                *times += 1;
                if (commands[step].verb, code) == (Verb::PrdcrDel, BUSY) && *times >= REFUSALS_OF_THE_UNDELETABLE {
                    self.ledger.enter(tombstone_of(&change.subject));
                }
            }
        }
    }

    fn ledger_enter(&mut self, change: &Change) {
        if let Some(entry) = &change.remember {
            self.ledger.enter(entry.clone());
        }
    }
}

fn tombstone_of(subject: &Subject) -> maestro::desired::LedgerEntry {
    match subject {
        Subject::Producer(name) => tombstone(name),
        _ => tombstone(&Name::from("")),
    }
}

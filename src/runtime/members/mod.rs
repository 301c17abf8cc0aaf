//! The place of this instance among several: between what etcd says of them and what the conductor is told.

mod sight;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use self::sight::Sight;
use super::notebook::Reader;
use super::status::{Question, StatusPage};
use crate::cluster::{Cluster, Relations};
use crate::conductor::{Event, GroupPlan, Memory, Part, Report, Standing};
use crate::members::{LiveMember, Role, able, majority, role, share};
use crate::notation::Name;
use crate::store::{EtcdStore, Guard, Membership, Presence, Publication, StoreError, Topic};

/// The seat of this instance among the members, for as long as it works.
#[derive(Debug)]
pub struct Seat {
    membership: Membership,
    presence: watch::Receiver<Presence>,
    /// All members, in counting order: all of them have the same, however their etcd.yaml are written.
    members: Vec<Name>,
    me: Name,
    cluster: Arc<Cluster>,
    relations: Relations,
    /// All that the others have published has been read, since etcd was last away.
    is_complete: bool,
    /// Our share of the daemons.
    share: BTreeSet<Name>,
    /// What the conductor was told last. Of our share it has what came with what is noted of it.
    standing: Standing,
    notes: Option<Reader>,
    looking_up: Option<JoinHandle<Memory>>,
    /// The life in which it was told so.
    since_revision: i64,
    /// Among whom the daemons were shared; nothing where that has to be done anew.
    shared_among: Option<BTreeSet<Name>>,
    /// What the operator was told last; nothing yet.
    told: Option<Role>,
    /// Who was alive when the operator was told last, and why nothing could be done.
    live: BTreeSet<Name>,
    reason: String,
    /// What is published of each daemon, by member, with its place in the order of arrival.
    reports: BTreeMap<Name, BTreeMap<Name, (u64, Report)>>,
    arrivals: u64,
    /// Of which daemons we have published something in this life.
    spoken_of: BTreeSet<Name>,
    sight: Sight,
    page: StatusPage,
    /// Who reaches none of its daemons, we aside.
    blind: BTreeSet<Name>,
    /// What the others were told in this life of whether we do.
    told_blind: Option<bool>,
    /// Who has another list of members than we, or was started with other options.
    differing: BTreeSet<Name>,
    /// Our options that all have to have, as they are written on a command line.
    options: String,
}

/// What concerns the other instances.
pub(super) enum News {
    /// The conductor has to know.
    Events(Vec<Event>),
    /// Somebody wants to know how we are.
    Asked(Question),
}

/// What etcd says of us at a moment.
struct View {
    role: Role,
    since_revision: i64,
    live: Vec<LiveMember>,
    /// Why we are suspended; empty for a reason that passes by itself in a moment.
    reason: String,
}

/// What a member says of itself.
#[derive(Debug, Serialize, Deserialize)]
struct Itself {
    /// It reaches none of its daemons.
    blind: bool,
    /// Its list of members.
    members: Vec<Name>,
    /// The options that all have to have.
    #[serde(default)]
    options: String,
}

/// The right to send what was decided, for as long as nobody else can have taken over.
#[derive(Debug, Clone)]
pub(super) struct Warrant(Option<(watch::Receiver<Presence>, i64)>);

impl Warrant {
    /// Of an instance that is alone.
    pub(super) fn unlimited() -> Warrant {
        Warrant(None)
    }

    /// To be asked right before something is sent: this process may have slept.
    pub(super) fn is_valid(&self) -> bool {
        let Some((presence, decided_in)) = &self.0 else { return true };
        let presence = presence.borrow();
        presence.is_valid()
            && matches!(&*presence, Presence::Present { since_revision, .. } if since_revision == decided_in)
    }
}

impl Seat {
    /// Takes the seat of member `me` among `members` for the cluster `prefix`, with leases of that length. What
    /// another instance knows of the daemons that come from it is in the `notes`.
    ///
    /// # Errors
    /// The prefix cannot be one.
    pub fn take(
        store: &EtcdStore,
        prefix: &str,
        mut members: Vec<Name>,
        me: Name,
        options: String,
        lease: Duration,
        notes: Option<Reader>,
    ) -> Result<Seat, StoreError> {
        members.sort();
        let membership = store.join(prefix, &me, lease)?;
        let page = StatusPage::open(me.to_string());
        Ok(Seat {
            presence: membership.presence(),
            membership,
            members,
            me,
            cluster: Arc::default(),
            relations: Relations::default(),
            is_complete: false,
            share: BTreeSet::new(),
            notes,
            looking_up: None,
            standing: Standing { part: Part::Suspended, mine: BTreeSet::new() },
            since_revision: 0,
            shared_among: None,
            told: None,
            live: BTreeSet::new(),
            reason: String::new(),
            reports: BTreeMap::new(),
            arrivals: 0,
            spoken_of: BTreeSet::new(),
            sight: Sight::default(),
            page,
            blind: BTreeSet::new(),
            told_blind: None,
            differing: BTreeSet::new(),
            options,
        })
    }

    /// What the conductor has to know before anything else.
    pub(super) fn first(&self) -> Event {
        Event::Standing(self.standing.clone())
    }

    /// The right to send what the conductor decides now.
    pub(super) fn warrant(&self) -> Warrant {
        Warrant(Some((self.presence.clone(), self.since_revision)))
    }

    /// What holds as long as we live the life in which the conductor was told last of our part.
    /// `None` before the first.
    pub(super) fn guard(&self) -> Option<Guard> {
        (self.since_revision > 0).then(|| self.membership.guard(self.since_revision))
    }

    /// Our share of the daemons.
    pub(super) fn share(&self) -> &BTreeSet<Name> {
        &self.share
    }

    /// Waits for what the conductor has to know, or for somebody who wants to know how we are.
    pub(super) async fn next(&mut self) -> News {
        let valid_until = match &*self.presence.borrow_and_update() {
            Presence::Present { valid_until, .. } if self.standing.part.is_member() => Some(*valid_until),
            _ => None,
        };
        let publication = tokio::select! {
            Ok(()) = self.presence.changed() => None,
            () = until(valid_until) => None,
            () = self.sight.succeeded() => {
                info!("our daemons can be reached again: we take our share of them");
                self.sight.see_again();
                None
            }
            memory = looked_up(&mut self.looking_up) => {
                self.looking_up = None;
                let mut events = vec![Event::Remembered(memory)];
                self.grant(self.standing.part, self.share.clone(), &mut events);
                return News::Events(events);
            }
            question = self.page.next() => return News::Asked(question),
            publication = self.membership.next_publication() => publication,
        };
        let mut events = publication.map(|publication| self.take_in(publication)).unwrap_or_default();
        events.extend(self.review());
        News::Events(events)
    }

    /// Takes note of what an agent has to say, before the conductor is told.
    pub(super) fn note(&mut self, event: &Event) {
        self.sight.note(event);
    }

    /// There is another configuration, which the conductor knows already.
    pub(super) fn configure(&mut self, cluster: &Arc<Cluster>) -> Vec<Event> {
        self.cluster = cluster.clone();
        self.relations = Relations::of(cluster);
        self.shared_among = None;
        self.review()
    }

    /// What the conductor has to know before it takes in anything else, in case that time has passed unseen.
    pub(super) fn review(&mut self) -> Vec<Event> {
        let view = self.view();
        let live: BTreeSet<Name> = view.live.iter().map(|member| member.name.clone()).collect();
        self.tell(&view, &live);
        let part = match view.role {
            Role::Leader => Part::Leader,
            Role::Follower => Part::Follower,
            Role::Suspended => Part::Suspended,
        };
        let mut events = Vec::new();
        if !part.is_member() {
            // The connections stay, so that we see what the daemons do and can go on at once.
            self.stand(part, None, &mut events);
            return events;
        }
        // Who was given up meanwhile, and lives again, begins from nothing.
        if view.since_revision != self.since_revision {
            self.stand(Part::Suspended, None, &mut events);
            self.since_revision = view.since_revision;
            self.spoken_of.clear();
            self.told_blind = None;
        }
        let able = self.able(&live);
        let mine = (self.shared_among.as_ref() != Some(&able)).then(|| self.share_among(&able));
        self.shared_among = Some(able);
        self.stand(part, mine, &mut events);
        self.look_out(&live);
        events
    }

    /// Who shares the daemons. Tells the others if we do no more, or do again.
    fn able(&mut self, live: &BTreeSet<Name>) -> BTreeSet<Name> {
        let is_blind = self.sight.is_blind(&self.standing.mine);
        if self.told_blind != Some(is_blind) {
            if is_blind {
                warn!(
                    "none of our {} daemons can be reached: they are the other maestro members' until we reach some",
                    self.standing.mine.len()
                );
            }
            let itself = Itself { blind: is_blind, ..self.ourselves() };
            self.membership.publish(self.since_revision, Topic::Member(self.me.clone()), written(&itself));
            self.told_blind = Some(is_blind);
        }
        let mut blind = self.blind.clone();
        if is_blind {
            blind.insert(self.me.clone());
        }
        able(live, &blind)
    }

    fn share_among(&self, able: &BTreeSet<Name>) -> BTreeSet<Name> {
        share(&self.cluster, &self.relations, &self.members, able, &self.me)
    }

    /// Looks whether the daemons that were ours can be reached again, as long as others have them.
    fn look_out(&mut self, live: &BTreeSet<Name>) {
        if self.told_blind != Some(true) || !self.standing.mine.is_empty() {
            self.sight.stop_trying();
        } else if !self.sight.is_trying() {
            let address = |name: &Name| {
                let daemon = self.cluster.daemons.get(name)?;
                let endpoint = daemon.control_endpoint()?;
                Some((daemon.host_of(endpoint).to_owned(), endpoint.port))
            };
            self.sight.try_some(self.share_among(live).iter().filter_map(address).collect());
        }
    }

    /// Publishes what there is to tell of a daemon.
    pub(super) fn publish(&mut self, daemon: Name, report: Option<&Report>) {
        match report {
            Some(_) => drop(self.spoken_of.insert(daemon.clone())),
            None => drop(self.spoken_of.remove(&daemon)),
        }
        self.membership.publish(self.since_revision, Topic::Daemon(daemon), report.and_then(written));
    }

    /// Takes back what we have published of a daemon that is somebody else's, who has published something of it: until
    /// then, it is better than nothing.
    fn fall_silent_about(&mut self, daemon: &Name) {
        if self.reports.contains_key(daemon) && self.spoken_of.contains(daemon) {
            self.publish(daemon.clone(), None);
        }
    }

    /// Publishes what was decided for a group.
    pub(super) fn publish_plan(&self, group: Name, plan: Option<&GroupPlan>) {
        if self.standing.part == Part::Leader {
            self.membership.publish(self.since_revision, Topic::Group(group), plan.and_then(written));
        }
    }

    /// Gives the seat up, so that the others know at once.
    pub(super) async fn leave(self) {
        self.membership.resign().await;
    }

    fn view(&self) -> View {
        let presence = self.presence.borrow();
        let suspended = |since_revision, live, reason| View { role: Role::Suspended, since_revision, live, reason };
        match &*presence {
            Presence::Absent { reason } => suspended(0, Vec::new(), reason.clone()),
            Presence::Present { since_revision, live, trouble, .. } if !presence.is_valid() => {
                let reason = trouble.clone().unwrap_or_else(|| "etcd was not asked in time".into());
                suspended(*since_revision, live.clone(), reason)
            }
            Presence::Present { since_revision, live, .. } => {
                let live: Vec<LiveMember> =
                    live.iter().filter(|member| self.members.contains(&member.name)).cloned().collect();
                let role = role(&self.members, &live, &self.me);
                if role == Role::Suspended {
                    let reason = format!(
                        "{} of {} maestro members alive, {} are needed",
                        live.len(),
                        self.members.len(),
                        majority(self.members.len())
                    );
                    return suspended(*since_revision, live, reason);
                }
                // Who comes to work has to know first what the others have published.
                if !self.is_complete && !self.standing.part.is_member() {
                    return suspended(*since_revision, live, String::new());
                }
                View { role, since_revision: *since_revision, live, reason: String::new() }
            }
        }
    }

    /// Takes another part, or another share of the daemons if there is one. What comes to us from another instance waits
    /// until we have read what that has noted.
    fn stand(&mut self, part: Part, share: Option<BTreeSet<Name>>, events: &mut Vec<Event>) {
        let share = share.filter(|share| *share != self.share);
        if part == self.standing.part && share.is_none() {
            return;
        }
        if let Some(share) = share {
            self.share = share;
            let gained: BTreeSet<Name> = self.share.difference(&self.standing.mine).cloned().collect();
            if let Some(before) = self.looking_up.take() {
                before.abort();
            }
            if let Some(notes) = self.notes.clone().filter(|_| !gained.is_empty()) {
                self.looking_up = Some(tokio::spawn(notes.look_up(gained)));
            }
        }
        let mine = match self.looking_up {
            Some(_) => self.share.intersection(&self.standing.mine).cloned().collect(),
            None => self.share.clone(),
        };
        self.grant(part, mine, events);
    }

    fn grant(&mut self, part: Part, mine: BTreeSet<Name>, events: &mut Vec<Event>) {
        if part == self.standing.part && mine == self.standing.mine {
            return;
        }
        self.standing.part = part;
        let before = std::mem::replace(&mut self.standing.mine, mine);
        self.sight.have(&self.standing.mine);
        events.push(Event::Standing(self.standing.clone()));
        // What others have published of a daemon meant nothing while it was ours.
        let left: Vec<Name> = before.difference(&self.standing.mine).cloned().collect();
        for daemon in left {
            self.fall_silent_about(&daemon);
            let report = self.report_of(&daemon);
            events.push(Event::Reported { daemon, report });
        }
    }

    fn take_in(&mut self, publication: Publication) -> Vec<Event> {
        match publication {
            Publication::Complete => self.is_complete = true,
            Publication::Interrupted { reason } => {
                tracing::debug!(reason, "what the other maestro members publish cannot be followed");
                self.is_complete = false;
            }
            Publication::Changed { topic: Topic::Group(group), value, .. } => {
                let plan = value.and_then(|value| read::<GroupPlan>(value, &format!("the plan for {group}")));
                return vec![Event::Planned { group, plan }];
            }
            Publication::Changed { topic: Topic::Member(member), value, .. } => {
                let itself = value.and_then(|value| read::<Itself>(value, &format!("what {member} says of itself")));
                self.meet(member, itself);
            }
            Publication::Changed { topic: Topic::Daemon(daemon), member, value } => {
                let report = value.and_then(|value| read::<Report>(value, &format!("what is said of {daemon}")));
                self.keep_report(daemon.clone(), member, report);
                if !self.standing.mine.contains(&daemon) {
                    self.fall_silent_about(&daemon);
                    let report = self.report_of(&daemon);
                    return vec![Event::Reported { daemon, report }];
                }
            }
        }
        Vec::new()
    }

    /// Takes note of what another member says of itself, or that it is gone.
    fn meet(&mut self, member: Name, itself: Option<Itself>) {
        let itself = itself.unwrap_or_else(|| self.ourselves());
        let changed = if itself.blind { self.blind.insert(member.clone()) } else { self.blind.remove(&member) };
        if changed && itself.blind {
            warn!("maestro member {member} reaches none of its daemons: the others have them meanwhile");
        } else if changed {
            info!("maestro member {member} gets its share of the daemons again");
        }
        if itself.members == self.members && itself.options == self.options {
            self.differing.remove(&member);
        } else if !self.differing.insert(member.clone()) {
            // The operator knows.
        } else if itself.members == self.members {
            warn!(
                "maestro member {member} was started with `{}` and we with `{}`: give all the same options, or what is \
                 balanced depends on who leads",
                itself.options, self.options
            );
        } else {
            let theirs: Vec<&str> = itself.members.iter().map(Name::as_str).collect();
            warn!(
                "maestro member {member} lists other `maestro_members` than our etcd.yaml ({}): make both the same, or some \
                 daemons have two maestros or none",
                theirs.join(", ")
            );
        }
    }

    fn ourselves(&self) -> Itself {
        Itself { blind: false, members: self.members.clone(), options: self.options.clone() }
    }

    fn keep_report(&mut self, daemon: Name, member: Option<Name>, report: Option<Report>) {
        let Some(member) = member else { return };
        self.arrivals += 1;
        let told = self.reports.entry(daemon.clone()).or_default();
        match report {
            Some(report) => drop(told.insert(member, (self.arrivals, report))),
            None => drop(told.remove(&member)),
        }
        if told.is_empty() {
            self.reports.remove(&daemon);
        }
    }

    /// What was published of a daemon last: for a moment, who has it and who had it may both tell.
    fn report_of(&self, daemon: &Name) -> Option<Report> {
        let newest = self.reports.get(daemon)?.values().max_by_key(|(arrival, _)| *arrival)?;
        Some(newest.1.clone())
    }
}

async fn looked_up(task: &mut Option<JoinHandle<Memory>>) -> Memory {
    match task {
        // A task that is aborted is replaced at once.
        Some(task) => task.await.unwrap_or_default(),
        None => std::future::pending().await,
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn written(value: &impl Serialize) -> Option<serde_json::Value> {
    serde_json::to_value(value).inspect_err(|error| warn!("cannot publish to the other maestro members: {error}")).ok()
}

fn read<T: DeserializeOwned>(value: serde_json::Value, what: &str) -> Option<T> {
    let told = |error: &serde_json::Error| {
        warn!("{what} in etcd cannot be read ({error}): do all maestro members have the same version?");
    };
    serde_json::from_value(value).inspect_err(told).ok()
}

//! The board: what etcd is to several instances. Leases, who leads, and what is published.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use maestro::conductor::{GroupPlan, Report, Standing};
use maestro::notation::Name;

use super::super::world::{Happening, MS_US, SECOND_US, World};

/// How long a lease is kept without a sign of life.
pub(crate) const LEASE_US: u64 = 3 * SECOND_US;
/// How long a message takes between an instance and the board, one way.
const LATENCY_US: Range<u64> = MS_US..30 * MS_US;

#[derive(Debug)]
pub(crate) struct Board {
    /// The names of the configured instances, in order; instances are numbered from 1.
    pub(crate) members: Vec<Name>,
    /// Whether the board has its own quorum.
    pub(crate) is_up: bool,
    leases: BTreeMap<usize, Lease>,
    lives: u64,
    reports: BTreeMap<Name, (usize, Report)>,
    plans: BTreeMap<Name, GroupPlan>,
    /// Instances that cannot reach the board.
    pub(crate) cut: BTreeSet<usize>,
    /// Instances that sleep, and what has come for them meanwhile.
    pub(crate) paused: BTreeMap<usize, Vec<Happening>>,
    /// Instances that cannot reach any daemon.
    pub(crate) blind: BTreeSet<usize>,
    pub(crate) clients: BTreeMap<usize, Client>,
    /// What the board has for instances that it cannot reach.
    undelivered: BTreeMap<usize, Vec<Council>>,
    /// Who sent the last commands to each daemon, and when.
    pub(crate) commanders: BTreeMap<Name, (usize, u64)>,
    /// The bytes of reports and of plans that were ever published.
    pub(crate) bytes: (usize, usize),
}

#[derive(Debug)]
struct Lease {
    /// Which of an instance's leases it is. The oldest lives lead.
    life: u64,
    expires_us: u64,
}

/// An instance's side of its connection to the board.
#[derive(Debug, Default)]
pub(crate) struct Client {
    /// Its lease; 0 for none.
    pub(crate) life: u64,
    /// Until when nobody else can have taken its place.
    pub(crate) valid_until_us: u64,
    pub(crate) live: BTreeSet<usize>,
    pub(crate) leader: Option<usize>,
    pub(crate) standing: Standing,
    outbox: VecDeque<Write>,
    /// What it has been told of, so that it can be told what is no more.
    known: (BTreeSet<Name>, BTreeSet<Name>),
    last_news_us: u64,
}

#[derive(Debug, Clone)]
pub(crate) enum Write {
    Report(Name, Option<Report>),
    Plan(Name, Option<GroupPlan>),
}

#[derive(Debug, Clone)]
pub(crate) enum News {
    Members { live: BTreeSet<usize>, leader: Option<usize> },
    Report(Name, Option<Report>),
    Plan(Name, Option<GroupPlan>),
}

/// What happens between an instance and the board.
#[derive(Debug, Clone)]
pub(crate) enum Council {
    /// An instance gives a sign of life.
    KeepAlive,
    KeepAliveArrives {
        life: u64,
        sent_us: u64,
    },
    /// A lease is kept; a new one comes with everything that is published.
    Kept {
        life: u64,
        sent_us: u64,
    },
    /// There is no such lease any more.
    Gone {
        life: u64,
    },
    LeaseEnds {
        life: u64,
    },
    News {
        life: u64,
        news: Box<News>,
    },
    WriteArrives {
        life: u64,
    },
    /// An instance looks whether it may go on.
    Review,
}

impl Board {
    pub(crate) fn new(members: usize) -> Board {
        Board {
            members: (1..=members).map(|number| Name::from(format!("maestro-{number}"))).collect(),
            is_up: true,
            leases: BTreeMap::new(),
            lives: 0,
            reports: BTreeMap::new(),
            plans: BTreeMap::new(),
            cut: BTreeSet::new(),
            paused: BTreeMap::new(),
            blind: BTreeSet::new(),
            clients: BTreeMap::new(),
            undelivered: BTreeMap::new(),
            commanders: BTreeMap::new(),
            bytes: (0, 0),
        }
    }

    pub(crate) fn live(&self) -> BTreeSet<usize> {
        self.leases.keys().copied().collect()
    }

    pub(crate) fn leader(&self) -> Option<usize> {
        self.leases.iter().min_by_key(|(_, lease)| lease.life).map(|(seat, _)| *seat)
    }

    /// Whether this is the lease that an instance has.
    pub(crate) fn holds(&self, seat: usize, life: u64) -> bool {
        self.leases.get(&seat).is_some_and(|lease| lease.life == life)
    }

    /// How many sets of a sampler its instance tells of.
    pub(crate) fn sets_told_of(&self, sampler: &Name) -> Option<usize> {
        self.reports.get(sampler)?.1.sets.map(|load| load.sets)
    }

    pub(crate) fn reaches(&self, seat: usize) -> bool {
        self.is_up && !self.cut.contains(&seat)
    }
}

impl World {
    pub(crate) fn board(&mut self) -> &mut Board {
        self.board.as_mut().unwrap()
    }

    pub(crate) fn client(&mut self) -> &mut Client {
        let seat = self.seat;
        self.board().clients.entry(seat).or_default()
    }

    /// Something happens between the instance whose turn it is and the board.
    pub(crate) fn convene(&mut self, council: Council) {
        let seat = self.seat;
        match council {
            Council::KeepAlive => self.keep_alive(),
            Council::Review => self.review_standing(),
            Council::KeepAliveArrives { life, sent_us } => {
                if self.board().reaches(seat) {
                    self.keep_lease(life, sent_us);
                }
            }
            Council::LeaseEnds { life } => self.end_lease_if_due(life),
            Council::WriteArrives { life } => self.take_write(life),
            Council::Kept { .. } | Council::Gone { .. } | Council::News { .. } => {
                if !self.board().reaches(seat) {
                    self.board().undelivered.entry(seat).or_default().push(council);
                } else if self.conductor_here().is_some() {
                    self.hear(council);
                }
            }
        }
    }

    /// What could not be delivered comes now.
    pub(crate) fn deliver_to(&mut self, seat: usize) {
        if self.board().reaches(seat) {
            for council in self.board().undelivered.remove(&seat).unwrap_or_default() {
                self.tell_instance(seat, council);
            }
        }
    }

    fn keep_lease(&mut self, life: u64, sent_us: u64) {
        let (seat, now_us) = (self.seat, self.now_us());
        let board = self.board();
        if board.holds(seat, life) {
            board.leases.insert(seat, Lease { life, expires_us: now_us + LEASE_US });
            return self.tell_instance(seat, Council::Kept { life, sent_us });
        }
        if life > 0 {
            return self.tell_instance(seat, Council::Gone { life });
        }
        if board.leases.contains_key(&seat) {
            // Of an earlier process of this instance: it has to end first.
            return;
        }
        board.lives += 1;
        let life = board.lives;
        board.leases.insert(seat, Lease { life, expires_us: now_us + LEASE_US });
        self.at(now_us + LEASE_US, Happening::Council(Council::LeaseEnds { life }));
        self.tell_instance(seat, Council::Kept { life, sent_us });
        self.tell_members();
    }

    fn end_lease_if_due(&mut self, life: u64) {
        let (seat, now_us) = (self.seat, self.now_us());
        let board = self.board();
        let Some(lease) = board.leases.get_mut(&seat).filter(|lease| lease.life == life) else { return };
        if !board.is_up {
            // Without quorum of its own the board takes nothing away, and everybody has a whole term afterwards.
            lease.expires_us = now_us + LEASE_US;
        }
        let expires_us = lease.expires_us;
        if expires_us > now_us {
            return self.at(expires_us, Happening::Council(Council::LeaseEnds { life }));
        }
        self.end_lease(seat);
    }

    /// A lease ends, and what was published under it goes.
    pub(crate) fn end_lease(&mut self, seat: usize) {
        let board = self.board();
        board.leases.remove(&seat);
        let gone = board.reports.iter().filter(|(_, (publisher, _))| *publisher == seat);
        let gone: Vec<Name> = gone.map(|(daemon, _)| daemon.clone()).collect();
        for daemon in gone {
            self.board().reports.remove(&daemon);
            self.tell_others(seat, &News::Report(daemon, None));
        }
        self.tell_members();
    }

    /// Who is alive and who leads has changed.
    fn tell_members(&mut self) {
        let (live, leader) = (self.board().live(), self.board().leader());
        let now_us = self.now_us();
        self.history.log(now_us, || format!("*** live are {live:?}, {leader:?} leads"));
        self.history.maestro_started(now_us);
        self.tell_others(0, &News::Members { live, leader });
    }

    fn tell_others(&mut self, publisher: usize, news: &News) {
        for (seat, life) in self.board().leases.iter().map(|(seat, lease)| (*seat, lease.life)).collect::<Vec<_>>() {
            if seat != publisher {
                self.tell_instance(seat, Council::News { life, news: Box::new(news.clone()) });
            }
        }
    }

    /// Messages to one instance stay in their order.
    fn tell_instance(&mut self, seat: usize, council: Council) {
        let latency_us = self.random(LATENCY_US);
        let at_us = self.now_us() + latency_us;
        self.sit(seat);
        let client = self.client();
        let at_us = at_us.max(client.last_news_us);
        client.last_news_us = at_us;
        self.at(at_us, Happening::Council(council));
    }

    /// The instance whose turn it is publishes something.
    pub(crate) fn write(&mut self, write: Write) {
        if self.board.is_none() {
            return;
        }
        let client = self.client();
        let life = client.life;
        client.outbox.push_back(write);
        if client.outbox.len() == 1 {
            let at_us = self.now_us() + self.random(LATENCY_US);
            self.at(at_us, Happening::Council(Council::WriteArrives { life }));
        }
    }

    fn take_write(&mut self, life: u64) {
        let (seat, now_us) = (self.seat, self.now_us());
        if self.client().life != life {
            return;
        }
        if !self.board().reaches(seat) {
            return self.at(now_us + SECOND_US / 5, Happening::Council(Council::WriteArrives { life }));
        }
        let Some(write) = self.client().outbox.pop_front() else { return };
        if !self.client().outbox.is_empty() {
            self.at(now_us + MS_US, Happening::Council(Council::WriteArrives { life }));
        }
        if !self.board().holds(seat, life) {
            return;
        }
        let board = self.board();
        match write {
            Write::Report(daemon, report) => {
                board.bytes.0 += report.as_ref().map_or(0, |report| serde_json::to_string(report).unwrap().len());
                match &report {
                    Some(report) => board.reports.insert(daemon.clone(), (seat, as_read(report))),
                    None => board.reports.remove(&daemon),
                };
                self.tell_others(seat, &News::Report(daemon, report));
            }
            Write::Plan(group, plan) => {
                if board.leader() != Some(seat) {
                    self.history.log(now_us, || format!("*** a plan of {seat} for {group} is refused"));
                    return;
                }
                board.bytes.1 += plan.as_ref().map_or(0, |plan| serde_json::to_string(plan).unwrap().len());
                match &plan {
                    Some(plan) => board.plans.insert(group.clone(), as_read(plan)),
                    None => board.plans.remove(&group),
                };
                self.tell_others(0, &News::Plan(group, plan));
            }
        }
        self.sit(seat);
    }

    /// All that is published, for an instance that has just got a lease, and what is no more of what it knew.
    pub(crate) fn everything_published(&mut self) -> Vec<News> {
        let seat = self.seat;
        let (mut daemons, mut groups) = std::mem::take(&mut self.client().known);
        let board = self.board();
        let others = board.reports.iter().filter(|(_, (publisher, _))| *publisher != seat);
        let reports: Vec<(Name, Report)> =
            others.map(|(daemon, (_, report))| (daemon.clone(), report.clone())).collect();
        let plans = board.plans.clone();
        daemons.retain(|daemon| !reports.iter().any(|(reported, _)| reported == daemon));
        groups.retain(|group| !plans.contains_key(group));
        let gone = daemons.into_iter().map(|daemon| News::Report(daemon, None));
        let gone = gone.chain(groups.into_iter().map(|group| News::Plan(group, None)));
        let reports = reports.into_iter().map(|(daemon, report)| News::Report(daemon, Some(report)));
        gone.chain(reports).chain(plans.into_iter().map(|(group, plan)| News::Plan(group, Some(plan)))).collect()
    }
}

impl Client {
    pub(crate) fn note(&mut self, news: &News) {
        let (daemons, groups) = &mut self.known;
        match news {
            News::Report(daemon, Some(_)) => drop(daemons.insert(daemon.clone())),
            News::Report(daemon, None) => drop(daemons.remove(daemon)),
            News::Plan(group, Some(_)) => drop(groups.insert(group.clone())),
            News::Plan(group, None) => drop(groups.remove(group)),
            News::Members { .. } => {}
        }
    }

    /// A lease is lost: what was to be published under it is void.
    pub(crate) fn lose_lease(&mut self) {
        self.life = 0;
        self.valid_until_us = 0;
        self.outbox.clear();
    }
}

/// What was written, as it comes back from where texts are kept.
fn as_read<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
    serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
}

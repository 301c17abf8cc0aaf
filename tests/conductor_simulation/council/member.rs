//! What an instance does besides conducting: it keeps its lease, knows its part and share, and sends nothing without.

use std::collections::BTreeSet;

use maestro::cluster::Relations;
use maestro::conductor::{Event, Memory, Part, Standing};
use maestro::members::share;
use maestro::notation::Name;

use super::super::world::{Happening, MS_US, SECOND_US, World};
use super::board::{Board, Council, LEASE_US, News};

/// So much before a lease may end an instance stops by itself.
const MARGIN_US: u64 = 500 * MS_US;
const KEEP_ALIVE_US: u64 = SECOND_US;
/// An instance that gets a daemon from another may send a command while the other's is on its way.
const OVERLAP_US: u64 = SECOND_US;

impl World {
    /// Starts so many instances, which know of each other.
    pub(crate) fn start_council(&mut self, members: usize) {
        self.board = Some(Board::new(members));
        for seat in 1..=members {
            self.start_member(seat);
        }
    }

    pub(crate) fn start_member(&mut self, seat: usize) {
        self.sit(seat);
        if self.conductor_here().is_some() {
            return;
        }
        self.board().clients.remove(&seat);
        self.start_maestro();
        self.at(self.now_us(), Happening::Council(Council::KeepAlive));
    }

    /// Ends an instance; one that does so by itself gives its lease back.
    pub(crate) fn stop_member(&mut self, seat: usize, resigns: bool) {
        self.sit(seat);
        if self.conductor_here().is_none() {
            return;
        }
        self.stop_maestro();
        self.board().clients.remove(&seat);
        self.board().paused.remove(&seat);
        if resigns && self.board().reaches(seat) {
            self.end_lease(seat);
        }
    }

    pub(crate) fn pause(&mut self, seat: usize) {
        self.board().paused.entry(seat).or_default();
    }

    /// An instance goes on, with all that has come meanwhile.
    pub(crate) fn wake(&mut self, seat: usize) {
        for happening in self.board().paused.remove(&seat).unwrap_or_default() {
            self.sit(seat);
            self.at(self.now_us(), happening);
        }
    }

    pub(crate) fn is_paused(&self, seat: usize) -> bool {
        self.board.as_ref().is_some_and(|board| board.paused.contains_key(&seat))
    }

    /// What happens to an instance that sleeps happens when it goes on.
    pub(crate) fn unless_paused(&mut self, happening: Happening) -> Option<Happening> {
        let seat = self.seat;
        if !self.is_paused(seat) {
            return Some(happening);
        }
        let is_instances_own = match &happening {
            Happening::AgentConnects { .. }
            | Happening::AgentTimer { .. }
            | Happening::Answer { .. }
            | Happening::Unanswered { .. }
            | Happening::Broken { .. } => true,
            Happening::Council(council) => matches!(
                council,
                Council::KeepAlive
                    | Council::Review
                    | Council::Kept { .. }
                    | Council::Gone { .. }
                    | Council::News { .. }
            ),
            _ => false,
        };
        if !is_instances_own {
            return Some(happening);
        }
        self.board().paused.entry(seat).or_default().push(happening);
        None
    }

    /// Whether the instance whose turn it is cannot reach a daemon.
    pub(crate) fn is_unreachable(&self, daemon: &Name) -> bool {
        let is_blind = self.board.as_ref().is_some_and(|board| board.blind.contains(&self.seat));
        is_blind || self.is_cut(daemon)
    }

    pub(crate) fn keep_alive(&mut self) {
        if self.conductor_here().is_none() {
            return;
        }
        let (life, sent_us) = (self.client().life, self.now_us());
        let arrives_us = sent_us + self.random(MS_US..30 * MS_US);
        self.at(arrives_us, Happening::Council(Council::KeepAliveArrives { life, sent_us }));
        self.at(sent_us + KEEP_ALIVE_US, Happening::Council(Council::KeepAlive));
    }

    /// The board has said something.
    pub(crate) fn hear(&mut self, council: Council) {
        match council {
            Council::Kept { life, sent_us } => {
                let before = self.client().life;
                if before == 0 {
                    self.client().life = life;
                    for news in self.everything_published() {
                        self.take_news(news);
                    }
                }
                if before == 0 || before == life {
                    let valid_until_us = sent_us + LEASE_US - MARGIN_US;
                    self.client().valid_until_us = valid_until_us;
                    self.at(valid_until_us, Happening::Council(Council::Review));
                }
            }
            Council::Gone { life } if self.client().life == life => {
                self.client().lose_lease();
                self.review_standing();
                self.at(self.now_us(), Happening::Council(Council::KeepAlive));
            }
            Council::News { life, news } if self.client().life == life => self.take_news(*news),
            _ => {}
        }
        self.review_standing();
    }

    fn take_news(&mut self, news: News) {
        self.client().note(&news);
        match news {
            News::Members { live, leader } => {
                let client = self.client();
                (client.live, client.leader) = (live, leader);
            }
            News::Report(daemon, report) => self.conduct(Event::Reported { daemon, report }),
            News::Plan(group, plan) => self.conduct(Event::Planned { group, plan }),
        }
    }

    /// Tells the conductor of its part and share, if they have changed.
    pub(crate) fn review_standing(&mut self) {
        let (seat, now_us) = (self.seat, self.now_us());
        if self.board.is_none() || self.conductor_here().is_none() || self.is_paused(seat) {
            return;
        }
        let (members, majority) = (self.board().members.clone(), self.board().members.len() / 2 + 1);
        let client = self.client();
        let has_quorum = client.life > 0 && now_us < client.valid_until_us && client.live.len() >= majority;
        let part = match client.leader {
            _ if !has_quorum => Part::Suspended,
            Some(leader) if leader == seat => Part::Leader,
            _ => Part::Follower,
        };
        let (live, before) = (client.live.clone(), client.standing.clone());
        let name = |seat: &usize| members[seat - 1].clone();
        let mine = if part == Part::Suspended {
            before.mine.clone()
        } else {
            let relations = Relations::of(&self.cluster);
            let live: BTreeSet<Name> = live.iter().map(name).collect();
            share(&self.cluster, &relations, &members, &live, &name(&seat))
        };
        let standing = Standing { part, mine };
        if standing != before {
            if standing.part != before.part {
                self.history.log(now_us, || format!("*** {seat}: {:?} => {part:?}", before.part));
            }
            self.client().standing = standing.clone();
            let comes = |daemon: &Name| standing.mine.contains(daemon) && !before.mine.contains(daemon);
            let notes = self.memory.daemons.iter().filter(|(daemon, _)| comes(daemon));
            let daemons = notes.map(|(daemon, record)| (daemon.clone(), record.clone())).collect();
            let producers = self.memory.producers.clone();
            self.conduct(Event::Remembered(Memory { daemons, producers }));
            self.conduct(Event::Standing(standing));
        }
    }

    /// A conductor orders nothing to be sent while it is suspended, and only to its own daemons: whether that may still be
    /// sent when its turn comes is another question.
    pub(crate) fn check_order(&mut self, daemon: &Name) {
        let Some(standing) = self.conductor_here().map(|conductor| conductor.standing().clone()) else { return };
        if self.board.is_none() {
            return;
        }
        let seat = self.seat;
        if standing.part == Part::Suspended {
            self.violation(format!("{seat} orders something for {daemon} while it is suspended"));
        } else if !standing.mine.contains(daemon) {
            self.violation(format!("{seat} orders something for {daemon}, which is not its own"));
        }
    }

    /// Whether the instance whose turn it is may send something to a daemon, as it has to ask right before it does.
    pub(crate) fn may_send(&mut self, daemon: &Name) -> bool {
        if self.board.is_none() {
            return true;
        }
        let (seat, now_us) = (self.seat, self.now_us());
        let client = self.client();
        let (life, is_valid) = (client.life, now_us < client.valid_until_us);
        if !is_valid || client.standing.part == Part::Suspended {
            self.review_standing();
            return false;
        }
        if !self.board().holds(seat, life) {
            self.violation(format!("{seat} sends to {daemon} without a lease"));
        }
        let majority = self.board().members.len() / 2 + 1;
        if self.client().live.len() < majority {
            self.violation(format!("{seat} sends to {daemon} without quorum"));
        }
        let changed_us = self.history.maestro_started_us;
        if let Some((other, last_us)) = self.board().commanders.insert(daemon.clone(), (seat, now_us))
            && other != seat
            && (now_us < last_us + OVERLAP_US && last_us > changed_us + OVERLAP_US)
        {
            self.violation(format!("{seat} sends to {daemon}, and so does {other}"));
        }
        true
    }

    /// The standing of an instance.
    pub(crate) fn part_of(&mut self, seat: usize) -> Option<Part> {
        self.sit(seat);
        self.conductor_here().map(|conductor| conductor.standing().part)
    }
}

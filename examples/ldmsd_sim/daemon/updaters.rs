//! Updaters: which sets an aggregator pulls, and when (the wire specification, section 6.5).

use std::collections::{BTreeMap, BTreeSet};

use maestro::ldmsd::Attribute;
use regex::Regex;

use super::producers::{Producer, ProducerSet, ProducerState, SetState};
use super::quantity::{interval_us, last_multiple_us};
use super::request::{Attributes, Outcome, Reply, errno, regular_expression};
use super::sets::hint_us;
use super::{Action, Daemon, Imitation, SECOND_US};

/// A set is not updated during its first second (measured: a constant on all lines).
const SETTLING_US: u64 = SECOND_US;

/// An updater with auto_interval ticks so long after the offset of the hint (measured).
const AUTO_DELAY_US: i64 = 100_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Pull,
    PushOnChange,
    PushOnRequest,
}

#[derive(Debug, Clone)]
struct SetMatch {
    text: String,
    regex: Regex,
    by_schema: bool,
}

impl SetMatch {
    fn selector(&self) -> &'static str {
        if self.by_schema { "schema" } else { "inst" }
    }
}

/// An updater.
#[derive(Debug)]
pub(super) struct Updater {
    schedule: Schedule,
    mode: Mode,
    follows_hints: bool,
    running: bool,
    /// Up to when its ticks have been served.
    ticked_us: u64,
    pub(super) producers: BTreeSet<String>,
    /// What `updtr_prdcr_add` was given, for producers that will advertise themselves.
    pub(super) producer_regexes: Vec<Regex>,
    /// The latest first.
    matches: Vec<SetMatch>,
}

/// A series of ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Schedule {
    interval_us: u64,
    offset_us: i64,
    /// Whether the ticks are full multiples of the interval plus the offset; else they count from `started_us`.
    synchronous: bool,
    started_us: u64,
}

impl Schedule {
    /// The latest tick that is not after `now_us`.
    fn last_us(&self, now_us: u64) -> u64 {
        if self.synchronous {
            last_multiple_us(self.interval_us, self.offset_us, now_us)
        } else {
            self.started_us + now_us.saturating_sub(self.started_us) / self.interval_us * self.interval_us
        }
    }

    fn next_us(&self, now_us: u64) -> u64 {
        (self.last_us(now_us) + self.interval_us).max(self.first_us())
    }

    /// The first tick comes after the first full multiple that follows the start: one that is started between a multiple
    /// and the offset misses that tick (measured).
    fn first_us(&self) -> u64 {
        if !self.synchronous || self.started_us == 0 {
            return 0;
        }
        let multiple_us = last_multiple_us(self.interval_us, 0, self.started_us) + self.interval_us;
        let first_us = multiple_us.saturating_add_signed(self.offset_us);
        if first_us <= self.started_us { first_us + self.interval_us } else { first_us }
    }

    /// What a set that is updated on this schedule carries as update hint.
    fn hint(&self) -> String {
        if self.synchronous {
            format!("{}:{}", self.interval_us, self.offset_us)
        } else {
            format!("{}:", self.interval_us)
        }
    }
}

impl Updater {
    /// Whether the updater takes the set, by its own match list.
    fn takes(&self, instance: &str, schema: &str) -> bool {
        self.matches.is_empty()
            || self.matches.iter().any(|entry| entry.regex.is_match(if entry.by_schema { schema } else { instance }))
    }

    /// Whether the hints of sets make schedules of their own.
    pub(super) fn goes_by_hints(&self) -> bool {
        self.running && (self.follows_hints || self.mode != Mode::Pull)
    }

    /// The schedule on which a set is updated: that of its hint where the updater follows hints or is pushed to.
    fn schedule_of(&self, set: &ProducerSet) -> Schedule {
        let hint = set.source_hint.as_deref().and_then(hint_us);
        let of_hint = |delay_us: i64| {
            hint.map(|(interval_us, offset_us)| Schedule {
                interval_us,
                offset_us: offset_us + delay_us,
                synchronous: true,
                started_us: 0,
            })
        };
        match self.mode {
            Mode::Pull if self.follows_hints => of_hint(AUTO_DELAY_US).unwrap_or(self.schedule),
            Mode::Pull => self.schedule,
            Mode::PushOnChange | Mode::PushOnRequest => of_hint(0).unwrap_or(self.schedule),
        }
    }

    fn mode_text(&self) -> &'static str {
        match self.mode {
            Mode::Pull => "Pull",
            Mode::PushOnChange => "Push on Change",
            Mode::PushOnRequest => "Push on Request",
        }
    }

    fn check_stopped(&self) -> Result<(), Reply> {
        if self.running {
            let text = "Configuration changes cannot be made while the updater is running.";
            return Err(Reply::error(errno::EBUSY, text));
        }
        Ok(())
    }
}

const MISSING: &str = "The updater specified does not exist.";
const OFFSET_TOO_LARGE: &str =
    "The absolute value of the offset value must not be larger than the half of the update interval.";

fn invalid(text: impl Into<String>) -> Reply {
    Reply::error(errno::EINVAL, text)
}

fn read_interval(text: &str) -> Result<u64, Reply> {
    let us =
        interval_us(text).ok_or_else(|| invalid(format!("The given update interval value ({text}) is invalid.")))?;
    let positive = u64::try_from(us).ok().filter(|us| *us > 0);
    positive.ok_or_else(|| invalid("The update interval value must be larger than 0."))
}

fn read_offset(text: &str) -> Result<i64, Reply> {
    interval_us(text).ok_or_else(|| invalid(format!("The given update offset value ({text}) is invalid.")))
}

fn read_auto_interval(text: &str) -> Result<bool, Reply> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(invalid("The auto_interval option requires either 'true', or 'false'\n")),
    }
}

/// The verbs.
impl Daemon {
    fn updater_mut(&mut self, name: &str) -> Result<&mut Updater, Reply> {
        self.updaters.get_mut(name).ok_or_else(|| Reply::error(errno::ENOENT, MISSING))
    }

    pub(super) fn updtr_add(&mut self, attributes: &Attributes) -> Outcome {
        let name = attributes.require(Attribute::Name, "The attribute 'name' is required.")?;
        let interval_us =
            read_interval(attributes.require(Attribute::Interval, "The 'interval' attribute is required.")?)?;
        let offset_us = attributes.get(Attribute::Offset).map_or(Ok(0), read_offset)?;
        if offset_us.unsigned_abs() > interval_us / 2 {
            return Err(invalid(OFFSET_TOO_LARGE));
        }
        let follows_hints = attributes.get(Attribute::AutoInterval).map_or(Ok(false), read_auto_interval)?;
        let mode = match attributes.get(Attribute::Push).map(str::to_ascii_lowercase).as_deref() {
            None => Mode::Pull,
            Some("onchange") => Mode::PushOnChange,
            Some("true" | "yes") => Mode::PushOnRequest,
            Some(_) => return Err(invalid("The valud push options are \"onchange\", \"true\" or \"yes\"\n")),
        };
        if follows_hints && mode != Mode::Pull {
            return Err(invalid("auto_interval and push are incompatible options"));
        }
        if self.updaters.contains_key(name) {
            return Err(Reply::error(errno::EEXIST, format!("The updtr {name} already exists.")));
        }
        // Without an offset an updater is synchronous all the same, as long as its start names no interval (measured).
        let schedule = Schedule { interval_us, offset_us, synchronous: true, started_us: 0 };
        let updater = Updater {
            schedule,
            mode,
            follows_hints,
            running: false,
            ticked_us: 0,
            producers: BTreeSet::new(),
            producer_regexes: Vec::new(),
            matches: Vec::new(),
        };
        self.updaters.insert(name.to_owned(), updater);
        Ok(Reply::ok())
    }

    pub(super) fn updtr_del(&mut self, attributes: &Attributes) -> Outcome {
        let name = attributes.require(Attribute::Name, "The updater name must be specified.")?;
        let running = self.updater_mut(name)?.running;
        // An update that is under way keeps the updater, which is why a deletion right after the stop can be refused.
        let mut sets = self.producers.values().flat_map(|producer| producer.sets.values());
        if running || sets.any(|set| set.state.awaits(name)) {
            return Err(Reply::error(errno::EBUSY, "The updater is in use."));
        }
        self.updaters.remove(name);
        Ok(Reply::ok())
    }

    pub(super) fn updtr_start(&mut self, attributes: &Attributes, now_us: u64) -> Outcome {
        let name = attributes.require(Attribute::Name, "The updater name must be specified.")?;
        let updater = self.updater_mut(name)?;
        if updater.running {
            return Err(Reply::error(errno::EBUSY, "The updater is already running."));
        }
        let interval_us = attributes.get(Attribute::Interval).map(read_interval).transpose()?;
        let offset_us = attributes.get(Attribute::Offset).map(read_offset).transpose()?;
        let follows_hints = attributes.get(Attribute::AutoInterval).map(read_auto_interval).transpose()?;
        let mut schedule = updater.schedule;
        if let Some(interval_us) = interval_us {
            // An interval without an offset makes the updater asynchronous (measured).
            schedule = Schedule { interval_us, offset_us: 0, synchronous: false, started_us: 0 };
        }
        if let Some(offset_us) = offset_us {
            schedule = Schedule { offset_us, synchronous: true, ..schedule };
        }
        if schedule.offset_us.unsigned_abs() > schedule.interval_us / 2 {
            let (i, o) = (schedule.interval_us, schedule.offset_us);
            return Err(invalid(format!("{OFFSET_TOO_LARGE} (i={i},o={o})")));
        }
        updater.schedule = Schedule { started_us: now_us, ..schedule };
        updater.follows_hints = follows_hints.unwrap_or(updater.follows_hints);
        updater.running = true;
        updater.ticked_us = now_us;
        self.wake_at(now_us);
        Ok(Reply::ok())
    }

    pub(super) fn updtr_stop(&mut self, attributes: &Attributes) -> Outcome {
        let name = attributes.require(Attribute::Name, "The updater name must be specified.")?;
        self.updater_mut(name)?.running = false;
        Ok(Reply::ok())
    }

    pub(super) fn updtr_prdcr_add(&mut self, attributes: &Attributes) -> Outcome {
        let name = attributes.require(Attribute::Name, "The attribute 'name' is required by updtr_prdcr_add.")?;
        let text = attributes.require(Attribute::Regex, "The attribute 'regex' is required by updtr_prdcr_add.")?;
        self.updater_mut(name)?.check_stopped()?;
        let regex = regular_expression(text).ok_or_else(|| invalid("Error 22 EINVAL"))?;
        // Resolved at once: a producer that is added later does not belong to the updater.
        let found: Vec<String> = self
            .producers
            .iter()
            .filter(|(name, producer)| producer.is_collected() && regex.is_match(name))
            .map(|(name, _)| name.clone())
            .collect();
        let updater = self.updater_mut(name)?;
        updater.producers.extend(found);
        updater.producer_regexes.push(regex);
        Ok(if self.imitation == Imitation::Main { Reply::ok() } else { Reply::text("0\n") })
    }

    pub(super) fn updtr_prdcr_del(&mut self, attributes: &Attributes) -> Outcome {
        let name = attributes.require(Attribute::Name, "The attribute 'name' is required by updtr_prdcr_del.")?;
        let text = attributes.require(Attribute::Regex, "The attribute 'regex' is required by updtr_prdcr_del.")?;
        let updater = self.updater_mut(name)?;
        updater.check_stopped()?;
        let regex = regular_expression(text).ok_or_else(|| invalid("Error 22 EINVAL"))?;
        updater.producers.retain(|producer| !regex.is_match(producer));
        updater.producer_regexes.retain(|kept| kept.as_str() != text);
        Ok(Reply::ok())
    }

    pub(super) fn updtr_match_add(&mut self, attributes: &Attributes) -> Outcome {
        let name = attributes.require(Attribute::Name, "The attribute 'name' is required by updtr_match_add.")?;
        let text = attributes.require(Attribute::Regex, "The attribute 'regex' is required by updtr_match_add.")?;
        let by_schema = read_match(attributes)?;
        let updater = self.updater_mut(name)?;
        updater.check_stopped()?;
        let regex = regular_expression(text).ok_or_else(|| invalid(format!("The regex value '{text}' is invalid.")))?;
        // An equal entry is kept twice (measured).
        updater.matches.insert(0, SetMatch { text: text.to_owned(), regex, by_schema });
        Ok(Reply::ok())
    }

    pub(super) fn updtr_match_del(&mut self, attributes: &Attributes) -> Outcome {
        let name = attributes.require(Attribute::Name, "The attribute 'name' is required by updtr_match_del.")?;
        let text = attributes.require(Attribute::Regex, "The attribute 'regex' is required by updtr_match_del.")?;
        let by_schema = read_match(attributes)?;
        let updater = self.updater_mut(name)?;
        updater.check_stopped()?;
        let found = updater.matches.iter().position(|entry| entry.text == text && entry.by_schema == by_schema);
        let found =
            found.ok_or_else(|| Reply::error(errno::ENOENT, "The specified regex does not match any condition."))?;
        updater.matches.remove(found);
        Ok(Reply::ok())
    }

    /// The updaters that a status request asks for.
    fn wanted_updaters(
        &self,
        attributes: &Attributes,
        missing: fn(&str) -> String,
    ) -> Result<Vec<(&str, &Updater)>, Reply> {
        let name = attributes.get(Attribute::Name);
        if let Some(name) = name.filter(|name| !self.updaters.contains_key(*name)) {
            return Err(Reply::error(errno::ENOENT, missing(name)));
        }
        let updaters = self.updaters.iter().map(|(key, updater)| (key.as_str(), updater));
        Ok(updaters.filter(|(key, _)| name.is_none_or(|name| name == *key)).collect())
    }

    pub(super) fn updtr_match_list(&self, attributes: &Attributes) -> Outcome {
        let updaters = self.wanted_updaters(attributes, |name| format!("updtr '{name}' does not exist."))?;
        Ok(Reply::list(updaters.into_iter().map(|(name, updater)| {
            let matches: Vec<String> = updater
                .matches
                .iter()
                .map(|entry| format!(r#"{{"regex":"{}","selector":"{}"}}"#, entry.text, entry.selector()))
                .collect();
            format!(r#"{{"name":"{name}","match":[{}]}}"#, matches.join(",\n"))
        })))
    }

    pub(super) fn updtr_status(&self, attributes: &Attributes) -> Outcome {
        let updaters = self.wanted_updaters(attributes, |name| format!("updtr '{name}' doesn't exist."))?;
        let counts = match self.imitation {
            Imitation::V44 => r#","outstanding count":0,"oversampled count":0"#,
            Imitation::Main | Imitation::V45 => "",
        };
        Ok(Reply::list(updaters.into_iter().map(|(name, updater)| {
            let producers: Vec<String> = updater
                .producers
                .iter()
                .filter_map(|name| Some((name, self.producers.get(name)?)))
                .map(|(name, producer)| {
                    format!(
                        r#"{{"name":"{name}","host":"{}","port":{},"transport":"{}","state":"{}"}}"#,
                        producer.host,
                        producer.port,
                        producer.xprt,
                        producer.state.word()
                    )
                })
                .collect();
            format!(
                r#"{{"name":"{name}","interval":"{}","offset":"{}","sync":"{}","mode":"{}","auto":"{}","state":"{}","producers":[{}]{counts}}}"#,
                updater.schedule.interval_us,
                updater.schedule.offset_us,
                updater.schedule.synchronous,
                updater.mode_text(),
                updater.follows_hints,
                if updater.running { "RUNNING" } else { "STOPPED" },
                producers.join(",\n")
            )
        })))
    }

    pub(super) fn updtr_task(&self, attributes: &Attributes) -> Outcome {
        let updaters = self.wanted_updaters(attributes, |name| format!("updtr '{name}' not found"))?;
        Ok(Reply::list(updaters.into_iter().map(|(name, updater)| {
            let tasks: Vec<String> = self
                .schedules(updater)
                .into_iter()
                .map(|schedule| {
                    let offset = if schedule.synchronous { schedule.offset_us.to_string() } else { "None".to_owned() };
                    let is_default = schedule == updater.schedule;
                    format!(
                        r#"{{"interval_us":"{}","offset_us":"{offset}","default_task":"{is_default}"}}"#,
                        schedule.interval_us
                    )
                })
                .collect();
            format!(r#"{{"name":"{name}","tasks":[{}]}}"#, tasks.join(","))
        })))
    }
}

/// The clockwork.
impl Daemon {
    /// The connected producers of an updater with the sets that it takes.
    fn taken_sets<'a>(&'a self, updater: &'a Updater) -> impl Iterator<Item = (&'a str, &'a str, &'a ProducerSet)> {
        updater
            .producers
            .iter()
            .filter_map(|name| Some((name.as_str(), self.producers.get(name)?)))
            .filter(|(_, producer)| producer.state == ProducerState::Connected)
            .flat_map(|(name, producer)| {
                producer.sets.iter().map(move |(instance, set)| (name, instance.as_str(), set))
            })
            .filter(|(_, instance, set)| updater.takes(instance, &set.copy.schema))
    }

    /// The schedules on which an updater ticks: its own first, and those of the hints that it follows.
    fn schedules(&self, updater: &Updater) -> Vec<Schedule> {
        let mut schedules = vec![updater.schedule];
        if updater.goes_by_hints() {
            let of_hints: BTreeSet<Schedule> =
                self.taken_sets(updater).map(|(_, _, set)| updater.schedule_of(set)).collect();
            schedules.extend(of_hints.into_iter().filter(|schedule| *schedule != updater.schedule));
        }
        schedules
    }

    pub(super) fn next_tick_us(&self, updater: &Updater) -> Option<u64> {
        let schedules = if updater.running { self.schedules(updater) } else { Vec::new() };
        schedules.iter().map(|schedule| schedule.next_us(updater.ticked_us)).min()
    }

    /// The ticks that are due: sets in START are looked up, READY ones updated, with one directory a producer.
    pub(super) fn tick_updaters(&mut self, now_us: u64) {
        let names: Vec<String> =
            self.updaters.iter().filter(|(_, updater)| updater.running).map(|(name, _)| name.clone()).collect();
        let mut tickets = BTreeMap::new();
        for name in names {
            let Some(updater) = self.updaters.get(&name) else { continue };
            let due: Vec<Schedule> = self
                .schedules(updater)
                .into_iter()
                .filter(|schedule| schedule.next_us(updater.ticked_us) <= now_us)
                .collect();
            if due.is_empty() {
                continue;
            }
            let work: Vec<Work> = self
                .taken_sets(updater)
                .filter_map(|(producer, instance, set)| {
                    let schedule = updater.schedule_of(set);
                    let update = match set.state {
                        SetState::Start if due.contains(&updater.schedule) => None,
                        SetState::Ready { since_us } if due.contains(&schedule) && is_settled(since_us, now_us) => {
                            Some(schedule.hint())
                        }
                        _ => return None,
                    };
                    Some(Work { producer: producer.to_owned(), instance: instance.to_owned(), update })
                })
                .collect();
            let pushed = updater.mode != Mode::Pull;
            for work in work {
                self.fetch(&name, work, pushed, &mut tickets);
            }
            if let Some(updater) = self.updaters.get_mut(&name) {
                updater.ticked_us = now_us;
            }
        }
    }

    /// Begins a lookup or an update of one set.
    fn fetch(&mut self, updater: &str, work: Work, pushed: bool, tickets: &mut BTreeMap<String, u64>) {
        if work.update.is_none() && self.holds_set(&work.instance) {
            // The name is taken by another producer's copy: the lookup fails and is tried again at the next tick.
            return;
        }
        if pushed && work.update.is_some() && self.imitation == Imitation::Main {
            self.actions
                .push(Action::Exit { reason: "the development head dies of the first set that is pushed to it" });
            return;
        }
        let ticket = match tickets.get(&work.producer) {
            Some(ticket) => *ticket,
            None => self.read_directory(&work.producer),
        };
        tickets.insert(work.producer.clone(), ticket);
        let Some(set) = self.producers.get_mut(&work.producer).and_then(|p| p.sets.get_mut(&work.instance)) else {
            return;
        };
        let updater = updater.to_owned();
        set.state = match (work.update, &set.state) {
            (Some(hint), SetState::Ready { since_us }) => {
                SetState::Updating { since_us: *since_us, ticket, updater, hint }
            }
            _ => SetState::Lookup { ticket, updater },
        };
    }
}

/// What an updater's tick does for one set.
struct Work {
    producer: String,
    instance: String,
    /// The hint that an update leaves on the copy; `None` is a lookup.
    update: Option<String>,
}

fn is_settled(since_us: u64, now_us: u64) -> bool {
    // The tick after exactly a second comes a hair too early on a real daemon, since a lookup takes time.
    now_us > since_us + SETTLING_US
}

fn read_match(attributes: &Attributes) -> Result<bool, Reply> {
    match attributes.get(Attribute::Match) {
        None | Some("inst") => Ok(false),
        Some("schema") => Ok(true),
        Some(other) => Err(invalid(format!("The value '{other}' for match= is invalid."))),
    }
}

impl Producer {
    /// Whether sets are collected from it at all.
    pub(super) fn is_collected(&self) -> bool {
        use super::producers::ProducerKind::{Advertiser, Bridge};
        !matches!(self.kind, Advertiser | Bridge)
    }
}

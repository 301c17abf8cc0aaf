//! Producers and their states (the wire specification, sections 6.3 and 7.2).
//!
//! Advertisers are producers of a type of their own and share the name space; their verbs are in `listeners`.

use std::collections::BTreeMap;

use maestro::ldmsd::{Attribute, Verb};
use regex::Regex;

use super::quantity::{interval_us, size_bytes, size_text};
use super::request::{Attributes, Outcome, Reply, errno, regular_expression};
use super::services::SubscriptionKind;
use super::sets::MetricSet;
use super::{Action, Daemon, Imitation, SECOND_US};

/// How long a connected producer takes from `prdcr_stop` to STOPPED (measured: 0.6 to 1.4 ms).
const STOPPING_US: u64 = 1_000;

/// Who connects to whom, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProducerKind {
    Active,
    Passive,
    Bridge,
    /// On a sampler: the connection by which it announces itself.
    Advertiser,
    /// On an aggregator: the sampler that announced itself, pulled over its own connection.
    AdvertisedPassive,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProducerState {
    Stopped,
    Disconnected,
    Connecting,
    Connected,
    Stopping,
    Standby,
}

impl ProducerState {
    const ALL: [ProducerState; 6] = [
        ProducerState::Stopped,
        ProducerState::Disconnected,
        ProducerState::Connecting,
        ProducerState::Connected,
        ProducerState::Stopping,
        ProducerState::Standby,
    ];

    pub(super) fn word(self) -> &'static str {
        match self {
            ProducerState::Stopped => "STOPPED",
            ProducerState::Disconnected => "DISCONNECTED",
            ProducerState::Connecting => "CONNECTING",
            ProducerState::Connected => "CONNECTED",
            ProducerState::Stopping => "STOPPING",
            ProducerState::Standby => "STANDBY",
        }
    }
}

/// A producer.
#[derive(Debug)]
pub(super) struct Producer {
    pub(super) kind: ProducerKind,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) xprt: String,
    pub(super) auth: Option<String>,
    rail: u32,
    quota_bytes: i64,
    rx_rate_bytes: i64,
    pub(super) reconnect_us: u64,
    pub(super) state: ProducerState,
    /// Whether `prdcr_start` was ever tried: each try takes a reference that no stop gives back (measured).
    pub(super) started_by_name: bool,
    /// The next attempt to connect. Attempts go on at the reconnect interval from the first one, whatever happens between.
    pub(super) next_attempt_us: Option<u64>,
    /// When a stop will have ended.
    stopped_at_us: Option<u64>,
    pub(super) sets: BTreeMap<String, ProducerSet>,
}

/// A metric set of a producer, as the aggregator knows it.
#[derive(Debug)]
pub(super) struct ProducerSet {
    pub(super) state: SetState,
    /// The update hint that the producer itself gives, which an updater with auto_interval follows.
    pub(super) source_hint: Option<String>,
    /// The set; from the lookup on, the aggregator's own copy with the sample that was collected last.
    pub(super) copy: MetricSet,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SetState {
    /// Known from the directory, waits for an updater.
    Start,
    /// The lookup is under way.
    Lookup {
        ticket: u64,
        updater: String,
    },
    Ready {
        since_us: u64,
    },
    /// An update is under way; `hint` is what the copy will carry as update hint.
    Updating {
        since_us: u64,
        ticket: u64,
        updater: String,
        hint: String,
    },
}

impl SetState {
    pub(super) fn word(&self) -> &'static str {
        match self {
            SetState::Start => "START",
            SetState::Lookup { .. } => "LOOKUP",
            SetState::Ready { .. } => "READY",
            SetState::Updating { .. } => "UPDATING",
        }
    }

    /// Whether the aggregator has a copy that others can see.
    pub(super) fn is_exported(&self) -> bool {
        matches!(self, SetState::Ready { .. } | SetState::Updating { .. })
    }

    /// Whether a request of the updater for this set is outstanding.
    pub(super) fn awaits(&self, name: &str) -> bool {
        matches!(self, SetState::Lookup { updater, .. } | SetState::Updating { updater, .. } if updater == name)
    }
}

impl Producer {
    /// A producer that has just been added.
    pub(super) fn new(kind: ProducerKind, host: &str, port: u16, xprt: &str, reconnect_us: u64) -> Producer {
        Producer {
            kind,
            host: host.to_owned(),
            port,
            xprt: xprt.to_owned(),
            auth: None,
            rail: 1,
            quota_bytes: -1,
            rx_rate_bytes: -1,
            reconnect_us,
            state: ProducerState::Stopped,
            started_by_name: false,
            next_attempt_us: None,
            stopped_at_us: None,
            sets: BTreeMap::new(),
        }
    }

    pub(super) fn next_event_us(&self) -> Option<u64> {
        match self.state {
            ProducerState::Stopping => self.stopped_at_us,
            ProducerState::Stopped => None,
            _ => self.next_attempt_us,
        }
    }

    /// Starts to connect within a second, whatever the reconnect interval: the real daemon draws the moment at random
    /// for each producer (seen: eight producers started by one command connected 0.24 to 0.93 s later). Here it follows
    /// from name and time, so that the same story always ends the same way.
    pub(super) fn start(&mut self, name: &str, now_us: u64) {
        self.state = ProducerState::Disconnected;
        let connects = matches!(self.kind, ProducerKind::Active | ProducerKind::Bridge | ProducerKind::Advertiser);
        self.next_attempt_us = connects.then_some(now_us + scatter(name, now_us) % SECOND_US);
    }

    fn type_text(&self, imitation: Imitation) -> &'static str {
        match self.kind {
            ProducerKind::Active => "active",
            ProducerKind::Passive => "passive",
            ProducerKind::Bridge => "bridge",
            ProducerKind::Advertiser => "advertiser",
            ProducerKind::AdvertisedPassive if imitation == Imitation::V44 => "advertised",
            ProducerKind::AdvertisedPassive => "advertised, passive",
        }
    }
}

/// A producer as seen from outside the simulation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProducerView {
    pub(crate) name: String,
    /// As `prdcr_status` says it.
    pub(crate) state: &'static str,
    /// Whether metric sets are collected from it at all, unlike from an advertiser or a bridge.
    pub(crate) is_collected: bool,
    /// The number of its sets of which this daemon has a copy.
    pub(crate) ready_sets: usize,
}

const MISSING: &str = "The producer specified does not exist.";

impl Daemon {
    /// The producers as seen from outside the simulation.
    pub(crate) fn producer_views(&self) -> Vec<ProducerView> {
        let view = |(name, producer): (&String, &Producer)| ProducerView {
            name: name.clone(),
            state: producer.state.word(),
            is_collected: producer.is_collected(),
            ready_sets: producer.sets.values().filter(|set| set.state.is_exported()).count(),
        };
        self.producers.iter().map(view).collect()
    }

    /// Host and port of a producer.
    pub(crate) fn producer_address(&self, name: &str) -> Option<(String, u16)> {
        self.producers.get(name).map(|producer| (producer.host.clone(), producer.port))
    }

    pub(super) fn prdcr_add(&mut self, attributes: &Attributes) -> Outcome {
        let required = |word: &str| format!("The attribute '{word}' is required.");
        let name = attributes.require(Attribute::Name, required("name"))?;
        let kind = match attributes.require(Attribute::Type, required("type"))? {
            "active" => ProducerKind::Active,
            "passive" => ProducerKind::Passive,
            "bridge" if self.imitation != Imitation::V44 => ProducerKind::Bridge,
            "advertiser" => ProducerKind::Advertiser,
            "local" => return Err(Reply::error(errno::EINVAL, "producer with type 'local' is not supported.")),
            other => return Err(Reply::error(errno::EINVAL, format!("The attribute type '{other}' is invalid."))),
        };
        let xprt = attributes.require(Attribute::Xprt, required("xprt"))?;
        let host = attributes.require(Attribute::Host, required("host"))?;
        let needs_port = kind != ProducerKind::Passive || self.imitation == Imitation::V44;
        let port = attributes.get(Attribute::Port).and_then(|port| port.parse().ok()).filter(|port| *port != 0);
        let port = match port {
            Some(port) if needs_port => port,
            None if needs_port => return Err(Reply::error(errno::EINVAL, required("port"))),
            _ => u16::MAX,
        };
        let reconnect = attributes.require(Attribute::Reconnect, required("reconnect"))?;
        let reconnect_us =
            interval_us(reconnect).ok_or_else(|| Reply::error(errno::EINVAL, "The given 'reconnect' is invalid."))?;
        let reconnect_us = u64::try_from(reconnect_us)
            .ok()
            .filter(|us| *us > 0)
            .ok_or_else(|| Reply::error(errno::EINVAL, "The reconnect interval must be a positive number."))?;
        let rail = attributes.get(Attribute::Rail).unwrap_or("1");
        let rail_size = rail.parse().ok().filter(|size: &u32| *size > 0).ok_or_else(|| {
            Reply::error(errno::EINVAL, format!("'rail' attribute must be a positive integer, got '{rail}'"))
        })?;
        if self.producers.contains_key(name) {
            return Err(Reply::error(errno::EEXIST, format!("The prdcr {name} already exists.")));
        }
        let auth = attributes.get(Attribute::Auth);
        if auth.is_some_and(|domain| !self.services.auth_domains.contains_key(domain)) {
            let text = "Authentication name not found, check the auth_add configuration.";
            return Err(Reply::error(errno::ENOENT, text));
        }
        let mut producer = Producer::new(kind, host, port, xprt, reconnect_us);
        producer.auth = auth.map(str::to_owned);
        producer.rail = rail_size;
        producer.quota_bytes = attributes.get(Attribute::Quota).map_or(-1, size_bytes);
        producer.rx_rate_bytes = attributes.get(Attribute::RxRate).map_or(-1, size_bytes);
        self.producers.insert(name.to_owned(), producer);
        Ok(Reply::ok())
    }

    pub(super) fn prdcr_del(&mut self, attributes: &Attributes) -> Outcome {
        let name = attributes.require(Attribute::Name, "The attribute 'name' is required by prdcr_del.")?;
        self.delete_producer(name, MISSING, "The producer is in use.")
    }

    /// Deletes a producer that nothing refers to.
    pub(super) fn delete_producer(&mut self, name: &str, missing: &str, in_use: &str) -> Outcome {
        let producer = self.producers.get(name).ok_or_else(|| Reply::error(errno::ENOENT, missing))?;
        let kept_for_ever = producer.started_by_name && self.imitation != Imitation::V44;
        let listed = self.updaters.values().any(|updater| updater.producers.contains(name));
        if producer.state != ProducerState::Stopped || kept_for_ever || listed {
            return Err(Reply::error(errno::EBUSY, in_use));
        }
        self.producers.remove(name);
        Ok(Reply::ok())
    }

    pub(super) fn prdcr_start(&mut self, attributes: &Attributes, now_us: u64) -> Outcome {
        let name = attributes.require(Attribute::Name, "The attribute 'name' is required by prdcr_start.")?;
        let producer = self.producers.get_mut(name).ok_or_else(|| Reply::error(errno::ENOENT, MISSING))?;
        // Even a start that is refused takes a reference.
        producer.started_by_name = true;
        let reconnect_us = read_reconnect_us(attributes)?;
        if producer.state == ProducerState::Standby {
            return Ok(self.leave_standby(name));
        }
        if producer.state != ProducerState::Stopped {
            return Err(Reply::error(errno::EBUSY, "The producer is already running."));
        }
        producer.reconnect_us = reconnect_us.unwrap_or(producer.reconnect_us);
        producer.start(name, now_us);
        self.wake_at(now_us);
        Ok(Reply::ok())
    }

    pub(super) fn prdcr_stop(&mut self, attributes: &Attributes, now_us: u64) -> Outcome {
        let name = attributes.require(Attribute::Name, "The attribute 'name' is required by prdcr_stop.")?;
        self.stop_producer(name, now_us, MISSING)
    }

    /// Stops one producer; stopping a stopped one is fine.
    pub(super) fn stop_producer(&mut self, name: &str, now_us: u64, missing: &str) -> Outcome {
        let imitation = self.imitation;
        let producer = self.producers.get_mut(name).ok_or_else(|| Reply::error(errno::ENOENT, missing))?;
        match producer.state {
            ProducerState::Stopped => {}
            ProducerState::Stopping if imitation == Imitation::Main => {
                return Err(Reply::error(errno::EBUSY, "The producer is already stopped."));
            }
            ProducerState::Stopping => {}
            ProducerState::Disconnected => producer.state = ProducerState::Stopped,
            ProducerState::Connecting => {
                producer.state = ProducerState::Stopped;
                self.actions.push(Action::Disconnect { producer: name.to_owned() });
            }
            ProducerState::Connected | ProducerState::Standby => {
                producer.state = ProducerState::Stopping;
                producer.stopped_at_us = Some(now_us + STOPPING_US);
                self.actions.push(Action::Disconnect { producer: name.to_owned() });
                self.wake_at(now_us);
                self.drop_sets(name);
            }
        }
        Ok(Reply::ok())
    }

    /// Its producers by name, those included that advertise.
    #[allow(dead_code, reason = "for simulations of a whole cluster on a virtual clock")]
    pub(crate) fn producer_names(&self) -> impl Iterator<Item = &str> {
        self.producers.keys().map(String::as_str)
    }

    pub(super) fn prdcr_start_regex(&mut self, attributes: &Attributes, now_us: u64) -> Outcome {
        let text = attributes.require(Attribute::Regex, "The attribute 'regex' is required by prdcr_start_regex.")?;
        let regex = producer_regex(text)?;
        let reconnect_us = read_reconnect_us(attributes)?;
        let mut standing_by = Vec::new();
        for (name, producer) in self.producers.iter_mut().filter(|(name, _)| regex.is_match(name)) {
            match producer.state {
                ProducerState::Stopped => {
                    producer.reconnect_us = reconnect_us.unwrap_or(producer.reconnect_us);
                    producer.start(name, now_us);
                }
                ProducerState::Standby => standing_by.push(name.clone()),
                _ => {}
            }
        }
        for name in standing_by {
            self.leave_standby(&name);
        }
        self.wake_at(now_us);
        // The 4.4 line answers 1 unless the expression matches the last of all its producers, whatever it started.
        let matches_last = self.producers.keys().next_back().is_none_or(|name| regex.is_match(name));
        let code = i32::from(self.imitation == Imitation::V44 && !matches_last);
        Ok(Reply { code, text: None, json: false })
    }

    pub(super) fn prdcr_stop_regex(&mut self, attributes: &Attributes, now_us: u64) -> Outcome {
        let text = attributes.require(Attribute::Regex, "The attribute 'regex' is required by prdcr_stop_regex.")?;
        let regex = producer_regex(text)?;
        let names: Vec<String> = self.producers.keys().filter(|name| regex.is_match(name)).cloned().collect();
        for name in names {
            // One that is being stopped already is no reason to refuse the whole.
            let _already_stopping = self.stop_producer(&name, now_us, MISSING);
        }
        Ok(Reply::ok())
    }

    /// Checks a subscription. What is subscribed to does not flow here, and a real aggregator cannot be asked for it either.
    pub(super) fn prdcr_subscribe(&mut self, verb: Verb, attributes: &Attributes) -> Outcome {
        // The text names another verb on a real daemon too.
        let text = attributes.require(Attribute::Regex, "The attribute 'regex' is required by prdcr_stop_regex.")?;
        producer_regex(text)?;
        match (attributes.get(Attribute::Stream), attributes.get(Attribute::MessageTag)) {
            (Some(stream), Some(tag)) if verb == Verb::PrdcrSubscribe => {
                let text = format!(
                    "Only one of the 'stream' or `msg` attributes can be specified. Got: stream={stream} and message={tag}"
                );
                Err(Reply::error(errno::EINVAL, text))
            }
            (None, None) => Err(Reply::error(errno::EINVAL, "One of the 'stream' or `msg` attributes is required.")),
            (stream, _) => {
                let kind = if stream.is_some() { SubscriptionKind::Stream } else { SubscriptionKind::Messages };
                if verb == Verb::PrdcrSubscribe {
                    self.services.subscriptions.push(kind);
                    self.services.subscribed_streams.extend(stream.map(str::to_owned));
                } else {
                    self.unsubscribe(kind);
                }
                Ok(Reply::ok())
            }
        }
    }

    /// Real daemons that have messages die where a message subscription follows the stream subscription that is taken back.
    fn unsubscribe(&mut self, kind: SubscriptionKind) {
        let mut later = self.services.subscriptions.iter().skip_while(|subscribed| **subscribed != kind);
        let mixed = kind == SubscriptionKind::Stream && later.any(|subscribed| *subscribed != kind);
        if mixed && self.imitation != Imitation::V44 {
            self.actions
                .push(Action::Exit { reason: "4.5 and later die of prdcr_unsubscribe of a stream before messages" });
        }
        self.services.subscriptions.retain(|subscribed| *subscribed != kind);
    }

    pub(super) fn prdcr_status(&self, attributes: &Attributes) -> Outcome {
        let knows_filters = self.imitation == Imitation::Main;
        // Only the lower-case word is taken for true.
        let summary = knows_filters && attributes.get(Attribute::Summary) == Some("true");
        let wanted_state = match attributes.get(Attribute::State).filter(|_| knows_filters) {
            None => None,
            Some(text) => {
                let state = ProducerState::ALL.into_iter().find(|state| state.word().eq_ignore_ascii_case(text));
                let invalid = || format!("The given producer state '{text}' is invalid.");
                Some(state.ok_or_else(|| Reply::error(errno::EINVAL, invalid()))?)
            }
        };
        let name = attributes.get(Attribute::Name);
        if let Some(name) = name.filter(|name| !self.producers.contains_key(*name)) {
            return Err(Reply::error(errno::ENOENT, format!("prdcr '{name}' doesn't exist.")));
        }
        let producers = self
            .producers
            .iter()
            .filter(|(key, _)| name.is_none_or(|name| name == *key))
            .filter(|(_, producer)| wanted_state.is_none_or(|state| state == producer.state));
        Ok(Reply::list(producers.map(|(name, producer)| self.producer_status(name, producer, summary))))
    }

    fn producer_status(&self, name: &str, producer: &Producer, summary: bool) -> String {
        let mut rail = String::new();
        if self.imitation != Imitation::V44 {
            rail = format!(
                r#""auth":"{}","rail":"{}","quota":"{}","rx_rate":"{}","#,
                producer.auth.as_deref().unwrap_or("DEFAULT"),
                producer.rail,
                size_text(producer.quota_bytes),
                size_text(producer.rx_rate_bytes)
            );
        }
        let sets: Vec<String> = producer
            .sets
            .iter()
            .filter(|_| !summary)
            .map(|(instance, set)| {
                format!(
                    r#"{{ "inst_name":"{instance}","schema_name":"{}","state":"{}"}}"#,
                    set.copy.schema,
                    set.state.word()
                )
            })
            .collect();
        format!(
            r#"{{ "name":"{name}","type":"{}","host":"{}","port":{},"transport":"{}",{rail}"reconnect_us":"{}","state":"{}","sets": [{}]}}"#,
            producer.type_text(self.imitation),
            producer.host,
            producer.port,
            producer.xprt,
            producer.reconnect_us,
            producer.state.word(),
            sets.join(",\n")
        )
    }

    pub(super) fn prdcr_set_status(&self, attributes: &Attributes) -> Reply {
        let wanted = |attribute, value: &str| attributes.get(attribute).is_none_or(|wanted| wanted == value);
        let sets = self.producers.iter().filter(|(name, _)| wanted(Attribute::Producer, name)).flat_map(|(name, producer)| {
            let sets = producer.sets.iter().filter(|(instance, set)| {
                wanted(Attribute::Instance, instance) && wanted(Attribute::Schema, &set.copy.schema)
            });
            sets.map(move |(instance, set)| {
                format!(
                    r#"{{ "inst_name":"{instance}","schema_name":"{}","state":"{}","origin":"{name}","producer":"{name}","timestamp.sec":"{}","timestamp.usec":"{}","duration.sec":"0","duration.usec":"0"}}"#,
                    set.copy.schema,
                    set.state.word(),
                    set.copy.sampled_us / SECOND_US,
                    set.copy.sampled_us % SECOND_US
                )
            })
        });
        Reply::list(sets)
    }

    pub(super) fn prdcr_stats(&self) -> Reply {
        let counts: String = ProducerState::ALL
            .into_iter()
            .map(|state| {
                let count = self.producers.values().filter(|producer| producer.state == state).count();
                format!(" \"{}_count\": {count},\n", state.word().to_ascii_lowercase())
            })
            .collect();
        let sets: usize = self.producers.values().map(|producer| producer.sets.len()).sum();
        let total = self.producers.len();
        Reply::json(format!("{{ \"prdcr_count\": {total},\n{counts} \"set_count\": {sets},\n \"compute_time\": 1\n}}"))
    }

    /// Connection attempts and stops that are due.
    pub(super) fn tick_producers(&mut self, now_us: u64) {
        for (name, producer) in &mut self.producers {
            if producer.next_event_us().is_none_or(|due_us| due_us > now_us) {
                continue;
            }
            if producer.state == ProducerState::Stopping {
                producer.state = ProducerState::Stopped;
                producer.stopped_at_us = None;
                continue;
            }
            let due_us = producer.next_attempt_us.unwrap_or(now_us);
            let missed = (now_us - due_us) / producer.reconnect_us;
            producer.next_attempt_us = Some(due_us + (missed + 1) * producer.reconnect_us);
            if producer.state == ProducerState::Disconnected {
                producer.state = ProducerState::Connecting;
                let auth = producer.auth.as_ref().and_then(|domain| self.services.auth_domains.get(domain)).cloned();
                self.actions.push(Action::Connect {
                    producer: name.clone(),
                    host: producer.host.clone(),
                    port: producer.port,
                    auth,
                    advertise: producer.kind == ProducerKind::Advertiser,
                });
            }
        }
    }
}

/// The new reconnect interval of a start command. A negative one is refused with a negative code, as on a real daemon.
fn read_reconnect_us(attributes: &Attributes) -> Result<Option<u64>, Reply> {
    let Some(text) = attributes.get(Attribute::Reconnect) else { return Ok(None) };
    let us = interval_us(text)
        .ok_or_else(|| Reply::error(errno::EINVAL, format!("The 'reconnect' value ({text}) is invalid.")))?;
    match u64::try_from(us) {
        Ok(us) if us > 0 => Ok(Some(us)),
        _ => Err(Reply::error(-errno::EINVAL, "The 'reconnect' interval must be a positive interval.")),
    }
}

/// A regular expression of producer names; an invalid one is answered with 2 and a text that begins with 22 (measured).
fn producer_regex(text: &str) -> Result<Regex, Reply> {
    regular_expression(text).ok_or_else(|| Reply::error(errno::ENOENT, "22Invalid regular expression\n"))
}

/// A number that looks random but follows from name and time (FNV-1a).
fn scatter(name: &str, now_us: u64) -> u64 {
    let bytes = name.bytes().chain(now_us.to_be_bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    hash ^ (hash >> 32)
}

//! One simulated ldmsd as a state machine: no sockets, no threads, no clock.
//!
//! Everything that reaches a daemon is a method call with the time in it, everything that it does to the world is an
//! [`Action`] to be fetched with [`Daemon::take_actions`]. The same machine runs behind real sockets and in a simulation
//! of a whole cluster on a virtual clock.
//!
//! | the world says | the daemon does |
//! |---|---|
//! | [`Daemon::request`]: a command arrived | answers as ldmsd does, with its codes and texts |
//! | [`Daemon::tick`]: it is [`Daemon::next_event_us`] | connects, looks sets up, updates them |
//! | [`Daemon::connected`], [`Daemon::listing`], … : news of a producer's connection | keeps its copies of the producer's sets |
//!
//! Where the behaviour was measured on real daemons the comment says so; the rest follows the wire specification.

mod collection;
mod imitation;
mod listeners;
mod plugin_catalogue;
mod plugins;
mod policies;
mod producers;
mod quantity;
mod request;
mod services;
mod sets;
mod updaters;

use std::collections::BTreeMap;

use maestro::ldmsd::{Attribute, Verb};

pub(crate) use collection::Listing;
pub(crate) use imitation::Imitation;
pub(crate) use producers::ProducerView;
pub(crate) use quantity::last_multiple_us;
pub(crate) use request::Reply;
pub(crate) use sets::{MetricSet, directory_text, read_directory};

use listeners::Listener;
use plugins::Plugin;
use policies::Policy;
use producers::Producer;
use request::{Attributes, Outcome};
use services::Services;
use updaters::Updater;

/// Microseconds in a second.
const SECOND_US: u64 = 1_000_000;

/// What a daemon does to the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Open a connection to a producer, or, for an advertiser, to the aggregator that it advertises to.
    Connect { producer: String, host: String, port: u16, auth: Option<AuthPlugin>, advertise: bool },
    /// Close the connection of a producer. Needs no confirmation.
    Disconnect { producer: String },
    /// Ask a producer for its directory and hand the answer to [`Daemon::listing`] with the same ticket.
    ReadDirectory { producer: String, ticket: u64 },
    /// Listen on a further endpoint.
    Listen { host: Option<String>, port: u16, auth: Option<AuthPlugin> },
    /// Tell the peers that follow this daemon's directory of a new set (2) or a changed one (3): an element of a directory.
    Announce { kind: u32, set: String },
    /// Tell the peers that have looked a set up that it is gone.
    Withdraw { instance: String },
    /// One sample of a set was collected from a producer.
    Collected { producer: String, instance: String, sampled_us: u64 },
    /// A sampler plugin began to sample a set.
    SamplingStarted { instance: String, interval_us: u64, offset_us: i64 },
    /// It stopped.
    SamplingStopped { instance: String },
    /// The process ends, by command or because a real daemon dies here.
    Exit { reason: &'static str },
}

/// An authentication plugin with its options, from an `auth_add`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuthPlugin {
    /// `none`, `ovis`, …
    pub(crate) plugin: String,
    /// `key=value` words.
    pub(crate) options: String,
}

/// A simulated ldmsd.
#[derive(Debug)]
pub(crate) struct Daemon {
    imitation: Imitation,
    /// How many counted requests succeeded since the start, see `cfg_cntr`.
    configuration_counter: u64,
    plugins: BTreeMap<String, Plugin>,
    producers: BTreeMap<String, Producer>,
    updaters: BTreeMap<String, Updater>,
    policies: BTreeMap<String, Policy>,
    listeners: BTreeMap<String, Listener>,
    services: Services,
    /// The number of the next [`Action::ReadDirectory`].
    next_ticket: u64,
    /// No event is due before this time. It may be too early, never too late, so that a daemon with many thousand
    /// producers need not look at all of them after each request.
    wake_us: u64,
    actions: Vec<Action>,
}

impl Daemon {
    /// A daemon that has just been started, without configuration.
    pub(crate) fn new(imitation: Imitation) -> Daemon {
        Daemon {
            imitation,
            configuration_counter: 0,
            plugins: BTreeMap::new(),
            producers: BTreeMap::new(),
            updaters: BTreeMap::new(),
            policies: BTreeMap::new(),
            listeners: BTreeMap::new(),
            services: Services::new(imitation),
            next_ticket: 1,
            wake_us: u64::MAX,
            actions: Vec::new(),
        }
    }

    /// What the daemon has done since this was asked last.
    pub(crate) fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Leaves actions to be taken later.
    pub(crate) fn put_back(&mut self, actions: Vec<Action>) {
        self.actions.splice(0..0, actions);
    }

    /// Carries out a command of a peer that is neither root nor the daemon's own user: most are refused.
    pub(crate) fn unprivileged_request(&mut self, verb: Verb, attributes: &[(Attribute, &str)], now_us: u64) -> Reply {
        if is_open_to_all(verb) {
            self.request(verb, attributes, now_us)
        } else {
            Reply { code: 1, text: Some("Operation not permitted.".into()), json: false }
        }
    }

    /// Carries out a command of an authenticated, privileged peer.
    pub(crate) fn request(&mut self, verb: Verb, attributes: &[(Attribute, &str)], now_us: u64) -> Reply {
        let attributes = Attributes::new(attributes, &self.services.environment);
        let reply = self.dispatch(verb, &attributes, now_us).unwrap_or_else(|refusal| refusal);
        if reply.code == 0 && counts(verb) {
            self.configuration_counter += 1;
        }
        reply
    }

    fn dispatch(&mut self, verb: Verb, attributes: &Attributes, now_us: u64) -> Outcome {
        match verb {
            Verb::Load => self.load(attributes),
            Verb::Config => self.config(attributes, now_us),
            Verb::Start => self.start(attributes, now_us),
            Verb::Stop => self.stop(attributes, now_us),
            Verb::Term => self.term(attributes),
            Verb::PlugnStatus => Ok(self.plugn_status()),
            Verb::PlugnSets => Ok(self.plugn_sets()),

            Verb::PrdcrAdd => self.prdcr_add(attributes),
            Verb::PrdcrDel => self.prdcr_del(attributes),
            Verb::PrdcrStart => self.prdcr_start(attributes, now_us),
            Verb::PrdcrStop => self.prdcr_stop(attributes, now_us),
            Verb::PrdcrStartRegex => self.prdcr_start_regex(attributes, now_us),
            Verb::PrdcrStopRegex => self.prdcr_stop_regex(attributes, now_us),
            Verb::PrdcrStatus => self.prdcr_status(attributes),
            Verb::PrdcrSetStatus => Ok(self.prdcr_set_status(attributes)),
            Verb::PrdcrStats => Ok(self.prdcr_stats()),
            Verb::PrdcrSubscribe | Verb::PrdcrUnsubscribe => self.prdcr_subscribe(verb, attributes),

            Verb::AdvertiserAdd => self.advertiser_add(attributes),
            Verb::AdvertiserStart => self.advertiser_start(attributes, now_us),
            Verb::AdvertiserStop => self.advertiser_stop(attributes, now_us),
            Verb::AdvertiserDel => self.advertiser_del(attributes),
            Verb::PrdcrListenAdd => self.prdcr_listen_add(attributes),
            Verb::PrdcrListenDel => self.prdcr_listen_del(attributes),
            Verb::PrdcrListenStart => self.prdcr_listen_run(attributes, true),
            Verb::PrdcrListenStop => self.prdcr_listen_run(attributes, false),
            Verb::PrdcrListenStatus => Ok(self.prdcr_listen_status(attributes)),

            Verb::UpdtrAdd => self.updtr_add(attributes),
            Verb::UpdtrDel => self.updtr_del(attributes),
            Verb::UpdtrStart => self.updtr_start(attributes, now_us),
            Verb::UpdtrStop => self.updtr_stop(attributes),
            Verb::UpdtrPrdcrAdd => self.updtr_prdcr_add(attributes),
            Verb::UpdtrPrdcrDel => self.updtr_prdcr_del(attributes),
            Verb::UpdtrMatchAdd => self.updtr_match_add(attributes),
            Verb::UpdtrMatchDel => self.updtr_match_del(attributes),
            Verb::UpdtrMatchList => self.updtr_match_list(attributes),
            Verb::UpdtrStatus => self.updtr_status(attributes),
            Verb::UpdtrTask => self.updtr_task(attributes),

            Verb::StrgpAdd => self.strgp_add(attributes),
            Verb::StrgpDel => self.strgp_del(attributes),
            Verb::StrgpStart => self.strgp_start(attributes),
            Verb::StrgpStop => self.strgp_stop(attributes),
            Verb::StrgpPrdcrAdd => self.strgp_prdcr_add(attributes),
            Verb::StrgpPrdcrDel => self.strgp_prdcr_del(attributes),
            Verb::StrgpMetricAdd => self.strgp_metric_add(attributes),
            Verb::StrgpMetricDel => self.strgp_metric_del(attributes),
            Verb::StoreTimeStats => Ok(self.store_time_stats(attributes)),
            // The simulation keeps no such figures; whether the command is known at all tells the lines apart.
            Verb::StrgpPiStats if self.imitation == Imitation::Main => {
                let name = attributes.get(Attribute::Name).unwrap_or_default();
                Err(Reply::error(request::errno::ENOENT, format!("strgp '{name}' doesn't exist.")))
            }
            Verb::StrgpStatus => self.strgp_status(attributes),

            _ => self.service(verb, attributes),
        }
    }

    /// When [`Daemon::tick`] is to be called next. There may turn out to be nothing to do.
    pub(crate) fn next_event_us(&self) -> Option<u64> {
        (self.wake_us < u64::MAX).then_some(self.wake_us)
    }

    /// Something will be due at this time.
    fn wake_at(&mut self, due_us: u64) {
        self.wake_us = self.wake_us.min(due_us);
    }

    /// Does what is due: connection attempts, the end of a stop, updaters' ticks. Ticks that were missed are not made up for.
    pub(crate) fn tick(&mut self, now_us: u64) {
        if now_us < self.wake_us {
            return;
        }
        self.tick_producers(now_us);
        self.tick_updaters(now_us);
        let producers = self.producers.values().filter_map(Producer::next_event_us);
        let updaters = self.updaters.values().filter_map(|updater| self.next_tick_us(updater));
        self.wake_us = producers.chain(updaters).min().unwrap_or(u64::MAX);
    }
}

/// Whether any authenticated peer may use the verb (the wire specification, section 5.9).
fn is_open_to_all(verb: Verb) -> bool {
    use Verb::{
        DaemonStatus, Example, MsgClientStats, MsgStats, PlugnSets, PlugnStatus, PrdcrHintTree, PrdcrListenStatus,
        PrdcrStats, PrdcrStatus, Profiling, SetStats, StatsReset, StoreTimeStats, StreamPublish, StreamStatus,
        StrgpPiStats, StrgpStatus, ThreadStats, UpdateTimeStats, UpdtrStatus, UpdtrTask, Usage, Version, XprtStats,
    };
    matches!(
        verb,
        Example
            | PrdcrStatus
            | PrdcrHintTree
            | PrdcrListenStatus
            | StrgpStatus
            | StoreTimeStats
            | StrgpPiStats
            | UpdtrStatus
            | UpdtrTask
            | UpdateTimeStats
            | PlugnStatus
            | PlugnSets
            | Usage
            | DaemonStatus
            | Version
            | XprtStats
            | ThreadStats
            | PrdcrStats
            | SetStats
            | StatsReset
            | Profiling
            | StreamPublish
            | StreamStatus
            | MsgStats
            | MsgClientStats
    )
}

/// Whether a success counts in `cfg_cntr` (the wire specification, section 5.9).
fn counts(verb: Verb) -> bool {
    use Verb::{
        AuthAdd, BridgeAdd, Config, Env, Exit, FailoverConfig, FailoverPeercfgStart, FailoverPeercfgStop,
        FailoverStart, FailoverStop, Include, Listen, Load, Logrotate, MetricSetsDefaultAuthz, MsgDisable, MsgEnable,
        Oneshot, PrdcrAdd, PrdcrDel, PrdcrListenStart, PrdcrListenStop, PrdcrStart, PrdcrStartRegex, PrdcrStop,
        PrdcrStopRegex, PrdcrSubscribe, PrdcrUnsubscribe, ProfilingDisable, ProfilingEnable, SetSecMod, SetgroupAdd,
        SetgroupDel, SetgroupIns, SetgroupMod, SetgroupRm, Start, Stop, StreamDisable, StreamEnable, StreamNew,
        StreamUnsubscribe, StrgpAdd, StrgpDel, StrgpMetricAdd, StrgpMetricDel, StrgpPrdcrAdd, StrgpPrdcrDel,
        StrgpStart, StrgpStop, Subscribe, Term, Udata, UdataRegex, UpdtrAdd, UpdtrDel, UpdtrMatchAdd, UpdtrMatchDel,
        UpdtrPrdcrAdd, UpdtrPrdcrDel, UpdtrStart, UpdtrStop,
    };
    matches!(
        verb,
        PrdcrAdd
            | PrdcrDel
            | PrdcrStart
            | PrdcrStop
            | PrdcrStartRegex
            | PrdcrStopRegex
            | PrdcrSubscribe
            | PrdcrUnsubscribe
            | BridgeAdd
            | PrdcrListenStart
            | PrdcrListenStop
            | StrgpAdd
            | StrgpDel
            | StrgpStart
            | StrgpStop
            | StrgpPrdcrAdd
            | StrgpPrdcrDel
            | StrgpMetricAdd
            | StrgpMetricDel
            | UpdtrAdd
            | UpdtrDel
            | UpdtrStart
            | UpdtrStop
            | UpdtrPrdcrAdd
            | UpdtrPrdcrDel
            | UpdtrMatchAdd
            | UpdtrMatchDel
            | Start
            | Stop
            | Load
            | Term
            | Config
            | Udata
            | UdataRegex
            | Env
            | Include
            | Oneshot
            | Logrotate
            | Exit
            | Listen
            | MetricSetsDefaultAuthz
            | SetSecMod
            | ProfilingDisable
            | ProfilingEnable
            | FailoverConfig
            | FailoverPeercfgStart
            | FailoverPeercfgStop
            | FailoverStart
            | FailoverStop
            | SetgroupAdd
            | SetgroupMod
            | SetgroupDel
            | SetgroupIns
            | SetgroupRm
            | Subscribe
            | StreamUnsubscribe
            | StreamNew
            | StreamDisable
            | StreamEnable
            | AuthAdd
            | MsgDisable
            | MsgEnable
    )
}

//! What a daemon has been through before maestro comes.

use maestro::ldmsd::Command;
use proptest::prelude::*;
use proptest::sample::select;

use crate::daemon::{Imitation, MetricSet, Reply};
use crate::maestro_model::{Maestro, Placement};
use crate::site::{Edition, HOSTS, edition, host_of};
use crate::virtual_cluster::VirtualCluster;

const START_US: u64 = 1_795_000_000_300_000;

/// A simulated site, of which one daemon is looked at.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) imitation: Imitation,
    pub(crate) network: VirtualCluster,
    host: &'static str,
    /// The commands that this run of the daemon has carried out, in their order.
    pub(crate) carried_out: Vec<Command>,
    /// What has happened, for whoever reads of a failure.
    pub(crate) story: Vec<String>,
}

impl Site {
    fn new(imitation: Imitation, host: &'static str) -> Site {
        Site {
            imitation,
            network: VirtualCluster::new(imitation, &HOSTS, START_US),
            host,
            carried_out: Vec::new(),
            story: Vec::new(),
        }
    }

    pub(crate) fn send(&mut self, command: &Command) -> Option<Reply> {
        let reply = self.network.request(self.host, command)?;
        if !command.attributes.is_empty() || reply.code != 0 {
            self.story.push(format!("{command}: {}", reply.code));
        }
        if reply.code == 0 {
            self.carried_out.push(command.clone());
        }
        Some(reply)
    }

    pub(crate) fn sets(&self) -> Vec<MetricSet> {
        let daemon = self.network.daemon(self.host);
        daemon.map(|daemon| daemon.directory_sets(self.network.now_us)).unwrap_or_default()
    }

    fn restart(&mut self) {
        self.network.kill(self.host);
        self.network.start(self.host);
        self.carried_out.clear();
        self.story.push("the daemon restarts".into());
    }
}

/// Something that happens to a daemon.
#[derive(Debug, Clone)]
pub(crate) enum Deed {
    /// Somebody else sends a command.
    Foreign(String),
    /// The maestro of that time makes a pass, or the beginning of one.
    Pass {
        most: usize,
    },
    /// It is given another configuration.
    Reconfigure(Box<Edition>, Placement),
    /// It is started anew, and knows nothing of what it did.
    MaestroRestarts,
    /// It is started anew with its notes, and perhaps another configuration.
    MaestroReturns(Box<Option<Edition>>, Placement),
    /// The daemon is started anew, empty.
    DaemonRestarts,
    Wait {
        us: u64,
    },
}

/// A past, and what the daemon is to be in the end.
#[derive(Debug, Clone)]
pub(crate) struct Past {
    first: (Edition, Placement),
    deeds: Vec<Deed>,
    last: (Edition, Placement),
    last_maestro: LastMaestro,
}

/// The maestro that makes the daemon right in the end.
#[derive(Debug, Clone, Copy)]
enum LastMaestro {
    /// That of the past.
    Same,
    /// Another one.
    Other,
    /// Another one with the notes of that of the past.
    OtherWithNotes,
}

pub(crate) fn past() -> impl Strategy<Value = Past> {
    let deed = prop_oneof![
        12 => foreign_command().prop_map(Deed::Foreign),
        3 => prop_oneof![Just(usize::MAX), 0_usize..20].prop_map(|most| Deed::Pass { most }),
        1 => (edition(), placement()).prop_map(|(edition, placement)| Deed::Reconfigure(Box::new(edition), placement)),
        1 => Just(Deed::MaestroRestarts),
        1 => return_of_maestro(),
        1 => Just(Deed::DaemonRestarts),
        3 => select(vec![100, 20_000, 1_200_000]).prop_map(|us| Deed::Wait { us }),
    ];
    let deeds = proptest::collection::vec(deed, 0..24);
    // More often than not nobody has edited anything in the end.
    let last = (proptest::option::weighted(0.4, edition()), placement());
    let last_maestro = select(vec![LastMaestro::Same, LastMaestro::Other, LastMaestro::OtherWithNotes]);
    ((edition(), placement()), deeds, last, last_maestro).prop_map(
        |(first, deeds, (edited, placement), last_maestro)| {
            let last = (edited.unwrap_or_else(|| first.0.clone()), placement);
            Past { first, deeds, last, last_maestro }
        },
    )
}

/// Nobody but maestro has configured the daemon, and each knew what the one before had noted.
pub(crate) fn known_past() -> impl Strategy<Value = Past> {
    let deed = prop_oneof![
        4 => prop_oneof![2 => Just(usize::MAX), 1 => 0_usize..30].prop_map(|most| Deed::Pass { most }),
        2 => (edition(), placement()).prop_map(|(edition, placement)| Deed::Reconfigure(Box::new(edition), placement)),
        4 => return_of_maestro(),
        1 => Just(Deed::DaemonRestarts),
        2 => select(vec![100, 20_000, 1_200_000]).prop_map(|us| Deed::Wait { us }),
    ];
    let last_maestro = select(vec![LastMaestro::Same, LastMaestro::OtherWithNotes]);
    ((edition(), placement()), proptest::collection::vec(deed, 0..12), (edition(), placement()), last_maestro)
        .prop_map(|(first, deeds, last, last_maestro)| Past { first, deeds, last, last_maestro })
}

fn return_of_maestro() -> impl Strategy<Value = Deed> {
    (proptest::option::of(edition()), placement())
        .prop_map(|(edition, placement)| Deed::MaestroReturns(Box::new(edition), placement))
}

fn placement() -> impl Strategy<Value = Placement> {
    let as_they_are = prop_oneof![3 => Just(0_u8), 1 => any::<u8>()];
    (any::<u8>(), as_they_are, proptest::option::of(any::<u8>()), any::<bool>())
        .prop_map(|(started, as_they_are, standbys, boosts)| Placement { started, as_they_are, standbys, boosts })
}

impl Past {
    /// Lives through it, up to the moment at which maestro has its last configuration.
    pub(crate) fn live(&self, daemon: &str, imitation: Imitation) -> (Site, Maestro) {
        let mut site = Site::new(imitation, host_of(daemon));
        let mut maestro = Maestro::new(daemon, &self.first.0, self.first.1, &site);
        let mut edition = &self.first.0;
        for deed in &self.deeds {
            if !matches!(deed, Deed::Reconfigure(..) | Deed::MaestroReturns(..)) {
                site.story.push(format!("{deed:?}"));
            }
            match deed {
                Deed::Foreign(line) => {
                    let command = Command::from_words(line.split(' ')).unwrap();
                    if site.send(&command).is_some_and(|reply| reply.code == 0) {
                        maestro.doubt();
                    }
                }
                Deed::Pass { most } => {
                    maestro.pass(&mut site, *most);
                }
                Deed::Reconfigure(another, placement) => {
                    edition = another;
                    maestro.reconfigure(edition, *placement);
                }
                Deed::MaestroReturns(another, placement) => {
                    site.story.push("maestro returns".into());
                    edition = another.as_ref().as_ref().unwrap_or(edition);
                    maestro.restart_with_notes(edition, *placement, &site);
                }
                Deed::MaestroRestarts => maestro.restart(),
                Deed::DaemonRestarts => {
                    site.restart();
                    maestro.forget();
                }
                Deed::Wait { us } => site.network.run_for(*us),
            }
        }
        site.story.push("maestro has its last configuration".into());
        match self.last_maestro {
            LastMaestro::Same => maestro.reconfigure(&self.last.0, self.last.1),
            LastMaestro::Other => {
                maestro.reconfigure(&self.last.0, self.last.1);
                maestro.restart();
            }
            LastMaestro::OtherWithNotes => maestro.restart_with_notes(&self.last.0, self.last.1, &site),
        }
        (site, maestro)
    }
}

/// A command of an operator, of the Python maestro, or of an earlier maestro with another configuration.
fn foreign_command() -> impl Strategy<Value = String> {
    let producer = || select(vec!["node-1-ep", "node-2-ep", "node-3-ep", "op-prdcr", "adv"]);
    let names = || select(vec![".*", "^node-1-ep$", "^(node-1-ep|node-2-ep)$", "^op-", "node"]);
    let updater =
        || select(vec!["updtr_0", "updtr_0.1", "updtr_1", "updtr_0_aggregator-1", "boost-1", "boost-7", "op-updtr"]);
    let plugin = || select(vec!["mem", "net", "csv", "op-plugin", "meminfo", "vmstat"]);
    let policy = || select(vec!["policy", "op-policy"]);
    let listener = || select(vec!["listen", "op-listen"]);
    let advertiser = || select(vec!["adv", "adv-agg-1", "adv-agg-1-10101", "sampler-1", "op-adv"]);
    let library = || select(vec!["meminfo", "vmstat", "store_csv", "store_sos"]);
    let seconds = || select(vec!["500000", "1000000", "2000000"]);
    let producers = prop_oneof![
        (
            producer(),
            select(vec!["node-1", "node-2"]),
            select(vec![10_002, 10_003]),
            select(vec!["active", "passive"]),
            seconds()
        )
            .prop_map(|(name, host, port, kind, us)| {
                format!("prdcr_add name={name} host={host} port={port} xprt=sock type={kind} reconnect={us}")
            }),
        (select(vec!["prdcr_start", "prdcr_stop", "prdcr_del"]), producer())
            .prop_map(|(verb, name)| format!("{verb} name={name}")),
        (select(vec!["prdcr_start_regex", "prdcr_stop_regex"]), names())
            .prop_map(|(verb, regex)| format!("{verb} regex={regex}")),
        Just("prdcr_subscribe regex=.* stream=op".to_owned()),
    ];
    let updaters = prop_oneof![
        (updater(), seconds(), select(vec!["", " offset=100000", " auto_interval=true"]))
            .prop_map(|(name, us, more)| format!("updtr_add name={name} interval={us}{more}")),
        (select(vec!["updtr_start", "updtr_stop", "updtr_del"]), updater())
            .prop_map(|(verb, name)| format!("{verb} name={name}")),
        (updater(), seconds()).prop_map(|(name, us)| format!("updtr_start name={name} interval={us}")),
        (select(vec!["updtr_prdcr_add", "updtr_prdcr_del"]), updater(), names())
            .prop_map(|(verb, name, regex)| format!("{verb} name={name} regex={regex}")),
        (
            select(vec!["updtr_match_add", "updtr_match_del"]),
            updater(),
            select(vec!["meminfo", ".*"]),
            select(vec!["inst", "schema"])
        )
            .prop_map(|(verb, name, regex, field)| format!("{verb} name={name} regex={regex} match={field}")),
    ];
    let plugins = prop_oneof![
        (plugin(), library()).prop_map(|(name, library)| format!("load name={name} plugin={library}")),
        (plugin()).prop_map(|name| format!("config name={name} producer=op instance=op/{name}")),
        (plugin(), seconds(), select(vec!["0", "50000"]))
            .prop_map(|(name, us, offset)| format!("start name={name} interval={us} offset={offset}")),
        (select(vec!["stop", "term"]), plugin()).prop_map(|(verb, name)| format!("{verb} name={name}")),
    ];
    let policies = prop_oneof![
        (
            policy(),
            select(vec!["csv", "op-plugin", "store_csv"]),
            select(vec!["c1", "op"]),
            select(vec!["", " flush=5000000"])
        )
            .prop_map(|(name, plugin, container, flush)| {
                format!("strgp_add name={name} plugin={plugin} container={container} schema=meminfo{flush}")
            }),
        (select(vec!["strgp_start", "strgp_stop", "strgp_del"]), policy())
            .prop_map(|(verb, name)| format!("{verb} name={name}")),
        (select(vec!["strgp_prdcr_add", "strgp_prdcr_del"]), policy(), select(vec![".*", "^node"]))
            .prop_map(|(verb, name, regex)| format!("{verb} name={name} regex={regex}")),
    ];
    let listeners = prop_oneof![
        (listener(), select(vec!["", " regex=^x"]))
            .prop_map(|(name, more)| format!("prdcr_listen_add name={name}{more}")),
        (select(vec!["prdcr_listen_start", "prdcr_listen_stop", "prdcr_listen_del"]), listener())
            .prop_map(|(verb, name)| format!("{verb} name={name}")),
    ];
    let advertisers = prop_oneof![
        (advertiser(), seconds(), select(vec!["agg-1", "agg-2"])).prop_map(|(name, us, host)| {
            format!("advertiser_add name={name} host={host} xprt=sock port=10101 reconnect={us}")
        }),
        (select(vec!["advertiser_stop", "advertiser_del"]), advertiser())
            .prop_map(|(verb, name)| format!("{verb} name={name}")),
        advertiser()
            .prop_map(|name| format!("advertiser_start name={name} host=agg-1 xprt=sock port=10101 reconnect=1s")),
    ];
    let services =
        select(vec!["env A=9", "msg_enable", "msg_disable", "stream_enable", "stream_disable"]).prop_map(str::to_owned);
    prop_oneof![6 => producers, 6 => updaters, 5 => plugins, 4 => policies, 2 => listeners, 2 => advertisers, 1 => services]
}

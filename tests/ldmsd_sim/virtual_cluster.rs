//! Many simulated daemons on a virtual clock: hours of a cluster in a moment, the same each time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use maestro::ldmsd::{Attribute, Command, Verb};

use crate::daemon::{Action, Daemon, Imitation, Listing, MetricSet, Reply, directory_text, read_directory};

/// How long a message takes from daemon to daemon.
const LATENCY_US: u64 = 300;
/// What a daemon answers that cannot listen on an address.
const LISTEN_FAILED: i32 = 8;

/// How long a fetch may be outstanding where a connection carries several sets (operations of a live ldmsd, section 14).
const FETCH_US: u64 = 45_000;

/// A sample that a daemon collected.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sample {
    pub(crate) collector: String,
    pub(crate) producer: String,
    pub(crate) instance: String,
    pub(crate) sampled_us: u64,
    /// When it arrived.
    pub(crate) collected_us: u64,
}

/// A cluster. A daemon of name `a` is reached at host `a`, any port.
#[derive(Debug)]
pub(crate) struct VirtualCluster {
    pub(crate) now_us: u64,
    imitation: Imitation,
    daemons: BTreeMap<String, Daemon>,
    /// Each connection with the producer that it stands for.
    links: BTreeMap<u64, Link>,
    next_link: u64,
    /// What is under way, by the time of its arrival.
    mail: BTreeMap<(u64, u64), Mail>,
    next_mail: u64,
    /// Daemons that neither answer nor end, with what waits for them.
    hung: BTreeMap<String, Vec<Mail>>,
    /// The message tags that a collector has subscribed to for a producer, and not forgotten.
    tags: BTreeMap<(String, String), BTreeSet<String>>,
    /// Ports on which somebody else listens already.
    pub(crate) taken_ports: BTreeSet<u16>,
    pub(crate) samples: Vec<Sample>,
    /// When each collector last fetched a set, by producer and instance.
    fetched_us: BTreeMap<(String, String, String), u64>,
    /// Daemons that have ended by themselves, with the reason.
    pub(crate) ended: Vec<(String, &'static str)>,
}

#[derive(Debug, Clone)]
struct Link {
    /// Who collects over it.
    collector: String,
    /// Under which name of a producer.
    producer: String,
    /// Who is collected from.
    source: String,
    /// The advertiser by which the source made the connection.
    advertiser: Option<String>,
    /// The source's streams were on when the connection was made: what was subscribed to is in force.
    with_streams: bool,
    /// The messages of both ends were on then.
    with_messages: bool,
}

#[derive(Debug)]
enum Mail {
    /// A connection attempt arrives.
    Connect {
        caller: String,
        producer: String,
        host: String,
        advertise: bool,
    },
    Connected {
        link: u64,
    },
    Refused {
        caller: String,
        producer: String,
    },
    ReadDirectory {
        link: u64,
        ticket: u64,
    },
    Listing {
        link: u64,
        listing: Listing,
    },
    SetDeleted {
        link: u64,
        instance: String,
        /// Maestro's command made it go, and not a fault.
        by_command: bool,
    },
    /// The other end of a connection that is gone learns of it.
    Broken {
        daemon: String,
        producer: String,
    },
}

impl VirtualCluster {
    pub(crate) fn new(imitation: Imitation, names: &[&str], now_us: u64) -> VirtualCluster {
        VirtualCluster {
            now_us,
            imitation,
            daemons: names.iter().map(|name| ((*name).to_owned(), Daemon::new(imitation))).collect(),
            links: BTreeMap::new(),
            next_link: 0,
            mail: BTreeMap::new(),
            next_mail: 0,
            hung: BTreeMap::new(),
            tags: BTreeMap::new(),
            taken_ports: BTreeSet::new(),
            samples: Vec::new(),
            fetched_us: BTreeMap::new(),
            ended: Vec::new(),
        }
    }

    /// A daemon that is up.
    pub(crate) fn daemon(&self, name: &str) -> Option<&Daemon> {
        self.daemons.get(name)
    }

    /// Sends a command of maestro's to a daemon; `None` from one that is down.
    pub(crate) fn request(&mut self, name: &str, command: &Command) -> Option<Reply> {
        self.request_by(name, command, true)
    }

    /// Sends a command of somebody who takes no care of what it may kill.
    #[allow(dead_code, reason = "other tests have nobody else")]
    pub(crate) fn request_by_another(&mut self, name: &str, command: &Command) -> Option<Reply> {
        self.request_by(name, command, false)
    }

    fn request_by(&mut self, name: &str, command: &Command, by_command: bool) -> Option<Reply> {
        let attributes: Vec<_> = command.attributes.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let daemon = self.daemons.get_mut(name)?;
        let mut reply = daemon.request(command.verb, &attributes, self.now_us);
        let port = command.get(Attribute::Port).and_then(|port| port.parse().ok());
        if command.verb == Verb::Listen && reply.code == 0 && port.is_some_and(|port| self.taken_ports.contains(&port))
        {
            daemon.listen_failed();
            reply = Reply::error(LISTEN_FAILED, "Failed to listen");
        }
        if reply.code == 0 {
            self.note_tags(name, command);
        }
        self.act_because(name, by_command);
        Some(reply)
    }

    /// A tag that is subscribed to on a connection that was made without messages is forgotten (operations of a live
    /// ldmsd, section 11); a producer that is added later has none.
    fn note_tags(&mut self, collector: &str, command: &Command) {
        let (name, tag) = (command.get(Attribute::Name), command.get(Attribute::MessageTag));
        match (command.verb, name, tag) {
            (Verb::PrdcrDel, Some(producer), _) => {
                self.tags.remove(&(collector.to_owned(), producer.to_owned()));
            }
            (Verb::PrdcrSubscribe, _, Some(tag)) => {
                let Some(regex) = command.get(Attribute::Regex).and_then(|text| regex::Regex::new(text).ok()) else {
                    return;
                };
                let names: Vec<String> = self.daemons[collector].producer_names().map(str::to_owned).collect();
                for producer in names.into_iter().filter(|producer| regex.is_match(producer)) {
                    let is_forgotten =
                        self.link(collector, &producer).is_some_and(|link| !self.links[&link].with_messages);
                    if !is_forgotten {
                        self.tags.entry((collector.to_owned(), producer)).or_default().insert(tag.to_owned());
                    }
                }
            }
            _ => {}
        }
    }

    /// Ends a daemon as a kill does.
    pub(crate) fn kill(&mut self, name: &str) {
        self.daemons.remove(name);
        self.tags.retain(|(collector, _), _| collector != name);
        self.hung.remove(name);
        let broken: Vec<u64> = self
            .links
            .iter()
            .filter(|(_, link)| link.collector == name || link.source == name)
            .map(|(id, _)| *id)
            .collect();
        for id in broken {
            self.break_link(id, name);
        }
    }

    /// Starts a daemon that is down, without configuration.
    pub(crate) fn start(&mut self, name: &str) {
        self.daemons.insert(name.to_owned(), Daemon::new(self.imitation));
    }

    /// Holds a daemon as SIGSTOP does: its connections stay, and nothing happens on them.
    pub(crate) fn hang(&mut self, name: &str) {
        if self.daemons.contains_key(name) {
            self.hung.entry(name.to_owned()).or_default();
        }
    }

    pub(crate) fn is_hung(&self, name: &str) -> bool {
        self.hung.contains_key(name)
    }

    /// Lets a held daemon go on, first with what has arrived meanwhile.
    pub(crate) fn resume(&mut self, name: &str) {
        for mail in self.hung.remove(name).unwrap_or_default() {
            self.deliver(mail);
        }
    }

    /// When something will happen in the cluster.
    pub(crate) fn next_event_us(&self) -> Option<u64> {
        let by_mail = self.mail.keys().next().map(|(at_us, _)| *at_us);
        by_mail.into_iter().chain(self.next_tick_us()).min()
    }

    fn next_tick_us(&self) -> Option<u64> {
        let awake = self.daemons.iter().filter(|(name, _)| !self.hung.contains_key(*name));
        awake.filter_map(|(_, daemon)| daemon.next_event_us()).min()
    }

    /// Lets time pass.
    pub(crate) fn run_for(&mut self, us: u64) {
        let end_us = self.now_us + us;
        loop {
            let by_mail = self.mail.keys().next().map(|(at_us, _)| *at_us);
            let by_clock = self.next_tick_us();
            let Some(next_us) = by_mail.into_iter().chain(by_clock).min().filter(|next_us| *next_us <= end_us) else {
                break;
            };
            self.now_us = self.now_us.max(next_us);
            if by_mail == Some(next_us) {
                if let Some((_, mail)) = self.mail.pop_first() {
                    self.deliver(mail);
                }
            } else {
                self.tick();
            }
        }
        self.now_us = end_us;
    }

    fn tick(&mut self) {
        let due: Vec<String> = self
            .daemons
            .iter()
            .filter(|(name, daemon)| {
                let is_due = daemon.next_event_us().is_some_and(|due_us| due_us <= self.now_us);
                is_due && !self.hung.contains_key(*name)
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            if let Some(daemon) = self.daemons.get_mut(&name) {
                daemon.tick(self.now_us);
            }
            self.act(&name);
        }
    }

    fn post(&mut self, mail: Mail) {
        self.mail.insert((self.now_us + LATENCY_US, self.next_mail), mail);
        self.next_mail += 1;
    }

    fn deliver(&mut self, mail: Mail) {
        if let Some(waiting) = self.recipient(&mail).and_then(|name| self.hung.get_mut(&name)) {
            waiting.push(mail);
            return;
        }
        match mail {
            Mail::Connect { caller, producer, host, advertise } => self.connect(caller, producer, host, advertise),
            Mail::Connected { link } => {
                let Some(link) = self.links.get(&link) else { return };
                let (daemon, producer) = match &link.advertiser {
                    Some(advertiser) => (link.source.clone(), advertiser.clone()),
                    None => (link.collector.clone(), link.producer.clone()),
                };
                self.tell(&daemon, |daemon, _| daemon.connected(&producer));
            }
            Mail::Refused { caller, producer } | Mail::Broken { daemon: caller, producer } => {
                self.tell(&caller, |daemon, _| daemon.disconnected(&producer));
            }
            Mail::ReadDirectory { link, ticket } => {
                let Some(source) = self.links.get(&link).and_then(|link| self.daemons.get(&link.source)) else {
                    return;
                };
                let sets = source.directory_sets(self.now_us);
                self.post(Mail::Listing { link, listing: Listing::Whole { ticket, sets } });
            }
            Mail::Listing { link, listing } => {
                let Some(Link { collector, producer, .. }) = self.links.get(&link).cloned() else { return };
                self.tell(&collector, |daemon, now_us| daemon.listing(&producer, listing, now_us));
            }
            Mail::SetDeleted { link, instance, by_command } => {
                let Some(Link { collector, producer, .. }) = self.links.get(&link).cloned() else { return };
                if by_command && self.is_storing_what_it_fetches(&collector, &producer, &instance) {
                    self.ended.push((collector.clone(), "a set was deleted while it was fetched to be stored"));
                    return self.kill(&collector);
                }
                self.tell(&collector, |daemon, _| daemon.set_deleted(&producer, &instance));
            }
        }
    }

    /// Whom a message is for; nobody if its connection is gone.
    fn recipient(&self, mail: &Mail) -> Option<String> {
        let link = |id: &u64| self.links.get(id);
        match mail {
            Mail::Connect { host, .. } => Some(host.clone()),
            Mail::Refused { caller: daemon, .. } | Mail::Broken { daemon, .. } => Some(daemon.clone()),
            Mail::ReadDirectory { link: id, .. } => link(id).map(|link| link.source.clone()),
            Mail::Listing { link: id, .. } | Mail::SetDeleted { link: id, .. } => {
                link(id).map(|link| link.collector.clone())
            }
            Mail::Connected { link: id } => link(id).map(|link| match link.advertiser {
                Some(_) => link.source.clone(),
                None => link.collector.clone(),
            }),
        }
    }

    fn tell(&mut self, name: &str, what: impl FnOnce(&mut Daemon, u64)) {
        if let Some(daemon) = self.daemons.get_mut(name) {
            what(daemon, self.now_us);
            self.act(name);
        }
    }

    /// The development line dies of a set that goes then: what is queued to be stored points to it.
    fn is_storing_what_it_fetches(&self, collector: &str, producer: &str, instance: &str) -> bool {
        let key = (collector.to_owned(), producer.to_owned(), instance.to_owned());
        self.imitation == Imitation::Main
            && self.daemons.get(collector).is_some_and(Daemon::stores)
            && self.fetched_us.get(&key).is_some_and(|fetched_us| self.now_us < fetched_us + FETCH_US)
    }

    fn connect(&mut self, caller: String, producer: String, host: String, advertise: bool) {
        let link = if advertise {
            let advertised =
                self.daemons.get_mut(&host).and_then(|daemon| daemon.advertised(&caller, 1, Ipv4Addr::LOCALHOST));
            advertised.map(|name| Link {
                collector: host.clone(),
                producer: name,
                source: caller.clone(),
                advertiser: Some(producer.clone()),
                with_streams: self.daemons.get(&caller).is_some_and(Daemon::serves_streams),
                with_messages: false,
            })
        } else {
            self.daemons.get(&host).map(|source| Link {
                collector: caller.clone(),
                producer: producer.clone(),
                source: host.clone(),
                advertiser: None,
                with_streams: source.serves_streams(),
                with_messages: false,
            })
        };
        let Some(mut link) = link else { return self.post(Mail::Refused { caller, producer }) };
        let serves_messages = |end: &str| self.daemons.get(end).is_some_and(Daemon::serves_messages);
        link.with_messages = serves_messages(&link.collector) && serves_messages(&link.source);
        let streams = self.daemons.get(&link.collector).map_or(0, Daemon::subscribes_to_streams);
        if let Some(source) = self.daemons.get_mut(&link.source) {
            source.subscribed_to(streams);
        }
        let id = self.next_link;
        self.next_link += 1;
        self.links.insert(id, link);
        self.post(Mail::Connected { link: id });
        if advertise {
            self.act(&host);
        }
    }

    /// Ends a connection; the end that did not do it hears of it, and whoever advertised over it.
    fn break_link(&mut self, id: u64, by: &str) {
        let Some(link) = self.links.remove(&id) else { return };
        if link.collector != by {
            self.post(Mail::Broken { daemon: link.collector, producer: link.producer });
        }
        if let Some(advertiser) = link.advertiser.filter(|_| link.source != by) {
            self.post(Mail::Broken { daemon: link.source, producer: advertiser });
        }
    }

    /// Carries out what a daemon has done.
    fn act(&mut self, name: &str) {
        self.act_because(name, false);
    }

    fn act_because(&mut self, name: &str, by_command: bool) {
        let Some(actions) = self.daemons.get_mut(name).map(Daemon::take_actions) else { return };
        for action in actions {
            match action {
                Action::Connect { producer, host, advertise, .. } => {
                    self.post(Mail::Connect { caller: name.to_owned(), producer, host, advertise });
                }
                Action::Disconnect { producer } => {
                    if let Some(id) = self.link(name, &producer) {
                        self.break_link(id, name);
                    }
                }
                Action::ReadDirectory { producer, ticket } => {
                    if let Some(link) = self.link(name, &producer) {
                        self.post(Mail::ReadDirectory { link, ticket });
                    }
                }
                Action::Announce { set, .. } => {
                    for link in self.links_from(name) {
                        self.post(Mail::Listing { link, listing: Listing::News(read(std::slice::from_ref(&set))) });
                    }
                }
                Action::Withdraw { instance } => {
                    for link in self.links_from(name) {
                        self.post(Mail::SetDeleted { link, instance: instance.clone(), by_command });
                    }
                }
                Action::Collected { producer, instance, sampled_us } => {
                    let (collector, collected_us) = (name.to_owned(), self.now_us);
                    self.fetched_us.insert((collector.clone(), producer.clone(), instance.clone()), collected_us);
                    self.samples.push(Sample { collector, producer, instance, sampled_us, collected_us });
                }
                Action::Exit { reason } => {
                    self.ended.push((name.to_owned(), reason));
                    self.kill(name);
                    return;
                }
                Action::Listen { .. } | Action::SamplingStarted { .. } | Action::SamplingStopped { .. } => {}
            }
        }
    }

    /// Whether a collector gets the streams of a producer that it subscribed to.
    pub(crate) fn gets_streams(&self, collector: &str, producer: &str) -> bool {
        self.link(collector, producer).is_some_and(|id| self.links[&id].with_streams)
    }

    /// The message tags that a collector gets of a producer.
    pub(crate) fn tags_in_force(&self, collector: &str, producer: &str) -> BTreeSet<String> {
        let connected = self.link(collector, producer).is_some_and(|id| self.links[&id].with_messages);
        let tags = self.tags.get(&(collector.to_owned(), producer.to_owned()));
        tags.filter(|_| connected).cloned().unwrap_or_default()
    }

    /// The connection of a producer, or of an advertiser.
    fn link(&self, daemon: &str, producer: &str) -> Option<u64> {
        let found = self.links.iter().find(|(_, link)| {
            (link.collector == daemon && link.producer == producer)
                || (link.source == daemon && link.advertiser.as_deref() == Some(producer))
        });
        found.map(|(id, _)| *id)
    }

    fn links_from(&self, source: &str) -> Vec<u64> {
        self.links.iter().filter(|(_, link)| link.source == source).map(|(id, _)| *id).collect()
    }

    /// The distinct sample times of a set that some of the daemons collected, with how many of them did.
    pub(crate) fn times(&self, collectors: &[&str], instance: &str) -> BTreeMap<u64, usize> {
        let samples = self.samples.iter().filter(|sample| sample.instance == instance);
        let distinct: BTreeSet<(&str, u64)> = samples
            .filter(|sample| collectors.contains(&sample.collector.as_str()))
            .map(|sample| (sample.collector.as_str(), sample.sampled_us))
            .collect();
        let mut times = BTreeMap::new();
        for (_, sampled_us) in distinct {
            *times.entry(sampled_us).or_insert(0) += 1;
        }
        times
    }
}

fn read(elements: &[String]) -> Vec<MetricSet> {
    read_directory(directory_text(elements).as_bytes()).unwrap()
}

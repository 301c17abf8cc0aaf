//! Advertisements: the samplers' advertisers, the aggregators' producer listeners (the wire specification, section 6.4).

use std::net::Ipv4Addr;

use maestro::ldmsd::Attribute;
use regex::Regex;

use super::producers::{Producer, ProducerKind, ProducerState};
use super::quantity::size_bytes;
use super::request::{Attributes, Outcome, Reply, errno, regular_expression};
use super::{Daemon, Imitation};

/// A readiness to accept daemons that advertise themselves.
#[derive(Debug)]
pub(super) struct Listener {
    running: bool,
    /// Of the advertisers' host names, with its text.
    regex: Option<(String, Regex)>,
    /// A CIDR block of the advertisers' addresses, as given.
    ip: Option<(String, Network)>,
    disable_start: bool,
    quota_bytes: i64,
    rx_rate_bytes: i64,
    /// What a listener of type active adds to its status.
    active: Option<String>,
    /// The producers that it has made.
    producers: Vec<String>,
}

impl Listener {
    fn accepts(&self, host: &str, address: Ipv4Addr) -> bool {
        self.running
            && self.regex.as_ref().is_none_or(|(_, regex)| regex.is_match(host))
            && self.ip.as_ref().is_none_or(|(_, network)| network.contains(address))
    }
}

#[derive(Debug, Clone, Copy)]
struct Network {
    address: Ipv4Addr,
    prefix: u32,
}

impl Network {
    fn read(text: &str) -> Option<Network> {
        let (address, prefix) = text.split_once('/')?;
        let prefix = prefix.parse().ok().filter(|prefix| *prefix <= 32)?;
        Some(Network { address: address.parse().ok()?, prefix })
    }

    fn contains(self, address: Ipv4Addr) -> bool {
        let mask = u32::MAX.checked_shl(32 - self.prefix).unwrap_or(0);
        u32::from(self.address) & mask == u32::from(address) & mask
    }
}

const NO_ADVERTISER: &str = "The advertiser specified does not exist.";

/// Advertisers, on a sampler.
impl Daemon {
    pub(super) fn advertiser_add(&mut self, attributes: &Attributes) -> Outcome {
        self.prdcr_add(attributes)
    }

    /// Starts an advertiser; one that does not exist is created from the same request.
    pub(super) fn advertiser_start(&mut self, attributes: &Attributes, now_us: u64) -> Outcome {
        let name = attributes.require(Attribute::Name, "The attribute 'name' is required.")?;
        if !self.producers.contains_key(name) {
            self.prdcr_add(attributes)?;
        }
        let producer = self.producers.get_mut(name).ok_or_else(|| Reply::error(errno::ENOENT, NO_ADVERTISER))?;
        producer.started_by_name = true;
        if producer.state != ProducerState::Stopped {
            return Err(Reply::error(errno::EBUSY, "The advertiser is already running."));
        }
        producer.start(name, now_us);
        self.wake_at(now_us);
        Ok(Reply::ok())
    }

    pub(super) fn advertiser_stop(&mut self, attributes: &Attributes, now_us: u64) -> Outcome {
        let name = attributes.require(Attribute::Name, "The attribute 'name' is required.")?;
        self.stop_producer(name, now_us, NO_ADVERTISER)
    }

    pub(super) fn advertiser_del(&mut self, attributes: &Attributes) -> Outcome {
        let name = attributes.require(Attribute::Name, "The attribute 'name' is required.")?;
        self.delete_producer(name, NO_ADVERTISER, "The advertiser is in use.")
    }
}

/// Producer listeners, on an aggregator.
impl Daemon {
    pub(super) fn prdcr_listen_add(&mut self, attributes: &Attributes) -> Outcome {
        let invalid = |text: String| Reply::error(errno::EINVAL, text);
        let name = attributes.require(Attribute::Name, "The attribute 'name' is required.")?;
        let regex = match attributes.get(Attribute::Regex) {
            None => None,
            Some(text) => {
                let regex = regular_expression(text)
                    .ok_or_else(|| invalid(format!("The regular expression string '{text}' is invalid.")))?;
                Some((text.to_owned(), regex))
            }
        };
        let ip = match attributes.get(Attribute::Ip) {
            None => None,
            Some(text) => {
                let network = Network::read(text)
                    .ok_or_else(|| invalid(format!("The given CIDR string '{text}' is invalid.")))?;
                Some((text.to_owned(), network))
            }
        };
        let v44 = self.imitation == Imitation::V44;
        let active = match attributes.get(Attribute::Type).filter(|_| !v44) {
            Some("active") => {
                let text = "The attribute 'advertiser_port' is required for the 'active' mode.";
                let port = attributes.require(Attribute::AdvertiserPort, text)?;
                let xprt = attributes.get(Attribute::AdvertiserXprt).unwrap_or("sock");
                let rail = attributes.get(Attribute::Rail).unwrap_or("1");
                let reconnect = attributes.get(Attribute::Reconnect).unwrap_or_default();
                Some(format!(
                    r#""xprt":"{xprt}","port":"{port}","auth_dom":"_DEFAULT_","rail_sz":"{rail}","reconnect":"{reconnect}","#
                ))
            }
            _ => None,
        };
        if self.listeners.contains_key(name) {
            let text = if v44 {
                format!("The prdcr_listen '{name}' already exists.\n")
            } else {
                format!("The prdcr listener {name} already exists.")
            };
            return Err(Reply::error(errno::EEXIST, text));
        }
        let disable_start = attributes
            .get(Attribute::DisableStart)
            .is_some_and(|text| text == "1" || text.eq_ignore_ascii_case("true"));
        let listener = Listener {
            running: false,
            regex,
            ip,
            disable_start,
            quota_bytes: attributes.get(Attribute::Quota).map_or(-1, size_bytes),
            rx_rate_bytes: attributes.get(Attribute::RxRate).map_or(-1, size_bytes),
            active,
            producers: Vec::new(),
        };
        self.listeners.insert(name.to_owned(), listener);
        Ok(Reply::ok())
    }

    pub(super) fn prdcr_listen_del(&mut self, attributes: &Attributes) -> Outcome {
        let name = attributes.require(Attribute::Name, "The attribute 'name' is required,")?;
        let missing = || Reply::error(errno::ENOENT, format!("The producer listen '{name}' does not exist.\n"));
        let listener = self.listeners.get(name).ok_or_else(missing)?;
        // Main and 4.5 refuse even for one that was never started (measured).
        if listener.running || self.imitation != Imitation::V44 {
            return Err(Reply::error(errno::EBUSY, format!("The producer listen '{name}' is in use.\n")));
        }
        self.listeners.remove(name);
        Ok(Reply::ok())
    }

    /// Starts or stops a listener; repeating is fine, and the producers that it made stay as they are.
    pub(super) fn prdcr_listen_run(&mut self, attributes: &Attributes, running: bool) -> Outcome {
        let name = attributes.require(Attribute::Name, "The attribute 'name' is required,")?;
        let missing = || Reply::error(errno::ENOENT, format!("The listen_producer '{name}' does not exist."));
        self.listeners.get_mut(name).ok_or_else(missing)?.running = running;
        Ok(Reply::ok())
    }

    pub(super) fn prdcr_listen_status(&self, attributes: &Attributes) -> Reply {
        let main = self.imitation == Imitation::Main;
        let summary = main && attributes.get(Attribute::Summary).is_some_and(|text| text.eq_ignore_ascii_case("true"));
        Reply::list(self.listeners.iter().map(|(name, listener)| {
            let producers: Vec<String> =
                listener.producers.iter().filter(|_| !summary).map(|producer| format!("\"{producer}\"")).collect();
            let rail = match (self.imitation, &listener.active) {
                (Imitation::V44, _) => String::new(),
                (_, active) => format!(
                    r#""quota":"{}","rx_rate":"{}","type":"{}",{}"#,
                    listener.quota_bytes,
                    listener.rx_rate_bytes,
                    if active.is_some() { "active" } else { "passive" },
                    active.as_deref().unwrap_or_default()
                ),
            };
            format!(
                r#"{{"name":"{name}","state":"{}","regex":"{}","IP range":"{}",{rail}"producers":[{}]}}"#,
                if listener.running { "running" } else { "stopped" },
                listener.regex.as_ref().map_or("-", |(text, _)| text.as_str()),
                listener.ip.as_ref().map_or("-", |(text, _)| text.as_str()),
                producers.join(",")
            )
        }))
    }

    /// A daemon advertises itself over a connection that it has made. Gives the name of the producer that now stands
    /// for it, `None` where no listener wants it.
    pub(crate) fn advertised(&mut self, host: &str, port: u16, address: Ipv4Addr) -> Option<String> {
        let (_, listener) = self.listeners.iter_mut().find(|(_, listener)| listener.accepts(host, address))?;
        let name = format!("{host}:{port}");
        let disable_start = listener.disable_start;
        if !listener.producers.contains(&name) {
            listener.producers.push(name.clone());
        }
        let is_new = !self.producers.contains_key(&name);
        let producer = self.producers.entry(name.clone()).or_insert_with(|| {
            // The recorded reconnect interval of an advertised producer.
            Producer::new(ProducerKind::AdvertisedPassive, host, port, "sock", i32::MAX.unsigned_abs().into())
        });
        match producer.state {
            ProducerState::Stopped if is_new && !disable_start => producer.state = ProducerState::Connected,
            ProducerState::Disconnected => producer.state = ProducerState::Connected,
            ProducerState::Stopped => producer.state = ProducerState::Standby,
            _ => return None,
        }
        if producer.state == ProducerState::Connected {
            self.read_directory(&name);
        }
        if is_new {
            for updater in self.updaters.values_mut() {
                if updater.producer_regexes.iter().any(|regex| regex.is_match(&name)) {
                    updater.producers.insert(name.clone());
                }
            }
        }
        Some(name)
    }
}

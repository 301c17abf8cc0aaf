//! Verbs about the daemon itself: authentication domains, listening, environment, switches (the wire specification,
//! section 6.1).

use std::collections::{BTreeMap, BTreeSet};

use maestro::ldmsd::{Attribute, Verb};

use super::request::{Attributes, Outcome, Reply, errno};
use super::{Action, AuthPlugin, Daemon, Imitation};

/// What the daemon as a whole is set to.
#[derive(Debug)]
pub(super) struct Services {
    pub(super) environment: BTreeMap<String, String>,
    pub(super) auth_domains: BTreeMap<String, AuthPlugin>,
    /// Endpoints of `listen`, as `xprt:port`.
    endpoints: BTreeSet<String>,
    streams: bool,
    messages: bool,
    /// Whether it has ever failed to listen on an endpoint.
    listen_failed: bool,
    /// The kinds of subscription that producers were given, in order.
    pub(super) subscriptions: Vec<SubscriptionKind>,
    /// The streams that its producers subscribe to.
    pub(super) subscribed_streams: BTreeSet<String>,
}

/// What `prdcr_subscribe` can subscribe to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SubscriptionKind {
    Stream,
    Messages,
}

impl Services {
    pub(super) fn new(imitation: Imitation) -> Services {
        Services {
            environment: BTreeMap::new(),
            auth_domains: BTreeMap::new(),
            endpoints: BTreeSet::new(),
            streams: imitation == Imitation::V44,
            messages: false,
            listen_failed: false,
            subscriptions: Vec::new(),
            subscribed_streams: BTreeSet::new(),
        }
    }
}

impl Daemon {
    pub(super) fn service(&mut self, verb: Verb, attributes: &Attributes) -> Outcome {
        match verb {
            Verb::CfgCntr => Ok(Reply::text(self.configuration_counter.to_string())),
            Verb::DaemonStatus => Ok(Reply::json(r#"{"state":"ready"}"#)),
            Verb::Version => Ok(Reply::text(self.imitation.version_text())),
            Verb::Greeting => Ok(greeting(attributes)),
            Verb::AuthAdd => self.auth_add(attributes),
            Verb::AuthDel => self.auth_del(attributes),
            Verb::Listen => self.listen(attributes),
            Verb::Env => Ok(self.env(attributes)),
            Verb::SetStats => Ok(self.set_stats(attributes)),
            Verb::XprtStats => Ok(self.xprt_stats()),
            Verb::Exit => {
                self.actions.push(Action::Exit { reason: "it was told to" });
                Ok(Reply::ok())
            }
            Verb::StreamEnable | Verb::StreamDisable => {
                self.services.streams = verb == Verb::StreamEnable;
                Ok(Reply::text("OK"))
            }
            Verb::MsgEnable | Verb::MsgDisable => {
                self.services.messages = verb == Verb::MsgEnable;
                Ok(Reply::text("OK"))
            }
            Verb::StreamPublish
            | Verb::Subscribe
            | Verb::StreamUnsubscribe
            | Verb::StreamClientDump
            | Verb::StreamNew
            | Verb::StreamStatus => {
                if self.services.streams {
                    Ok(Reply::json("{}"))
                } else {
                    Err(Reply::error(errno::ENOSYS, "The stream service is DISABLED on this system."))
                }
            }
            Verb::MsgStats | Verb::MsgClientStats => {
                if self.services.messages {
                    Ok(Reply::json("[]"))
                } else {
                    Err(Reply::error(errno::EOPNOTSUPP, "The message service is disabled."))
                }
            }
            // Accepted with any value, without an effect that a client could see.
            Verb::Option
            | Verb::LogLevel
            | Verb::LogFile
            | Verb::Logrotate
            | Verb::DefaultAuth
            | Verb::Memory
            | Verb::DaemonName
            | Verb::WorkerThreads
            | Verb::DefaultQuota
            | Verb::Banner
            | Verb::PidFile => Ok(Reply::ok()),
            Verb::StorageThreads => Err(Reply { code: errno::EBUSY, text: None, json: false }),
            // What the simulation does not know it refuses, rather than pretending.
            _ => Err(Reply::unknown_command()),
        }
    }

    fn auth_add(&mut self, attributes: &Attributes) -> Outcome {
        let name = attributes.require(Attribute::Name, "Attribute 'name' is required")?;
        if self.services.auth_domains.contains_key(name) {
            return Err(Reply::error(errno::EEXIST, "Authentication domain creation failed, errno: 17"));
        }
        let domain = AuthPlugin {
            plugin: attributes.get(Attribute::Plugin).unwrap_or(name).to_owned(),
            options: attributes.get(Attribute::String).unwrap_or_default().to_owned(),
        };
        self.services.auth_domains.insert(name.to_owned(), domain);
        Ok(Reply::ok())
    }

    fn auth_del(&mut self, attributes: &Attributes) -> Outcome {
        let name = attributes.require(Attribute::Name, "Attribute 'name' is required")?;
        if self.services.auth_domains.remove(name).is_none() {
            return Err(Reply::error(errno::ENOENT, format!("'{name}' authentication domain not found")));
        }
        // It did delete; the text is what real daemons say (measured).
        Ok(Reply::text(format!("Failed to delete authentication domain '{name}', error: 0")))
    }

    fn listen(&mut self, attributes: &Attributes) -> Outcome {
        let xprt = attributes.require(Attribute::Xprt, "The attribute 'xprt' is required.")?;
        let port_text = attributes.get(Attribute::Port).unwrap_or("411");
        let port = port_text.parse().ok().filter(|port| *port != 0).ok_or_else(|| {
            Reply::error(errno::EINVAL, format!("'{xprt}' transport with invalid port '{port_text}'"))
        })?;
        let auth = match attributes.get(Attribute::Auth) {
            None => None,
            Some(domain) => Some(self.services.auth_domains.get(domain).cloned().ok_or_else(|| {
                let advice = "Please make sure that it is created with `auth_add` config command.";
                let text = format!("Listen error: authentication domain '{domain}' not found. {advice}");
                Reply::error(errno::ENOENT, text)
            })?),
        };
        // An entry stays even where listening fails, so that a second try is refused too (measured).
        if !self.services.endpoints.insert(format!("{xprt}:{port}")) {
            return Err(Reply::error(errno::EEXIST, format!("The listening endpoint {xprt}:{port} is already exists")));
        }
        self.actions.push(Action::Listen { host: attributes.get(Attribute::Host).map(str::to_owned), port, auth });
        Ok(Reply::ok())
    }

    fn env(&mut self, attributes: &Attributes) -> Reply {
        for word in attributes.get(Attribute::String).unwrap_or_default().split_ascii_whitespace() {
            if let Some((name, value)) = word.split_once('=') {
                self.services.environment.insert(name.to_owned(), value.to_owned());
            }
        }
        Reply::ok()
    }

    /// Whether streams can be subscribed to on a connection that is made now.
    #[allow(dead_code, reason = "for simulations of a whole cluster on a virtual clock")]
    pub(crate) fn serves_streams(&self) -> bool {
        self.services.streams
    }

    /// Whether messages can be subscribed to on a connection that is made now.
    #[allow(dead_code, reason = "for simulations of a whole cluster on a virtual clock")]
    pub(crate) fn serves_messages(&self) -> bool {
        self.services.messages
    }

    /// How many commands it sends to each daemon that it connects to and whose streams it subscribes to.
    #[allow(dead_code, reason = "for simulations of a whole cluster on a virtual clock")]
    pub(crate) fn subscribes_to_streams(&self) -> u64 {
        self.services.subscribed_streams.len() as u64
    }

    /// A daemon that connected has subscribed to so many of its streams, each by a command that counts (seen on 4.5 and
    /// the development head).
    #[allow(dead_code, reason = "for simulations of a whole cluster on a virtual clock")]
    pub(crate) fn subscribed_to(&mut self, streams: u64) {
        self.configuration_counter += streams;
    }

    /// The endpoint of the latest `listen` could not be opened.
    pub(crate) fn listen_failed(&mut self) {
        self.services.listen_failed = true;
    }

    /// The statistics themselves are always empty.
    fn xprt_stats(&mut self) -> Reply {
        if self.services.listen_failed && self.imitation != Imitation::V44 {
            self.actions.push(Action::Exit { reason: "4.5 and later die of xprt_stats after a listen that failed" });
        }
        Reply::json("{}")
    }

    fn set_stats(&mut self, attributes: &Attributes) -> Reply {
        let count = self.directory(0).len();
        if self.imitation == Imitation::V44 && attributes.get(Attribute::Summary).is_none() {
            self.actions.push(Action::Exit { reason: "the 4.4 line dies of set_stats without summary" });
        }
        Reply::json(format!(
            "{{ \"active_count\": {count},\n \"deleting_count\": 0,\n \"mem_total_kb\": 16384,\n \"mem_free_kb\": 16384,\n \"mem_used_kb\": 0,\n \"set_load\": 0,\n \"compute_time\": 1\n}}"
        ))
    }
}

fn greeting(attributes: &Attributes) -> Reply {
    if let Some(name) = attributes.get(Attribute::Name) {
        return Reply::text(format!("Hello '{name}'"));
    }
    if attributes.has(Attribute::Test) {
        return Reply::text("Hi");
    }
    match attributes.get(Attribute::Offset).and_then(|text| text.parse::<usize>().ok()) {
        // The number itself, zero-padded to as many characters (measured); bounded by what a record carries.
        Some(length) => Reply::text(format!("{length:0>width$}", width = length.min(100_000))),
        None => Reply::ok(),
    }
}

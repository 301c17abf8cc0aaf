//! A simulated daemon as a process would be: it owns its state, its listening sockets and its connections, and can be
//! killed or hung.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use maestro::ldmsd::auth::AuthMethod;
use maestro::ldmsd::{Attribute, Verb};
use maestro::notation::Name;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::accept::{Host, Rails, accept};
use super::connect::{advertise, auth_method, connect};
use super::faults::Faults;
use super::pause::Pause;
use super::peer::{Peer, PeerCommand};
use super::wire::now_us;
use crate::daemon::{Action, Daemon, Imitation, Listing, MetricSet, ProducerView, Reply};
use crate::journal::Journal;

/// How many events may wait for a daemon; who adds more waits too.
const EVENT_QUEUE: usize = 1024;
/// How soon connections are accepted again when one could not be.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a daemon is started with.
#[derive(Debug, Clone)]
pub(crate) struct NodeConfig {
    pub(crate) name: Name,
    /// The host that it believes to run on.
    pub(crate) host: String,
    /// 0 for a sampler, 1 for who collects from samplers, and so on, as far as it is known beforehand.
    pub(crate) level: usize,
    pub(crate) imitation: Imitation,
    /// Where it listens; the first is the one that it advertises, and its authentication is the default.
    pub(crate) endpoints: Vec<ListenAddress>,
}

/// An address to listen on.
#[derive(Debug, Clone)]
pub(crate) struct ListenAddress {
    /// A host name or address of this machine.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) auth: AuthMethod,
}

/// What reaches a daemon.
#[derive(Debug)]
pub(crate) enum NodeEvent {
    /// A connection was set up, for a producer where this daemon made it.
    Opened { connection: u64, commands: mpsc::UnboundedSender<PeerCommand>, producer: Option<String> },
    /// A connection could not be made.
    ConnectFailed { connection: u64, producer: String },
    /// A connection has ended.
    Closed { connection: u64 },
    /// A command.
    Request {
        connection: u64,
        address: Ipv4Addr,
        /// Whether the peer is root, as far as its authentication tells.
        privileged: bool,
        verb: Verb,
        attributes: Vec<(Attribute, String)>,
        answer: oneshot::Sender<Reply>,
    },
    /// Someone asks for the directory, and perhaps to be told of changes from then on.
    ListSets { connection: u64, follows: bool, answer: oneshot::Sender<Vec<String>> },
    /// A producer's directory.
    Directory { connection: u64, ticket: u64, sets: Vec<MetricSet> },
    /// New or changed sets of a producer.
    News { connection: u64, sets: Vec<MetricSet> },
    /// A producer's set is gone.
    SetDeleted { connection: u64, instance: String },
    /// Someone looks at the simulation from outside.
    Look { answer: oneshot::Sender<Overview> },
}

/// A daemon as seen from outside.
#[derive(Debug, Clone)]
pub(crate) struct Overview {
    pub(crate) producers: Vec<ProducerView>,
    /// The number of metric sets of its own.
    pub(crate) own_sets: usize,
}

/// A daemon that runs.
#[derive(Debug)]
pub(crate) struct Node {
    events: mpsc::Sender<NodeEvent>,
    tasks: Tasks,
    paused: watch::Sender<bool>,
    /// What it was told to do wrong.
    pub(crate) faults: Faults,
}

impl Node {
    /// Starts a daemon, without configuration, listening on its endpoints.
    pub(crate) fn start(config: NodeConfig, pid: u32, journal: Journal) -> io::Result<Node> {
        let (events, inbox) = mpsc::channel(EVENT_QUEUE);
        let (paused, is_paused) = Pause::new();
        let tasks = Tasks::default();
        let faults = Faults::default();
        let core = Core {
            daemon: Daemon::new(config.imitation),
            environment: Surroundings {
                pid,
                rails: Rails::default(),
                connection_ids: Arc::default(),
                events: events.clone(),
                paused: is_paused,
                faults: faults.clone(),
                tasks: tasks.clone(),
                imitation: config.imitation,
            },
            connections: BTreeMap::new(),
            producers: BTreeMap::new(),
            journal,
            config,
        };
        for endpoint in &core.config.endpoints {
            core.environment.listen(&endpoint.host, endpoint.port, endpoint.auth.clone())?;
        }
        tasks.spawn(core.run(inbox));
        Ok(Node { events, tasks, paused, faults })
    }

    /// Ends the daemon as a kill does: everything closes at once.
    pub(crate) async fn kill(self) {
        self.tasks.kill().await;
    }

    /// Hangs the daemon, or lets it go on: connections stay, nothing is answered.
    pub(crate) fn pause(&self, paused: bool) {
        self.paused.send_replace(paused);
    }

    /// Whether it has not ended by itself.
    pub(crate) fn is_alive(&self) -> bool {
        !self.events.is_closed()
    }

    /// The daemon as it is now; `None` from one that hangs or has ended.
    pub(crate) async fn look(&self) -> Option<Overview> {
        let (answer, overview) = oneshot::channel();
        let look = async {
            self.events.send(NodeEvent::Look { answer }).await.ok()?;
            overview.await.ok()
        };
        tokio::time::timeout(Duration::from_millis(500), look).await.ok().flatten()
    }
}

/// The tasks of one daemon, which end together.
#[derive(Debug, Clone, Default)]
struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl Tasks {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Ends all tasks, the calling one at its next await.
    fn abort(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }

    async fn kill(&self) {
        let mut tasks = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
    }
}

/// What a daemon's listeners and connections have in common.
#[derive(Debug, Clone)]
struct Surroundings {
    pid: u32,
    rails: Rails,
    connection_ids: Arc<AtomicU64>,
    events: mpsc::Sender<NodeEvent>,
    paused: Pause,
    faults: Faults,
    tasks: Tasks,
    imitation: Imitation,
}

impl Surroundings {
    fn next_connection(&self) -> u64 {
        self.connection_ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Listens and serves whoever connects.
    fn listen(&self, host: &str, port: u16, auth: AuthMethod) -> io::Result<()> {
        let socket = TcpListener::bind((host, port))
            .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {host}:{port}: {error}")))?;
        socket.set_nonblocking(true)?;
        let socket = tokio::net::TcpListener::from_std(socket)?;
        let host = Host { imitation: self.imitation, pid: self.pid, auth, rails: self.rails.clone() };
        let mut surroundings = self.clone();
        self.tasks.spawn(async move {
            loop {
                if !surroundings.paused.ends().await {
                    return;
                }
                tokio::select! {
                    () = surroundings.paused.begins() => {}
                    accepted = socket.accept() => {
                        match accepted {
                            Ok((stream, _)) => {
                                surroundings.tasks.spawn(surroundings.clone().serve(stream, host.clone()));
                            }
                            // Out of file descriptors, perhaps for long.
                            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                        }
                    }
                }
            }
        });
        Ok(())
    }

    async fn serve(self, stream: tokio::net::TcpStream, host: Host) {
        let Ok(IpAddr::V4(address)) = stream.peer_addr().map(|address| address.ip()) else { return };
        // A client that fails is closed and forgotten, as ldmsd does.
        let Ok(accepted) = accept(stream, &host).await else { return };
        let connection = self.next_connection();
        let (commands, queue) = mpsc::unbounded_channel();
        if self.events.send(NodeEvent::Opened { connection, commands, producer: None }).await.is_ok() {
            let (wire, handshake) = (accepted.wire, accepted.handshake);
            self.peer(connection, wire, handshake, address, queue).run().await;
        }
    }

    fn peer(
        &self,
        id: u64,
        wire: super::wire::Wire,
        handshake: maestro::ldmsd::auth::Handshake,
        address: Ipv4Addr,
        commands: mpsc::UnboundedReceiver<PeerCommand>,
    ) -> Peer {
        Peer {
            id,
            wire,
            handshake,
            imitation: self.imitation,
            address,
            node: self.events.clone(),
            commands,
            paused: self.paused.clone(),
            faults: self.faults.clone(),
        }
    }

    /// Connects to a producer, or advertises to an aggregator, and converses.
    async fn call(self, connection: u64, call: Call) {
        let attempt = async {
            let mut connected = connect(&call.host, call.port, &call.auth, self.imitation, self.pid).await?;
            if let Some((host_name, port)) = &call.advertise {
                advertise(&mut connected, host_name, *port).await?;
            }
            io::Result::Ok(connected)
        };
        let Ok(connected) = attempt.await else {
            let failed = NodeEvent::ConnectFailed { connection, producer: call.producer };
            let _daemon_is_gone = self.events.send(failed).await;
            return;
        };
        let (commands, queue) = mpsc::unbounded_channel();
        let opened = NodeEvent::Opened { connection, commands, producer: Some(call.producer) };
        if self.events.send(opened).await.is_ok() {
            let (wire, handshake) = (connected.wire, connected.handshake);
            self.peer(connection, wire, handshake, Ipv4Addr::UNSPECIFIED, queue).run().await;
        }
    }
}

/// A connection to be made.
#[derive(Debug)]
struct Call {
    producer: String,
    host: String,
    port: u16,
    auth: AuthMethod,
    /// Host name and port to advertise.
    advertise: Option<(String, u16)>,
}

/// The task that owns a daemon's state.
#[derive(Debug)]
struct Core {
    daemon: Daemon,
    config: NodeConfig,
    environment: Surroundings,
    connections: BTreeMap<u64, Connection>,
    /// The connection that counts for each producer: what an earlier one still says is out of date.
    producers: BTreeMap<String, u64>,
    journal: Journal,
}

#[derive(Debug)]
struct Connection {
    commands: mpsc::UnboundedSender<PeerCommand>,
    producer: Option<String>,
    /// The peer is told of changes of the directory. Each of thousands of sets told to each of thousands of peers that
    /// do not listen would fill the memory of the machine.
    follows: bool,
}

impl Core {
    async fn run(mut self, mut inbox: mpsc::Receiver<NodeEvent>) {
        let mut paused = self.environment.paused.clone();
        loop {
            if !paused.ends().await {
                return;
            }
            let due_us = self.daemon.next_event_us();
            let wait = Duration::from_micros(due_us.map_or(u64::MAX, |due_us| due_us.saturating_sub(now_us())));
            tokio::select! {
                () = paused.begins() => continue,
                event = inbox.recv() => match event {
                    Some(event) => self.handle(event),
                    None => return,
                },
                () = tokio::time::sleep(wait), if due_us.is_some() => {}
            }
            let now_us = now_us();
            if self.daemon.next_event_us().is_some_and(|due_us| due_us <= now_us) {
                self.daemon.tick(now_us);
            }
            if self.act().is_err() {
                inbox.close();
                self.journal.node_stopped(&self.config.name, now_us);
                self.environment.tasks.abort();
                return;
            }
        }
    }

    fn handle(&mut self, event: NodeEvent) {
        let now_us = now_us();
        match event {
            NodeEvent::Opened { connection, commands, producer } => {
                if let Some(producer) = &producer {
                    if self.producers.get(producer) != Some(&connection) {
                        return; // Given up meanwhile: without its channel the connection closes.
                    }
                    self.daemon.connected(producer);
                }
                self.connections.insert(connection, Connection { commands, producer, follows: false });
            }
            NodeEvent::ConnectFailed { connection, producer } => {
                if self.producers.get(&producer) == Some(&connection) {
                    self.producers.remove(&producer);
                    self.daemon.disconnected(&producer);
                }
            }
            NodeEvent::Closed { connection } => {
                let closed = self.connections.remove(&connection).and_then(|closed| closed.producer);
                if let Some(producer) = closed.filter(|name| self.producers.get(name) == Some(&connection)) {
                    self.producers.remove(&producer);
                    self.daemon.disconnected(&producer);
                }
            }
            NodeEvent::Request { connection, address, privileged, verb, attributes, answer } => {
                let reply = if verb == Verb::Advertise && privileged {
                    self.advertised(connection, address, &attributes)
                } else {
                    let attributes: Vec<_> = attributes.iter().map(|(key, value)| (*key, value.as_str())).collect();
                    let mut reply = if privileged {
                        self.daemon.request(verb, &attributes, now_us)
                    } else {
                        self.daemon.unprivileged_request(verb, &attributes, now_us)
                    };
                    if verb == Verb::Listen && reply.code == 0 && !self.listens() {
                        self.daemon.listen_failed();
                        reply = Reply { code: 8, text: Some("Failed to listen".into()), json: false };
                    }
                    reply
                };
                let _client_is_gone = answer.send(reply);
            }
            NodeEvent::ListSets { connection, follows, answer } => {
                if let Some(connection) = self.connections.get_mut(&connection) {
                    connection.follows = follows;
                }
                let _client_is_gone = answer.send(self.daemon.directory(now_us));
            }
            NodeEvent::Directory { connection, ticket, sets } => {
                if let Some(producer) = self.producer_of(connection) {
                    self.daemon.listing(&producer, Listing::Whole { ticket, sets }, now_us);
                }
            }
            NodeEvent::News { connection, sets } => {
                if let Some(producer) = self.producer_of(connection) {
                    self.daemon.listing(&producer, Listing::News(sets), now_us);
                }
            }
            NodeEvent::SetDeleted { connection, instance } => {
                if let Some(producer) = self.producer_of(connection) {
                    self.daemon.set_deleted(&producer, &instance);
                }
            }
            NodeEvent::Look { answer } => {
                let overview = Overview { producers: self.daemon.producer_views(), own_sets: self.daemon.own_sets() };
                let _onlooker_is_gone = answer.send(overview);
            }
        }
    }

    fn followers(&self) -> impl Iterator<Item = &Connection> {
        self.connections.values().filter(|connection| connection.follows)
    }

    fn producer_of(&self, connection: u64) -> Option<String> {
        let producer = self.connections.get(&connection)?.producer.clone()?;
        (self.producers.get(&producer) == Some(&connection)).then_some(producer)
    }

    fn advertised(&mut self, connection: u64, address: Ipv4Addr, attributes: &[(Attribute, String)]) -> Reply {
        let get = |wanted| attributes.iter().find(|(key, _)| *key == wanted).map(|(_, value)| value.as_str());
        let host = get(Attribute::Host).unwrap_or_default();
        let port = get(Attribute::Port).and_then(|port| port.parse().ok()).unwrap_or(0);
        let producer = self.daemon.advertised(host, port, address);
        match (producer, self.connections.get_mut(&connection)) {
            (Some(producer), Some(entry)) => {
                entry.producer = Some(producer.clone());
                self.producers.insert(producer, connection);
                Reply { code: 0, text: None, json: false }
            }
            _ => Reply { code: 2, text: Some("No listener wants the producer.".into()), json: false },
        }
    }

    /// Carries out what the daemon does. An error ends the process.
    fn act(&mut self) -> Result<(), ()> {
        for action in self.daemon.take_actions() {
            match action {
                Action::Connect { producer, host, port, auth, advertise } => {
                    self.call(producer, host, port, auth.as_ref(), advertise);
                }
                Action::Disconnect { producer } => {
                    let connection = self.producers.remove(&producer);
                    connection.map(|connection| self.connections.remove(&connection));
                }
                Action::ReadDirectory { producer, ticket } => {
                    let connection = self.producers.get(&producer).and_then(|id| self.connections.get(id));
                    // A connection that has just ended will say so itself.
                    connection.map(|connection| connection.commands.send(PeerCommand::ReadDirectory { ticket }));
                }
                Action::Listen { .. } => {}
                Action::Announce { kind, set } => {
                    for connection in self.followers() {
                        let _just_ended = connection.commands.send(PeerCommand::Announce { kind, set: set.clone() });
                    }
                }
                Action::Withdraw { instance } => {
                    for connection in self.followers() {
                        let instance = instance.clone();
                        let _just_ended = connection.commands.send(PeerCommand::Withdraw { instance });
                    }
                }
                Action::Collected { producer, instance, sampled_us } => {
                    let source = self.daemon.producer_address(&producer);
                    self.journal.collected(&self.config.name, &producer, source, &instance, sampled_us);
                }
                Action::SamplingStarted { instance, interval_us, offset_us } => {
                    self.journal.sampling_started(&self.config.name, &instance, interval_us, offset_us, now_us());
                }
                Action::SamplingStopped { instance } => self.journal.sampling_stopped(&instance, now_us()),
                Action::Exit { reason } => {
                    println!("{} has ended: {reason}", self.config.name);
                    return Err(());
                }
            }
        }
        Ok(())
    }

    fn call(
        &mut self,
        producer: String,
        host: String,
        port: u16,
        auth: Option<&crate::daemon::AuthPlugin>,
        is_advertiser: bool,
    ) {
        let connection = self.environment.next_connection();
        self.producers.insert(producer.clone(), connection);
        let own = self.config.endpoints.first();
        let auth = match auth {
            Some(domain) => auth_method(domain).ok(),
            None => Some(own.map_or(AuthMethod::None, |own| own.auth.clone())),
        };
        let Some(auth) = auth else {
            // An authentication that does not exist or does not work leaves the producer disconnected.
            self.producers.remove(&producer);
            self.daemon.disconnected(&producer);
            return;
        };
        let advertise = is_advertiser.then(|| (self.config.host.clone(), own.map_or(0, |own| own.port)));
        let call = Call { producer, host, port, auth, advertise };
        self.environment.tasks.spawn(self.environment.clone().call(connection, call));
    }

    /// Opens the endpoint of a `listen` command that was just carried out; whether that worked.
    fn listens(&mut self) -> bool {
        let (listen, others): (Vec<Action>, Vec<Action>) =
            self.daemon.take_actions().into_iter().partition(|action| matches!(action, Action::Listen { .. }));
        self.daemon.put_back(others);
        listen.into_iter().all(|action| {
            let Action::Listen { host, port, auth } = action else { return true };
            let own = self.config.endpoints.first();
            let host = host.or_else(|| own.map(|own| own.host.clone())).unwrap_or_else(|| "127.0.0.1".into());
            let auth = match auth {
                Some(domain) => auth_method(&domain).ok(),
                None => own.map(|own| own.auth.clone()),
            };
            auth.is_some_and(|auth| self.environment.listen(&host, port, auth).is_ok())
        })
    }
}

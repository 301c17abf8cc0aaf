//! A running simulation, driven over the wire by the library's client and from outside by its own commands.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command as Program, Output, Stdio};
use std::time::Duration;

use maestro::ldmsd::auth::{Auth, AuthMethod, Credentials};
use maestro::ldmsd::client::{Client, ClientError, ConnectOptions};
use maestro::ldmsd::codec::record::MAX_RECORD_BYTES;
use maestro::ldmsd::codec::transport::Rail;
use maestro::ldmsd::codec::{
    ConnectMessage, Frame, FrameBody, FrameDecoder, LdmsMessage, RecordAssembler, Request, Response,
};
use maestro::ldmsd::status::{ListenerStatus, ProducerStatus};
use maestro::ldmsd::{Attribute, Command, Numbering, Verb};
use serde_json::Value;

use crate::support::munged::Munged;
use crate::support::{FreePort, Process, eventually};

/// For what takes the daemons up to a few seconds: connecting at a full second, lookup, the first update.
const PATIENCE: Duration = Duration::from_secs(20);

/// A simulation of one sampler and one aggregator, in a directory of its own.
pub(crate) struct Simulation {
    dir: tempfile::TempDir,
    _process: Process,
    pub(crate) sampler: FreePort,
    aggregator: FreePort,
}

fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let target = tests.parent().and_then(Path::parent).unwrap();
    target.join("examples/ldmsd_sim")
}

impl Simulation {
    pub(crate) async fn start(version: &str) -> Simulation {
        let (sampler, aggregator) = (FreePort::reserve(), FreePort::reserve());
        let daemons = [format!("sampler={}", sampler.endpoint()), format!("aggregator={}", aggregator.endpoint())];
        Simulation::with(sampler, aggregator, &["--version", version, "--daemon", &daemons[0], "--daemon", &daemons[1]])
            .await
    }

    pub(crate) async fn with(sampler: FreePort, aggregator: FreePort, arguments: &[&str]) -> Simulation {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Program::new(program());
        command.arg("up").arg("--dir").arg(dir.path()).args(arguments).stdout(Stdio::null());
        let process = Process::start(&mut command, "build it with `cargo build --example ldmsd_sim`");
        let ready = dir.path().join("ready");
        eventually("the simulation is ready", PATIENCE, async || ready.exists().then_some(())).await;
        Simulation { dir, _process: process, sampler, aggregator }
    }

    /// Gives the simulation an order.
    fn order(&self, order: &str, arguments: &[&str]) -> Output {
        let mut command = Program::new(program());
        command.arg(order).arg("--dir").arg(self.dir.path()).args(arguments).output().unwrap()
    }

    fn obey(&self, order: &str, arguments: &[&str]) -> String {
        let output = self.order(order, arguments);
        assert!(output.status.success(), "{order} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    async fn sampler(&self) -> Client {
        connect(self.sampler.number()).await.unwrap()
    }

    async fn aggregator(&self) -> Client {
        connect(self.aggregator.number()).await.unwrap()
    }

    /// Samples a set every 200 ms.
    async fn sample(&self) {
        let sampler = self.sampler().await;
        let plugin = || command(Verb::Load, "meminfo");
        let config = Command { verb: Verb::Config, ..plugin() };
        let start = Command { verb: Verb::Start, ..plugin() };
        ask(&sampler, plugin()).await;
        ask(&sampler, config.with(Attribute::String, "producer=s1 instance=s1/meminfo")).await;
        ask(&sampler, start.with(Attribute::Interval, 200_000).with(Attribute::Offset, 0)).await;
    }

    /// Adds and starts the sampler as a producer of the aggregator, under an updater.
    async fn collect(&self) {
        let aggregator = self.aggregator().await;
        ask(&aggregator, self.add_producer("s1")).await;
        ask(&aggregator, command(Verb::PrdcrStart, "s1")).await;
        ask(&aggregator, command(Verb::UpdtrAdd, "u").with(Attribute::Interval, 200_000)).await;
        ask(&aggregator, command(Verb::UpdtrPrdcrAdd, "u").with(Attribute::Regex, ".*")).await;
        ask(&aggregator, command(Verb::UpdtrStart, "u")).await;
    }

    fn add_producer(&self, name: &str) -> Command {
        command(Verb::PrdcrAdd, name)
            .with(Attribute::Type, "active")
            .with(Attribute::Xprt, "sock")
            .with(Attribute::Host, "127.0.0.1")
            .with(Attribute::Port, self.sampler.number())
            .with(Attribute::Reconnect, "300ms")
    }
}

async fn connect(port: u16) -> Result<Client, ClientError> {
    connect_with(port, AuthMethod::None).await
}

async fn connect_with(port: u16, method: AuthMethod) -> Result<Client, ClientError> {
    let auth = Auth { domain: "test".into(), method };
    let mut options = ConnectOptions::new("127.0.0.1", port, auth);
    options.request_timeout = Duration::from_secs(2);
    Client::connect(options).await
}

fn command(verb: Verb, name: &str) -> Command {
    Command::new(verb).with(Attribute::Name, name)
}

/// Sends a command that has to succeed.
async fn ask(client: &Client, command: Command) -> Response {
    let text = command.to_string();
    let response = client.request(command).await.unwrap();
    assert!(response.is_ok(), "{text}: {} {}", response.code, response.text());
    response
}

async fn producer(client: &Client, name: &str) -> ProducerStatus {
    let response = ask(client, command(Verb::PrdcrStatus, name)).await;
    response.json::<Vec<ProducerStatus>>().unwrap().remove(0)
}

/// The state of a producer and of its sets, as words: `CONNECTED READY`.
async fn state(client: &Client, name: &str) -> String {
    let response = ask(client, command(Verb::PrdcrStatus, name)).await;
    let status: Value = response.json().unwrap();
    let sets = status[0]["sets"].as_array().unwrap();
    let states = std::iter::once(&status[0]["state"]).chain(sets.iter().map(|set| &set["state"]));
    states.map(|state| state.as_str().unwrap().replace("UPDATING", "READY")).collect::<Vec<_>>().join(" ")
}

async fn until_state(client: &Client, name: &str, wanted: &str) {
    eventually(&format!("{name} is {wanted}"), PATIENCE, async || (state(client, name).await == wanted).then_some(()))
        .await;
}

/// A client that does nothing of its own accord: it neither authenticates nor sorts answers.
struct BareClient {
    stream: TcpStream,
    frames: FrameDecoder,
}

impl BareClient {
    fn connect(port: u16, auth_plugin: &str) -> BareClient {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let mut client = BareClient { stream, frames: FrameDecoder::new() };
        let hello = ConnectMessage { auth_plugin: auth_plugin.into(), rail: Some(Rail::single(1, rand::random())) };
        client.write(FrameBody::Connect(hello.encode()));
        assert!(matches!(client.frame(), Some(FrameBody::Accepted(_))));
        client.write(FrameBody::AckAccepted);
        client
    }

    fn write(&mut self, body: FrameBody) {
        self.stream.write_all(&Frame::new(1, body).encode()).unwrap();
    }

    fn send(&mut self, request: &Request) {
        for record in request.encode().records(MAX_RECORD_BYTES) {
            self.write(FrameBody::SendRecv(LdmsMessage::Send(record).encode()));
        }
    }

    /// The next frame, unless there is silence.
    fn frame(&mut self) -> Option<FrameBody> {
        let mut bytes = [0; 4096];
        loop {
            if let Some(frame) = self.frames.next_frame().unwrap() {
                return Some(frame.body);
            }
            match self.stream.read(&mut bytes) {
                Ok(length) if length > 0 => self.frames.push(&bytes[..length]),
                _ => return None,
            }
        }
    }

    /// The next answer of one record, unless there is silence.
    fn answer(&mut self) -> Option<Response> {
        loop {
            let FrameBody::SendRecv(payload) = self.frame()? else { continue };
            if let LdmsMessage::Send(record) = LdmsMessage::decode(&payload).unwrap() {
                let message = RecordAssembler::new(MAX_RECORD_BYTES, MAX_RECORD_BYTES).push(&record).unwrap();
                return Some(Response::decode(&message.unwrap()).unwrap());
            }
        }
    }
}

#[tokio::test]
async fn an_aggregator_collects_and_its_gaps_are_known() {
    let simulation = Simulation::start("main").await;
    simulation.sample().await;
    simulation.collect().await;
    until_state(&simulation.aggregator().await, "s1", "CONNECTED READY").await;

    let gaps = |simulation: &Simulation| -> Value {
        serde_json::from_str(&simulation.obey("gaps", &["--margin", "0s", "--since", "5s", "--json"])).unwrap()
    };
    let found = eventually("samples are collected", PATIENCE, async || {
        let found = gaps(&simulation);
        let collected = |gap: &Value| gap["samples"].as_u64().unwrap() - gap["missed"].as_u64().unwrap();
        found.get(0).is_some_and(|gap| collected(gap) > 3).then_some(found)
    })
    .await;
    assert_eq!(found[0]["level"], 1);
    assert_eq!(found[0]["instance"], "s1/meminfo");
    assert_eq!(found[0]["collectors"][0], "aggregator");

    let status = simulation.obey("status", &[]);
    let line = status.lines().find(|line| line.contains("aggregator")).unwrap();
    assert!(line.contains("up") && line.contains("1 of 1") && line.ends_with("s1"), "{status}");

    simulation.obey("kill", &["aggregator"]);
    eventually("samples are missed", PATIENCE, async || {
        let found = gaps(&simulation);
        (found[0]["missed"].as_u64().unwrap() > 3).then_some(())
    })
    .await;
    let status = simulation.obey("status", &[]);
    assert!(status.lines().any(|line| line.contains("aggregator") && line.contains("down")), "{status}");
}

#[tokio::test]
async fn a_killed_daemon_breaks_its_connections_and_comes_back_empty() {
    let simulation = Simulation::start("main").await;
    simulation.sample().await;
    simulation.collect().await;
    let aggregator = simulation.aggregator().await;
    until_state(&aggregator, "s1", "CONNECTED READY").await;
    let sampler = simulation.sampler().await;
    let first_pid = sampler.peer_pid().unwrap();

    simulation.obey("kill", &["sampler"]);
    tokio::time::timeout(Duration::from_secs(1), sampler.closed()).await.expect("the connection is closed at once");
    let refused = connect(simulation.sampler.number()).await.err().unwrap();
    assert!(matches!(refused, ClientError::Connect { .. }), "{refused}");
    until_state(&aggregator, "s1", "DISCONNECTED").await;

    simulation.obey("start", &["sampler"]);
    until_state(&aggregator, "s1", "CONNECTED").await;
    let sampler = simulation.sampler().await;
    assert_ne!(sampler.peer_pid().unwrap(), first_pid);
    assert_eq!(ask(&sampler, Command::new(Verb::PlugnStatus)).await.text(), "[]");
    assert_eq!(ask(&sampler, Command::new(Verb::CfgCntr)).await.config_counter(), Some(0));

    simulation.sample().await;
    until_state(&aggregator, "s1", "CONNECTED READY").await;
}

#[tokio::test]
async fn a_daemon_that_hangs_answers_when_it_goes_on() {
    let simulation = Simulation::start("main").await;
    let sampler = simulation.sampler().await;
    simulation.obey("pause", &["sampler"]);
    let timed_out = connect_with(simulation.sampler.number(), AuthMethod::None);
    // The system still accepts connections for a process that hangs, but nobody greets.
    assert!(tokio::time::timeout(Duration::from_millis(500), timed_out).await.is_err());
    let request = sampler.request(Command::new(Verb::DaemonStatus));
    tokio::pin!(request);
    assert!(tokio::time::timeout(Duration::from_millis(500), &mut request).await.is_err());
    simulation.obey("resume", &["sampler"]);
    assert_eq!(request.await.unwrap().text(), r#"{"state":"ready"}"#);
}

#[tokio::test]
async fn an_aggregator_above_follows_sets_that_appear_and_vanish() {
    let simulation = Simulation::start("4.5").await;
    simulation.collect().await;
    let aggregator = simulation.aggregator().await;
    until_state(&aggregator, "s1", "CONNECTED").await;
    simulation.sample().await;
    until_state(&aggregator, "s1", "CONNECTED READY").await;
    assert_eq!(aggregator.directory(PATIENCE).await.unwrap().len(), 1);

    // Without an updater that looks, the aggregator has to be told.
    ask(&aggregator, command(Verb::UpdtrStop, "u")).await;
    let sampler = simulation.sampler().await;
    ask(&sampler, command(Verb::Stop, "meminfo")).await;
    ask(&sampler, command(Verb::Term, "meminfo")).await;
    until_state(&aggregator, "s1", "CONNECTED").await;
    assert!(aggregator.directory(PATIENCE).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_older_line_has_its_own_numbers_and_greeting() {
    let simulation = Simulation::start("4.4").await;
    let sampler = simulation.sampler().await;
    assert_eq!(sampler.numbering(), Numbering::V44);
    assert_eq!(sampler.peer_pid(), None);
    ask(&sampler, command(Verb::PrdcrListenAdd, "l")).await;
    let listeners = ask(&sampler, Command::new(Verb::PrdcrListenStatus)).await;
    assert_eq!(listeners.json::<Vec<ListenerStatus>>().unwrap()[0].name, "l");
}

#[tokio::test]
async fn a_sampler_that_advertises_itself_waits_in_standby() {
    let simulation = Simulation::start("main").await;
    simulation.sample().await;
    let aggregator = simulation.aggregator().await;
    ask(&aggregator, command(Verb::UpdtrAdd, "u").with(Attribute::Interval, 200_000)).await;
    ask(&aggregator, command(Verb::UpdtrPrdcrAdd, "u").with(Attribute::Regex, ".*")).await;
    ask(&aggregator, command(Verb::UpdtrStart, "u")).await;
    ask(&aggregator, command(Verb::PrdcrListenAdd, "l").with(Attribute::DisableStart, "true")).await;
    ask(&aggregator, command(Verb::PrdcrListenStart, "l")).await;

    let sampler = simulation.sampler().await;
    let advertiser = command(Verb::AdvertiserStart, "adv")
        .with(Attribute::Type, "advertiser")
        .with(Attribute::Xprt, "sock")
        .with(Attribute::Host, "127.0.0.1")
        .with(Attribute::Port, simulation.aggregator.number())
        .with(Attribute::Reconnect, "300ms");
    ask(&sampler, advertiser).await;
    until_state(&sampler, "adv", "CONNECTED").await;
    let name = format!("127.0.0.1:{}", simulation.sampler.number());
    until_state(&aggregator, &name, "STANDBY").await;
    assert_eq!(producer(&aggregator, &name).await.kind, "advertised, passive");

    ask(&aggregator, command(Verb::PrdcrStart, &name)).await;
    until_state(&aggregator, &name, "CONNECTED READY").await;
    ask(&aggregator, command(Verb::PrdcrStop, &name)).await;
    until_state(&aggregator, &name, "STANDBY").await;
}

#[tokio::test]
async fn a_secret_is_asked_for() {
    let (sampler, aggregator) = (FreePort::reserve(), FreePort::reserve());
    let files = tempfile::tempdir().unwrap();
    let secret = |name: &str, word: &str| {
        use std::os::unix::fs::PermissionsExt;
        let path = files.path().join(name);
        std::fs::write(&path, format!("secretword={word}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let (right, wrong) = (secret("right", "correct-horse"), secret("wrong", "battery-staple"));
    let yaml = files.path().join("cluster.yaml");
    let text = CLUSTER_WITH_SECRET
        .replace("SAMPLER", &sampler.number().to_string())
        .replace("AGGREGATOR", &aggregator.number().to_string())
        .replace("SECRET", right.to_str().unwrap());
    std::fs::write(&yaml, text).unwrap();
    let simulation = Simulation::with(sampler, aggregator, &["--ldms_config", yaml.to_str().unwrap()]).await;
    let method = |path: &Path| {
        let options = [("conf".to_owned(), path.to_str().unwrap().to_owned())].into();
        AuthMethod::from_options("ovis", &options).unwrap()
    };

    connect_with(simulation.sampler.number(), method(&wrong)).await.expect_err("the secret is wrong");
    connect_with(simulation.sampler.number(), AuthMethod::None).await.expect_err("there is no secret");
    let mut intruder = BareClient::connect(simulation.sampler.number(), "ovis");
    intruder.send(&Request::from_command(&Command::new(Verb::DaemonStatus), Numbering::V45, 1).unwrap());
    assert_eq!(intruder.answer(), None, "who has not proved to know the secret gets no answer");
    let sampler = connect_with(simulation.sampler.number(), method(&right)).await.unwrap();
    ask(&sampler, Command::new(Verb::DaemonStatus)).await;

    // The aggregator has the wrong secret in a domain of its own, and the right one by default.
    let aggregator = connect_with(simulation.aggregator.number(), method(&right)).await.unwrap();
    let options = format!("conf={}", wrong.display());
    ask(&aggregator, command(Verb::AuthAdd, "wrong").with(Attribute::Plugin, "ovis").with(Attribute::String, options))
        .await;
    ask(&aggregator, simulation.add_producer("s1")).await;
    ask(&aggregator, simulation.add_producer("s2").with(Attribute::Auth, "wrong")).await;
    ask(&aggregator, Command::new(Verb::PrdcrStartRegex).with(Attribute::Regex, ".*")).await;
    until_state(&aggregator, "s1", "CONNECTED").await;
    assert_ne!(state(&aggregator, "s2").await, "CONNECTED");
}

#[tokio::test]
async fn whoever_is_not_root_may_only_look() {
    let (sampler, aggregator) = (FreePort::reserve(), FreePort::reserve());
    let files = tempfile::tempdir().unwrap();
    let yaml = files.path().join("cluster.yaml");
    let text = CLUSTER_WITH_SECRET
        .replace("SAMPLER", &sampler.number().to_string())
        .replace("AGGREGATOR", &aggregator.number().to_string())
        .replace("plugin: ovis, conf: SECRET", "plugin: naive");
    std::fs::write(&yaml, text).unwrap();
    let simulation = Simulation::with(sampler, aggregator, &["--ldms_config", yaml.to_str().unwrap()]).await;
    for (uid, code) in [(1000, 1), (0, 0)] {
        let method = AuthMethod::Naive(Credentials { uid, gid: uid });
        let client = connect_with(simulation.sampler.number(), method).await.unwrap();
        ask(&client, Command::new(Verb::DaemonStatus)).await;
        assert_eq!(client.request(command(Verb::Load, "meminfo")).await.unwrap().code, code, "uid {uid}");
    }
}

#[tokio::test]
async fn munge_vouches_for_daemons_and_clients() {
    let Some(munged) = Munged::start().await else { return };
    let (sampler, aggregator) = (FreePort::reserve(), FreePort::reserve());
    let files = tempfile::tempdir().unwrap();
    let yaml = files.path().join("cluster.yaml");
    let socket = munged.socket().display().to_string();
    let text = CLUSTER_WITH_SECRET
        .replace("SAMPLER", &sampler.number().to_string())
        .replace("AGGREGATOR", &aggregator.number().to_string())
        .replace("plugin: ovis, conf: SECRET", &format!("plugin: munge, socket: {socket}"));
    std::fs::write(&yaml, text).unwrap();
    let simulation = Simulation::with(sampler, aggregator, &["--ldms_config", yaml.to_str().unwrap()]).await;
    connect_with(simulation.sampler.number(), AuthMethod::None).await.expect_err("nobody vouches");
    let method = AuthMethod::from_options("munge", &[("socket".to_owned(), socket)].into()).unwrap();
    let aggregator = connect_with(simulation.aggregator.number(), method).await.unwrap();
    ask(&aggregator, Command::new(Verb::DaemonStatus)).await;
    // What follows is for root alone, whom munged knows.
    if std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(files.path()).unwrap()) == 0 {
        ask(&aggregator, simulation.add_producer("s1")).await;
        ask(&aggregator, Command::new(Verb::PrdcrStartRegex).with(Attribute::Regex, ".*")).await;
        until_state(&aggregator, "s1", "CONNECTED").await;
    }
}

const CLUSTER_WITH_SECRET: &str = "
daemons:
  - names: &samplers sampler
    hosts: 127.0.0.1
    endpoints:
      - names: &sampler-endpoints sampler-ep
        ports: SAMPLER
        maestro_comm: true
        xprt: sock
        auth: { name: secret, plugin: ovis, conf: SECRET }
  - names: &aggregators aggregator
    hosts: 127.0.0.1
    endpoints:
      - names: aggregator-ep
        ports: AGGREGATOR
        maestro_comm: true
        xprt: sock
        auth: { name: secret, plugin: ovis, conf: SECRET }
aggregators:
  - daemons: *aggregators
    peers:
      - endpoints: *sampler-endpoints
        reconnect: 300ms
        type: active
        updaters:
          - { mode: pull, interval: 1s, sets: [ { regex: .*, field: inst } ] }
samplers:
  - daemons: *samplers
    plugins:
      - { name: meminfo, interval: 1s, config: [ { schema: meminfo } ] }
";

#[tokio::test]
async fn faults_show_in_the_answers() {
    let simulation = Simulation::start("main").await;
    let fault = |arguments: &[&str]| simulation.obey("fault", &[&["sampler"], arguments].concat());
    let greet = |name: &str| command(Verb::Greeting, name);
    let client = simulation.sampler().await;

    fault(&["--verb", "greeting", "refuse", "16"]);
    assert_eq!(client.request(greet("a")).await.unwrap().code, 16);
    ask(&client, Command::new(Verb::DaemonStatus)).await;
    fault(&["off"]);

    fault(&["--verb", "greeting", "bad-request"]);
    let bad = client.request(greet("a")).await.unwrap();
    assert!(bad.code == 0 && !bad.is_ok());
    fault(&["off"]);

    fault(&["records", "30"]);
    assert_eq!(ask(&client, greet("somebody with a long name")).await.text(), "Hello 'somebody with a long name'");
    fault(&["off"]);

    for noise in [&["quota"][..], &["request"], &["set-delete", "nothing"]] {
        fault(noise);
        assert_eq!(ask(&client, greet("a")).await.text(), "Hello 'a'");
    }
    fault(&["off"]);

    fault(&["--verb", "greeting", "swap"]);
    let mut bare = BareClient::connect(simulation.sampler.number(), "none");
    bare.send(&Request::from_command(&greet("a"), Numbering::V45, 1).unwrap());
    bare.send(&Request::from_command(&greet("b"), Numbering::V45, 2).unwrap());
    assert_eq!([bare.answer().unwrap().msg_no, bare.answer().unwrap().msg_no], [2, 1]);
    let answers = client.request_all(vec![greet("a"), greet("b")], PATIENCE).await.unwrap();
    assert_eq!(answers.iter().map(|answer| answer.text().into_owned()).collect::<Vec<_>>(), ["Hello 'a'", "Hello 'b'"]);
    fault(&["off"]);

    ask(&client, command(Verb::PrdcrListenAdd, "l").with(Attribute::Regex, "x")).await;
    fault(&["garble"]);
    let garbled = ask(&client, Command::new(Verb::PrdcrListenStatus)).await;
    assert!(serde_json::from_str::<Value>(&garbled.text()).is_err());
    assert_eq!(garbled.json::<Vec<ListenerStatus>>().unwrap().len(), 1);
    fault(&["off"]);

    simulation.sample().await;
    ask(&client, command(Verb::Load, "vmstat")).await;
    let config = command(Verb::Config, "vmstat").with(Attribute::String, "producer=s1 instance=s1/vmstat");
    ask(&client, config).await;
    fault(&["split-directory", "1"]);
    assert_eq!(client.directory(PATIENCE).await.unwrap().len(), 2);
    fault(&["off"]);

    fault(&["--verb", "greeting", "cut"]);
    client.request(greet("a")).await.expect_err("the connection is cut");
    let client = simulation.sampler().await;
    fault(&["off"]);
    fault(&["--verb", "greeting", "silent"]);
    let unanswered = client.request(greet("a")).await.err().unwrap();
    assert!(matches!(unanswered, ClientError::Timeout { .. }), "{unanswered}");
}

#[tokio::test]
async fn orders_that_make_no_sense_are_refused() {
    let simulation = Simulation::start("main").await;
    let refused = |order: &str, arguments: &[&str]| {
        let output = simulation.order(order, arguments);
        assert!(!output.status.success(), "{order} {arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused("kill", &["nobody"]).contains("there is no daemon nobody"));
    assert!(refused("start", &["sampler"]).contains("runs already"));
    assert!(refused("fault", &["sampler", "--verb", "fly", "silent"]).contains("there is no verb fly"));
    assert!(refused("gaps", &["--since", "yesterday"]).contains("no time"));
    simulation.obey("down", &[]);
    assert!(std::net::TcpStream::connect(simulation.aggregator.endpoint()).is_err(), "nobody listens any longer");
    assert!(refused("status", &[]).contains("no simulation runs"));
}

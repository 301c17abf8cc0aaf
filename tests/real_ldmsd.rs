//! The client against a real ldmsd, of whatever line; skipped unless `MAESTRO_TEST_LDMSD` names one:
//!
//! ```text
//! MAESTRO_TEST_LDMSD=/opt/ovis/sbin/ldmsd cargo test --test real_ldmsd -- --nocapture
//! ```

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on shall fail")]

mod support;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use maestro::ldmsd::auth::{Auth, AuthMethod};
use maestro::ldmsd::status::{
    CollectedSet, DaemonStatus, DaemonVersion, ListenerStatus, PluginSets, PluginStatus, ProducerCounts, ProducerState,
    ProducerStatus, SetState, StoragePolicyState, StoragePolicyStatus, UpdaterMatches, UpdaterState, UpdaterStatus,
};
use maestro::ldmsd::{Attribute, Client, ClientError, Command, ConnectOptions, Numbering, Response, Verb};
use serde::de::DeserializeOwned;
use support::eventually;
use support::munged::Munged;
use support::real_ldmsd::{RealDaemon, program};

const PATIENCE: Duration = Duration::from_secs(30);

fn command(line: &str) -> Command {
    Command::from_words(line.split(' ')).unwrap()
}

fn method(plugin: &str, options: &[(&str, &str)]) -> AuthMethod {
    let options: BTreeMap<String, String> =
        options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    AuthMethod::from_options(plugin, &options).unwrap()
}

async fn connect(daemon: &RealDaemon, method: AuthMethod) -> Result<Client, ClientError> {
    let auth = Auth { domain: "test".into(), method };
    let mut options = ConnectOptions::new("127.0.0.1", daemon.port(), auth);
    options.connect_timeout = PATIENCE;
    options.request_timeout = PATIENCE;
    Client::connect(options).await
}

/// Connects as soon as the daemon listens and says that it is ready.
async fn connected(daemon: &RealDaemon, method: AuthMethod) -> Client {
    eventually("the daemon is ready", PATIENCE, async || {
        let client = connect(daemon, method.clone()).await.ok()?;
        let status: DaemonStatus = client.request(command("daemon_status")).await.ok()?.json().ok()?;
        status.is_ready().then_some(client)
    })
    .await
}

/// A daemon without authentication, with a client.
async fn open_daemon() -> Option<(RealDaemon, Client)> {
    let daemon = RealDaemon::start(&program()?, &["-a", "none"]);
    let client = connected(&daemon, AuthMethod::None).await;
    Some((daemon, client))
}

async fn answer(client: &Client, line: &str) -> Response {
    client.request(command(line)).await.unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// Sends a command that has to be answered with this code.
async fn expect(client: &Client, code: i32, line: &str) {
    let answer = answer(client, line).await;
    assert_eq!(answer.code, code, "{line}: {}", answer.text());
}

async fn read<T: DeserializeOwned>(client: &Client, line: &str) -> T {
    let answer = answer(client, line).await;
    assert!(answer.is_ok(), "{line}: {} {}", answer.code, answer.text());
    answer.json().unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn secret(dir: &Path, name: &str, word: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, format!("# of the test\nsecretword={word}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

#[tokio::test]
async fn the_line_is_recognised_when_connecting() {
    let Some((mut daemon, client)) = open_daemon().await else { return };
    let version = answer(&client, "version").await;
    let version = DaemonVersion::parse(&version.text()).ldmsd.expect("a version");
    eprintln!("tested against ldmsd {version}, numbering {:?}, process {:?}", client.numbering(), client.peer_pid());
    // The 4.4 line tells the version of its plugin interface, and no process id.
    let is_old = version.starts_with("3.");
    assert_eq!(client.numbering() == Numbering::V44, is_old);
    assert_eq!(client.peer_pid().is_none(), is_old);
    assert!(daemon.is_running());
}

#[tokio::test]
async fn naive_is_believed() {
    let Some(program) = program() else { return };
    let daemon = RealDaemon::start(&program, &["-a", "naive", "-A", "uid=0", "-A", "gid=0"]);
    let root = connected(&daemon, method("naive", &[("uid", "0"), ("gid", "0")])).await;
    expect(&root, 0, "load name=meminfo").await;
    // Without ids one is 65534, as the daemon itself is whatever its options say; and its own user it obeys.
    expect(&connected(&daemon, method("naive", &[])).await, 0, "load name=vmstat").await;
    let stranger = connected(&daemon, method("naive", &[("uid", "65533"), ("gid", "65533")])).await;
    expect(&stranger, 0, "plugn_status").await;
    expect(&stranger, 1, "term name=vmstat").await;
    let error = connect(&daemon, AuthMethod::None).await.unwrap_err().to_string();
    assert!(error.contains("Auth mismatch"), "{error}");
}

#[tokio::test]
async fn ovis_takes_the_right_secret() {
    let Some(program) = program() else { return };
    let dir = tempfile::tempdir().unwrap();
    let right = secret(dir.path(), "right", "correct-horse-battery");
    let wrong = secret(dir.path(), "wrong", "battery-staple-correct");
    let daemon = RealDaemon::start(&program, &["-a", "ovis", "-A", &format!("conf={}", right.display())]);
    let with = |path: &Path| method("ovis", &[("conf", path.to_str().unwrap())]);
    let client = connected(&daemon, with(&right)).await;
    expect(&client, 0, "load name=meminfo").await;
    let error = connect(&daemon, with(&wrong)).await.unwrap_err().to_string();
    assert!(error.contains("secret"), "{error}");
    assert!(!error.contains("battery"), "{error}");
    expect(&client, 0, "daemon_status").await;
}

#[tokio::test]
async fn munge_vouches_for_both() {
    let Some(program) = program() else { return };
    let (Some(munged), Some(other)) = (Munged::start().await, Munged::start().await) else { return };
    let (socket, other) = (munged.socket().display().to_string(), other.socket().display().to_string());
    let mut daemon = RealDaemon::start(&program, &["-a", "munge", "-A", &format!("socket={socket}")]);
    let client = connected(&daemon, method("munge", &[("socket", &socket)])).await;
    // The daemon's own user is privileged.
    expect(&client, 0, "load name=meminfo").await;
    let error = connect(&daemon, method("munge", &[("socket", &other)])).await.unwrap_err().to_string();
    assert!(error.contains("munge"), "{error}");
    expect(&client, 0, "daemon_status").await;
    assert!(daemon.is_running());
}

/// Every command that maestro sends, in an order in which it might, with its answers read.
#[tokio::test]
async fn every_command_of_maestro_does_what_it_should() {
    let Some((mut sampler, to_sampler)) = open_daemon().await else { return };
    let Some((mut aggregator, to_aggregator)) = open_daemon().await else { return };
    let is_old = to_sampler.numbering() == Numbering::V44;

    for client in [&to_sampler, &to_aggregator] {
        if !is_old {
            expect(client, 0, "stream_enable").await;
            expect(client, 0, "msg_enable").await;
        }
        expect(client, 0, "env SITE=here RACK=r1").await;
    }
    samples(&to_sampler).await;
    collects(&to_aggregator, sampler.port()).await;
    listens(&sampler, &to_sampler, &aggregator, &to_aggregator).await;
    stores(&aggregator, &to_aggregator, is_old).await;
    takes_everything_away(&to_aggregator).await;
    stops_sampling(&to_sampler).await;

    for (daemon, client) in [(&mut sampler, to_sampler), (&mut aggregator, to_aggregator)] {
        let counter = answer(&client, "cfg_cntr").await.config_counter();
        assert!(counter.is_some_and(|count| count > 5), "{counter:?}");
        assert!(daemon.is_running(), "{}", daemon.log());
    }
}

async fn samples(client: &Client) {
    expect(client, 0, "load name=meminfo plugin=meminfo").await;
    expect(client, 17, "load name=meminfo plugin=meminfo").await;
    expect(client, 0, "config name=meminfo producer=n1 instance=n1/meminfo schema=meminfo perm=0600").await;
    expect(client, 0, "start name=meminfo interval=200000 offset=0").await;
    expect(client, 16, "start name=meminfo interval=200000 offset=0").await;
    let plugins: Vec<PluginStatus> = read(client, "plugn_status").await;
    assert_eq!(plugins.iter().map(|plugin| plugin.name.as_str()).collect::<Vec<_>>(), ["meminfo"]);
    let sets: Vec<PluginSets> = read(client, "plugn_sets").await;
    assert_eq!(sets[0].sets, ["n1/meminfo"]);
    let directory = client.directory(PATIENCE).await.unwrap();
    assert_eq!(directory.len(), 1);
    let hint = directory[0].update_hint.expect("starting writes the hint");
    assert_eq!((hint.interval_us, hint.offset_us), (200_000, Some(0)));
}

async fn collects(client: &Client, port: u16) {
    let add = format!("prdcr_add name=n1 type=active xprt=sock host=127.0.0.1 port={port} reconnect=500000");
    expect(client, 0, &add).await;
    expect(client, 17, &add).await;
    expect(client, 0, "prdcr_subscribe regex=^n1$ stream=slurm").await;
    expect(client, 0, "prdcr_start_regex regex=^n1$").await;
    for line in [
        "updtr_add name=updtr_0 interval=200000 offset=50000",
        "updtr_prdcr_add name=updtr_0 regex=.*",
        "updtr_match_add name=updtr_0 regex=^n\\d?1/mem match=inst",
        "updtr_prdcr_del name=updtr_0 regex=^nobody$",
        "updtr_match_del name=updtr_0 regex=^n\\d?1/mem match=inst",
        "updtr_match_add name=updtr_0 regex=^n1/ match=inst",
        "updtr_start name=updtr_0",
    ] {
        expect(client, 0, line).await;
    }
    expect(client, 16, "updtr_start name=updtr_0").await;
    eventually("the set is collected", PATIENCE, async || {
        let producers: Vec<ProducerStatus> = read(client, "prdcr_status name=n1").await;
        let ready = producers[0].sets.iter().any(|set| set.state == SetState::Ready);
        (producers[0].state == ProducerState::Connected && ready).then_some(())
    })
    .await;
    let counts: ProducerCounts = read(client, "prdcr_stats").await;
    assert_eq!((counts.producers, counts.connected), (1, 1), "{counts:?}");
    eventually("a sample arrives", PATIENCE, async || {
        let sets: Vec<CollectedSet> = read(client, "prdcr_set_status").await;
        sets.iter().any(|set| set.instance == "n1/meminfo" && set.timestamp_us.is_some_and(|us| us > 0)).then_some(())
    })
    .await;
    let updaters: Vec<UpdaterStatus> = read(client, "updtr_status").await;
    assert_eq!((updaters.len(), &updaters[0].state), (1, &UpdaterState::Running));
    let matches: Vec<UpdaterMatches> = read(client, "updtr_match_list").await;
    assert_eq!(matches[0].matches.iter().map(|entry| entry.regex.as_str()).collect::<Vec<_>>(), ["^n1/"]);
}

async fn listens(sampler: &RealDaemon, to_sampler: &Client, aggregator: &RealDaemon, to_aggregator: &Client) {
    expect(to_aggregator, 0, "prdcr_listen_add name=computes regex=.* disable_start=true").await;
    expect(to_aggregator, 0, "prdcr_listen_start name=computes").await;
    let advertise = "host=127.0.0.1 xprt=sock reconnect=200000";
    expect(to_sampler, 0, &format!("advertiser_add name=a {advertise} port={}", aggregator.port())).await;
    expect(to_sampler, 0, "advertiser_start name=a").await;
    let advertised = eventually("the sampler advertises itself", PATIENCE, async || {
        let listeners: Vec<ListenerStatus> = read(to_aggregator, "prdcr_listen_status").await;
        listeners[0].producers.first().cloned()
    })
    .await;
    assert!(advertised.ends_with(&format!(":{}", sampler.port())), "{advertised}");
    let producers: Vec<ProducerStatus> = read(to_aggregator, &format!("prdcr_status name={advertised}")).await;
    assert_eq!(producers[0].state, ProducerState::Standby);
    let domain = "auth_add name=second plugin=naive uid=0 gid=0";
    expect(to_aggregator, 0, domain).await;
    expect(to_aggregator, 17, domain).await;
    let further = support::FreePort::reserve();
    expect(to_aggregator, 0, &format!("listen xprt=sock port={} auth=second", further.number())).await;
    let auth = Auth { domain: "second".into(), method: method("naive", &[("uid", "0"), ("gid", "0")]) };
    let second = Client::connect(ConnectOptions::new("127.0.0.1", further.number(), auth)).await.unwrap();
    expect(&second, 0, "daemon_status").await;
    expect(to_sampler, 0, "advertiser_stop name=a").await;
    expect(to_aggregator, 0, "prdcr_listen_stop name=computes").await;
}

async fn stores(aggregator: &RealDaemon, client: &Client, is_old: bool) {
    let path = aggregator.dir().join("csv");
    expect(client, 0, "load name=store_csv plugin=store_csv").await;
    expect(client, 0, &format!("config name=store_csv path={} buffer=0", path.display())).await;
    // Its line of development is told by a command that only the development head knows.
    client.survey().await.unwrap();
    for line in [
        "strgp_add name=mem plugin=store_csv container=memory schema=meminfo flush=1000000 perm=0600",
        "strgp_prdcr_add name=mem regex=.*",
        "strgp_start name=mem",
    ] {
        expect(client, 0, line).await;
    }
    let policies: Vec<StoragePolicyStatus> = read(client, "strgp_status").await;
    assert_eq!((policies[0].name.as_str(), &policies[0].state), ("mem", &StoragePolicyState::Running));
    assert_eq!(policies[0].producers, [".*"]);
    let again = client.request(command("strgp_add name=mem plugin=store_csv container=memory schema=meminfo")).await;
    assert!(matches!(again, Err(ClientError::Hazard(_))), "{again:?}");
    eventually("something is stored", PATIENCE, async || {
        let stored = std::fs::read_dir(path.join("memory")).ok()?.filter_map(Result::ok);
        stored.filter_map(|entry| entry.metadata().ok()).any(|file| file.len() > 200).then_some(())
    })
    .await;
    // Stopped and made anew in one go. Where data has been stored a policy may stay in use for a moment.
    expect(client, 0, "strgp_stop name=mem").await;
    expect(client, 16, "strgp_stop name=mem").await;
    eventually("the policy can be deleted", PATIENCE, async || {
        (answer(client, "strgp_del name=mem").await.code == 0).then_some(())
    })
    .await;
    expect(client, 0, "strgp_add name=mem plugin=store_csv container=memory schema=meminfo").await;
    expect(client, 0, "strgp_del name=mem").await;
    // An idle store can be unloaded.
    let term = answer(client, "term name=store_csv").await;
    assert!(term.is_ok(), "4.4: {is_old}: {} {}", term.code, term.text());
}

async fn takes_everything_away(client: &Client) {
    expect(client, 0, "updtr_stop name=updtr_0").await;
    expect(client, 0, "updtr_stop name=updtr_0").await;
    expect(client, 0, "updtr_del name=updtr_0").await;
    expect(client, 0, "prdcr_stop name=n1").await;
    eventually("the producer has stopped", PATIENCE, async || {
        let producers: Vec<ProducerStatus> = read(client, "prdcr_status name=n1").await;
        (producers[0].state == ProducerState::Stopped).then_some(())
    })
    .await;
    // Started by regular expression only, so that it can be deleted on every line.
    eventually("the producer can be deleted", PATIENCE, async || {
        (answer(client, "prdcr_del name=n1").await.code == 0).then_some(())
    })
    .await;
    expect(client, 2, "prdcr_status name=n1").await;
    expect(client, 2, "prdcr_start name=n1").await;
}

async fn stops_sampling(client: &Client) {
    expect(client, 0, "stop name=meminfo").await;
    expect(client, 22, "stop name=meminfo").await;
    expect(client, 0, "term name=meminfo").await;
    let plugins: Vec<PluginStatus> = read(client, "plugn_status").await;
    assert_eq!(plugins, []);
}

#[tokio::test]
async fn ten_thousand_producers_are_added_and_told() {
    const COUNT: usize = 10_000;
    let Some((mut daemon, client)) = open_daemon().await else { return };
    let add = |number: usize| {
        command(&format!("prdcr_add name=n{number:05} type=active xprt=sock host=127.0.0.1 port=1 reconnect=20000000"))
    };
    let began = Instant::now();
    let added = client.request_all((0..COUNT).map(add).collect(), PATIENCE).await.unwrap();
    let adding = began.elapsed();
    assert!(added.iter().all(Response::is_ok));
    let began = Instant::now();
    let status = answer(&client, "prdcr_status").await;
    let producers: Vec<ProducerStatus> = status.json().unwrap();
    let telling = began.elapsed();
    assert_eq!(producers.len(), COUNT);
    // The daemon keeps them by name.
    assert!(producers.iter().enumerate().all(|(number, producer)| producer.name == format!("n{number:05}")));
    let bytes = status.text().len();
    assert!(bytes > maestro::ldmsd::codec::record::MAX_RECORD_BYTES, "{bytes} bytes fit one record");
    let counts: ProducerCounts = read(&client, "prdcr_stats").await;
    assert_eq!((counts.producers, counts.stopped), (10_000, 10_000), "{counts:?}");
    eprintln!("{COUNT} producers added in {adding:.1?}; their status of {bytes} bytes asked and read in {telling:.1?}");
    assert!(daemon.is_running());
}

/// A directory that takes several messages. Only lines that know instances of a plugin can be made to have one.
#[tokio::test]
async fn a_directory_of_several_messages_is_read_whole() {
    const COUNT: usize = 5_000;
    let Some((mut daemon, client)) = open_daemon().await else { return };
    if client.numbering() == Numbering::V44 {
        eprintln!("skipped: a 4.4 daemon has one instance a plugin");
        return;
    }
    let instance = |number: usize| {
        let load = format!("load name=m{number} plugin=meminfo");
        let config = format!("config name=m{number} producer=n{number} instance=n{number}/meminfo");
        [command(&load), command(&config)]
    };
    let answers = client.request_all((0..COUNT).flat_map(instance).collect(), PATIENCE).await.unwrap();
    let refused = answers.iter().find(|answer| !answer.is_ok());
    assert!(refused.is_none(), "{refused:?}");
    let sets = client.directory(PATIENCE).await.unwrap();
    assert_eq!(sets.len(), COUNT);
    let mut names: Vec<&str> = sets.iter().map(|set| set.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), COUNT);
    assert!(daemon.is_running());
}

/// Requests longer than a record, and answers to what a daemon does not know or accept.
#[tokio::test]
async fn long_requests_and_refusals_are_answered() {
    let Some((mut daemon, client)) = open_daemon().await else { return };
    let long = "x".repeat(3 << 20);
    let greeting = Command::new(Verb::Greeting).with(Attribute::Name, &long);
    let echo = client.request(greeting).await.unwrap();
    // It greets back with as much as it has room for.
    assert!(echo.is_ok() && echo.text().starts_with("Hello 'xxx"), "{} {}", echo.code, echo.text());
    expect(&client, 2, "prdcr_start name=nobody").await;
    expect(&client, 22, "prdcr_add name=incomplete").await;
    let negative = "prdcr_add name=p type=active xprt=sock host=127.0.0.1 port=1 reconnect=1s";
    expect(&client, 0, negative).await;
    expect(&client, -22, "prdcr_start name=p reconnect=-1s").await;
    assert!(!answer(&client, "prdcr_start_regex regex=(").await.is_ok());
    assert!(daemon.is_running());
}

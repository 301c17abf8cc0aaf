//! A site: a simulated cluster in a loopback network of its own, and the programs that are run for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use maestro::ldmsd::auth::{Auth, AuthMethod};
use maestro::ldmsd::client::{Client, ClientError, ConnectOptions};
use maestro::ldmsd::{self, Attribute, Verb};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use crate::support::etcd::Etcd;
use crate::support::{LoopbackNetwork, Process, eventually};

/// Long enough for any step on a busy machine; a step that takes it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// All daemons of the cluster.
pub(crate) const DAEMONS: [&str; 12] = [
    "sampler-1",
    "sampler-2",
    "sampler-3",
    "sampler-4",
    "sampler-5",
    "sampler-6",
    "sampler-7",
    "sampler-8",
    "agg-1",
    "agg-2",
    "agg-3",
    "top",
];

/// A directory with the configuration of a cluster, whose simulated daemons run.
pub(crate) struct Site {
    network: LoopbackNetwork,
    directory: TempDir,
    simulation: Option<Process>,
}

/// What the simulation says of a daemon.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Report {
    name: String,
    /// The producers that it knows.
    pub(crate) producers: usize,
    /// Those that it collects from.
    pub(crate) collects: Vec<String>,
    /// The metric sets that it has of them.
    pub(crate) ready_sets: usize,
    /// The metric sets that it samples.
    pub(crate) own_sets: usize,
    /// The samples that it has collected since the simulation began.
    pub(crate) samples: u64,
}

/// What the simulation says became of the samples of a metric set on one level of aggregators.
#[derive(Debug, Deserialize)]
struct SetGaps {
    sampler: String,
    level: usize,
    samples: usize,
    missed: usize,
    collectors: Vec<String>,
}

/// What became of the samples of one sampler.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    pub(crate) samples: usize,
    /// How many nobody collected.
    pub(crate) missed: usize,
    pub(crate) collectors: BTreeSet<String>,
}

impl Site {
    /// The cluster with all daemons up and without configuration.
    pub(crate) async fn start() -> Site {
        Site::imitating("main").await
    }

    /// The cluster with daemons that imitate a line of development.
    pub(crate) async fn imitating(version: &str) -> Site {
        let mut site = Site::without_daemons();
        site.simulate("cluster.yaml", version).await;
        site
    }

    /// The directory alone, with `cluster.yaml`.
    pub(crate) fn without_daemons() -> Site {
        let site =
            Site { network: LoopbackNetwork::reserve(), directory: tempfile::tempdir().unwrap(), simulation: None };
        site.write("cluster.yaml", &[]);
        site
    }

    /// Starts the daemons of one of the site's files.
    pub(crate) async fn simulate(&mut self, file: &str, version: &str) {
        let mut command = self.command(simulator());
        command.args(["up", "--dir", "sim", "--version", version, "--ldms_config", file]);
        command.stdout(Stdio::null());
        self.simulation = Some(Process::start(&mut command, "build it with `cargo build --example ldmsd_sim`"));
        let ready = self.path("sim/ready");
        eventually("the simulation is ready", PATIENCE, async || ready.exists().then_some(())).await;
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    /// The YAML of the cluster with some texts replaced.
    pub(crate) fn yaml(&self, replacements: &[(&str, &str)]) -> String {
        let mut text = include_str!("../fixtures/programs/cluster.yaml").to_owned();
        for (old, new) in replacements {
            assert!(text.contains(old), "there is no {old:?} to replace");
            text = text.replace(old, new);
        }
        text.replace("NETWORK", &self.network.prefix())
    }

    /// Writes the YAML of the cluster with some texts replaced, in one step as editors do.
    pub(crate) fn write(&self, file: &str, replacements: &[(&str, &str)]) {
        self.write_text(file, &self.yaml(replacements));
    }

    pub(crate) fn write_text(&self, file: &str, text: &str) {
        let new = self.path(&format!("{file}.new"));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.path(file)).unwrap();
    }

    /// Starts an etcd and writes `etcd.yaml` for it.
    pub(crate) async fn start_etcd(&self) -> Etcd {
        let etcd = Etcd::start().await;
        let endpoint = etcd.endpoint();
        let (host, port) = endpoint.split_once(':').unwrap();
        self.write_text("etcd.yaml", &format!("cluster: test\nmembers:\n  - {{ host: {host}, port: {port} }}\n"));
        etcd
    }

    /// A program to be run in the directory of the site.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(self.directory.path());
        command
    }

    /// Runs `maestro_ctrl` to its end.
    pub(crate) fn maestro_ctrl(&self, arguments: &[&str]) -> Finished {
        self.command(env!("CARGO_BIN_EXE_maestro_ctrl")).args(arguments).output().unwrap().into()
    }

    /// Loads one of the site's files into etcd.
    pub(crate) fn load(&self, file: &str) {
        let loaded = self.maestro_ctrl(&["--cluster", "etcd.yaml", "--ldms_config", file]);
        assert_eq!(loaded.code, Some(0), "{}", loaded.stderr);
    }

    /// Runs `maestro` with arguments that make it end by itself.
    pub(crate) async fn maestro_that_ends(&self, arguments: &[&str]) -> Finished {
        let mut maestro = self.maestro(arguments);
        let code = maestro.process.exit_code_within(PATIENCE).await;
        Finished { code, stdout: String::new(), stderr: maestro.log() }
    }

    /// Starts `maestro`, with a quick hand.
    pub(crate) fn maestro(&self, arguments: &[&str]) -> Maestro {
        // Each has a log of its own, also when the former one has ended.
        let log = (1..).map(|n| self.path(&format!("maestro-{n}.log"))).find(|path| !path.exists()).unwrap();
        let file = File::create(&log).unwrap();
        let mut command = self.command(env!("CARGO_BIN_EXE_maestro"));
        command.args(["--probe-interval", "100ms", "--return-delay", "500ms"]);
        command.args(arguments).stdout(file.try_clone().unwrap()).stderr(file);
        Maestro { process: Process::start(&mut command, "cargo builds it for this test"), log }
    }

    /// Gives the simulation an order.
    pub(crate) fn order(&self, order: &str, arguments: &[&str]) -> String {
        let output = self.command(simulator()).args([order, "--dir", "sim"]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{order} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What the daemons do.
    pub(crate) fn reports(&self) -> BTreeMap<String, Report> {
        let reports: Vec<Report> = serde_json::from_str(&self.order("status", &["--json"])).unwrap();
        reports.into_iter().map(|report| (report.name.clone(), report)).collect()
    }

    /// What became of the samples of each sampler that were taken since then, on the first level of aggregators. The
    /// youngest do not count: they are on their way.
    pub(crate) fn fates_since(&self, since: SystemTime) -> BTreeMap<String, Fate> {
        let since_s = since.duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let gaps = self.order("gaps", &["--since", &since_s.to_string(), "--margin", "1s", "--json"]);
        let gaps: Vec<SetGaps> = serde_json::from_str(&gaps).unwrap();
        let mut fates: BTreeMap<String, Fate> = BTreeMap::new();
        for set in gaps.into_iter().filter(|set| set.level == 1) {
            let fate = fates.entry(set.sampler).or_default();
            fate.samples += set.samples;
            fate.missed += set.missed;
            fate.collectors.extend(set.collectors);
        }
        fates
    }

    /// Waits until the reports are as wanted.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&BTreeMap<String, Report>) -> bool) {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let reports = self.reports();
            if wanted(&reports) {
                return;
            }
            assert!(Instant::now() < give_up, "not within {PATIENCE:?}: {what}; but {reports:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until each aggregator collects the given samplers, by their numbers, and the second level has all their sets.
    pub(crate) async fn until_placed(&self, wanted: [&[usize]; 3]) {
        let sets: usize = wanted.iter().map(|samplers| 2 * samplers.len()).sum();
        self.until(&format!("the samplers are collected as {wanted:?}"), |reports| {
            let collects = |aggregator: usize| &reports[&format!("agg-{aggregator}")].collects;
            let names = |samplers: &[usize]| samplers.iter().map(|n| format!("sampler-{n}-ep")).collect::<Vec<_>>();
            (1..).zip(wanted).all(|(aggregator, samplers)| *collects(aggregator) == names(samplers))
                && reports["top"].ready_sets == sets
        })
        .await;
    }

    /// Waits until each aggregator collects its own block.
    pub(crate) async fn until_home(&self) {
        self.until_placed([&[1, 2, 3], &[4, 5, 6], &[7, 8]]).await;
    }

    /// Waits until the second level has collected so many samples more.
    pub(crate) async fn until_samples(&self, more: u64) {
        let enough = self.reports()["top"].samples + more;
        self.until(&format!("{more} samples have come"), |reports| reports["top"].samples >= enough).await;
    }

    /// A connection to a daemon, next to those of maestro.
    async fn client(&self, daemon: &str) -> Client {
        self.connect(daemon).await.unwrap()
    }

    async fn connect(&self, daemon: &str) -> Result<Client, ClientError> {
        let address = self.address(daemon);
        let auth = Auth { domain: "test".into(), method: AuthMethod::None };
        Client::connect(ConnectOptions::new(address.ip().to_string(), address.port(), auth)).await
    }

    /// Where a daemon listens.
    pub(crate) fn address(&self, daemon: &str) -> SocketAddrV4 {
        let (host, port) = match daemon.split_once('-') {
            Some(("sampler", number)) => (number.parse().unwrap(), 10001),
            Some(("agg", number)) => (20 + number.parse::<u8>().unwrap(), 10101),
            _ => (31, 10201),
        };
        SocketAddrV4::new(self.network.address(host).parse().unwrap(), port)
    }

    /// The answer of a daemon to a question.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, daemon: &str, verb: Verb) -> T {
        let answer = self.client(daemon).await.request(ldmsd::Command::new(verb)).await.unwrap();
        assert!(answer.is_ok(), "{daemon}: {verb:?} {} {}", answer.code, answer.text());
        answer.json().unwrap()
    }

    /// How often each daemon that is up has been changed, with its process: it is what it was as long as this is equal.
    pub(crate) async fn change_counters(&self) -> BTreeMap<&'static str, (Option<u32>, Option<u64>)> {
        let mut counters = BTreeMap::new();
        for daemon in DAEMONS {
            let Ok(client) = self.connect(daemon).await else { continue };
            let answer = client.request(ldmsd::Command::new(Verb::CfgCntr)).await.unwrap();
            counters.insert(daemon, (client.peer_pid(), answer.config_counter()));
        }
        counters
    }

    /// Waits until all samplers sample a schema in an interval, by the hints that the metric sets carry.
    pub(crate) async fn until_sampled_every(&self, schema: &str, interval_us: u64) {
        eventually(&format!("{schema} is sampled every {interval_us} us"), PATIENCE, async || {
            for sampler in &DAEMONS[..8] {
                let directory = self.client(sampler).await.directory(PATIENCE).await.unwrap();
                let set = directory.iter().find(|set| set.schema == schema)?;
                set.update_hint.filter(|hint| hint.interval_us == interval_us)?;
            }
            Some(())
        })
        .await;
    }

    /// Stops a producer of a daemon behind maestro's back.
    pub(crate) async fn stop_producer(&self, daemon: &str, producer: &str) {
        let command = ldmsd::Command::new(Verb::PrdcrStop).with(Attribute::Name, producer);
        let answer = self.client(daemon).await.request(command).await.unwrap();
        assert!(answer.is_ok(), "{daemon}: {}", answer.text());
    }
}

fn simulator() -> PathBuf {
    // Examples are next to the tests: target/debug/deps/programs-…, target/debug/examples/ldmsd_sim.
    let tests = std::env::current_exe().unwrap();
    tests.parent().and_then(Path::parent).unwrap().join("examples/ldmsd_sim")
}

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Finished {
    fn from(output: Output) -> Finished {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Finished { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// A running `maestro`.
pub(crate) struct Maestro {
    process: Process,
    log: PathBuf,
}

impl Maestro {
    /// What it has written so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until it has written something.
    pub(crate) async fn until_log(&mut self, text: &str) {
        let give_up = Instant::now() + PATIENCE;
        while !self.log().contains(text) {
            let waits = self.process.is_running() && Instant::now() < give_up;
            assert!(waits, "no {text:?} in:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until both levels are at rest.
    pub(crate) async fn until_balanced(&mut self, first_level: &str) {
        self.until_log(&format!("agg-[1-3] is balanced: {first_level}")).await;
        self.until_log("top is balanced: top 3").await;
    }

    /// What daemons were sent to change them; with `--log-level debug`.
    pub(crate) fn sent(&self) -> Vec<String> {
        let changes = |line: &&str| line.contains(" <- ");
        self.log().lines().filter(changes).map(str::to_owned).collect()
    }

    /// Sends a signal.
    pub(crate) fn send(&self, signal: &str) {
        self.process.signal(signal);
    }

    /// Lets it open no more files and connections than so many in all, or as many as before: it keeps what it has.
    pub(crate) fn limit_files(&self, most: Option<u32>) {
        let limit = format!("--nofile={}:", most.unwrap_or(1024));
        let set = Command::new("prlimit").args(["--pid", &self.process.id().to_string(), &limit]).status();
        assert!(set.is_ok_and(|status| status.success()), "prlimit, of util-linux, has failed");
    }

    /// Whom it has TCP connections to, as the system knows them.
    pub(crate) fn peers(&self) -> BTreeSet<SocketAddrV4> {
        let process = PathBuf::from(format!("/proc/{}", self.process.id()));
        let sockets = std::fs::read_dir(process.join("fd")).unwrap().flatten();
        let sockets: BTreeSet<String> = sockets
            .filter_map(|file| std::fs::read_link(file.path()).ok())
            .filter_map(|target| Some(target.to_str()?.strip_prefix("socket:[")?.trim_end_matches(']').to_owned()))
            .collect();
        // Of each line: the remote address, the state (01: established), and the number of the socket.
        let table = std::fs::read_to_string(process.join("net/tcp")).unwrap();
        let peer = |line: &str| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (address, port) = fields.get(2)?.split_once(':')?;
            if fields.get(3) != Some(&"01") || !sockets.contains(*fields.get(9)?) {
                return None;
            }
            let address = u32::from_str_radix(address, 16).ok()?;
            Some(SocketAddrV4::new(Ipv4Addr::from(address.to_le_bytes()), u16::from_str_radix(port, 16).ok()?))
        };
        table.lines().filter_map(peer).collect()
    }

    /// Sends a signal and gives the exit code.
    pub(crate) async fn signal(mut self, signal: &str) -> Option<i32> {
        self.process.signal(signal);
        self.process.exit_code_within(PATIENCE).await
    }
}

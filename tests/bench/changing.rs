//! How long another interval takes from `maestro_ctrl` to the samplers: `cargo bench --bench changing [-- SAMPLERS]`,
//! with an etcd of its own and simulated daemons on loopback (`cargo build --release --example ldmsd_sim` makes them).
//!
//! Ten thousand samplers need `ulimit -n 12000`. Run as a test it uses a small
//! cluster, to see that it works, and that the change reaches every sampler and no other plugin.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what fails in a benchmark fails the benchmark")]

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use support::etcd::Etcd;
use support::{Process, eventually};

const SAMPLERS: usize = 10_000;
const SAMPLERS_IN_A_TEST: usize = 40;
/// Samplers on one address, at most.
const SAMPLERS_ON_A_HOST: usize = 250;
/// Simulations that share the samplers, so that none needs too many file descriptors; a further one has the aggregators.
const PARTS: usize = 4;
/// Long enough for any step on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// Changes that are measured, one after the other.
const ROUNDS: usize = 5;

/// A set that is being sampled, as the simulation shows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct SampledSet {
    sampler: String,
    instance: String,
    interval_us: u64,
    offset_us: i64,
    since_us: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let default = if arguments.iter().any(|argument| argument == "--bench") { SAMPLERS } else { SAMPLERS_IN_A_TEST };
    let samplers: usize = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(default);
    assert!(samplers.is_multiple_of(PARTS), "{samplers} samplers cannot be shared by {PARTS}");

    let directory = tempfile::tempdir().unwrap();
    let site = directory.path();
    let etcd = Etcd::start().await;
    let endpoint = etcd.endpoint();
    let (host, port) = endpoint.split_once(':').unwrap();
    std::fs::write(site.join("etcd.yaml"), format!("members: {{ host: {host}, port: {port} }}\n")).unwrap();
    load(site, samplers, "10s");
    let mut simulations = Vec::new();
    for part in 0..=PARTS {
        let (file, sim) = (format!("part-{part}.yaml"), format!("sim-{part}"));
        std::fs::write(site.join(&file), daemons_of(part, samplers)).unwrap();
        let mut simulation = command(site, &simulator());
        simulation.args(["up", "--dir", &sim, "--ldms_config", &file]).stdout(Stdio::null());
        simulations.push(Process::start(&mut simulation, "build it with `cargo build --release --example ldmsd_sim`"));
        let ready = site.join(sim).join("ready");
        eventually("the simulation is ready", PATIENCE, async || ready.exists().then_some(())).await;
    }
    let mut maestro = command(site, Path::new(env!("CARGO_BIN_EXE_maestro")));
    maestro.args(["--cluster", "etcd.yaml", "--prefix", "bench", "--log-level", "error"]);
    let _maestro = Process::start(&mut maestro, "cargo builds it for this benchmark");
    let mut before = sampled_every(site, samplers, 10_000_000).await;

    println!("{samplers} samplers; from the end of maestro_ctrl to the start of the first sampler and of the last");
    for round in 0..ROUNDS {
        let seconds = if round % 2 == 0 { 20 } else { 10 };
        let finished_us = load(site, samplers, &format!("{seconds}s"));
        let after = sampled_every(site, samplers, seconds * 1_000_000).await;
        let started_us: Vec<i64> = after["meminfo"].iter().map(|set| since(set, finished_us)).collect();
        println!("{:>8.3} s{:>10.3} s", seconds_of(started_us.iter().min()), seconds_of(started_us.iter().max()));
        assert_eq!(before["loadavg"], after["loadavg"], "nothing else is touched");
        before = after;
    }
}

/// How long after a moment the sampling of a set began.
fn since(set: &SampledSet, moment_us: u64) -> i64 {
    i64::try_from(set.since_us).unwrap() - i64::try_from(moment_us).unwrap()
}

fn seconds_of(us: Option<&i64>) -> f64 {
    Duration::from_micros(us.unwrap().unsigned_abs()).as_secs_f64() * us.unwrap().signum() as f64
}

/// Loads the cluster with this interval of `meminfo`; gives when that was done, in microseconds since 1970.
fn load(site: &Path, samplers: usize, interval: &str) -> u64 {
    std::fs::write(site.join("cluster.yaml"), cluster(samplers, interval)).unwrap();
    let mut load = command(site, Path::new(env!("CARGO_BIN_EXE_maestro_ctrl")));
    load.args(["--cluster", "etcd.yaml", "--ldms_config", "cluster.yaml", "--prefix", "bench"]);
    let loaded = load.output().unwrap();
    let now_us = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
    u64::try_from(now_us).unwrap()
}

/// Waits until every sampler samples `meminfo` at this interval, and `loadavg`; gives the sets by their plugins.
async fn sampled_every(site: &Path, samplers: usize, interval_us: u64) -> BTreeMap<String, Vec<SampledSet>> {
    eventually("every sampler has the interval", PATIENCE, async || {
        // Not too often: it takes time from what is measured.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let mut sets: Vec<SampledSet> = Vec::new();
        for part in 0..PARTS {
            let sim = format!("sim-{part}");
            let output = command(site, &simulator()).args(["sampling", "--dir", &sim]).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            sets.extend(serde_json::from_slice::<Vec<SampledSet>>(&output.stdout).unwrap());
        }
        let mut by_plugin: BTreeMap<String, Vec<SampledSet>> = BTreeMap::new();
        for set in sets {
            let plugin = set.instance.rsplit('/').next().unwrap().to_owned();
            by_plugin.entry(plugin).or_default().push(set);
        }
        let is_as_wanted =
            ["meminfo", "loadavg"].iter().all(|plugin| by_plugin.get(*plugin).map(Vec::len) == Some(samplers))
                && by_plugin["meminfo"].iter().all(|set| set.interval_us == interval_us);
        is_as_wanted.then_some(by_plugin)
    })
    .await
}

/// Samplers with two plugins, collected by four aggregators, seldom: at a site that happens on other machines.
fn cluster(samplers: usize, interval: &str) -> String {
    let parts: String = (0..=PARTS).map(|part| daemons(part, samplers)).collect();
    format!(
        "daemons:\n{parts}aggregators:\n  - daemons: 'agg-[1-4]'\n    peers:\n      - endpoints: \
         'sampler-[1-{samplers}]-ep'\n        reconnect: 5s\n        type: active\n        updaters: [ {{ mode: pull, \
         interval: 60s, offset: 200ms }} ]\n\
         samplers:\n  - {{ daemons: 'sampler-[1-{samplers}]', plugins: [ meminfo, loadavg ] }}\n\
         plugins:\n  meminfo: {{ name: meminfo, interval: {interval}, config: [ {{ schema: meminfo }} ] }}\n  \
         loadavg: {{ name: loadavg, interval: 10s, config: [ {{ schema: loadavg }} ] }}\n",
    )
}

/// A cluster of nothing but a part of the daemons.
fn daemons_of(part: usize, samplers: usize) -> String {
    format!("daemons:\n{}", daemons(part, samplers))
}

/// The samplers of a part; the last part is the aggregators.
fn daemons(part: usize, samplers: usize) -> String {
    let entry = |names: &str, hosts: &str, ports: &str| {
        format!(
            "  - names: '{names}'\n    hosts: '{hosts}'\n    endpoints: [ {{ names: '{names}-ep', ports: '{ports}', xprt: \
             sock, maestro_comm: true }} ]\n"
        )
    };
    if part == PARTS {
        return entry("agg-[1-4]", "127.77.0.[1-4]", "20001");
    }
    let (count, hosts) = (samplers / PARTS, samplers.div_ceil(PARTS * SAMPLERS_ON_A_HOST));
    let range = |step: usize, base: usize| format!("[{}-{}]", base + part * step + 1, base + (part + 1) * step);
    entry(&format!("sampler-{}", range(count, 0)), &format!("127.77.1.{}", range(hosts, 0)), &range(count, 20_000))
}

fn command(site: &Path, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(site);
    command
}

/// The simulator next to the benchmarks: target/release/deps/changing-…, target/release/examples/ldmsd_sim.
fn simulator() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().and_then(Path::parent).unwrap().join("examples/ldmsd_sim")
}

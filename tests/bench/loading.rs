//! How long loading takes: `cargo bench --bench loading [-- SAMPLERS]`, with an etcd of its own on loopback.
//!
//! Run as a test it uses a small cluster, to see that it works, and that a load writes what differs and nothing else.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what fails in a benchmark fails the benchmark")]

#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use etcd_client::GetOptions;
use support::etcd::Etcd;

/// How often the memory of the program is looked at; what it grows to in its last moments is missed.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

const SAMPLERS: usize = 10_000;
const SAMPLERS_IN_A_TEST: usize = 100;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let default = if arguments.iter().any(|argument| argument == "--bench") { SAMPLERS } else { SAMPLERS_IN_A_TEST };
    let samplers = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(default);

    let directory = tempfile::tempdir().unwrap();
    let etcd = Etcd::start().await;
    let endpoint = etcd.endpoint();
    let (host, port) = endpoint.split_once(':').unwrap();
    std::fs::write(directory.path().join("etcd.yaml"), format!("members: {{ host: {host}, port: {port} }}\n")).unwrap();

    println!("{samplers} samplers");
    println!("{:24}{:>10}{:>14}{:>10}{:>16}", "", "seconds", "keys written", "keys/s", "peak memory/MB");
    let first = measure("first load", &cluster(samplers, "1s"), directory.path(), &etcd).await;
    let same = measure("nothing changed", &cluster(samplers, "1s"), directory.path(), &etcd).await;
    let changed = measure("one interval changed", &cluster(samplers, "2s"), directory.path(), &etcd).await;
    // Seven keys of each daemon and twelve of each producer, and what the groups have.
    assert!(first >= 19 * samplers, "{first} keys for {samplers} samplers");
    assert_eq!((same, changed), (0, 1), "keys written by the later loads");
}

/// Samplers with one plugin, collected by sixteen aggregators.
fn cluster(samplers: usize, interval: &str) -> String {
    let daemons = |name: &str, hosts: &str, count: usize| {
        format!(
            "  - names: '{name}-[1-{count}]'\n    hosts: '{hosts}-[1-{count}]'\n    endpoints:\n      - {{ names: \
             '{name}-[1-{count}]-ep', ports: 10001, xprt: sock, maestro_comm: true, auth: {{ name: none }} }}\n"
        )
    };
    format!(
        "daemons:\n{}{}\
         aggregators:\n  - daemons: 'agg-[1-16]'\n    peers:\n      - endpoints: 'sampler-[1-{samplers}]-ep'\n        \
         reconnect: 1s\n        type: active\n        updaters: [ {{ mode: pull, interval: 1s, offset: 200ms, sets: [ \
         {{ regex: .*, field: inst }} ] }} ]\n\
         samplers:\n  - {{ daemons: 'sampler-[1-{samplers}]', plugins: [ meminfo ] }}\n\
         plugins:\n  meminfo: {{ name: meminfo, interval: {interval}, config: [ {{ schema: meminfo }} ] }}\n",
        daemons("sampler", "node", samplers),
        daemons("agg", "agg-node", 16),
    )
}

/// Loads a cluster, prints what it took, and returns how many keys etcd says were written.
async fn measure(what: &str, yaml: &str, directory: &Path, etcd: &Etcd) -> usize {
    std::fs::write(directory.join("cluster.yaml"), yaml).unwrap();
    let mut client = etcd.client().await;
    let before = client.get("/", None).await.unwrap().header().unwrap().revision();

    let begin = Instant::now();
    let mut load = Command::new(env!("CARGO_BIN_EXE_maestro_ctrl"))
        .args(["--cluster", "etcd.yaml", "--ldms_config", "cluster.yaml", "--prefix", "bench"])
        .current_dir(directory)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut peak_kib = 0;
    let status = loop {
        peak_kib = peak_memory_kib(load.id()).unwrap_or(peak_kib);
        if let Some(status) = load.try_wait().unwrap() {
            break status;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    };
    let seconds = begin.elapsed().as_secs_f64();
    assert!(status.success(), "{what}: {status}");

    let young = GetOptions::new().with_prefix().with_keys_only().with_min_mod_revision(before + 1);
    let kv = client.kv_client().max_decoding_message_size(1 << 30).get("/bench/", Some(young)).await.unwrap();
    let written = kv.kvs().iter().filter(|entry| !entry.key().ends_with(b"/last_updated")).count();
    let rate = written as f64 / seconds;
    println!("{what:24}{seconds:>10.2}{written:>14}{rate:>10.0}{:>16}", peak_kib / 1024);
    written
}

/// The most memory that a process has had so far; none where it has ended.
fn peak_memory_kib(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

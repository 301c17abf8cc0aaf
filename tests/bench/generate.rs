//! How long `maestro_ctrl --generate-config-path` takes, and how much memory, for a large cluster.
//!
//! `cargo bench --bench generate` takes 30 000 samplers; a test run, which only sees that it works, takes a hundred.

#![expect(clippy::unwrap_used, reason = "what fails here fails the run")]

use std::time::Instant;

use maestro::ctrl::{self, Source};

fn main() {
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let (samplers, aggregators) = if is_bench { (30_000, 64) } else { (100, 4) };
    let directory = tempfile::tempdir().unwrap();
    let yaml = directory.path().join("large.yaml");
    std::fs::write(&yaml, cluster(samplers, aggregators)).unwrap();
    let files = directory.path().join("files");
    for what in ["written", "unchanged"] {
        let start = Instant::now();
        ctrl::generate(Source::File(yaml.clone()), &files, None).unwrap();
        println!("{samplers} samplers, {aggregators} + 1 aggregators, {what}: {:.2} s", start.elapsed().as_secs_f64());
    }
    println!("at most {} kB of memory", peak_memory_kb());
}

/// Samplers with four plugins each, two levels of aggregators, a store at the top.
fn cluster(samplers: usize, aggregators: usize) -> String {
    let plugins = ["meminfo", "vmstat", "procstat", "loadavg"];
    let definitions = plugins.map(|plugin| {
        format!("  {plugin}: {{ name: {plugin}, interval: 1s, offset: 0, config: [{{ schema: {plugin}, perm: \"0644\" }}] }}\n")
    });
    format!(
        "daemons:
  - names: &samplers node-[1-{samplers}]
    hosts: node-[1-{samplers}]
    environment: {{ LDMS_SITE: large }}
    endpoints: [{{ names: &sampler-endpoints 'node-[1-{samplers}]-ep', ports: 10001, xprt: sock, maestro_comm: true }}]
  - names: &first agg-[1-{aggregators}]
    hosts: agg-[1-{aggregators}]
    endpoints: [{{ names: &first-endpoints 'agg-[1-{aggregators}]-ep', ports: 10101, xprt: sock, maestro_comm: true }}]
  - names: &top top
    hosts: top
    endpoints: [{{ names: top-ep, ports: 10201, xprt: sock, maestro_comm: true }}]
aggregators:
  - daemons: *first
    peers:
      - {{ daemons: *samplers, endpoints: *sampler-endpoints, reconnect: 5s, type: active,
          updaters: [{{ mode: pull, interval: 1s, offset: 100ms }}] }}
  - daemons: *top
    peers:
      - {{ daemons: *first, endpoints: *first-endpoints, reconnect: 5s, type: active,
          updaters: [{{ mode: pull, interval: 1s, offset: 200ms }}] }}
samplers:
  - {{ daemons: *samplers, plugins: [{}] }}
plugins:
{}  csv: {{ name: store_csv, config: [{{ path: /var/lib/ldms }}] }}
stores:
  meminfo: {{ daemons: *top, container: all, schema: meminfo, plugin: csv }}
",
        plugins.join(", "),
        definitions.concat()
    )
}

fn peak_memory_kb() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.map_or_else(|| "?".to_owned(), |peak| peak.trim().trim_end_matches(" kB").to_owned())
}

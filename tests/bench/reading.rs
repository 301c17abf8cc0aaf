//! How long a large cluster takes from its YAML to the keys of etcd, and how much memory: `cargo bench --bench reading`.
//!
//! Each case runs in a process of its own, since the system tells only the peak memory of a whole process. Without
//! `--bench`, as the tests run it, the clusters are small.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::process::{Command, ExitCode};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use maestro::notation::hostlist;
use maestro::spec;
use maestro::store::layout;

/// A way to write the same cluster down.
type Dialect = fn(samplers: usize, aggregators: usize) -> String;

const CASES: [(&str, Dialect); 5] = [
    ("current", current),
    ("of 2024", of_2024),
    ("README", readme),
    ("an entry each", an_entry_each),
    ("advertising", advertising),
];

const PLUGINS: [&str; 4] = ["meminfo", "vmstat", "loadavg", "procstat"];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().collect();
    let (samplers, aggregators) = match arguments.iter().any(|argument| argument == "--bench") {
        true => (30_000, 64),
        false => (300, 4),
    };
    if let Some(case) = arguments.iter().skip_while(|argument| *argument != "--case").nth(1) {
        return run(case, samplers, aggregators);
    }
    println!("{samplers} samplers, {aggregators} aggregators, {} plugins; seconds of one processor", PLUGINS.len());
    println!("{:<14}{:>9}{:>9}{:>9}{:>9}{:>11}{:>10}", "dialect", "file", "read", "write", "re-read", "keys", "memory");
    for (name, _) in CASES {
        let status = Command::new(&arguments[0]).args(&arguments[1..]).args(["--case", name]).status();
        if !status.is_ok_and(|status| status.success()) {
            return ExitCode::FAILURE;
        }
    }
    let begin = time();
    let count = if samplers == 30_000 { 1_000_000 } else { 1_000 };
    let names = hostlist::expand(&format!("node-[1-{count}]-[10001]")).map_or(0, |names| names.len());
    println!("a hostlist of {names} names: {:.3}", (time() - begin).as_secs_f64());
    ExitCode::SUCCESS
}

/// One line of the table.
fn run(case: &str, samplers: usize, aggregators: usize) -> ExitCode {
    let Some((name, dialect)) = CASES.iter().find(|(name, _)| *name == case) else { return ExitCode::FAILURE };
    let text = dialect(samplers, aggregators);
    let begin = time();
    let (cluster, diagnostics) = spec::read_cluster_with("cluster.yaml", &text, &|_| true);
    let read = time() - begin;
    let Some(cluster) = cluster.filter(|cluster| cluster.daemons.len() == samplers + aggregators) else {
        eprintln!("{}", spec::report(&diagnostics));
        return ExitCode::FAILURE;
    };
    let memory = peak_memory_mb();
    let begin = time();
    let tree = layout::write(&cluster);
    let write = time() - begin;
    let begin = time();
    let same = layout::read(&tree).is_ok_and(|read| read == cluster);
    let reread = time() - begin;
    println!(
        "{name:<14}{:>6} kB{:>9.3}{:>9.3}{:>9.3}{:>11}{:>7} MB",
        text.len() / 1_000,
        read.as_secs_f64(),
        write.as_secs_f64(),
        reread.as_secs_f64(),
        tree.len(),
        memory,
    );
    if same { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The processor time of this thread, which does not depend on what else the machine does; where the system does not
/// tell, the time of the clock.
fn time() -> Duration {
    let schedule = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let on_processor = schedule.split_whitespace().next().and_then(|ns| ns.parse().ok()).map(Duration::from_nanos);
    on_processor.unwrap_or_else(|| Instant::now().duration_since(*START))
}

/// When the program started, roughly.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The most memory that the process has had, in megabytes; 0 where the system does not tell.
fn peak_memory_mb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
    peak.unwrap_or(0_u64) / 1_024
}

fn daemons(samplers: usize, aggregators: usize) -> String {
    let first_level = aggregators - 1;
    format!(
        "daemons:
  - names: &samplers \"sampler-[1-{samplers}]\"
    hosts: \"node-[1-{samplers}]\"
    environment: {{ LDMS_COMPONENT_ID: 1 }}
    endpoints:
      - names: &sampler-endpoints \"node-[1-{samplers}]-[10002]\"
        ports: \"[10002]\"
        xprt: sock
        maestro_comm: true
        auth: {{ name: ovis1, plugin: ovis, conf: /etc/ldms/secret.conf }}
  - names: &first \"first-[1-{first_level}]\"
    hosts: \"agg-[1-{first_level}]\"
    endpoints:
      - {{ names: &first-endpoints \"agg-[1-{first_level}]-10101\", ports: 10101, xprt: sock, maestro_comm: true }}
  - names: &second second
    hosts: top
    endpoints:
      - {{ names: top-10104, ports: 10104, xprt: sock, maestro_comm: true }}
"
    )
}

fn aggregators(peers_daemons: [&str; 2]) -> String {
    let [samplers, first] = peers_daemons;
    format!(
        "aggregators:
  - daemons: *first
    peers:
      - {{ {samplers}endpoints: *sampler-endpoints, reconnect: 20s, type: active, updaters: [ {{ interval: 1s }} ] }}
  - daemons: *second
    peers:
      - {{ {first}endpoints: *first-endpoints, reconnect: 20s, type: active, updaters: [ {{ interval: 1s }} ] }}
"
    )
}

fn current(samplers: usize, count: usize) -> String {
    let mut text = daemons(samplers, count) + &aggregators(["daemons: *samplers, ", "daemons: *first, "]);
    let _ = writeln!(text, "samplers: [ {{ daemons: *samplers, plugins: [ {} ] }} ]\nplugins:", PLUGINS.join(", "));
    for plugin in PLUGINS {
        let _ = writeln!(text, "  {plugin}: {{ name: {plugin}, interval: 1s, config: [ {{ schema: {plugin} }} ] }}");
    }
    text.push_str("  csv: { name: store_csv, config: [ { path: /data } ] }\nstores:\n");
    for plugin in PLUGINS {
        let _ = writeln!(text, "  {plugin}: {{ daemons: *second, plugin: csv, container: all, schema: {plugin} }}");
    }
    text
}

fn inline_plugins() -> String {
    let plugin = |name: &&str| format!("{{ name: {name}, interval: 1s, config: [ {{ schema: {name} }} ] }}");
    PLUGINS.iter().map(plugin).collect::<Vec<_>>().join(", ")
}

fn of_2024(samplers: usize, count: usize) -> String {
    let mut text = daemons(samplers, count) + &aggregators(["daemons: *samplers, ", "daemons: *first, "]);
    let _ = writeln!(text, "samplers: [ {{ daemons: *samplers, plugins: [ {} ] }} ]\nstores:", inline_plugins());
    for plugin in PLUGINS {
        let store = "plugin: { name: store_csv, config: [ { path: /data } ] }, container: all";
        let _ = writeln!(text, "  - {{ name: {plugin}, daemons: *second, {store}, schema: {plugin} }}");
    }
    text
}

fn readme(samplers: usize, count: usize) -> String {
    let inline = inline_plugins();
    daemons(samplers, count)
        + &aggregators(["", ""])
        + &format!("samplers: [ {{ daemons: *samplers, plugins: [ {inline} ] }} ]\n")
}

/// Every sampler in an entry of its own, as scripts write them, with plugins that differ from sampler to sampler.
fn an_entry_each(samplers: usize, count: usize) -> String {
    let groups = daemons(samplers, count);
    let behind_samplers = groups.find("  - names: &first").unwrap_or(0);
    let mut text = String::from("daemons:\n");
    for number in 1..=samplers {
        let _ = writeln!(
            text,
            "  - names: sampler-{number}\n    hosts: node-{number}\n    endpoints:\n      - names: node-{number}-10002\n        \
             ports: 10002\n        xprt: sock\n        maestro_comm: true\n        \
             auth: {{ name: ovis1, plugin: ovis, conf: /etc/ldms/secret.conf }}"
        );
    }
    text.push_str(&groups[behind_samplers..]);
    let list: Vec<String> = (1..=samplers).map(|number| format!("node-{number}-10002")).collect();
    let endpoints = format!("\"{}\"", list.join(","));
    text.push_str(&aggregators(["", ""]).replace("*sampler-endpoints", &endpoints));
    text.push_str("samplers:\n");
    for number in 1..=samplers {
        let _ = writeln!(text, "  - daemons: sampler-{number}\n    plugins:");
        for plugin in PLUGINS {
            let _ = writeln!(
                text,
                "      - {{ name: {plugin}, interval: 1s, config: [ {{ schema: {plugin}, component_id: {number} }} ] }}"
            );
        }
    }
    text
}

fn advertising(samplers: usize, count: usize) -> String {
    let inline = inline_plugins();
    daemons(samplers, count)
        + &aggregators(["", ""]).replacen("peers", "prdcr_listen: [ { reconnect: 1s } ]\n    peers", 1)
        + &format!(
            "samplers:\n  - daemons: *samplers\n    advertise: {{ names: *sampler-endpoints, to: *first-endpoints, \
             reconnect: 5s }}\n    plugins: [ {inline} ]\n"
        )
}

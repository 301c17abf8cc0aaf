//! A cluster of simulated ldmsds on one machine, for trials and tests of maestro without an LDMS installation.
//!
//! ```text
//! ldmsd_sim up --ldms_config cluster.yaml --dir /tmp/sim     # in the foreground; /tmp/sim/ready appears when all listen
//! ldmsd_sim status --dir /tmp/sim                            # who collects what
//! ldmsd_sim kill --dir /tmp/sim l1-agg-2                     # and start, restart, pause, resume
//! ldmsd_sim gaps --dir /tmp/sim --since 1m                   # which samples nobody collected
//! ldmsd_sim fault --dir /tmp/sim l1-agg-1 --verb prdcr_start refuse 16
//! ldmsd_sim down --dir /tmp/sim
//! ```
//!
//! The daemons speak the wire protocol of real ones, answer with their codes and texts, and keep their state as they do;
//! only the metrics are missing. Aggregators connect to their producers over TCP and read their directories at each tick of
//! an updater, in place of the transfer of metric sets. The hosts of the cluster have to be addresses of this machine:
//! 127.0.0.1, 127.0.0.2 and so on all are.

#[path = "ldmsd_sim/cluster.rs"]
mod cluster;
#[path = "ldmsd_sim/control.rs"]
mod control;
#[path = "ldmsd_sim/daemon/mod.rs"]
mod daemon;
#[path = "ldmsd_sim/journal.rs"]
mod journal;
#[path = "ldmsd_sim/net/mod.rs"]
mod net;
#[path = "ldmsd_sim/report.rs"]
mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Args, Parser, Subcommand};
use tokio::net::UnixListener;

use crate::cluster::{SimulatedCluster, config_of_word, configs_of_file};
use crate::control::{Order, socket_path};
use crate::daemon::Imitation;
use crate::net::{Fault, FaultKind, NodeConfig, now_us};

/// Simulates a cluster of ldmsds.
#[derive(Debug, Parser)]
#[command(name = "ldmsd_sim")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the daemons of a cluster, without configuration, and run until `down` or a signal.
    Up(Up),
    /// End daemons as SIGKILL does: connections break, nobody listens.
    Kill(Named),
    /// Start daemons that are down, without configuration.
    Start(Named),
    /// Kill and start daemons; they lose all configuration.
    Restart(Named),
    /// Hang daemons as SIGSTOP does: connections stay, nothing is answered.
    Pause(Named),
    /// Let daemons that hang go on.
    Resume(Named),
    /// Make daemons go wrong.
    Fault(MakeFault),
    /// Show who collects what.
    Status {
        #[command(flatten)]
        simulation: Simulation,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show the sets that are being sampled, how, and since when, as JSON.
    Sampling(Simulation),
    /// Show which samples nobody collected, or more than one aggregator of a level did.
    Gaps {
        #[command(flatten)]
        simulation: Simulation,
        /// Count samples since then: so long ago (30s, 5m), or seconds since 1970.
        #[arg(long, default_value = "1h")]
        since: String,
        /// Do not count samples younger than this, which may still be on their way.
        #[arg(long, default_value = "3s")]
        margin: humantime::Duration,
        /// Show the samplers that lost nothing too.
        #[arg(long)]
        all: bool,
        /// As JSON, set by set.
        #[arg(long)]
        json: bool,
    },
    /// End the simulation.
    Down(Simulation),
}

#[derive(Debug, Args)]
struct Simulation {
    /// The directory of the simulation.
    #[arg(long)]
    dir: PathBuf,
}

#[derive(Debug, Args)]
struct Named {
    #[command(flatten)]
    simulation: Simulation,
    /// Names of daemons, or hostlists of them.
    #[arg(required = true)]
    names: Vec<String>,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("daemons").required(true).multiple(true).args(["ldms_config", "daemon"])))]
struct Up {
    #[command(flatten)]
    simulation: Simulation,
    /// The cluster, as LDMS YAML. All endpoints of transport sock are served, with authentication none, naive or ovis.
    #[arg(long = "ldms_config", alias = "ldms-config")]
    ldms_config: Option<PathBuf>,
    /// A daemon without authentication, as NAME=HOST:PORT; repeatable.
    #[arg(long)]
    daemon: Vec<String>,
    /// The line of development that the daemons imitate.
    #[arg(long = "version", value_enum, default_value = "main")]
    imitation: Imitation,
}

#[derive(Debug, Args)]
struct MakeFault {
    #[command(flatten)]
    simulation: Simulation,
    /// The name of a daemon, or a hostlist.
    name: String,
    /// Only in answers to this verb.
    #[arg(long)]
    verb: Option<String>,
    #[command(subcommand)]
    kind: FaultKind,
}

fn main() -> ExitCode {
    match obey(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ldmsd_sim: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn obey(command: Command) -> anyhow::Result<()> {
    let (simulation, order) = match command {
        Command::Up(up) => return run(&up),
        Command::Kill(named) => (named.simulation, Order::Kill { names: named.names }),
        Command::Start(named) => (named.simulation, Order::Start { names: named.names }),
        Command::Restart(named) => (named.simulation, Order::Restart { names: named.names }),
        Command::Pause(named) => (named.simulation, Order::Pause { names: named.names }),
        Command::Resume(named) => (named.simulation, Order::Resume { names: named.names }),
        Command::Fault(MakeFault { simulation, name, verb, kind }) => {
            let known = verb.as_deref().is_none_or(|word| maestro::ldmsd::Verb::from_word(word).is_some());
            ensure!(known, "there is no verb {}", verb.unwrap_or_default());
            (simulation, Order::Fault { names: vec![name], fault: Fault { verb, kind } })
        }
        Command::Status { simulation, json } => (simulation, Order::Status { json }),
        Command::Gaps { simulation, since, margin, all, json } => {
            (simulation, Order::Gaps { since_us: read_since(&since)?, margin_us: micros(*margin), all, json })
        }
        Command::Sampling(simulation) => (simulation, Order::Sampling),
        Command::Down(simulation) => (simulation, Order::Down),
    };
    print!("{}", control::send(&simulation.dir, &order)?);
    if matches!(order, Order::Down) {
        control::wait_for_end(&simulation.dir)?;
    }
    Ok(())
}

/// Runs the simulation in this process.
fn run(up: &Up) -> anyhow::Result<()> {
    let mut configs = Vec::new();
    if let Some(path) = &up.ldms_config {
        configs.extend(configs_of_file(path, up.imitation)?);
    }
    for word in &up.daemon {
        configs.push(config_of_word(word, up.imitation)?);
    }
    let dir = &up.simulation.dir;
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let runs = std::os::unix::net::UnixStream::connect(socket_path(dir)).is_ok();
    ensure!(!runs, "a simulation runs in {} already", dir.display());
    // A simulation that was killed leaves its files.
    clean(dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(simulate(configs, dir));
    clean(dir)?;
    outcome
}

async fn simulate(configs: Vec<NodeConfig>, dir: &Path) -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let path = socket_path(dir);
    let listener = UnixListener::bind(&path).with_context(|| format!("cannot listen on {}", path.display()))?;
    let cluster = SimulatedCluster::start(configs)?;
    println!("{} daemons are up", cluster.slots.len());
    std::fs::write(ready_path(dir), format!("{}\n", std::process::id()))?;
    tokio::select! {
        () = control::serve(listener, cluster) => {}
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(())
}

/// The file that says that all daemons listen; it holds the process id.
fn ready_path(dir: &Path) -> PathBuf {
    dir.join("ready")
}

/// Removes what a simulation keeps in its directory, the control socket last: its end is the simulation's.
fn clean(dir: &Path) -> anyhow::Result<()> {
    for path in [ready_path(dir), socket_path(dir)] {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A time, in microseconds since 1970, from `30s` (so long ago) or `1795327738.5`.
fn read_since(text: &str) -> anyhow::Result<u64> {
    if let Ok(seconds) = text.parse::<f64>() {
        let since_1970 = Duration::try_from_secs_f64(seconds).with_context(|| format!("`{text}` is no time"))?;
        return Ok(micros(since_1970));
    }
    let age = humantime::parse_duration(text).with_context(|| format!("`{text}` is no time"))?;
    Ok(now_us().saturating_sub(micros(age)))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

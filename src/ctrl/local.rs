//! `--local`: keeps the daemons of this machine running.

use std::env;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tracing::info;

use super::Source;
use crate::cli;
use crate::cluster::Cluster;
use crate::desired::startup::StartupFiles;
use crate::local::{self, LocalDaemon, ThisHost, find_ldmsd};
use crate::notation::Name;

/// How many names of hosts are shown as examples.
const HOSTS_SHOWN: usize = 5;

/// Starts the daemons whose host is this machine, each with its v4 configuration file, and starts again those that end,
/// until SIGTERM or SIGINT. All of them are gone when this returns.
///
/// The files are in `directory`, by default the home directory of the user; `ldmsd` is the program, by default the
/// first in `PATH`.
///
/// # Errors
/// There is no ldmsd, the cluster cannot be read, no daemon lives here, what a daemon should be cannot be said in a
/// file, or the files cannot be written. Nothing has been started then.
pub fn local(source: Source, directory: Option<&Path>, ldmsd: Option<&Path>) -> anyhow::Result<()> {
    let program = find_ldmsd(ldmsd, env::var_os("PATH").as_deref())?;
    let cluster = source.read()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let outcome = runtime.block_on(keep(&cluster, directory, &program));
    // A look-up of a host name may hang.
    runtime.shutdown_background();
    outcome
}

async fn keep(cluster: &Cluster, directory: Option<&Path>, program: &Path) -> anyhow::Result<()> {
    let machine = ThisHost::ask()?;
    let names = local::residents(cluster, &machine).await;
    if names.is_empty() {
        bail!("no daemon lives here: this machine is {machine}, and {}", hosts_of(cluster));
    }
    let directory = cli::directory_or_home(directory)?;
    // Shells have HOSTNAME, but seldom hand it on.
    let host_name = env::var_os("HOSTNAME").is_none().then_some(machine.name.as_str());
    let files = StartupFiles::of(cluster)?;
    let mut daemons = Vec::new();
    for daemon in names.iter().filter_map(|name| cluster.daemons.get(name)) {
        let conf = files.file(&daemon.name)?.to_string();
        daemons.push(LocalDaemon::with_file(program, &directory, daemon, host_name, conf));
    }
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    info!("keeping {} of {} daemons, with files in {}", daemons.len(), cluster.daemons.len(), directory.display());
    local::keep(daemons, stops()?).await?;
    info!("all daemons of this machine are stopped");
    Ok(())
}

/// The hosts of a cluster in short.
fn hosts_of(cluster: &Cluster) -> String {
    let mut hosts: Vec<Name> = cluster.daemons.values().map(|daemon| Name::from(daemon.host.as_str())).collect();
    hosts.sort();
    hosts.dedup();
    let shown: Vec<&str> = hosts.iter().take(HOSTS_SHOWN).map(Name::as_str).collect();
    match hosts.len() {
        0 => "the configuration has no hosts".to_owned(),
        1..=HOSTS_SHOWN => format!("the hosts of the configuration are {}", shown.join(", ")),
        count => format!("the {count} hosts of the configuration are {}, …", shown.join(", ")),
    }
}

/// Tells each signal that asks us to stop.
fn stops() -> anyhow::Result<mpsc::Receiver<()>> {
    let (sender, receiver) = mpsc::channel(1);
    let mut kinds = vec![SignalKind::terminate(), SignalKind::interrupt()];
    // Under nohup we stay when the terminal goes.
    if !ignores_hangup() {
        kinds.push(SignalKind::hangup());
    }
    for kind in kinds {
        let signals = signal(kind).context("cannot wait for signals")?;
        tokio::spawn(forward(signals, sender.clone()));
    }
    Ok(receiver)
}

async fn forward(mut signals: Signal, stops: mpsc::Sender<()>) {
    while signals.recv().await.is_some() && stops.send(()).await.is_ok() {}
}

/// Whether SIGHUP is ignored, by whoever started us.
fn ignores_hangup() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // A bit for each signal, the lowest for signal 1, which is SIGHUP.
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

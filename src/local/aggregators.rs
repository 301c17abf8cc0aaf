//! `maestro --start-aggregators`: the aggregators of this machine, started bare, for maestro to configure them.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tracing::{info, warn};

use super::{LocalDaemon, ThisHost, keep, residents};
use crate::cluster::{Cluster, Daemon};
use crate::notation::Name;

/// How long somebody may take to accept a connection at the address of an aggregator.
const ANSWER: Duration = Duration::from_secs(2);

/// Starts the aggregators whose host is this machine, as each configuration that comes says, and starts again those
/// that end. Their log and pid files are in `directory`, an absolute path.
///
/// An aggregator at whose address somebody listens already is left alone, unless an earlier run has started it.
/// Dropping the future leaves all of them running.
pub async fn keep_aggregators(mut clusters: watch::Receiver<Arc<Cluster>>, directory: PathBuf, program: PathBuf) {
    let machine = match ThisHost::ask() {
        Ok(machine) => machine,
        Err(error) => return warn!("no aggregators are started: {error:#}"),
    };
    if let Err(error) = fs::create_dir_all(&directory) {
        return warn!("no aggregators are started: cannot make {}: {error}", directory.display());
    }
    let cluster = Arc::clone(&clusters.borrow_and_update());
    let mut wanted = aggregators_here(&cluster, &machine, &directory, &program).await;
    if wanted.is_empty() {
        info!("no aggregator is to be started on this machine, {machine}");
    }
    loop {
        // Nobody ever says stop.
        let (_go_on, stops) = mpsc::channel(1);
        let kept = keep(wanted.clone(), stops);
        tokio::pin!(kept);
        loop {
            tokio::select! {
                outcome = &mut kept, if !wanted.is_empty() => {
                    if let Err(error) = outcome {
                        warn!("aggregators of this machine are not started: {error:#}");
                    }
                    wanted.clear();
                }
                changed = clusters.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let cluster = Arc::clone(&clusters.borrow_and_update());
                    let next = aggregators_here(&cluster, &machine, &directory, &program).await;
                    if next != wanted {
                        wanted = next;
                        break;
                    }
                }
            }
        }
    }
}

async fn aggregators_here(cluster: &Cluster, machine: &ThisHost, directory: &Path, program: &Path) -> Vec<LocalDaemon> {
    let host_name = env::var_os("HOSTNAME").is_none().then_some(machine.name.as_str());
    let residents = residents(&aggregators_of(cluster), machine).await;
    let mut wanted = Vec::new();
    for daemon in residents.iter().filter_map(|name| cluster.daemons.get(name)) {
        let Some(local) = LocalDaemon::bare(program, directory, daemon, host_name) else {
            warn!("{} is not started: it has no endpoint with maestro_comm", daemon.name);
            continue;
        };
        if !local.has_process() && somebody_listens(daemon).await {
            info!("{} runs already, and was not started by maestro: it is left to whoever did", daemon.name);
            continue;
        }
        wanted.push(local);
    }
    wanted
}

/// The cluster without anybody else, so that no other host names are looked up.
fn aggregators_of(cluster: &Cluster) -> Cluster {
    let is_aggregator = |name: &Name| cluster.groups.values().any(|group| group.aggregators.contains(name));
    let daemons = cluster.daemons.iter().filter(|(name, _)| is_aggregator(name));
    Cluster { daemons: daemons.map(|(name, daemon)| (name.clone(), daemon.clone())).collect(), ..Cluster::default() }
}

async fn somebody_listens(daemon: &Daemon) -> bool {
    let Some(endpoint) = daemon.control_endpoint() else { return false };
    let connecting = TcpStream::connect((daemon.host_of(endpoint), endpoint.port));
    matches!(timeout(ANSWER, connecting).await, Ok(Ok(_)))
}

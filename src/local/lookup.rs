//! Which daemons live here, asking the resolver where names do not tell.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use super::ThisHost;
use super::residents::Hosts;
use crate::cluster::Cluster;
use crate::notation::Name;

/// How many names are looked up at the same time.
const LOOKUPS_AT_ONCE: usize = 64;

/// How long all look-ups together may take: the daemons are waiting to be started.
const LOOKUP_DEADLINE: Duration = Duration::from_secs(10);

/// The daemons whose host this machine is, ordered.
///
/// Names are compared first. A host that could be meant (`node-17-ib` on `node-17`) is looked up, and all others only
/// when nothing was found so far: with 30 000 nodes that start at the same time, each looking up all others, the name
/// servers would have 900 million questions to answer.
pub async fn residents(cluster: &Cluster, machine: &ThisHost) -> Vec<Name> {
    residents_by(cluster, machine, LOOKUP_DEADLINE, resolved).await
}

/// `resolve` gives the addresses of a name, none for one that it does not know.
async fn residents_by<F>(
    cluster: &Cluster,
    machine: &ThisHost,
    patience: Duration,
    resolve: impl Fn(String) -> F,
) -> Vec<Name>
where
    F: Future<Output = Vec<IpAddr>> + Send + 'static,
{
    let hosts: BTreeSet<&str> = cluster.daemons.values().map(|daemon| daemon.host.as_str()).collect();
    let here = hosts_here_by(hosts, machine, patience, resolve).await;
    let live_here = |name: &&Name| cluster.daemons.get(*name).is_some_and(|daemon| here.contains(&daemon.host));
    cluster.daemons.keys().filter(live_here).cloned().collect()
}

/// The hosts among these that are this machine, found in the way of [`residents`].
pub async fn hosts_here(hosts: BTreeSet<&str>, machine: &ThisHost) -> BTreeSet<String> {
    hosts_here_by(hosts, machine, LOOKUP_DEADLINE, resolved).await
}

async fn resolved(host: String) -> Vec<IpAddr> {
    let addresses = tokio::net::lookup_host((host, 0)).await;
    addresses.map_or_else(|_| Vec::new(), |addresses| addresses.map(|address| address.ip()).collect())
}

async fn hosts_here_by<F>(
    hosts: BTreeSet<&str>,
    machine: &ThisHost,
    patience: Duration,
    resolve: impl Fn(String) -> F,
) -> BTreeSet<String>
where
    F: Future<Output = Vec<IpAddr>> + Send + 'static,
{
    let deadline = Instant::now() + patience;
    let Hosts { here, likely, others } = Hosts::seen_from(machine, hosts);
    let mut here: BTreeSet<String> = here.into_iter().map(str::to_owned).collect();
    here.extend(those_here(&likely, machine, deadline, &resolve).await);
    if here.is_empty() {
        here.extend(those_here(&others, machine, deadline, &resolve).await);
    }
    here
}

/// The hosts that have an address of this machine.
async fn those_here<F>(
    hosts: &[&str],
    machine: &ThisHost,
    deadline: Instant,
    resolve: &impl Fn(String) -> F,
) -> BTreeSet<String>
where
    F: Future<Output = Vec<IpAddr>> + Send + 'static,
{
    let mut here = BTreeSet::new();
    let mut waiting = hosts.iter().map(|host| (*host).to_owned());
    let mut answered = 0;
    let mut lookups = JoinSet::new();
    loop {
        while lookups.len() < LOOKUPS_AT_ONCE
            && let Some(host) = waiting.next()
        {
            let addresses = resolve(host.clone());
            lookups.spawn(async move { (host, addresses.await) });
        }
        match timeout_at(deadline, lookups.join_next()).await {
            Ok(Some(Ok((host, addresses)))) => {
                answered += 1;
                if addresses.into_iter().any(|address| machine.has(address)) {
                    here.insert(host);
                }
            }
            Ok(Some(Err(_))) => {}
            Ok(None) => return here,
            Err(_) => {
                warn!(
                    "{} of the hosts could not be looked up in time: they count as other machines",
                    hosts.len() - answered
                );
                return here;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A daemon on each host, called as the host with an `L` before it.
    fn cluster(hosts: &str, count: usize) -> Cluster {
        let yaml = format!(
            "daemons:\n  - names: \"L{hosts}\"\n    hosts: \"{hosts}\"\n    endpoints:\n      \
             - {{ names: \"{hosts}-e\", ports: \"[10001]\", xprt: sock, maestro_comm: True }}\n"
        );
        let (cluster, diagnostics) = crate::spec::read_cluster("test.yaml", &yaml);
        let cluster = cluster.unwrap_or_else(|| panic!("{}", crate::spec::report(&diagnostics)));
        assert_eq!(cluster.daemons.len(), count);
        cluster
    }

    fn machine(name: &str) -> ThisHost {
        ThisHost { name: name.into(), addresses: BTreeSet::from(["10.0.0.17".parse().unwrap()]) }
    }

    /// The daemons that live on a machine, and how many names were looked up for it.
    async fn found(cluster: &Cluster, machine: &ThisHost, known: &'static [&'static str]) -> (Vec<String>, usize) {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = asked.clone();
        let daemons = residents_by(cluster, machine, LOOKUP_DEADLINE, move |host| {
            counter.fetch_add(1, Ordering::Relaxed);
            async move {
                let last = if known.contains(&host.as_str()) { 17 } else { 18 };
                vec![IpAddr::from([10, 0, 0, last])]
            }
        });
        let daemons = daemons.await.iter().map(Name::to_string).collect();
        (daemons, asked.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn a_name_that_matches_needs_no_resolver() {
        let cluster = cluster("node-[1-300]", 300);
        assert_eq!(found(&cluster, &machine("node-17"), &[]).await, (vec!["Lnode-17".into()], 0));
    }

    #[tokio::test]
    async fn a_likely_name_is_looked_up_alone() {
        let cluster = cluster("node-[1-300]-ib", 300);
        assert_eq!(found(&cluster, &machine("node-17"), &["node-17-ib"]).await, (vec!["Lnode-17-ib".into()], 1));
    }

    #[tokio::test]
    async fn other_names_are_looked_up_when_none_matches() {
        let cluster = cluster("node-[1-300]", 300);
        let known = &["node-4", "node-5"];
        let all = (vec!["Lnode-4".into(), "Lnode-5".into()], 300);
        assert_eq!(found(&cluster, &machine("admin"), known).await, all);
    }

    #[tokio::test]
    async fn a_resolver_that_hangs_holds_up_the_start_for_a_while_only() {
        let (cluster, machine) = (cluster("node-[1-30]", 30), machine("admin"));
        let daemons = residents_by(&cluster, &machine, Duration::from_millis(100), |host| async move {
            if host != "node-2" {
                std::future::pending::<()>().await;
            }
            vec![IpAddr::from([127, 0, 0, 2])]
        });
        assert_eq!(daemons.await, [Name::from("Lnode-2")]);
    }
}

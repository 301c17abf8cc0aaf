//! Three maestros with three members of etcd, over the daemons of a site.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::site::{DAEMONS, Maestro, PATIENCE, Site};
use crate::support::etcd::Etcd;
use crate::support::proxy::Proxy;
use crate::support::{FreePort, eventually};

/// Three of each, of which the first maestro reaches etcd through proxies.
pub(crate) struct Council {
    maestros: [Option<Maestro>; 3],
    pub(crate) site: Site,
    pub(crate) etcd: [Etcd; 3],
    pub(crate) proxies: Vec<Proxy>,
    ports: [FreePort; 3],
    lease: &'static str,
    /// What each is told besides.
    pub(crate) arguments: &'static [&'static str],
}

impl Council {
    /// Everything but the maestros, with the site's configuration in etcd.
    pub(crate) async fn without_maestros(yaml: &[(&str, &str)]) -> Council {
        let site = Site::start().await;
        site.write("cluster.yaml", yaml);
        let etcd = Etcd::start_cluster().await;
        let mut proxies = Vec::new();
        for member in &etcd {
            proxies.push(Proxy::to(member.endpoint()).await);
        }
        let mut ports = [(); 3].map(|()| FreePort::reserve());
        // The shares go by counting order.
        ports.sort_by_key(FreePort::number);
        let member = |endpoint: String| {
            let (host, port) = endpoint.split_once(':').expect("host:port");
            format!("  - {{ host: {host}, port: {port} }}\n")
        };
        // It does not matter in which order they are listed.
        let maestros: String = ports.iter().rev().map(|port| member(port.endpoint())).collect();
        for (file, endpoints) in [
            ("etcd.yaml", etcd.iter().map(Etcd::endpoint).collect::<Vec<_>>()),
            ("etcd-by-proxies.yaml", proxies.iter().map(Proxy::endpoint).collect()),
        ] {
            let members: String = endpoints.into_iter().map(member).collect();
            site.write_text(file, &format!("members:\n{members}maestro_members:\n{maestros}"));
        }
        site.load("cluster.yaml");
        Council { maestros: [None, None, None], site, etcd, proxies, ports, lease: "10s", arguments: &[] }
    }

    /// All at work, the first of them leading, and the site as configured.
    pub(crate) async fn at_work(yaml: &[(&str, &str)]) -> Council {
        // Longer than the default: on a busy machine nobody is to lose its place by being slow.
        Council::at_work_with_lease(yaml, "10s").await
    }

    /// The same, with another lease.
    pub(crate) async fn at_work_with_lease(yaml: &[(&str, &str)], lease: &'static str) -> Council {
        let mut council = Council::without_maestros(yaml).await;
        council.lease = lease;
        council.start_all().await;
        council.site.until_home().await;
        council.until_at_rest().await;
        council
    }

    /// Starts all, the first of them leading.
    pub(crate) async fn start_all(&mut self) {
        self.start(0);
        self.until_log(0, "state changed STARTING => SUSPENDED: 1 of 3 maestro members alive, 2 are needed").await;
        self.start(1);
        self.until_roles(["LEADER", "FOLLOWER", ""]).await;
        self.start(2);
        self.until_roles(["LEADER", "FOLLOWER", "FOLLOWER"]).await;
        self.until_shared(&[0, 1, 2]).await;
    }

    /// Starts one, as the member of its place.
    pub(crate) fn start(&mut self, index: usize) {
        let member = self.ports[index].endpoint();
        let etcd_yaml = if index == 0 { "etcd-by-proxies.yaml" } else { "etcd.yaml" };
        let arguments =
            ["--cluster", etcd_yaml, "--member", &member, "--member-lease", self.lease, "--log-level", "debug"];
        self.maestros[index] = Some(self.site.maestro(&[&arguments, self.arguments].concat()));
    }

    /// Ends one as a power cut does.
    pub(crate) fn kill(&mut self, index: usize) {
        self.maestros[index] = None;
    }

    /// Sends one a signal.
    pub(crate) fn signal(&self, index: usize, signal: &str) {
        self.maestro(index).send(signal);
    }

    pub(crate) fn maestro(&self, index: usize) -> &Maestro {
        self.maestros[index].as_ref().expect("it runs")
    }

    /// What one is called.
    pub(crate) fn member(&self, index: usize) -> String {
        self.ports[index].endpoint()
    }

    /// What one says at its port.
    pub(crate) async fn status_page(&self, index: usize) -> String {
        let mut stream = TcpStream::connect(self.member(index)).await.unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).await.unwrap();
        page
    }

    pub(crate) async fn until_log(&mut self, index: usize, text: &str) {
        self.maestros[index].as_mut().expect("it runs").until_log(text).await;
    }

    /// The role that each has told last; nothing of one that does not run or has not told any.
    pub(crate) fn roles(&self) -> [String; 3] {
        [0, 1, 2].map(|index| {
            let log = self.maestros[index].as_ref().map(Maestro::log).unwrap_or_default();
            role_in(&log).unwrap_or_default().to_owned()
        })
    }

    /// Waits until these are the roles, and gives how long that took.
    pub(crate) async fn until_roles(&self, wanted: [&str; 3]) -> Duration {
        let begin = Instant::now();
        let seen = || format!("{:?}", self.roles());
        while self.roles() != wanted {
            assert!(begin.elapsed() < PATIENCE, "not {wanted:?} but {}:\n{}", seen(), self.logs());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        begin.elapsed()
    }

    /// Waits until each daemon that is up is connected to one of the maestros alone, by blocks of those that are given.
    pub(crate) async fn until_shared(&self, among: &[usize]) {
        let begin = Instant::now();
        loop {
            let connected: BTreeMap<usize, BTreeSet<&str>> =
                among.iter().map(|index| (*index, self.connected(*index))).collect();
            if connected == self.shares(among) {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "{connected:?} instead of {:?}", self.shares(among));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What each is to have. All three have blocks; the block of one that is missing goes to the others in turn.
    fn shares(&self, among: &[usize]) -> BTreeMap<usize, BTreeSet<&'static str>> {
        let shares: &[&[&str]] = match among {
            [0, 1, 2] => &[
                &["agg-1", "agg-2", "sampler-1", "sampler-2", "sampler-3"],
                &["agg-3", "sampler-4", "sampler-5", "sampler-6"],
                &["top", "sampler-7", "sampler-8"],
            ],
            [1, 2] => &[
                &["agg-1", "agg-3", "sampler-1", "sampler-4", "sampler-5", "sampler-6"],
                &["agg-2", "top", "sampler-2", "sampler-3", "sampler-7", "sampler-8"],
            ],
            other => panic!("no shares for {other:?}"),
        };
        among.iter().zip(shares).map(|(index, share)| (*index, share.iter().copied().collect())).collect()
    }

    /// The daemons that a maestro has a connection to.
    fn connected(&self, index: usize) -> BTreeSet<&'static str> {
        let peers = self.maestro(index).peers();
        DAEMONS.into_iter().filter(|daemon| peers.contains(&self.site.address(daemon))).collect()
    }

    /// Waits until nobody changes anything any more.
    pub(crate) async fn until_at_rest(&self) {
        let mut before = self.sent();
        let mut since = Instant::now();
        eventually("nobody sends anything", PATIENCE, async || {
            let now = self.sent();
            if now != before {
                (before, since) = (now, Instant::now());
            }
            (since.elapsed() > Duration::from_millis(1500)).then_some(())
        })
        .await;
    }

    /// How many changes each has sent.
    pub(crate) fn sent(&self) -> [usize; 3] {
        [0, 1, 2].map(|index| self.maestros[index].as_ref().map_or(0, |maestro| maestro.sent().len()))
    }

    pub(crate) fn logs(&self) -> String {
        let logs = self.maestros.iter().flatten().map(|maestro| {
            let log = maestro.log();
            log.lines().filter(|line| !line.contains(" <- ")).collect::<Vec<_>>().join("\n")
        });
        logs.collect::<Vec<_>>().join("\n----\n")
    }
}

/// The last role in a log, found as the OVIS project's tests find it: `.* state changed .* => (\w+)`.
fn role_in(log: &str) -> Option<&str> {
    let line = log.lines().rfind(|line| line.contains(" state changed "))?;
    let (_, role) = line.rsplit_once(" => ")?;
    role.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

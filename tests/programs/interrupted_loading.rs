//! Loads that do not come to their end, and loads at the same time.

use std::fs::File;
use std::time::Duration;

use etcd_client::{Client, GetOptions, PutOptions};
use maestro::store::{EtcdOptions, EtcdStore, Tree};

use crate::site::{PATIENCE, Site};
use crate::support::etcd::Etcd;
use crate::support::{Process, eventually};

const LOCK: &str = "/maestro/orion/save-lock";
const UNFINISHED: &str = "/maestro/orion/unfinished-save";

/// Samplers enough for a load to take a hundred transactions.
const LARGE: &str = "
daemons:
  - { names: 'agg-[1-2]', hosts: 'a-[1-2]', endpoints: { names: 'agg-[1-2]-ep', ports: 411, maestro_comm: true } }
  - { names: 's-[1-800]', hosts: 'h-[1-800]', endpoints: { names: 's-[1-800]-ep', ports: 411, maestro_comm: true } }
aggregators:
  - daemons: agg-[1-2]
    peers: { endpoints: 's-[1-800]-ep', reconnect: 1s, type: active, updaters: { interval: 1s } }
";

/// A `maestro_ctrl` that is at work.
struct Load {
    process: Process,
    output: std::path::PathBuf,
}

impl Load {
    fn start(site: &Site, file: &str) -> Load {
        let arguments = ["--cluster", "etcd.yaml", "--prefix", "orion", "--ldms_config", file];
        Load::start_program(site, env!("CARGO_BIN_EXE_maestro_ctrl"), &arguments)
    }

    /// The same at a terminal.
    fn start_at_terminal(site: &Site, file: &str) -> Load {
        let program = env!("CARGO_BIN_EXE_maestro_ctrl");
        let line = format!("{program} --cluster etcd.yaml --prefix orion --ldms_config {file}");
        Load::start_program(site, "script", &["--quiet", "--return", "--command", &line, "/dev/null"])
    }

    fn start_program(site: &Site, program: &str, arguments: &[&str]) -> Load {
        let output = (1..).map(|n| site.path(&format!("load-{n}.log"))).find(|path| !path.exists()).unwrap();
        let file = File::create(&output).unwrap();
        let mut command = site.command(program);
        command.args(arguments).env("TERM", "xterm").stdout(file.try_clone().unwrap()).stderr(file);
        Load { process: Process::start(&mut command, "on Debian: apt-get install bsdutils"), output }
    }

    fn output(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap()
    }
}

fn store(etcd: &Etcd) -> EtcdStore {
    EtcdStore::new(&EtcdOptions { endpoints: vec![etcd.endpoint()], ..EtcdOptions::default() }).unwrap()
}

async fn tree(store: &EtcdStore) -> Tree {
    (*store.load("orion").await.unwrap().unwrap().tree).clone()
}

async fn revision(client: &mut Client) -> i64 {
    client.get("/", Some(GetOptions::new().with_count_only())).await.unwrap().header().unwrap().revision()
}

async fn exists(client: &mut Client, key: &str) -> bool {
    client.get(key, Some(GetOptions::new().with_count_only())).await.unwrap().count() > 0
}

/// Waits until etcd has seen so many changes.
async fn until_revision(client: &mut Client, wanted: i64) {
    eventually("the load has come so far", PATIENCE, async || (revision(client).await >= wanted).then_some(())).await;
}

/// A site with an etcd that holds the small cluster as `orion`, and with `large.yaml`.
async fn site_with_small_cluster() -> (Site, Etcd) {
    let site = Site::without_daemons();
    let etcd = site.start_etcd().await;
    site.write_text("large.yaml", LARGE);
    let mut small = Load::start(&site, "cluster.yaml");
    assert_eq!(small.process.exit_code_within(PATIENCE).await, Some(0), "{}", small.output());
    (site, etcd)
}

#[tokio::test]
async fn a_load_that_is_killed_is_not_seen_and_may_be_repeated() {
    let (site, etcd) = site_with_small_cluster().await;
    let (store, mut client) = (store(&etcd), etcd.client().await);
    let small = tree(&store).await;
    let (cluster, _) = maestro::spec::read_cluster("large.yaml", LARGE);
    let large = maestro::store::layout::write(&cluster.unwrap());
    let mut unfinished = 0;
    for _ in 0..6 {
        let steps = rand::random_range(1..25);
        let goal = revision(&mut client).await + steps;
        let mut load = Load::start(&site, "large.yaml");
        // Where the ones before have left little to do, it ends before.
        eventually("the load has come so far", PATIENCE, async || {
            (revision(&mut client).await >= goal || !load.process.is_running()).then_some(())
        })
        .await;
        // Its guard kills it.
        drop(load);
        let seen = tree(&store).await;
        if seen == large {
            // Each load goes on where the one before was killed, so that one may come to the end in time.
            break;
        }
        assert!(seen == small, "a mixture of two configurations {steps} changes after the start");
        unfinished += usize::from(exists(&mut client, UNFINISHED).await);
        // It would end with its lease, after some seconds.
        client.delete(LOCK, None).await.unwrap();
    }
    assert!(unfinished > 0, "no load had begun to write");
    let mut load = Load::start(&site, "large.yaml");
    assert_eq!(load.process.exit_code_within(PATIENCE).await, Some(0), "{}", load.output());
    assert!(tree(&store).await == large);
}

#[tokio::test]
async fn a_load_that_is_interrupted_says_so_and_blocks_nobody() {
    let (site, etcd) = site_with_small_cluster().await;
    let (store, mut client) = (store(&etcd), etcd.client().await);
    let small = tree(&store).await;
    for signal in ["INT", "TERM"] {
        let begin = revision(&mut client).await;
        let mut load = Load::start(&site, "large.yaml");
        until_revision(&mut client, begin + 5).await;
        load.process.signal(signal);
        assert_eq!(load.process.exit_code_within(PATIENCE).await, Some(1), "{}", load.output());
        assert_eq!(load.output(), "interrupted: for its readers, nothing has changed in orion; load again to go on\n");
        assert!(exists(&mut client, UNFINISHED).await, "it had not begun to write");
        assert!(!exists(&mut client, LOCK).await, "the next load would have to wait");
        assert!(tree(&store).await == small, "a mixture of two configurations");
    }
    let mut load = Load::start(&site, "large.yaml");
    assert_eq!(load.process.exit_code_within(PATIENCE).await, Some(0), "{}", load.output());
}

#[tokio::test]
async fn of_two_loads_at_once_one_is_seen_and_then_the_other() {
    let (site, etcd) = site_with_small_cluster().await;
    let store = store(&etcd);
    let small = tree(&store).await;
    let mut loads = ["large.yaml", "cluster.yaml", "large.yaml"].map(|file| Load::start(&site, file));
    // Whenever one looks, it is all of one of them.
    let mut seen = Vec::new();
    for load in &mut loads {
        while load.process.is_running() {
            seen.push(tree(&store).await);
        }
    }
    seen.push(tree(&store).await);
    for load in &mut loads {
        assert_eq!(load.process.exit_code_within(PATIENCE).await, Some(0), "{}", load.output());
    }
    let mut load = Load::start(&site, "large.yaml");
    assert_eq!(load.process.exit_code_within(PATIENCE).await, Some(0), "{}", load.output());
    let large = tree(&store).await;
    assert!(seen.iter().all(|tree| *tree == small || *tree == large), "a mixture of two configurations");
}

#[tokio::test]
async fn at_a_terminal_one_sees_what_a_load_waits_for() {
    let (site, etcd) = site_with_small_cluster().await;
    let mut client = etcd.client().await;
    let lease = client.lease_grant(300, None).await.unwrap().id();
    let options = PutOptions::new().with_lease(lease);
    client.put(LOCK, "process 4711 on node-9", Some(options)).await.unwrap();
    let mut plain = Load::start(&site, "large.yaml");
    let mut at_terminal = Load::start_at_terminal(&site, "large.yaml");
    eventually("the progress is shown", Duration::from_secs(12), async || {
        at_terminal.output().contains("waiting for another maestro_ctrl (process 4711 on node-9)").then_some(())
    })
    .await;
    client.delete(LOCK, None).await.unwrap();
    assert_eq!(at_terminal.process.exit_code_within(PATIENCE).await, Some(0), "{}", at_terminal.output());
    assert_eq!(plain.process.exit_code_within(PATIENCE).await, Some(0), "{}", plain.output());
    // Where nobody watches, there are the two lines and nothing else.
    assert_eq!(plain.output().lines().count(), 2, "{}", plain.output());
}

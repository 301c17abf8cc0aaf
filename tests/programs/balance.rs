//! From daemons without configuration to a cluster at rest.

use std::collections::BTreeMap;

use maestro::ldmsd::Verb;
use maestro::ldmsd::status::{StoragePolicyState, StoragePolicyStatus};

use crate::site::{Report, Site};

#[tokio::test]
async fn an_empty_cluster_is_configured_and_then_left_alone() {
    let site = Site::start().await;
    let _etcd = site.start_etcd().await;
    site.load("cluster.yaml");
    let mut maestro = site.maestro(&["--cluster", "etcd.yaml", "--log-level", "debug"]);
    maestro.until_balanced("agg-1 3, agg-2 3, agg-3 2").await;
    site.until_home().await;

    let reports = site.reports();
    for aggregator in ["agg-1", "agg-2", "agg-3"] {
        assert_eq!(reports[aggregator].producers, 8, "each aggregator knows all producers");
    }
    for sampler in 1..=8 {
        assert_eq!(reports[&format!("sampler-{sampler}")].own_sets, 2);
    }
    site.until_sampled_every("meminfo", 200_000).await;
    site.until_sampled_every("loadavg", 1_000_000).await;
    let policies: Vec<StoragePolicyStatus> = site.ask("top", Verb::StrgpStatus).await;
    let running: Vec<&str> = policies
        .iter()
        .filter(|policy| policy.state == StoragePolicyState::Running)
        .map(|policy| policy.name.as_str())
        .collect();
    assert_eq!(running, ["load", "memory"]);

    // At rest, nothing is sent but questions.
    let (sent, counters) = (maestro.sent(), site.change_counters().await);
    assert!(!sent.is_empty());
    site.until_samples(200).await;
    assert_eq!(maestro.sent(), sent);
    assert_eq!(site.change_counters().await, counters);
}

/// What somebody does behind maestro's back is put right, which also shows that a cluster at rest is still watched.
#[tokio::test]
async fn a_producer_that_somebody_stops_is_started_again() {
    let site = Site::start().await;
    let mut maestro = site.maestro(&["--ldms_config", "cluster.yaml"]);
    maestro.until_balanced("agg-1 3, agg-2 3, agg-3 2").await;
    site.until_home().await;
    site.stop_producer("agg-2", "sampler-5-ep").await;
    site.until("sampler-5 is not collected", |reports| reports["agg-2"].collects.len() == 2).await;
    site.until_home().await;
}

#[tokio::test]
async fn metric_sets_are_balanced_where_that_is_wanted() {
    let site = Site::start().await;
    let mut maestro = site.maestro(&["--ldms_config", "cluster.yaml", "--rebalance", "sets"]);
    maestro.until_log("is balanced by metric sets: agg-1 ").await;
    let ready = |reports: &BTreeMap<String, Report>, names: &[&str]| -> Vec<usize> {
        names.iter().map(|name| reports[*name].ready_sets).collect()
    };
    let all = ["agg-1", "agg-2", "agg-3"];
    site.until("all sets are collected", |reports| ready(reports, &all).iter().sum::<usize>() == 16).await;
    site.order("kill", &["agg-3"]);
    site.until("two collect all sets", |reports| ready(reports, &all[..2]).iter().sum::<usize>() == 16).await;
    site.order("start", &["agg-3"]);
    site.until("it has got sets back, and nobody has one twice", |reports| {
        let ready = ready(reports, &all);
        ready.iter().sum::<usize>() == 16 && ready.iter().all(|sets| *sets >= 3)
    })
    .await;
    assert!(!maestro.log().contains("refuses"), "{}", maestro.log());
}

/// Six more sets on one sampler, each as heavy as all that another has: no aggregator can have them all.
const ONE_GIANT: [(&str, &str); 2] = [
    ("samplers:\n", "samplers:\n  - { daemons: sampler-1, plugins: [ net-1, net-2, net-3, net-4, net-5, net-6 ] }\n"),
    (
        "plugins:\n",
        "plugins:
  net-1: { name: procnetdev2, interval: 200ms, config: [ { schema: net-1 } ] }
  net-2: { name: procnetdev2, interval: 200ms, config: [ { schema: net-2 } ] }
  net-3: { name: procnetdev2, interval: 200ms, config: [ { schema: net-3 } ] }
  net-4: { name: procnetdev2, interval: 200ms, config: [ { schema: net-4 } ] }
  net-5: { name: procnetdev2, interval: 200ms, config: [ { schema: net-5 } ] }
  net-6: { name: procnetdev2, interval: 200ms, config: [ { schema: net-6 } ] }
",
    ),
];

#[tokio::test]
async fn a_giant_is_split_and_the_next_maestro_leaves_it_so() {
    const BY_SETS: [&str; 4] = ["--ldms_config", "cluster.yaml", "--rebalance", "sets"];
    const AGGREGATORS: [&str; 3] = ["agg-1", "agg-2", "agg-3"];
    let mut site = Site::without_daemons();
    site.write("cluster.yaml", &ONE_GIANT);
    site.simulate("cluster.yaml", "main").await;
    let mut maestro = site.maestro(&BY_SETS);
    maestro.until_log("is balanced by metric sets: agg-1 ").await;
    let all_are_collected_once = |reports: &BTreeMap<String, Report>| {
        AGGREGATORS.iter().map(|name| reports[*name].ready_sets).sum::<usize>() == 22 && reports["top"].ready_sets == 22
    };
    site.until("all sets are collected, none twice", all_are_collected_once).await;
    let reports = site.reports();
    let has_giant = |name: &&&str| reports[**name].collects.iter().any(|producer| producer == "sampler-1-ep");
    assert!(AGGREGATORS.iter().filter(has_giant).count() > 1, "{reports:#?}");

    site.until_samples(200).await;
    let counters = site.change_counters().await;
    assert_eq!(maestro.signal("TERM").await, Some(0));
    let mut next = site.maestro(&BY_SETS);
    next.until_log("is balanced by metric sets: agg-1 ").await;
    site.until_samples(200).await;
    assert_eq!(site.change_counters().await, counters, "{}", next.log());
}

#[tokio::test]
async fn daemons_of_release_4_4_are_balanced() {
    start_and_fail_over("4.4").await;
}

#[tokio::test]
async fn daemons_of_release_4_5_are_balanced() {
    start_and_fail_over("4.5").await;
}

async fn start_and_fail_over(version: &str) {
    let site = Site::imitating(version).await;
    let mut maestro = site.maestro(&["--ldms_config", "cluster.yaml"]);
    maestro.until_balanced("agg-1 3, agg-2 3, agg-3 2").await;
    site.until_home().await;
    site.until_sampled_every("meminfo", 200_000).await;
    site.order("kill", &["agg-3"]);
    site.until_placed([&[1, 2, 3, 7], &[4, 5, 6, 8], &[]]).await;
    site.order("start", &["agg-3"]);
    site.until_home().await;
    maestro.until_log("WARN aggregator agg-3 connection lost").await;
    assert!(!maestro.log().contains("refuses"), "{}", maestro.log());
}

//! Metric sets are balanced by several maestros, of which none is connected to all samplers.

use std::collections::BTreeMap;

use crate::council::Council;
use crate::site::{PATIENCE, Report};
use crate::support::eventually;

const AGGREGATORS: [&str; 3] = ["agg-1", "agg-2", "agg-3"];

/// Six more sets on one sampler, each as heavy as all that another has.
fn one_giant() -> Vec<(&'static str, &'static str)> {
    vec![
        (
            "samplers:\n",
            "samplers:\n  - { daemons: sampler-1, plugins: [ net-1, net-2, net-3, net-4, net-5, net-6 ] }\n",
        ),
        (
            "plugins:\n",
            "plugins:\n  net-1: { name: procnetdev2, interval: 200ms, config: [ { schema: net-1 } ] }\n  \
             net-2: { name: procnetdev2, interval: 200ms, config: [ { schema: net-2 } ] }\n  \
             net-3: { name: procnetdev2, interval: 200ms, config: [ { schema: net-3 } ] }\n  \
             net-4: { name: procnetdev2, interval: 200ms, config: [ { schema: net-4 } ] }\n  \
             net-5: { name: procnetdev2, interval: 200ms, config: [ { schema: net-5 } ] }\n  \
             net-6: { name: procnetdev2, interval: 200ms, config: [ { schema: net-6 } ] }\n",
        ),
    ]
}

const ALL_SETS: usize = 8 * 2 + 6;

/// Whether each set is collected once on the first level, and all of them above it.
fn all_collected(reports: &BTreeMap<String, Report>) -> bool {
    let ready: usize = AGGREGATORS.iter().map(|aggregator| reports[*aggregator].ready_sets).sum();
    ready == ALL_SETS && reports["top"].ready_sets == ALL_SETS
}

/// Who collects the giant, or a part of it.
fn who_has_the_giant(reports: &BTreeMap<String, Report>) -> Vec<&'static str> {
    let has = |aggregator: &&str| reports[*aggregator].collects.iter().any(|producer| producer == "sampler-1-ep");
    AGGREGATORS.into_iter().filter(|aggregator| has(aggregator)).collect()
}

#[tokio::test]
async fn a_giant_is_split_and_stays_so_when_the_leader_dies() {
    let mut council = Council::without_maestros(&one_giant()).await;
    council.arguments = &["--rebalance", "sets"];
    council.start_all().await;
    council.until_log(0, "is balanced by metric sets: agg-1 ").await;
    council.site.until("each set is collected once", all_collected).await;
    council.until_at_rest().await;
    let shares = council.site.reports();
    assert!(who_has_the_giant(&shares).len() > 1, "{shares:#?}");

    // Another leader, other shares: nothing moves.
    let counters = council.site.change_counters().await;
    council.kill(0);
    council.until_roles(["", "LEADER", "FOLLOWER"]).await;
    council.until_shared(&[1, 2]).await;
    council.until_at_rest().await;
    assert_eq!(council.site.change_counters().await, counters);

    // An aggregator that has a part of it is lost and comes back.
    let lost = who_has_the_giant(&shares)[0];
    council.site.order("kill", &[lost]);
    council.site.until("the others collect all sets", all_collected).await;
    let balanced = |council: &Council| council.maestro(1).log().matches("is balanced by metric sets: agg-1 ").count();
    let so_far = balanced(&council);
    council.site.order("start", &[lost]);
    let has_sets_again = |reports: &BTreeMap<String, Report>| reports[lost].ready_sets > 0 && all_collected(reports);
    council.site.until("it has sets again, and nobody has one twice", has_sets_again).await;
    eventually("all is balanced again", PATIENCE, async || (balanced(&council) > so_far).then_some(())).await;
    council.until_at_rest().await;

    let counters = council.site.change_counters().await;
    council.start(0);
    council.until_roles(["FOLLOWER", "LEADER", "FOLLOWER"]).await;
    council.until_shared(&[0, 1, 2]).await;
    council.until_at_rest().await;
    assert_eq!(council.site.change_counters().await, counters, "{}", council.logs());
    assert!(all_collected(&council.site.reports()));
    assert!(!council.logs().contains("refuses"), "{}", council.logs());
}

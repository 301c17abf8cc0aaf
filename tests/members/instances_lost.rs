//! Maestros that die, sleep, and come back.

use std::time::{Duration, SystemTime};

use crate::council::Council;

/// Slow enough that no sample is late on a busy machine.
const SLOW: [(&str, &str); 3] = [
    ("mode: pull, interval: 200ms", "mode: pull, interval: 2s, offset: 1s"),
    ("name: meminfo, interval: 200ms", "name: meminfo, interval: 2s"),
    ("name: loadavg, interval: 1s", "name: loadavg, interval: 2s"),
];

/// What is asked for, and what a busy machine may take longer.
const NEW_LEADER_AFTER_A_DEATH: Duration = Duration::from_secs(4);
const NEW_LEADER_AFTER_A_RESIGNATION: Duration = Duration::from_secs(1);
const SLACK: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_leader_that_dies_is_replaced_and_nobody_notices() {
    let mut council = Council::at_work_with_lease(&SLOW, "3s").await;
    council.site.until_samples(16).await;
    let (before, counters) = (SystemTime::now(), council.site.change_counters().await);
    council.kill(0);
    let took = council.until_roles(["", "LEADER", "FOLLOWER"]).await;
    println!("a new leader {took:?} after the death of the old one");
    assert!(took < NEW_LEADER_AFTER_A_DEATH + SLACK, "{took:?}");
    council.until_shared(&[1, 2]).await;
    council.site.until_samples(32).await;
    for (sampler, fate) in council.site.fates_since(before) {
        assert!(fate.samples > 2 && fate.missed == 0 && fate.collectors.len() == 1, "{sampler}: {fate:?}");
    }
    council.until_at_rest().await;
    assert_eq!(council.site.change_counters().await, counters);

    // The new leader handles a loss, of a daemon that was the dead one's.
    council.site.order("kill", &["agg-2"]);
    council.site.until_placed([&[1, 2, 3, 4], &[], &[5, 6, 7, 8]]).await;
    council.site.order("start", &["agg-2"]);
    council.site.until_home().await;

    // The dead one comes back, follows, and has its share again; nothing moves.
    council.until_at_rest().await;
    let counters = council.site.change_counters().await;
    council.start(0);
    council.until_roles(["FOLLOWER", "LEADER", "FOLLOWER"]).await;
    council.until_shared(&[0, 1, 2]).await;
    council.until_at_rest().await;
    assert_eq!(council.site.change_counters().await, counters);
}

#[tokio::test]
async fn a_leader_that_is_stopped_is_replaced_at_once() {
    let council = Council::at_work(&[]).await;
    let counters = council.site.change_counters().await;
    council.signal(0, "TERM");
    let took = council.until_roles(["LEADER", "LEADER", "FOLLOWER"]).await;
    println!("a new leader {took:?} after the old one was told to stop");
    assert!(took < NEW_LEADER_AFTER_A_RESIGNATION + SLACK, "{took:?}");
    council.until_shared(&[1, 2]).await;
    council.until_at_rest().await;
    assert_eq!(council.site.change_counters().await, counters);
}

#[tokio::test]
async fn a_leader_that_sleeps_and_wakes_sends_nothing_before_it_knows() {
    let council = Council::at_work(&[]).await;
    council.signal(0, "STOP");
    // What it would do when it wakes: agg-2 was its own.
    council.site.order("kill", &["agg-2"]);
    council.until_roles(["LEADER", "LEADER", "FOLLOWER"]).await;
    council.site.until_placed([&[1, 2, 3, 4], &[], &[5, 6, 7, 8]]).await;
    council.site.order("start", &["agg-2"]);
    council.site.until_home().await;
    council.until_shared(&[1, 2]).await;
    council.until_at_rest().await;
    let (counters, asleep) = (council.site.change_counters().await, council.maestro(0).log());

    council.signal(0, "CONT");
    council.until_roles(["FOLLOWER", "LEADER", "FOLLOWER"]).await;
    let log = council.maestro(0).log();
    let woken = log.strip_prefix(&asleep).expect("the log goes on");
    let (before, _) = woken.split_once("state changed LEADER => SUSPENDED").expect("it noticed");
    assert!(!before.contains(" <- "), "{before}");
    council.until_shared(&[0, 1, 2]).await;
    council.until_at_rest().await;
    assert_eq!(council.site.change_counters().await, counters);
}

#[tokio::test]
async fn one_of_three_sends_nothing_until_another_is_back() {
    let mut council = Council::at_work(&[]).await;
    let counters = council.site.change_counters().await;
    council.kill(1);
    council.kill(2);
    council.until_log(0, "state changed LEADER => SUSPENDED: 1 of 3 maestro members alive, 2 are needed").await;
    assert_eq!(council.site.change_counters().await, counters);
    let sent = council.maestro(0).sent().len();
    council.site.order("kill", &["agg-2"]);
    council.until_log(0, "agg-2").await;
    // As long as a takeover would need, several times.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(council.maestro(0).sent().len(), sent);
    council.site.until_placed([&[1, 2, 3], &[], &[7, 8]]).await;

    council.start(1);
    council.until_roles(["LEADER", "FOLLOWER", ""]).await;
    council.site.until_placed([&[1, 2, 3, 4], &[], &[5, 6, 7, 8]]).await;
    council.site.order("start", &["agg-2"]);
    council.site.until_home().await;
}

#[tokio::test]
async fn all_may_die_and_come_back() {
    let mut council = Council::at_work(&[]).await;
    let counters = council.site.change_counters().await;
    for index in [0, 1, 2] {
        council.kill(index);
    }
    for index in [0, 1, 2] {
        council.start(index);
    }
    council.until_shared(&[0, 1, 2]).await;
    council.until_at_rest().await;
    assert_eq!(council.site.change_counters().await, counters);

    // What happens while all are away is put right afterwards.
    for index in [0, 1, 2] {
        council.kill(index);
    }
    council.site.order("kill", &["agg-3"]);
    for index in [0, 1, 2] {
        council.start(index);
    }
    council.site.until_placed([&[1, 2, 3, 7], &[4, 5, 6, 8], &[]]).await;
}

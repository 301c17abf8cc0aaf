//! Daemons that fail and return.

use std::time::SystemTime;

use crate::site::{Maestro, Site};

async fn balanced(arguments: &[&str]) -> (Site, Maestro) {
    let site = Site::start().await;
    let mut maestro = site.maestro(&[&["--ldms_config", "cluster.yaml"], arguments].concat());
    maestro.until_balanced("agg-1 3, agg-2 3, agg-3 2").await;
    site.until_home().await;
    (site, maestro)
}

#[tokio::test]
async fn the_work_of_a_killed_aggregator_moves_and_comes_home_with_it() {
    let (site, mut maestro) = balanced(&[]).await;
    site.order("kill", &["agg-2"]);
    site.until_placed([&[1, 2, 3, 4], &[], &[5, 6, 7, 8]]).await;
    maestro.until_log("others take its 3 producers: agg-1 1, agg-3 2").await;

    site.order("start", &["agg-2"]);
    maestro.until_log("aggregator agg-2 is back").await;
    site.until_home().await;
    maestro.until_log("handing over 1 producer from agg-1 to agg-2").await;
    maestro.until_log("handing over 2 producers from agg-3 to agg-2").await;
    assert_eq!(site.reports()["agg-2"].producers, 8, "it knows all producers again");
}

#[tokio::test]
async fn producers_that_stay_lose_nothing_and_those_that_come_home_neither() {
    let site = Site::start().await;
    // Slow enough that no sample is late on a busy machine.
    let slow = ("mode: pull, interval: 200ms", "mode: pull, interval: 1s, offset: 400ms");
    site.write("cluster.yaml", &[slow, ("name: meminfo, interval: 200ms", "name: meminfo, interval: 1s")]);
    let _maestro = site.maestro(&["--ldms_config", "cluster.yaml"]);
    site.until_home().await;
    site.until_samples(16).await;

    let before_loss = SystemTime::now();
    site.order("kill", &["agg-2"]);
    site.until_placed([&[1, 2, 3, 4], &[], &[5, 6, 7, 8]]).await;
    site.until_samples(32).await;
    let before_return = SystemTime::now();
    site.order("start", &["agg-2"]);
    site.until_home().await;
    site.until_samples(48).await;

    let fates = site.fates_since(before_loss);
    for (samplers, aggregators) in
        [(1..=3, &["agg-1"][..]), (4..=4, &["agg-1", "agg-2"]), (5..=6, &["agg-2", "agg-3"]), (7..=8, &["agg-3"])]
    {
        for sampler in samplers {
            let fate = &fates[&format!("sampler-{sampler}")];
            assert_eq!(fate.collectors, aggregators.iter().map(ToString::to_string).collect(), "sampler-{sampler}");
            let stays = aggregators.len() == 1;
            assert!(fate.missed == 0 || !stays, "sampler-{sampler}: {fate:?}");
        }
    }
    for (sampler, fate) in site.fates_since(before_return) {
        assert!(fate.samples > 10 && fate.missed == 0, "{sampler}: {fate:?}");
    }
}

#[tokio::test]
async fn an_aggregator_that_hangs_is_given_up_after_the_deadline() {
    let (site, mut maestro) = balanced(&["--probe-deadline", "700ms"]).await;
    site.order("pause", &["agg-1"]);
    maestro.until_log("aggregator agg-1 does not answer").await;
    site.until("the others collect all", |reports| {
        reports["agg-2"].collects.len() + reports["agg-3"].collects.len() == 8
    })
    .await;
    // It wakes with all its producers, which the others have meanwhile.
    site.order("resume", &["agg-1"]);
    maestro.until_log("aggregator agg-1 is back").await;
    site.until_home().await;
}

#[tokio::test]
async fn the_last_aggregator_collects_everything() {
    let (site, mut maestro) = balanced(&[]).await;
    site.order("kill", &["agg-[1-2]"]);
    site.until_placed([&[], &[], &[1, 2, 3, 4, 5, 6, 7, 8]]).await;
    site.order("kill", &["agg-3"]);
    maestro.until_log("no other of agg-[1-3] is left: nobody collects its 8 producers").await;
    site.order("start", &["agg-[1-3]"]);
    site.until_home().await;
}

#[tokio::test]
async fn samplers_that_hang_delay_nothing() {
    let site = Site::start().await;
    site.order("pause", &["sampler-2", "sampler-7"]);
    // Whoever waited for them would wait longer than this test does.
    let mut maestro = site.maestro(&["--ldms_config", "cluster.yaml", "--timeout", "600"]);
    maestro.until_balanced("agg-1 3, agg-2 3, agg-3 2").await;
    site.until_placed([&[1, 3], &[4, 5, 6], &[8]]).await;
    site.order("resume", &["sampler-2", "sampler-7"]);
    site.until_home().await;
}

#[tokio::test]
async fn an_aggregator_that_hangs_from_the_start_is_waited_for_once() {
    let site = Site::start().await;
    site.order("pause", &["agg-1"]);
    let mut maestro = site.maestro(&["--ldms_config", "cluster.yaml", "--timeout", "1"]);
    maestro.until_log("agg-[1-3] is balanced: agg-2 4, agg-3 4").await;
    site.until("the others collect all", |reports| {
        reports["agg-2"].collects.len() + reports["agg-3"].collects.len() == 8
    })
    .await;
    site.order("resume", &["agg-1"]);
    site.until_home().await;
}

#[tokio::test]
async fn a_dead_sampler_delays_nothing_and_is_configured_when_it_is_there() {
    let site = Site::start().await;
    site.order("kill", &["sampler-5"]);
    let mut maestro = site.maestro(&["--ldms_config", "cluster.yaml"]);
    maestro.until_balanced("agg-1 3, agg-2 3, agg-3 2").await;
    site.until_placed([&[1, 2, 3], &[4, 6], &[7, 8]]).await;
    maestro.until_log("WARN sampler-5 cannot be reached: cannot connect to ").await;

    site.order("start", &["sampler-5"]);
    site.until_home().await;
    site.until_sampled_every("meminfo", 200_000).await;
    let counters = site.change_counters().await;

    site.order("restart", &["sampler-5"]);
    maestro.until_log("sampler-5 has restarted: configuring it anew").await;
    site.until_home().await;
    let after = site.change_counters().await;
    for (daemon, counter) in counters {
        assert_eq!(after[daemon] == counter, daemon != "sampler-5", "{daemon}");
    }
}

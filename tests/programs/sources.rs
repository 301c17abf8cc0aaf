//! Where the configuration comes from, and what happens when that fails or changes.

use crate::site::Site;

const FASTER: (&str, &str) = ("name: meminfo, interval: 200ms", "name: meminfo, interval: 500ms");

#[tokio::test]
async fn without_etcd_maestro_goes_on_and_takes_changes_when_it_is_back() {
    let site = Site::start().await;
    let mut etcd = site.start_etcd().await;
    site.load("cluster.yaml");
    let mut maestro = site.maestro(&["--cluster", "etcd.yaml"]);
    maestro.until_balanced("agg-1 3, agg-2 3, agg-3 2").await;
    site.until_home().await;

    etcd.stop();
    maestro.until_log("going on with the last configuration").await;
    site.order("kill", &["agg-2"]);
    site.until_placed([&[1, 2, 3, 4], &[], &[5, 6, 7, 8]]).await;
    site.order("start", &["agg-2"]);
    site.until_home().await;

    etcd.restart().await;
    site.write("cluster.yaml", &[FASTER]);
    site.load("cluster.yaml");
    site.until_sampled_every("meminfo", 500_000).await;
    site.until_sampled_every("loadavg", 1_000_000).await;
    site.until_home().await;
}

#[tokio::test]
async fn a_file_is_followed_and_a_mistake_in_it_changes_nothing() {
    let site = Site::start().await;
    let mut maestro = site.maestro(&["--ldms_config", "cluster.yaml"]);
    maestro.until_balanced("agg-1 3, agg-2 3, agg-3 2").await;
    site.until_home().await;

    let counters = site.change_counters().await;
    site.write("cluster.yaml", &[FASTER, ("container: all, schema: meminfo", "contanier: all, schema: meminfo")]);
    maestro.until_log("keeping the last configuration").await;
    maestro.until_log("cluster.yaml:52:50: error").await;
    assert_eq!(site.change_counters().await, counters);

    site.write("cluster.yaml", &[FASTER]);
    site.until_sampled_every("meminfo", 500_000).await;

    // A sampler less: its producer goes from all aggregators, and the others are shared anew.
    site.write("cluster.yaml", &[("sampler-[1-8]", "sampler-[1-7]"), ("NETWORK.[1-8]", "NETWORK.[1-7]"), FASTER]);
    site.until("nobody knows sampler-8", |reports| {
        ["agg-1", "agg-2", "agg-3"].iter().all(|aggregator| reports[*aggregator].producers == 7)
    })
    .await;
    site.until_placed([&[1, 2, 3], &[4, 5], &[6, 7]]).await;
}

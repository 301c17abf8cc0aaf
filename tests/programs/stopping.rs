//! maestro comes and goes; the daemons do not notice.

use crate::site::Site;

const AT_REST: [&str; 4] = ["--ldms_config", "cluster.yaml", "--log-level", "debug"];

#[tokio::test]
async fn a_restart_of_maestro_touches_no_daemon() {
    let site = Site::start().await;
    let mut maestro = site.maestro(&AT_REST);
    maestro.until_balanced("agg-1 3, agg-2 3, agg-3 2").await;
    site.until_home().await;
    let counters = site.change_counters().await;

    for signal in ["TERM", "INT"] {
        assert_eq!(maestro.signal(signal).await, Some(0), "SIG{signal}");
        maestro = site.maestro(&AT_REST);
        maestro.until_balanced("agg-1 3, agg-2 3, agg-3 2").await;
        let sent: Vec<String> = maestro.sent().into_iter().filter(|line| !is_hidden(line)).collect();
        assert_eq!(sent, Vec::<String>::new());
        assert_eq!(site.change_counters().await, counters, "after SIG{signal}");
    }
}

/// No daemon shows its authentication domains, what a store is configured with, or whether a sampler has been stopped:
/// without etcd, where maestro would have noted it, all are sent again and refused, as they exist, are configured, and
/// run.
fn is_hidden(line: &str) -> bool {
    [" <- auth_add ", " <- config name=csv ", " <- start name="].iter().any(|hidden| line.contains(hidden))
}

#[tokio::test]
async fn what_happens_while_maestro_is_away_is_seen_when_it_is_back() {
    let site = Site::start().await;
    let mut maestro = site.maestro(&AT_REST);
    maestro.until_balanced("agg-1 3, agg-2 3, agg-3 2").await;
    site.until_home().await;
    assert_eq!(maestro.signal("TERM").await, Some(0));

    site.order("kill", &["agg-2"]);
    site.order("restart", &["sampler-1"]);
    let mut maestro = site.maestro(&AT_REST);
    maestro.until_balanced("agg-1 4, agg-3 4").await;
    site.until_placed([&[1, 2, 3, 4], &[], &[5, 6, 7, 8]]).await;

    // What was taken over is not shuffled by another restart.
    let counters = site.change_counters().await;
    assert_eq!(maestro.signal("TERM").await, Some(0));
    let mut maestro = site.maestro(&AT_REST);
    maestro.until_balanced("agg-1 4, agg-3 4").await;
    assert_eq!(site.change_counters().await, counters);
}

#[tokio::test]
async fn maestro_stops_at_once_also_while_daemons_hang() {
    let site = Site::start().await;
    site.order("pause", &["agg-1", "sampler-[1-4]"]);
    let mut maestro = site.maestro(&AT_REST);
    maestro.until_log("configuration taken").await;
    let begin = std::time::Instant::now();
    assert_eq!(maestro.signal("TERM").await, Some(0));
    // Far below the 15 s that a connection may take.
    assert!(begin.elapsed().as_secs() < 5, "{:?}", begin.elapsed());
}

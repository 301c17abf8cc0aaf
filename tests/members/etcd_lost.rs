//! etcd, or the way to it, is lost.

use std::time::Duration;

use crate::council::Council;

#[tokio::test]
async fn a_lost_member_of_etcd_changes_nothing() {
    let mut council = Council::at_work(&[]).await;
    let counters = council.site.change_counters().await;
    for index in [0, 1, 2] {
        council.etcd[index].stop();
        // Through an election of etcd, everybody may pause for a moment.
        tokio::time::sleep(Duration::from_secs(1)).await;
        council.until_roles(["LEADER", "FOLLOWER", "FOLLOWER"]).await;
        council.etcd[index].restart().await;
        council.until_roles(["LEADER", "FOLLOWER", "FOLLOWER"]).await;
    }
    council.until_at_rest().await;
    assert_eq!(council.site.change_counters().await, counters);
    council.site.order("kill", &["agg-2"]);
    council.site.until_placed([&[1, 2, 3, 4], &[], &[5, 6, 7, 8]]).await;
}

#[tokio::test]
async fn without_a_majority_of_etcd_nothing_is_sent() {
    let mut council = Council::at_work(&[]).await;
    council.etcd[0].stop();
    council.etcd[1].stop();
    council.until_roles(["SUSPENDED", "SUSPENDED", "SUSPENDED"]).await;
    let (counters, sent) = (council.site.change_counters().await, council.sent());
    council.site.order("kill", &["agg-2"]);
    council.until_log(0, "agg-2").await;
    // As long as a takeover would need, several times.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(council.sent(), sent);
    let mut expected = counters;
    expected.remove("agg-2");
    assert_eq!(council.site.change_counters().await, expected);

    council.etcd[0].restart().await;
    council.site.until_placed([&[1, 2, 3, 4], &[], &[5, 6, 7, 8]]).await;
    council.site.order("start", &["agg-2"]);
    council.site.until_home().await;
    council.until_shared(&[0, 1, 2]).await;
}

#[tokio::test]
async fn a_leader_that_is_cut_off_from_etcd_is_replaced() {
    let mut council = Council::at_work(&[]).await;
    let sent = council.maestro(0).sent().len();
    for proxy in &mut council.proxies {
        proxy.cut().await;
    }
    council.until_roles(["SUSPENDED", "LEADER", "FOLLOWER"]).await;
    council.until_log(0, "does not answer").await;
    council.site.order("kill", &["agg-2"]);
    council.site.until_placed([&[1, 2, 3, 4], &[], &[5, 6, 7, 8]]).await;
    council.site.order("start", &["agg-2"]);
    council.site.until_home().await;
    assert_eq!(council.maestro(0).sent().len(), sent);

    for proxy in &mut council.proxies {
        proxy.restore().await;
    }
    council.until_roles(["FOLLOWER", "LEADER", "FOLLOWER"]).await;
    council.until_shared(&[0, 1, 2]).await;
    council.until_at_rest().await;
    council.site.until_home().await;
}

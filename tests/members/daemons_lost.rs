//! The way from a maestro to its daemons is lost, while the daemons are well.

use crate::council::Council;

#[tokio::test]
async fn who_reaches_none_of_its_daemons_leaves_them_to_the_others() {
    // It cannot go to another member of etcd either: so it may wait for a slow one.
    let mut council = Council::at_work_with_lease(&[], "30s").await;
    // The leader's connections to its daemons break, and it can make no new ones; those to etcd go on.
    let share = ["agg-1", "agg-2", "sampler-1", "sampler-2", "sampler-3"];
    council.maestro(0).limit_files(Some(3));
    for daemon in share {
        council.site.order("fault", &[daemon, "--verb", "daemon_status", "cut"]);
    }
    council.until_log(0, "none of our 5 daemons can be reached").await;
    for daemon in share {
        council.site.order("fault", &[daemon, "--verb", "daemon_status", "off"]);
    }
    // The others have them, and all is as it was.
    council.until_log(1, &format!("maestro member {} reaches none of its daemons", council.member(0))).await;
    council.until_shared(&[1, 2]).await;
    // What another aggregator was given meanwhile may not be ready there yet, and be on its way back all the same.
    council.until_at_rest().await;
    council.site.until_home().await;
    council.until_roles(["LEADER", "FOLLOWER", "FOLLOWER"]).await;
    council.site.order("kill", &["agg-2"]);
    council.site.until_placed([&[1, 2, 3, 4], &[], &[5, 6, 7, 8]]).await;
    council.site.order("start", &["agg-2"]);
    council.site.until_home().await;
    council.until_at_rest().await;

    let counters = council.site.change_counters().await;
    council.maestro(0).limit_files(None);
    council.until_log(0, "our daemons can be reached again").await;
    council.until_shared(&[0, 1, 2]).await;
    council.until_at_rest().await;
    assert_eq!(council.site.change_counters().await, counters);
}

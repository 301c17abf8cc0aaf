//! Each daemon has one maestro.

use etcd_client::GetOptions;

use crate::council::Council;
use crate::site::PATIENCE;
use crate::support::eventually;

#[tokio::test]
async fn those_that_start_together_share_the_daemons() {
    let mut council = Council::without_maestros(&[]).await;
    for index in [0, 1, 2] {
        council.start(index);
    }
    council.site.until_home().await;
    council.until_shared(&[0, 1, 2]).await;
    let mut roles = council.roles();
    roles.sort();
    assert_eq!(roles, ["FOLLOWER", "FOLLOWER", "LEADER"]);
}

#[tokio::test]
async fn each_takes_its_part_in_a_change_of_the_configuration() {
    let council = Council::at_work(&[]).await;
    let before = [0, 1, 2].map(|index| council.maestro(index).sent().len());
    council.site.write("cluster.yaml", &[("name: meminfo, interval: 200ms", "name: meminfo, interval: 500ms")]);
    council.site.load("cluster.yaml");
    council.site.until_sampled_every("meminfo", 500_000).await;
    for (index, share) in [(0, 1..=3), (1, 4..=6), (2, 7..=8)] {
        let share: Vec<String> = share.map(|number| format!("sampler-{number}")).collect();
        let sent = council.maestro(index).sent().split_off(before[index]);
        let daemon =
            |line: &String| line.split(" <- ").next().and_then(|head| head.split(' ').next_back()).unwrap().to_owned();
        let mut daemons: Vec<String> = sent.iter().map(daemon).collect();
        daemons.dedup();
        daemons.sort();
        daemons.dedup();
        assert_eq!(daemons, share, "{sent:#?}");
    }
}

#[tokio::test]
async fn a_lost_aggregator_is_replaced_and_gets_its_work_back() {
    let council = Council::at_work(&[]).await;
    // The first maestro has agg-1 and agg-2, the second agg-3.
    for (lost, placed) in
        [("agg-2", [&[1, 2, 3, 4][..], &[], &[5, 6, 7, 8]]), ("agg-3", [&[1, 2, 3, 7], &[4, 5, 6, 8], &[]])]
    {
        council.site.order("kill", &[lost]);
        council.site.until_placed(placed).await;
        council.site.order("start", &[lost]);
        council.site.until_home().await;
    }
}

#[tokio::test]
async fn the_status_page_tells_who_leads_and_who_collects() {
    let mut council = Council::at_work(&[]).await;
    let [first, second, third] = [0, 1, 2].map(|index| council.member(index));
    let page = council.status_page(1).await;
    let expected = [
        &format!("maestro {second} is FOLLOWER"),
        &format!("  {first}  alive, leads\n  {second}  alive, this one\n  {third}  alive\n"),
        "  4 of 12 are ours, 0 of these cannot be reached",
        "  agg-[1-3]: agg-1 3, agg-2 3, agg-3 2\n  top: top 3\n",
    ];
    for expected in expected {
        assert!(page.contains(expected), "{expected:?} is not in:\n{page}");
    }
    council.kill(0);
    council.kill(2);
    council.until_log(1, "=> SUSPENDED").await;
    let page = council.status_page(1).await;
    assert!(page.contains("is SUSPENDED\n1 of 3 maestro members alive, 2 are needed; nothing is sent"), "{page}");
    assert!(page.contains(&format!("  {first}  not alive\n")), "{page}");
}

#[tokio::test]
async fn who_gets_a_daemon_knows_what_it_was_configured_with() {
    let mut council = Council::at_work(&[]).await;
    // What there was to note before anybody was alive is not lost.
    let mut etcd = council.etcd[0].client().await;
    let all = etcd.get("/maestro/", Some(GetOptions::new().with_prefix().with_keys_only())).await.unwrap();
    let lists = all.kvs().iter().filter(|kv| String::from_utf8_lossy(kv.key()).contains("/producers/"));
    assert_eq!(lists.count(), 2, "one of each group");

    council.kill(1);
    council.until_roles(["LEADER", "", "FOLLOWER"]).await;
    council.site.until_home().await;
    council.until_at_rest().await;
    // No daemon shows the configuration of a plugin: only who remembers what it was sees that it has changed.
    council.site.write("cluster.yaml", &[("schema: meminfo } ]", "schema: meminfo, component_id: 7 } ]")]);
    council.site.load("cluster.yaml");
    for index in 1..=8 {
        let is_sent =
            |line: &String| line.contains(&format!("sampler-{index} <- config ")) && line.contains("component_id=7");
        let what = format!("sampler-{index} is configured anew");
        eventually(&what, PATIENCE, async || {
            [0, 2].into_iter().flat_map(|index| council.maestro(index).sent()).find(is_sent)
        })
        .await;
    }
}

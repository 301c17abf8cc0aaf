//! Following a configuration.

use super::*;

#[tokio::test]
async fn a_watch_tells_every_whole_configuration() {
    let etcd = Etcd::start().await;
    let store = store_of(&etcd);
    let mut events = store.watch("orion", None).unwrap();
    for host in ["node-2", "node-3"] {
        let saved = save(&store, "orion", &samplers(host)).await;
        let snapshot = Snapshot { tree: Arc::new(samplers(host)), revision: saved.revision };
        assert!(matches!(next(&mut events).await, WatchEvent::Changed { snapshot: told, .. } if told == snapshot));
    }
    // Neither half a save nor another cluster is a change.
    save_half(&mut etcd.client().await).await;
    save(&store, "orion2", &samplers("node-9")).await;
    save(&store, "orion", &samplers("node-4")).await;
    assert_eq!(*next_change(&mut events).await.tree, samplers("node-4"));
}

#[tokio::test]
async fn a_watch_does_not_repeat_what_its_owner_has_loaded() {
    let etcd = Etcd::start().await;
    let store = store_of(&etcd);
    save(&store, "orion", &samplers("node-2")).await;
    let loaded = load(&store, "orion").await;
    save(&store, "orion2", &samplers("node-2")).await;
    let mut events = store.watch("orion", Some(loaded)).unwrap();
    save(&store, "orion", &samplers("node-3")).await;
    assert_eq!(*next_change(&mut events).await.tree, samplers("node-3"));
}

#[tokio::test]
async fn a_watch_goes_on_where_etcd_no_longer_knows_what_happened_before() {
    let etcd = Etcd::start().await;
    let (store, mut client) = (store_of(&etcd), etcd.client().await);
    save(&store, "orion", &samplers("node-2")).await;
    let loaded = load(&store, "orion").await;
    // Neither the owner's snapshot nor any later revision can be followed from.
    save_half(&mut client).await;
    compact(&mut client).await;
    let mut events = store.watch("orion", Some(loaded)).unwrap();
    for host in ["node-3", "node-2"] {
        save(&store, "orion", &samplers(host)).await;
        assert_eq!(*next_change(&mut events).await.tree, samplers(host));
        compact(&mut client).await;
    }
}

/// What is written after a save is complete belongs to the next one, also where a watch learns of both at once.
#[tokio::test]
async fn a_watch_that_catches_up_tells_no_half_of_a_save() {
    let etcd = Etcd::start().await;
    let mut network = Proxy::to(etcd.endpoint()).await;
    let (store, mut client) = (store_of(&etcd), etcd.client().await);
    save(&store, "orion", &samplers("node-2")).await;
    let mut events = super::store(&[network.endpoint()]).watch("orion", None).unwrap();
    assert_eq!(*next_change(&mut events).await.tree, samplers("node-2"));
    save_half(&mut client).await;
    network.cut().await;
    assert!(matches!(next(&mut events).await, WatchEvent::Unavailable(_)));
    save(&store, "orion", &samplers("node-3")).await;
    save_half(&mut client).await;
    network.restore().await;
    assert_eq!(next(&mut events).await, WatchEvent::Available);
    assert_eq!(*next_change(&mut events).await.tree, samplers("node-3"));
    save(&store, "orion", &samplers("node-4")).await;
    assert_eq!(*next_change(&mut events).await.tree, samplers("node-4"));
}

#[tokio::test]
async fn a_watch_reads_again_what_was_no_text() {
    let etcd = Etcd::start().await;
    let (store, mut client) = (store_of(&etcd), etcd.client().await);
    let mut events = store.watch("orion", None).unwrap();
    save(&store, "orion", &samplers("node-2")).await;
    assert_eq!(*next_change(&mut events).await.tree, samplers("node-2"));
    client.put("/orion/daemons/sampler-2/addr", vec![0xff], None).await.unwrap();
    client.put("/orion/daemons/sampler-2/addr", "node-3", None).await.unwrap();
    client.put("/orion/last_updated", "1.0", None).await.unwrap();
    let told = next_change(&mut events).await;
    assert_eq!(told.tree["daemons/sampler-2/addr"], "node-3");
}

#[tokio::test]
async fn a_watch_survives_a_restart_of_etcd() {
    let mut etcd = Etcd::start().await;
    let store = store_of(&etcd);
    save(&store, "orion", &samplers("node-2")).await;
    let mut events = store.watch("orion", None).unwrap();
    assert_eq!(*next_change(&mut events).await.tree, samplers("node-2"));

    etcd.stop();
    let WatchEvent::Unavailable(reason) = next(&mut events).await else { panic!("an outage") };
    assert_eq!(reason, format!("etcd at {} does not answer: connection refused", etcd.endpoint()));
    etcd.restart().await;
    let saved = save(&store, "orion", &samplers("node-3")).await;
    assert_eq!(next(&mut events).await, WatchEvent::Available);
    let snapshot = Snapshot { tree: Arc::new(samplers("node-3")), revision: saved.revision };
    assert!(matches!(next(&mut events).await, WatchEvent::Changed { snapshot: told, .. } if told == snapshot));
}

#[tokio::test]
async fn a_watch_tells_what_changed_during_an_outage() {
    let etcd = Etcd::start().await;
    let mut network = Proxy::to(etcd.endpoint()).await;
    save(&store_of(&etcd), "orion", &samplers("node-2")).await;
    let mut events = store(&[network.endpoint()]).watch("orion", None).unwrap();
    assert_eq!(*next_change(&mut events).await.tree, samplers("node-2"));

    network.cut().await;
    assert!(matches!(next(&mut events).await, WatchEvent::Unavailable(_)));
    for host in ["node-3", "node-4"] {
        save(&store_of(&etcd), "orion", &samplers(host)).await;
    }
    compact(&mut etcd.client().await).await;
    network.restore().await;
    assert_eq!(next(&mut events).await, WatchEvent::Available);
    assert_eq!(*next_change(&mut events).await.tree, samplers("node-4"));
    save(&store_of(&etcd), "orion", &samplers("node-5")).await;
    assert_eq!(*next_change(&mut events).await.tree, samplers("node-5"));
}

#[tokio::test]
async fn a_watch_notices_that_its_connection_went_silent() {
    let etcd = Etcd::start().await;
    let network = Proxy::to(etcd.endpoint()).await;
    save(&store_of(&etcd), "orion", &samplers("node-2")).await;
    let mut events = store(&[network.endpoint()]).watch("orion", None).unwrap();
    assert_eq!(*next_change(&mut events).await.tree, samplers("node-2"));
    network.freeze();
    assert!(matches!(next(&mut events).await, WatchEvent::Unavailable(_)));
}

#[tokio::test]
async fn a_watch_survives_the_loss_of_any_member() {
    let mut members = Etcd::start_cluster().await;
    let endpoints = members.each_ref().map(Etcd::endpoint);
    let store = store(&endpoints);
    let mut events = store.watch("orion", None).unwrap();
    save(&store, "orion", &samplers("node-0")).await;
    next_change(&mut events).await;
    for (lost, member) in members.iter_mut().enumerate() {
        member.stop();
        let host = format!("without-{lost}");
        eventually("two members elect a leader", DEADLINE, async || {
            store.save("orion", &samplers(&host), |_| {}).await.ok()
        })
        .await;
        assert_eq!(*next_change(&mut events).await.tree, samplers(&host));
        member.restart().await;
    }
}

#[tokio::test]
async fn a_watch_reports_that_etcd_has_lost_its_quorum() {
    let mut members = Etcd::start_cluster().await;
    let endpoints = members.each_ref().map(Etcd::endpoint);
    let store = store(&endpoints);
    save(&store, "orion", &samplers("node-2")).await;
    let mut events = store.watch("orion", None).unwrap();
    next_change(&mut events).await;
    // The watch is on the first of them, which stays.
    members[1].stop();
    members[2].stop();
    let WatchEvent::Unavailable(reason) = next(&mut events).await else { panic!("an outage") };
    assert!(reason.contains(&format!("{}: ", endpoints[0])), "{reason}");
    members[1].restart().await;
    assert_eq!(next(&mut events).await, WatchEvent::Available);
}

#[tokio::test]
async fn a_watch_ends_with_its_receiver() {
    let etcd = Etcd::start().await;
    let store = store_of(&etcd);
    save(&store, "orion", &samplers("node-2")).await;
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let mut events = store.watch("orion", None).unwrap();
    next_change(&mut events).await;
    drop(events);
    eventually("the watch's task has ended", DEADLINE, async || {
        (tokio::runtime::Handle::current().metrics().num_alive_tasks() <= before).then_some(())
    })
    .await;
}

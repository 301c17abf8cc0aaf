//! Saves that do not come to their end, and saves at the same time.

use super::*;

#[tokio::test]
async fn a_half_saved_configuration_is_not_seen() {
    let etcd = Etcd::start().await;
    let store = store_of(&etcd);
    let saved = save(&store, "orion", &samplers("node-2")).await;
    save_half(&mut etcd.client().await).await;
    assert_eq!(load(&store, "orion").await, Snapshot { tree: Arc::new(samplers("node-2")), revision: saved.revision });
    // Saving again completes it, also when the dead save had written all that there was to write.
    save(&store, "orion", &samplers("node-77")).await;
    assert_eq!(*load(&store, "orion").await.tree, samplers("node-77"));
}

#[tokio::test]
async fn a_first_configuration_that_is_half_saved_is_an_error() {
    let etcd = Etcd::start().await;
    let store = store_of(&etcd);
    save_half(&mut etcd.client().await).await;
    let error = store.load("orion").await.unwrap_err();
    assert!(matches!(error, StoreError::HalfSaved { .. }), "{error}");
    assert!(error.to_string().contains("maestro_ctrl"), "{error}");
}

#[tokio::test]
async fn after_compaction_a_half_saved_configuration_is_an_error() {
    let etcd = Etcd::start().await;
    let store = store_of(&etcd);
    let mut client = etcd.client().await;

    // Only the age of a key tells, as after a save by another program ...
    save(&store, "orion", &samplers("node-2")).await;
    client.put("/orion/daemons/sampler-2/addr", "node-77", None).await.unwrap();
    compact(&mut client).await;
    assert!(matches!(store.load("orion").await, Err(StoreError::HalfSaved { .. })));

    // ... or only the mark of an unfinished save, where it has deleted keys so far.
    save(&store, "orion", &samplers("node-2")).await;
    client.put("/maestro/orion/unfinished-save", "", None).await.unwrap();
    client.delete("/orion/daemons/sampler-2/addr", None).await.unwrap();
    compact(&mut client).await;
    assert!(matches!(store.load("orion").await, Err(StoreError::HalfSaved { .. })));

    save(&store, "orion", &samplers("node-2")).await;
    assert_eq!(*load(&store, "orion").await.tree, samplers("node-2"));
}

#[tokio::test]
async fn a_save_waits_for_another_one() {
    let etcd = Etcd::start().await;
    let store = store_of(&etcd);
    let (one, two) = (many("one"), many("two"));
    let (first, second) = tokio::join!(store.save("orion", &one, |_| {}), store.save("orion", &two, |_| {}));
    let (first, second) = (first.unwrap(), second.unwrap());
    let winner = if first.revision > second.revision { one } else { two };
    assert!(*load(&store, "orion").await.tree == winner, "a mixture of two configurations");
}

#[tokio::test]
async fn a_save_takes_over_from_one_that_died() {
    let etcd = Etcd::start().await;
    // Somewhat longer than the lock of a save lasts that does not renew it, the waiting one's included.
    lock(&mut etcd.client().await, 11).await;
    let store = store_of(&etcd);
    save(&store, "orion", &samplers("node-2")).await;
    assert_eq!(*load(&store, "orion").await.tree, samplers("node-2"));
}

#[tokio::test]
async fn a_save_that_does_not_end_keeps_others_out() {
    let etcd = Etcd::start().await;
    let store = store_of(&etcd);
    lock(&mut etcd.client().await, 300).await;
    let error = store.save("orion", &samplers("node-2"), |_| {}).await.unwrap_err();
    assert!(matches!(error, StoreError::AnotherSave { .. }), "{error}");
    assert!(error.to_string().contains("process 4711 on node-9"), "{error}");
    assert_eq!(store.load("orion").await.unwrap(), None);
    // Another cluster does not care.
    save(&store, "orion2", &samplers("node-2")).await;
}

#[tokio::test]
async fn a_save_tells_whom_it_waits_for() {
    let etcd = Etcd::start().await;
    let mut client = etcd.client().await;
    lock(&mut client, 300).await;
    let (tell, mut told) = mpsc::unbounded_channel();
    let store = store_of(&etcd);
    let tree = samplers("node-2");
    let (saved, ()) = tokio::join!(store.save("orion", &tree, |progress| tell.send(progress).unwrap()), async {
        let owner = "process 4711 on node-9".to_owned();
        let first = timeout(DEADLINE, told.recv()).await.expect("progress in time");
        assert_eq!(first, Some(Progress::Waiting { owner }));
        client.delete("/maestro/orion/save-lock", None).await.unwrap();
    });
    assert_eq!(saved.unwrap().added, tree.len());
}

#[tokio::test]
async fn a_save_that_is_stopped_changes_nothing_for_readers_and_blocks_nobody() {
    let etcd = Etcd::start().await;
    let store = store_of(&etcd);
    let (old, new) = (many("old"), many("new"));
    save(&store, "orion", &old).await;
    let (tell, mut told) = mpsc::unbounded_channel();
    let stop = async {
        told.recv().await;
    };
    let error = store.save_unless("orion", &new, on_write(tell), stop).await.unwrap_err();
    assert!(matches!(error, StoreError::Interrupted { .. }), "{error}");
    let mut client = etcd.client().await;
    let first = client.get("/orion/daemons/0/addr", None).await.unwrap();
    assert_eq!(first.kvs()[0].value(), b"new", "nothing was written yet");
    assert!(*load(&store, "orion").await.tree == old, "a mixture of two configurations");
    let on_progress = |progress| assert!(!matches!(progress, Progress::Waiting { .. }), "the lock is still held");
    store.save("orion", &new, on_progress).await.unwrap();
    assert!(*load(&store, "orion").await.tree == new);
}

#[tokio::test]
async fn a_save_survives_the_loss_of_the_leader() {
    let mut members = Etcd::start_cluster().await;
    let store = store(&members.each_ref().map(Etcd::endpoint));
    let (old, new) = (many("old"), many("new"));
    save(&store, "orion", &old).await;
    let status = members[0].client().await.status().await.unwrap();
    let leads = async |member: &Etcd| {
        let own = member.client().await.status().await.unwrap();
        own.header().unwrap().member_id() == status.leader()
    };
    let mut leader = 0;
    while !leads(&members[leader]).await {
        leader += 1;
    }
    let (tell, mut told) = mpsc::unbounded_channel();
    let (saved, ()) = tokio::join!(store.save("orion", &new, on_write(tell)), async {
        told.recv().await.unwrap();
        members[leader].stop();
    });
    assert_eq!(saved.unwrap().changed, new.len());
    assert!(*load(&store, "orion").await.tree == new);
}

#[tokio::test]
async fn a_save_that_loses_its_lock_stops() {
    let etcd = Etcd::start().await;
    let store = store_of(&etcd);
    let mut client = etcd.client().await;
    let (tell, mut told) = mpsc::unbounded_channel();
    let many = many("node");
    let on_progress = on_write(tell);
    let (saved, ()) = tokio::join!(store.save("orion", &many, on_progress), async {
        told.recv().await.unwrap();
        client.delete("/maestro/orion/save-lock", None).await.unwrap();
    });
    assert!(matches!(saved, Err(StoreError::LockLost { .. })), "{saved:?}");
    assert!(matches!(store.load("orion").await, Err(StoreError::HalfSaved { .. })));
}

#[tokio::test]
async fn a_save_that_dies_half_way_is_not_seen() {
    let etcd = Etcd::start().await;
    let store = store_of(&etcd);
    let (old, new) = (many("old"), many("new"));
    save(&store, "orion", &old).await;
    let (tell, mut told) = mpsc::unbounded_channel();
    let on_progress = on_write(tell);
    tokio::select! {
        biased;
        _ = told.recv() => {}
        saved = store.save("orion", &new, on_progress) => panic!("it was to die: {saved:?}"),
    }
    let mut client = etcd.client().await;
    let first = client.get("/orion/daemons/0/addr", None).await.unwrap();
    assert_eq!(first.kvs()[0].value(), b"new", "nothing was written yet");
    assert!(*load(&store, "orion").await.tree == old, "a mixture of two configurations");
    save(&store, "orion", &new).await;
    assert!(*load(&store, "orion").await.tree == new);
}

#[tokio::test]
async fn a_save_that_is_overtaken_stops() {
    let etcd = Etcd::start().await;
    let store = store_of(&etcd);
    let many = many("node");
    let key = "/orion/last_updated";
    // Another program, which does not know the lock, completes a save after the first transaction of ours.
    let mut client = etcd.client().await;
    let (tell, mut told) = mpsc::unbounded_channel();
    let on_progress = on_write(tell);
    let (saved, ()) = tokio::join!(store.save("orion", &many, on_progress), async {
        told.recv().await.unwrap();
        client.put(key, "1.0", None).await.unwrap();
    });
    assert!(matches!(saved, Err(StoreError::Overtaken { .. })), "{saved:?}");
    assert_eq!(client.get(key, None).await.unwrap().kvs()[0].value_str().unwrap(), "1.0");
    // The lock is free again at once.
    save(&store, "orion", &many).await;
    assert!(*load(&store, "orion").await.tree == many);
}

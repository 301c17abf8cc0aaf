//! The store against a real etcd.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what fails in a test fails the test")]

mod support;

use std::time::{Duration, Instant};

use etcd_client::{Client, CompactionOptions, GetOptions, PutOptions};
use maestro::store::{EtcdOptions, EtcdStore, Progress, SaveReport, Snapshot, StoreError, Tree, WatchEvent};
use support::etcd::Etcd;
use support::proxy::Proxy;
use support::{FreePort, eventually};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Long enough for any step of these tests on a busy machine; a step that takes it has failed.
const DEADLINE: Duration = Duration::from_secs(30);

fn store(endpoints: &[String]) -> EtcdStore {
    EtcdStore::new(&EtcdOptions { endpoints: endpoints.to_vec(), ..EtcdOptions::default() }).unwrap()
}

fn store_of(etcd: &Etcd) -> EtcdStore {
    store(&[etcd.endpoint()])
}

fn tree(entries: &[(&str, &str)]) -> Tree {
    entries.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
}

/// A cluster of two samplers, the second on the given host.
fn samplers(host: &str) -> Tree {
    tree(&[
        ("daemons/sampler-1/addr", "node-1"),
        ("daemons/sampler-1/endpoints/a/port", "411"),
        ("daemons/sampler-2/addr", host),
        ("daemons/sampler-2/endpoints/a/port", "411"),
        ("plugins/mém info/config", ""),
    ])
}

/// A configuration that takes many transactions to save.
fn many(host: &str) -> Tree {
    (0..3000).map(|i| (format!("daemons/{i}/addr"), host.to_owned())).collect()
}

async fn save(store: &EtcdStore, prefix: &str, tree: &Tree) -> SaveReport {
    store.save(prefix, tree, |_| {}).await.unwrap()
}

async fn load(store: &EtcdStore, prefix: &str) -> Snapshot {
    store.load(prefix).await.unwrap().expect("a configuration")
}

async fn mod_revision(client: &mut Client, key: &str) -> i64 {
    client.get(key, None).await.unwrap().kvs()[0].mod_revision()
}

async fn next(events: &mut mpsc::Receiver<WatchEvent>) -> WatchEvent {
    timeout(DEADLINE, events.recv()).await.expect("an event in time").expect("the watch goes on")
}

async fn next_change(events: &mut mpsc::Receiver<WatchEvent>) -> Snapshot {
    loop {
        if let WatchEvent::Changed(snapshot) = next(events).await {
            return snapshot;
        }
    }
}

/// What a save is to call so that each of its transactions is told.
fn on_write(tell: mpsc::UnboundedSender<()>) -> impl FnMut(Progress) + Send {
    move |progress| {
        if let Progress::Writing { .. } = progress {
            // Who is told may have heard enough.
            let _ = tell.send(());
        }
    }
}

/// Leaves a save of `orion` half way: the state that a `maestro_ctrl` leaves which dies in the middle.
async fn save_half(client: &mut Client) {
    client.put("/maestro/orion/unfinished-save", "", None).await.unwrap();
    client.put("/orion/daemons/sampler-2/addr", "node-77", None).await.unwrap();
}

/// Locks `orion` against saves, for a number of seconds.
async fn lock(client: &mut Client, seconds: i64) {
    let lease = client.lease_grant(seconds, None).await.unwrap().id();
    let options = PutOptions::new().with_lease(lease);
    client.put("/maestro/orion/save-lock", "process 4711 on node-9", Some(options)).await.unwrap();
}

async fn compact(client: &mut Client) {
    let now = client.get("/", None).await.unwrap().header().unwrap().revision();
    client.compact(now, Some(CompactionOptions::new().with_physical())).await.unwrap();
}

#[tokio::test]
async fn what_is_saved_is_loaded() {
    let etcd = Etcd::start().await;
    let store = store_of(&etcd);
    assert_eq!(store.load("orion").await.unwrap(), None);

    let saved = save(&store, "orion", &samplers("node-2")).await;
    assert_eq!(saved, SaveReport { added: 5, changed: 0, removed: 0, unchanged: 0, revision: saved.revision });
    assert_eq!(load(&store, "orion").await, Snapshot { tree: samplers("node-2"), revision: saved.revision });

    let mut client = etcd.client().await;
    let last_updated = client.get("/orion/last_updated", None).await.unwrap();
    let seconds: f64 = last_updated.kvs()[0].value_str().unwrap().parse().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - 60.0..=now).contains(&seconds), "{seconds}");
    assert_eq!(last_updated.kvs()[0].mod_revision(), saved.revision);
}

#[tokio::test]
async fn many_keys_are_read_page_by_page() {
    let etcd = Etcd::start().await;
    let store = store_of(&etcd);
    let mut large: Tree = (0..20_500).map(|i| (format!("daemons/sampler-{i}/addr"), format!("node-{i}"))).collect();
    large.insert("plugins/large".to_owned(), "x".repeat(1_200_000));
    let mut written = Vec::new();
    let on_progress = |progress| {
        if let Progress::Writing { done, total } = progress {
            assert_eq!(total, large.len());
            written.push(done);
        }
    };
    let saved = store.save("orion", &large, on_progress).await.unwrap();
    assert_eq!(saved.added, large.len());
    assert_eq!(written.last(), Some(&large.len()));
    assert!(written.is_sorted_by(|a, b| a < b), "{written:?}");
    assert!(load(&store, "orion").await.tree == large);

    let mut read = Vec::new();
    store.save("orion", &large, |progress| read.push(progress)).await.unwrap();
    let pages = [10_000, 20_000, large.len()].map(|keys| Progress::Reading { keys });
    assert_eq!(read, pages);
}

#[tokio::test]
async fn only_what_differs_is_written() {
    let etcd = Etcd::start().await;
    let store = store_of(&etcd);
    let first = save(&store, "orion", &samplers("node-2")).await;

    let mut second = samplers("node-3");
    second.remove("daemons/sampler-1/endpoints/a/port");
    second.insert("daemons/sampler-1/endpoints/b/port".to_owned(), "412".to_owned());
    let report = save(&store, "orion", &second).await;
    assert_eq!(report, SaveReport { added: 1, changed: 1, removed: 1, unchanged: 3, revision: report.revision });
    assert_eq!(load(&store, "orion").await.tree, second);

    let mut client = etcd.client().await;
    assert!(mod_revision(&mut client, "/orion/daemons/sampler-1/addr").await < first.revision);
    assert!(mod_revision(&mut client, "/orion/daemons/sampler-2/addr").await > first.revision);
}

#[tokio::test]
async fn saving_the_same_again_tells_nobody() {
    let etcd = Etcd::start().await;
    let store = store_of(&etcd);
    let first = save(&store, "orion", &samplers("node-2")).await;
    let second = save(&store, "orion", &samplers("node-2")).await;
    assert_eq!(second, SaveReport { unchanged: 5, added: 0, ..first });
    assert_eq!(mod_revision(&mut etcd.client().await, "/orion/last_updated").await, first.revision);
}

#[tokio::test]
async fn what_was_changed_by_hand_is_put_right_for_readers() {
    let etcd = Etcd::start().await;
    let store = store_of(&etcd);
    save(&store, "orion", &samplers("node-2")).await;
    // By hand, behind the back of maestro: readers still see the key.
    etcd.client().await.delete("/orion/daemons/sampler-2/addr", None).await.unwrap();
    let mut without = samplers("node-2");
    without.remove("daemons/sampler-2/addr");
    save(&store, "orion", &without).await;
    assert_eq!(load(&store, "orion").await.tree, without);
}

#[tokio::test]
async fn clusters_with_similar_names_are_kept_apart() {
    let etcd = Etcd::start().await;
    let store = store_of(&etcd);
    for prefix in ["et", "et2", "et-2", "e"] {
        save(&store, prefix, &samplers(prefix)).await;
    }
    save(&store, "et", &Tree::new()).await;
    assert_eq!(load(&store, "et").await.tree, Tree::new());
    for prefix in ["et2", "et-2", "e"] {
        assert_eq!(load(&store, prefix).await.tree, samplers(prefix), "{prefix}");
    }
}

#[tokio::test]
async fn clusters_are_listed_when_they_are_saved() {
    let etcd = Etcd::start().await;
    let store = store_of(&etcd);
    assert_eq!(store.clusters().await.unwrap(), Vec::<String>::new());
    for prefix in ["voltrino", "orion2", "orion"] {
        save(&store, prefix, &samplers("node-2")).await;
    }
    let mut client = etcd.client().await;
    for key in ["/", "/last_updated", "//last_updated", "/half/daemons/a/addr", "elsewhere", "/maestro/last_updated"] {
        client.put(key, "", None).await.unwrap();
    }
    client.put(b"/\xff/last_updated", "", None).await.unwrap();
    let clusters = timeout(DEADLINE, store.clusters()).await.expect("an end of the list");
    assert_eq!(clusters.unwrap(), ["orion", "orion2", "voltrino"]);
}

#[tokio::test]
async fn names_that_would_reach_into_other_keys_are_refused() {
    let etcd = Etcd::start().await;
    let store = store_of(&etcd);
    for prefix in ["", "maestro", "orion/daemons"] {
        let error = store.save(prefix, &Tree::new(), |_| {}).await.unwrap_err();
        assert!(matches!(error, StoreError::InvalidPrefix { .. }), "{prefix:?}: {error}");
    }
    let error = store.save("orion", &tree(&[("last_updated", "1")]), |_| {}).await.unwrap_err();
    assert!(matches!(error, StoreError::InvalidKey { .. }), "{error}");
}

#[tokio::test]
async fn a_half_saved_configuration_is_not_seen() {
    let etcd = Etcd::start().await;
    let store = store_of(&etcd);
    let saved = save(&store, "orion", &samplers("node-2")).await;
    save_half(&mut etcd.client().await).await;
    assert_eq!(load(&store, "orion").await, Snapshot { tree: samplers("node-2"), revision: saved.revision });
    // Saving again completes it, also when the dead save had written all that there was to write.
    save(&store, "orion", &samplers("node-77")).await;
    assert_eq!(load(&store, "orion").await.tree, samplers("node-77"));
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
async fn a_configuration_outlives_compaction() {
    let etcd = Etcd::start().await;
    let store = store_of(&etcd);
    let saved = save(&store, "orion", &samplers("node-2")).await;
    let mut client = etcd.client().await;
    client.put("/elsewhere", "", None).await.unwrap();
    compact(&mut client).await;
    assert_eq!(load(&store, "orion").await, Snapshot { tree: samplers("node-2"), revision: saved.revision });
    assert_eq!(save(&store, "orion", &samplers("node-2")).await.revision, saved.revision);
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
    assert_eq!(load(&store, "orion").await.tree, samplers("node-2"));
}

#[tokio::test]
async fn a_save_waits_for_another_one() {
    let etcd = Etcd::start().await;
    let store = store_of(&etcd);
    let (one, two) = (many("one"), many("two"));
    let (first, second) = tokio::join!(store.save("orion", &one, |_| {}), store.save("orion", &two, |_| {}));
    let (first, second) = (first.unwrap(), second.unwrap());
    let winner = if first.revision > second.revision { one } else { two };
    assert!(load(&store, "orion").await.tree == winner, "a mixture of two configurations");
}

#[tokio::test]
async fn a_save_takes_over_from_one_that_died() {
    let etcd = Etcd::start().await;
    // Somewhat longer than the lock of a save lasts that does not renew it, the waiting one's included.
    lock(&mut etcd.client().await, 11).await;
    let store = store_of(&etcd);
    save(&store, "orion", &samplers("node-2")).await;
    assert_eq!(load(&store, "orion").await.tree, samplers("node-2"));
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
    assert!(load(&store, "orion").await.tree == old, "a mixture of two configurations");
    let on_progress = |progress| assert!(!matches!(progress, Progress::Waiting { .. }), "the lock is still held");
    store.save("orion", &new, on_progress).await.unwrap();
    assert!(load(&store, "orion").await.tree == new);
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
    assert!(load(&store, "orion").await.tree == new);
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
    assert!(load(&store, "orion").await.tree == old, "a mixture of two configurations");
    save(&store, "orion", &new).await;
    assert!(load(&store, "orion").await.tree == new);
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
    assert!(load(&store, "orion").await.tree == many);
}

#[tokio::test]
async fn a_dead_member_and_a_silent_one_are_passed_over() {
    let etcd = Etcd::start().await;
    let dead = FreePort::reserve();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap().to_string();
    let store = store(&[dead.endpoint(), silent, etcd.endpoint()]);
    save(&store, "orion", &samplers("node-2")).await;
    assert_eq!(load(&store, "orion").await.tree, samplers("node-2"));
    assert_eq!(next_change(&mut store.watch("orion", None).unwrap()).await.tree, samplers("node-2"));
}

#[tokio::test]
async fn an_etcd_that_is_not_there_is_reported_with_all_its_members() {
    let (first, second) = (FreePort::reserve(), FreePort::reserve());
    let store = store(&[first.endpoint(), second.endpoint()]);
    let begin = Instant::now();
    let error = store.load("orion").await.unwrap_err();
    let expected = format!("etcd at {}, {} does not answer: connection refused", first.endpoint(), second.endpoint());
    assert_eq!(error.to_string(), expected);
    assert!(begin.elapsed() < DEADLINE);
}

#[tokio::test]
async fn an_etcd_that_is_silent_is_reported_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = store(&[listener.local_addr().unwrap().to_string()]);
    let loaded = timeout(DEADLINE, store.load("orion")).await.expect("an error in time");
    let error = loaded.unwrap_err().to_string();
    assert!(error.contains("does not answer: no answer within 2 s"), "{error}");
}

#[tokio::test]
async fn a_watch_tells_every_whole_configuration() {
    let etcd = Etcd::start().await;
    let store = store_of(&etcd);
    let mut events = store.watch("orion", None).unwrap();
    for host in ["node-2", "node-3"] {
        let saved = save(&store, "orion", &samplers(host)).await;
        let snapshot = Snapshot { tree: samplers(host), revision: saved.revision };
        assert_eq!(next(&mut events).await, WatchEvent::Changed(snapshot));
    }
    // Neither half a save nor another cluster is a change.
    save_half(&mut etcd.client().await).await;
    save(&store, "orion2", &samplers("node-9")).await;
    save(&store, "orion", &samplers("node-4")).await;
    assert_eq!(next_change(&mut events).await.tree, samplers("node-4"));
}

#[tokio::test]
async fn a_watch_does_not_repeat_what_its_owner_has_loaded() {
    let etcd = Etcd::start().await;
    let store = store_of(&etcd);
    save(&store, "orion", &samplers("node-2")).await;
    let loaded = load(&store, "orion").await;
    save(&store, "orion2", &samplers("node-2")).await;
    let mut events = store.watch("orion", Some(loaded.revision)).unwrap();
    save(&store, "orion", &samplers("node-3")).await;
    assert_eq!(next_change(&mut events).await.tree, samplers("node-3"));
}

#[tokio::test]
async fn a_watch_survives_a_restart_of_etcd() {
    let mut etcd = Etcd::start().await;
    let store = store_of(&etcd);
    save(&store, "orion", &samplers("node-2")).await;
    let mut events = store.watch("orion", None).unwrap();
    assert_eq!(next_change(&mut events).await.tree, samplers("node-2"));

    etcd.stop();
    let WatchEvent::Unavailable(reason) = next(&mut events).await else { panic!("an outage") };
    assert_eq!(reason, format!("etcd at {} does not answer: connection refused", etcd.endpoint()));
    etcd.restart().await;
    let saved = save(&store, "orion", &samplers("node-3")).await;
    assert_eq!(next(&mut events).await, WatchEvent::Available);
    let snapshot = Snapshot { tree: samplers("node-3"), revision: saved.revision };
    assert_eq!(next(&mut events).await, WatchEvent::Changed(snapshot));
}

#[tokio::test]
async fn a_watch_tells_what_changed_during_an_outage() {
    let etcd = Etcd::start().await;
    let mut network = Proxy::to(etcd.endpoint()).await;
    save(&store_of(&etcd), "orion", &samplers("node-2")).await;
    let mut events = store(&[network.endpoint()]).watch("orion", None).unwrap();
    assert_eq!(next_change(&mut events).await.tree, samplers("node-2"));

    network.cut().await;
    assert!(matches!(next(&mut events).await, WatchEvent::Unavailable(_)));
    for host in ["node-3", "node-4"] {
        save(&store_of(&etcd), "orion", &samplers(host)).await;
    }
    compact(&mut etcd.client().await).await;
    network.restore().await;
    assert_eq!(next(&mut events).await, WatchEvent::Available);
    assert_eq!(next_change(&mut events).await.tree, samplers("node-4"));
    save(&store_of(&etcd), "orion", &samplers("node-5")).await;
    assert_eq!(next_change(&mut events).await.tree, samplers("node-5"));
}

#[tokio::test]
async fn a_watch_notices_that_its_connection_went_silent() {
    let etcd = Etcd::start().await;
    let network = Proxy::to(etcd.endpoint()).await;
    save(&store_of(&etcd), "orion", &samplers("node-2")).await;
    let mut events = store(&[network.endpoint()]).watch("orion", None).unwrap();
    assert_eq!(next_change(&mut events).await.tree, samplers("node-2"));
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
        assert_eq!(next_change(&mut events).await.tree, samplers(&host));
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
async fn what_each_member_has_to_say_is_told() {
    let port = FreePort::reserve();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (dead, silent) = (port.endpoint(), listener.local_addr().unwrap().to_string());
    let error = store(&[dead.clone(), silent.clone()]).load("orion").await.unwrap_err().to_string();
    let expected =
        format!("etcd at {dead}, {silent} does not answer: {dead}: connection refused; {silent}: no answer within 2 s");
    assert_eq!(error, expected);
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

#[tokio::test]
async fn text_that_is_not_utf_8_is_an_error_that_names_the_key() {
    let etcd = Etcd::start().await;
    let store = store_of(&etcd);
    save(&store, "orion", &samplers("node-2")).await;
    let mut client = etcd.client().await;
    client.put("/orion/broken", [0xff, 0xfe], None).await.unwrap();
    client.put("/orion/last_updated", "1.0", None).await.unwrap();
    let error = store.load("orion").await.unwrap_err().to_string();
    assert!(error.contains("/orion/broken"), "{error}");
    assert_eq!(
        client.get("/orion/", Some(GetOptions::new().with_prefix().with_count_only())).await.unwrap().count(),
        7
    );
}

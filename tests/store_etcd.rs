//! The store against a real etcd.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what fails in a test fails the test")]

#[path = "store_etcd/members.rs"]
mod members;
#[path = "store_etcd/state.rs"]
mod state;
mod support;
#[path = "store_etcd/unfinished_saves.rs"]
mod unfinished_saves;
#[path = "store_etcd/watching.rs"]
mod watching;

use std::sync::Arc;
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
        if let WatchEvent::Changed { snapshot, .. } = next(events).await {
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
    assert_eq!(load(&store, "orion").await, Snapshot { tree: Arc::new(samplers("node-2")), revision: saved.revision });

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
    assert!(*load(&store, "orion").await.tree == large);

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
    assert_eq!(*load(&store, "orion").await.tree, second);

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
    assert_eq!(*load(&store, "orion").await.tree, without);
}

#[tokio::test]
async fn clusters_with_similar_names_are_kept_apart() {
    let etcd = Etcd::start().await;
    let store = store_of(&etcd);
    for prefix in ["et", "et2", "et-2", "e"] {
        save(&store, prefix, &samplers(prefix)).await;
    }
    save(&store, "et", &Tree::new()).await;
    assert_eq!(*load(&store, "et").await.tree, Tree::new());
    for prefix in ["et2", "et-2", "e"] {
        assert_eq!(*load(&store, prefix).await.tree, samplers(prefix), "{prefix}");
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
async fn a_configuration_outlives_compaction() {
    let etcd = Etcd::start().await;
    let store = store_of(&etcd);
    let saved = save(&store, "orion", &samplers("node-2")).await;
    let mut client = etcd.client().await;
    client.put("/elsewhere", "", None).await.unwrap();
    compact(&mut client).await;
    assert_eq!(load(&store, "orion").await, Snapshot { tree: Arc::new(samplers("node-2")), revision: saved.revision });
    assert_eq!(save(&store, "orion", &samplers("node-2")).await.revision, saved.revision);
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

//! What maestro keeps for itself, beside the configurations.

use maestro::store::{Guard, StateChanges, StateKey, StateKind, Terms};

use super::*;

fn daemon(name: &str) -> StateKey {
    StateKey { kind: StateKind::Daemons, name: name.to_owned(), part: None }
}

fn part(group: &str, part: u16) -> StateKey {
    StateKey { kind: StateKind::Producers, name: group.to_owned(), part: Some(part) }
}

fn changes(changes: &[(StateKey, Option<&str>)]) -> StateChanges {
    changes.iter().map(|(key, text)| (key.clone(), text.map(str::to_owned))).collect()
}

async fn write(store: &EtcdStore, prefix: &str, entries: &[(StateKey, Option<&str>)]) {
    store.state(prefix).unwrap().write(&changes(entries), &Terms::default()).await.unwrap();
}

async fn read(store: &EtcdStore, prefix: &str, kind: StateKind) -> Vec<(StateKey, String)> {
    store.state(prefix).unwrap().read(kind).await.unwrap().entries.into_iter().collect()
}

#[tokio::test]
async fn state_is_kept_by_cluster_kind_and_name() {
    let etcd = Etcd::start().await;
    let store = store_of(&etcd);
    write(&store, "orion", &[(daemon("a/b"), Some("1")), (daemon("c"), Some("2")), (part("g", 7), Some("3"))]).await;
    write(&store, "orion2", &[(daemon("c"), Some("4"))]).await;
    write(&store, "orion", &[(daemon("c"), None), (daemon("d"), None), (daemon("a/b"), Some("5"))]).await;
    assert_eq!(read(&store, "orion", StateKind::Daemons).await, [(daemon("a/b"), "5".to_owned())]);
    assert_eq!(read(&store, "orion", StateKind::Producers).await, [(part("g", 7), "3".to_owned())]);
    assert_eq!(read(&store, "orion2", StateKind::Daemons).await, [(daemon("c"), "4".to_owned())]);
    // The place is a promise to later versions.
    let mut client = etcd.client().await;
    for key in ["/maestro/orion/daemons/a%2Fb", "/maestro/orion/producers/g/007"] {
        assert_eq!(client.get(key, None).await.unwrap().count(), 1, "{key}");
    }
}

#[tokio::test]
async fn much_state_is_written_and_read_in_portions() {
    let etcd = Etcd::start().await;
    let store = store_of(&etcd);
    let many: StateChanges = (0..10_300).map(|n| (daemon(&format!("d{n}")), Some("x".repeat(300)))).collect();
    let mut state = store.state("orion").unwrap();
    state.write(&many, &Terms::default()).await.unwrap();
    let found = state.read(StateKind::Daemons).await.unwrap();
    assert_eq!(found.entries.len(), many.len());
    let now = etcd.client().await.get("/", None).await.unwrap().header().unwrap().revision();
    assert_eq!(found.revision, now);
}

#[tokio::test]
async fn configurations_and_state_do_not_disturb_each_other() {
    let etcd = Etcd::start().await;
    let store = store_of(&etcd);
    let first = save(&store, "orion", &samplers("node-2")).await;
    write(&store, "orion", &[(daemon("sampler-1"), Some("{}"))]).await;
    assert_eq!(load(&store, "orion").await, Snapshot { tree: Arc::new(samplers("node-2")), revision: first.revision });
    assert_eq!(store.clusters().await.unwrap(), ["orion"]);
    assert_eq!(save(&store, "orion", &samplers("node-2")).await.revision, first.revision);
    save(&store, "orion", &Tree::new()).await;
    assert_eq!(read(&store, "orion", StateKind::Daemons).await, [(daemon("sampler-1"), "{}".to_owned())]);
}

#[tokio::test]
async fn a_guard_keeps_out_whoever_no_longer_rules() {
    let etcd = Etcd::start().await;
    let store = store_of(&etcd);
    let mut client = etcd.client().await;
    let elected = client.put("/maestro/orion/ruler", "1", None).await.unwrap().header().unwrap().revision();
    let guard = Guard { key: "/maestro/orion/ruler".to_owned(), create_revision: elected };
    let guarded = Terms { guard: Some(guard), lease: None };
    let mut state = store.state("orion").unwrap();
    state.write(&changes(&[(daemon("a"), Some("1"))]), &guarded).await.unwrap();
    // Its key may be written again by itself: it is still the same.
    client.put("/maestro/orion/ruler", "2", None).await.unwrap();
    state.write(&changes(&[(daemon("b"), Some("1"))]), &guarded).await.unwrap();
    client.delete("/maestro/orion/ruler", None).await.unwrap();
    for _ in 0..2 {
        let refused = state.write(&changes(&[(daemon("a"), Some("2")), (daemon("b"), None)]), &guarded).await;
        assert!(matches!(refused, Err(StoreError::Superseded { .. })), "{refused:?}");
        client.put("/maestro/orion/ruler", "1", None).await.unwrap();
    }
    let kept = [(daemon("a"), "1".to_owned()), (daemon("b"), "1".to_owned())];
    assert_eq!(read(&store, "orion", StateKind::Daemons).await, kept);
}

#[tokio::test]
async fn state_goes_with_its_lease() {
    let etcd = Etcd::start().await;
    let store = store_of(&etcd);
    let mut client = etcd.client().await;
    let lease = client.lease_grant(60, None).await.unwrap().id();
    let leased = Terms { guard: None, lease: Some(lease) };
    store.state("orion").unwrap().write(&changes(&[(daemon("a"), Some("1"))]), &leased).await.unwrap();
    write(&store, "orion", &[(daemon("b"), Some("2"))]).await;
    assert_eq!(read(&store, "orion", StateKind::Daemons).await.len(), 2);
    client.lease_revoke(lease).await.unwrap();
    assert_eq!(read(&store, "orion", StateKind::Daemons).await, [(daemon("b"), "2".to_owned())]);
}

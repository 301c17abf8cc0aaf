//! The store against an etcd that wants to know who is asking.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what fails in a test fails the test")]

mod support;

use maestro::store::{EtcdOptions, EtcdStore, Login, StoreError, TlsFiles, Tree, WatchEvent};
use support::etcd::{Etcd, tls_file};

fn tree() -> Tree {
    Tree::from([("daemons/sampler-1/addr".to_owned(), "node-1".to_owned())])
}

fn with_tls(etcd: &Etcd, tls: Option<TlsFiles>) -> EtcdStore {
    EtcdStore::new(&EtcdOptions { endpoints: vec![etcd.endpoint()], tls, login: None }).unwrap()
}

fn with_login(etcd: &Etcd, login: Option<(&str, &str)>) -> EtcdStore {
    let login = login.map(|(user, password)| Login { user: user.to_owned(), password: password.to_owned() });
    EtcdStore::new(&EtcdOptions { endpoints: vec![etcd.endpoint()], tls: None, login }).unwrap()
}

#[tokio::test]
async fn a_member_that_talks_tls_is_reached_with_certificates() {
    let etcd = Etcd::start_with_tls().await;
    let identity = Some((tls_file("client.pem"), tls_file("client.key")));
    let store = with_tls(&etcd, Some(TlsFiles { ca: tls_file("ca.pem"), identity }));
    store.save("orion", &tree(), |_| {}).await.unwrap();
    assert_eq!(*store.load("orion").await.unwrap().expect("a configuration").tree, tree());
}

#[tokio::test]
async fn a_member_with_a_certificate_of_an_unknown_authority_is_not_trusted() {
    let etcd = Etcd::start_with_tls().await;
    let identity = Some((tls_file("client.pem"), tls_file("client.key")));
    let store = with_tls(&etcd, Some(TlsFiles { ca: tls_file("other-ca.pem"), identity }));
    let error = store.load("orion").await.unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
}

#[tokio::test]
async fn a_member_that_wants_a_certificate_gets_none() {
    let etcd = Etcd::start_with_tls().await;
    let store = with_tls(&etcd, Some(TlsFiles { ca: tls_file("ca.pem"), identity: None }));
    assert!(store.load("orion").await.is_err());
    let store = with_tls(&etcd, None);
    assert!(store.load("orion").await.is_err());
}

#[tokio::test]
async fn a_tls_file_that_cannot_be_used_is_named() {
    for (name, complaint) in [("missing.pem", "No such file"), ("README.md", "not in PEM format")] {
        let tls = Some(TlsFiles { ca: tls_file(name), identity: None });
        let error = EtcdStore::new(&EtcdOptions { endpoints: vec!["127.0.0.1:1".to_owned()], tls, login: None });
        let error = error.unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(complaint), "{error}");
    }
}

#[tokio::test]
async fn a_user_with_its_password_may_save_load_and_watch() {
    let etcd = Etcd::start_with_authentication().await;
    let store = with_login(&etcd, Some(("maestro", "opensesame")));
    let saved = store.save("orion", &tree(), |_| {}).await.unwrap();
    let snapshot = store.load("orion").await.unwrap().expect("a configuration");
    assert_eq!((&*snapshot.tree, snapshot.revision), (&tree(), saved.revision));
    let mut events = store.watch("orion", None).unwrap();
    assert!(matches!(events.recv().await, Some(WatchEvent::Changed { snapshot: told, .. }) if told == snapshot));
}

#[tokio::test]
async fn who_may_not_is_told_so() {
    let etcd = Etcd::start_with_authentication().await;
    for (login, complaint) in [
        (None, "user name is empty"),
        (Some(("maestro", "wrong")), "invalid user ID or password"),
        (Some(("nobody", "opensesame")), "invalid user ID or password"),
    ] {
        let error = with_login(&etcd, login).load("orion").await.unwrap_err();
        assert!(matches!(error, StoreError::Denied { .. }), "{error:?}");
        assert!(error.to_string().contains(complaint), "{error}");
    }
    let error = with_login(&etcd, Some(("maestro", "opensesame"))).load("orion2").await.unwrap_err();
    assert!(matches!(error, StoreError::Denied { .. }), "{error:?}");
    assert!(error.to_string().contains("permission denied"), "{error}");
}

#[tokio::test]
async fn a_login_that_etcd_does_not_ask_for_does_no_harm() {
    let etcd = Etcd::start().await;
    let store = with_login(&etcd, Some(("maestro", "opensesame")));
    assert_eq!(store.load("orion").await.unwrap(), None);
}

#[test]
fn the_password_is_not_shown() {
    let login = Some(Login { user: "maestro".to_owned(), password: "opensesame".to_owned() });
    let options = EtcdOptions { endpoints: vec!["127.0.0.1:1".to_owned()], tls: None, login };
    let store = EtcdStore::new(&options).unwrap();
    assert!(!format!("{store:?}{options:?}").contains("opensesame"));
}

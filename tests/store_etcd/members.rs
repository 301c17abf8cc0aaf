//! Members of etcd that do not answer.

use super::*;

#[tokio::test]
async fn a_dead_member_and_a_silent_one_are_passed_over() {
    let etcd = Etcd::start().await;
    let dead = FreePort::reserve();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap().to_string();
    let store = store(&[dead.endpoint(), silent, etcd.endpoint()]);
    save(&store, "orion", &samplers("node-2")).await;
    assert_eq!(*load(&store, "orion").await.tree, samplers("node-2"));
    assert_eq!(*next_change(&mut store.watch("orion", None).unwrap()).await.tree, samplers("node-2"));
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
async fn what_each_member_has_to_say_is_told() {
    let port = FreePort::reserve();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (dead, silent) = (port.endpoint(), listener.local_addr().unwrap().to_string());
    let error = store(&[dead.clone(), silent.clone()]).load("orion").await.unwrap_err().to_string();
    let expected =
        format!("etcd at {dead}, {silent} does not answer: {dead}: connection refused; {silent}: no answer within 2 s");
    assert_eq!(error, expected);
}

//! What members publish.

use std::collections::BTreeMap;

use etcd_client::GetOptions;

use super::*;

/// Waits until all that is published has been told; what was.
async fn all(membership: &mut Membership) -> BTreeMap<Topic, Value> {
    let mut told = BTreeMap::new();
    loop {
        match next(membership).await {
            Publication::Changed { topic, value: Some(value), .. } => drop(told.insert(topic, value)),
            Publication::Complete => return told,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_one_publishes_the_others_are_told() {
    let etcd = Etcd::start().await;
    let endpoints = [etcd.endpoint()];
    let first = join(&endpoints, 0);
    let since = life_of(&first).await;
    let mut second = join(&endpoints, 1);
    assert_eq!(all(&mut second).await, BTreeMap::new());

    let (up, down) = (json!({ "up": true }), json!({ "up": false }));
    first.publish(since, daemon("rack 1/node-1"), Some(up.clone()));
    let of_first = Some(members()[0].clone());
    assert_eq!(next_change(&mut second).await, (of_first.clone(), daemon("rack 1/node-1"), Some(up)));
    first.publish(since, daemon("rack 1/node-1"), Some(down.clone()));
    assert_eq!(next_change(&mut second).await, (of_first.clone(), daemon("rack 1/node-1"), Some(down.clone())));
    first.publish(since, group("agg"), Some(json!({ "number": 1 })));
    assert_eq!(next_change(&mut second).await, (None, group("agg"), Some(json!({ "number": 1 }))));

    // Who comes later is told what there is.
    let mut third = join(&endpoints, 2);
    let there = all(&mut third).await;
    assert_eq!(there, BTreeMap::from([(daemon("rack 1/node-1"), down), (group("agg"), json!({ "number": 1 }))]));

    // What is taken back, and what goes with its member.
    first.publish(since, daemon("sampler-1"), Some(json!({})));
    assert_eq!(next_change(&mut second).await, (of_first.clone(), daemon("sampler-1"), Some(json!({}))));
    first.publish(since, daemon("rack 1/node-1"), None);
    assert_eq!(next_change(&mut second).await, (of_first.clone(), daemon("rack 1/node-1"), None));
    first.resign().await;
    assert_eq!(next_change(&mut second).await, (of_first, daemon("sampler-1"), None));
    // What the leader has decided stays.
    assert_eq!(all(&mut join(&endpoints, 0)).await, BTreeMap::from([(group("agg"), json!({ "number": 1 }))]));
}

#[tokio::test]
async fn the_leader_is_told_of_its_own_plans_and_nobody_of_its_own_daemons() {
    let etcd = Etcd::start().await;
    let mut membership = join(&[etcd.endpoint()], 0);
    let since = life_of(&membership).await;
    membership.publish(since, daemon("sampler-1"), Some(json!({})));
    membership.publish(since, group("agg"), Some(json!({ "number": 1 })));
    assert_eq!(next_change(&mut membership).await.1, group("agg"));
    membership.publish(since, group("agg"), None);
    assert_eq!(next_change(&mut membership).await, (None, group("agg"), None));
}

#[tokio::test]
async fn a_large_plan_is_whole_and_a_small_change_of_it_is_a_small_write() {
    let etcd = Etcd::start().await;
    let writer = join(&[etcd.endpoint()], 0);
    let since = life_of(&writer).await;
    let mut reader = join(&[etcd.endpoint()], 1);
    // More than etcd takes in one request.
    let plan = |last: usize| {
        let owners =
            (0..30_000).map(|n| (format!("node-{}:10001", n * 7), json!(format!("aggregator-of-the-rack-{}", n % 12))));
        json!({ "owners": serde_json::Map::from_iter(owners.chain([("last".to_owned(), json!(last))])) })
    };
    let mut client = etcd.client().await;
    for number in 1..=3 {
        let before = client.get("x", None).await.unwrap().header().unwrap().revision();
        writer.publish(since, group("agg"), Some(plan(number)));
        let (_, _, told) = next_change(&mut reader).await;
        assert!(told == Some(plan(number)), "another plan than {number}");
        let options = GetOptions::new().with_prefix().with_keys_only();
        let keys = client.get("/maestro/orion/instances/placed/", Some(options)).await.unwrap();
        let written = keys.kvs().iter().filter(|key| key.mod_revision() > before).count();
        assert!(keys.kvs().len() > 100, "{}", keys.kvs().len());
        assert_eq!(written, if number == 1 { keys.kvs().len() } else { 2 });
    }
    // A shorter one leaves nothing of the longer behind.
    writer.publish(since, group("agg"), Some(json!({ "owners": {} })));
    assert_eq!(next_change(&mut reader).await.2, Some(json!({ "owners": {} })));
    let left = client.get("/maestro/orion/instances/placed/", Some(GetOptions::new().with_prefix())).await.unwrap();
    assert_eq!(left.kvs().len(), 1);
}

#[tokio::test]
async fn who_was_given_up_writes_nothing() {
    let etcd = Etcd::start().await;
    let deposed = join(&[etcd.endpoint()], 0);
    let since = life_of(&deposed).await;
    deposed.publish(since, group("agg"), Some(json!({ "number": 1 })));
    let mut reader = join(&[etcd.endpoint()], 1);
    assert_eq!(next_change(&mut reader).await.2, Some(json!({ "number": 1 })));

    let mut client = etcd.client().await;
    client.delete("/maestro/orion/instances/live/node-1:4411", None).await.unwrap();
    // It does not know yet: etcd refuses. Then it knows, and does not even try.
    deposed.publish(since, group("agg"), Some(json!({ "number": 2 })));
    let again = eventually("it lives again", DEADLINE, async || {
        let life = life_of(&deposed).await;
        (life != since).then_some(life)
    });
    let again = again.await;
    deposed.publish(since, group("agg"), Some(json!({ "number": 3 })));
    deposed.publish(again, group("other"), Some(json!({ "number": 4 })));
    assert_eq!(next_change(&mut reader).await, (None, group("other"), Some(json!({ "number": 4 }))));
    let kept = client.get("/maestro/orion/instances/placed/agg/head", None).await.unwrap();
    assert!(kept.kvs()[0].value_str().unwrap().contains("\"number\":1"), "{:?}", kept.kvs());
}

#[tokio::test]
async fn a_write_that_arrives_late_does_not_hide_what_follows() {
    let etcd = Etcd::start().await;
    let writer = join(&[etcd.endpoint()], 0);
    let since = life_of(&writer).await;
    let mut reader = join(&[etcd.endpoint()], 1);
    writer.publish(since, daemon("a"), Some(json!({ "n": 1 })));
    assert_eq!(next_change(&mut reader).await.2, Some(json!({ "n": 1 })));
    // As a write of ours would that a hanging member of etcd passes on: it changes the document, and counts.
    let mut client = etcd.client().await;
    let leftover = "/maestro/orion/instances/observed/node-1:4411/a/leftover";
    client.put(leftover, "{}", None).await.unwrap();
    client.put("/maestro/orion/instances/writing/node-1:4411", "", None).await.unwrap();
    writer.publish(since, daemon("a"), Some(json!({ "n": 2 })));
    assert_eq!(next_change(&mut reader).await.2, Some(json!({ "n": 2 })));
    assert_eq!(client.get(leftover, None).await.unwrap().kvs().len(), 0);
}

#[tokio::test]
async fn what_changes_during_an_outage_is_told_after_it() {
    let mut etcd = Etcd::start().await;
    let mut proxy = Proxy::to(etcd.endpoint()).await;
    let writer = join(&[etcd.endpoint()], 0);
    let since = life_of(&writer).await;
    writer.publish(since, daemon("a"), Some(json!({ "n": 1 })));
    writer.publish(since, daemon("b"), Some(json!({ "n": 1 })));
    let mut reader = join(&[proxy.endpoint()], 1);
    for _ in 0..2 {
        assert_eq!(next_change(&mut reader).await.2, Some(json!({ "n": 1 })));
    }
    proxy.cut().await;
    while !matches!(next(&mut reader).await, Publication::Interrupted { .. }) {}
    writer.publish(since, daemon("a"), Some(json!({ "n": 2 })));
    writer.publish(since, daemon("b"), None);
    let mut client = etcd.client().await;
    eventually("it is written", DEADLINE, async || {
        let b = client.get("/maestro/orion/instances/observed/node-1:4411/b/head", None).await.unwrap();
        b.kvs().is_empty().then_some(())
    })
    .await;
    proxy.restore().await;
    assert_eq!(next_change(&mut reader).await.1, daemon("a"));
    assert_eq!(next_change(&mut reader).await.1, daemon("b"));
    assert_eq!(next(&mut reader).await, Publication::Complete);

    // A restart of etcd shorter than the lease is none.
    etcd.restart().await;
    writer.publish(since, daemon("a"), Some(json!({ "n": 3 })));
    assert_eq!(next_change(&mut reader).await.2, Some(json!({ "n": 3 })));
}

#[tokio::test]
async fn what_is_said_of_thirty_thousand_daemons_comes_and_goes_within_seconds() {
    const DAEMONS: usize = 30_000;
    let etcd = Etcd::start().await;
    let writer = join(&[etcd.endpoint()], 0);
    let since = life_of(&writer).await;
    let mut reader = join(&[etcd.endpoint()], 1);
    all(&mut reader).await;
    let told = async |reader: &mut Membership, wanted: Option<Value>| {
        let mut told = std::collections::BTreeSet::new();
        while told.len() < DAEMONS {
            let (_, topic, value) = next_change(reader).await;
            assert_eq!(value, wanted);
            told.insert(topic);
        }
    };
    let begin = Instant::now();
    for number in 0..DAEMONS {
        writer.publish(since, daemon(&format!("sampler-{number}")), Some(json!({ "configured": true })));
    }
    told(&mut reader, Some(json!({ "configured": true }))).await;
    println!("{DAEMONS} daemons told in {:?}", begin.elapsed());
    assert_eq!(life_of(&writer).await, since, "it lost its place over it");
    let begin = Instant::now();
    writer.resign().await;
    told(&mut reader, None).await;
    println!("and gone in {:?}", begin.elapsed());
}

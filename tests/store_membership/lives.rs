//! Who is alive, and who leads.

use super::*;

const LEADER: Option<Role> = Some(Role::Leader);
const FOLLOWER: Option<Role> = Some(Role::Follower);
const SUSPENDED: Option<Role> = Some(Role::Suspended);

#[tokio::test]
async fn the_first_leads_and_who_returns_follows() {
    let etcd = Etcd::start().await;
    let endpoints = [etcd.endpoint()];
    let second = join(&endpoints, 1);
    until_roles(&[(1, &second)], &[SUSPENDED]).await;
    let first = join(&endpoints, 0);
    until_roles(&[(0, &first), (1, &second)], &[FOLLOWER, LEADER]).await;
    let third = join(&endpoints, 2);
    until_roles(&[(0, &first), (1, &second), (2, &third)], &[FOLLOWER, LEADER, FOLLOWER]).await;

    // Who resigns is gone at once, long before its lease runs out.
    let begin = Instant::now();
    second.resign().await;
    until_roles(&[(0, &first), (2, &third)], &[LEADER, FOLLOWER]).await;
    assert!(begin.elapsed() < LEASE / 2, "{:?}", begin.elapsed());

    let second = join(&endpoints, 1);
    until_roles(&[(0, &first), (1, &second), (2, &third)], &[LEADER, FOLLOWER, FOLLOWER]).await;

    // Who dies is gone with its lease, which etcd looks after twice a second.
    drop(first);
    let took = until_roles(&[(1, &second), (2, &third)], &[FOLLOWER, LEADER]).await;
    println!("replaced {took:?} after its death with a lease of {LEASE:?}");
    assert!(took > LEASE / 2 && took < LEASE * 3, "{took:?}");
}

#[tokio::test]
async fn the_place_of_a_member_is_taken_once() {
    let etcd = Etcd::start().await;
    let one = join(&[etcd.endpoint()], 0);
    let since = life_of(&one).await;
    let another = join(&[etcd.endpoint()], 0);
    let process = std::process::id().to_string();
    eventually("the other one waits", DEADLINE, async || match &*another.presence().borrow() {
        Presence::Absent { reason } => {
            let waits =
                reason.starts_with("another maestro is member node-1:4411 (process ") && reason.contains(&process);
            waits.then_some(())
        }
        presence => panic!("{presence:?}"),
    })
    .await;
    drop(one);
    assert!(life_of(&another).await > since);
}

#[tokio::test]
async fn who_is_given_up_begins_anew() {
    let etcd = Etcd::start().await;
    let membership = join(&[etcd.endpoint()], 0);
    let since = life_of(&membership).await;
    etcd.client().await.delete("/maestro/orion/instances/live/node-1:4411", None).await.unwrap();
    eventually("it has another life", DEADLINE, async || (life_of(&membership).await > since).then_some(())).await;
}

#[tokio::test]
async fn without_etcd_a_place_is_given_up_before_etcd_gives_it_to_another() {
    let etcd = Etcd::start().await;
    let mut proxy = Proxy::to(etcd.endpoint()).await;
    let first = join(&[proxy.endpoint()], 0);
    life_of(&first).await;
    let (second, third) = (join(&[etcd.endpoint()], 1), join(&[etcd.endpoint()], 2));
    let all = [(0, &first), (1, &second), (2, &third)];
    eventually("the first leads", DEADLINE, async || {
        (roles(&all)[0] == LEADER && !roles(&all).contains(&None)).then_some(())
    })
    .await;

    proxy.cut().await;
    // From here on at no moment two lead.
    eventually("another leads", DEADLINE, async || {
        let roles = roles(&all);
        let leaders = roles.iter().filter(|role| **role == LEADER).count();
        assert!(leaders <= 1, "{roles:?}");
        (leaders == 1 && roles[0].is_none()).then_some(())
    })
    .await;
    match &*first.presence().borrow() {
        Presence::Present { trouble: Some(trouble), .. } => assert!(trouble.contains("does not answer"), "{trouble}"),
        presence => panic!("{presence:?}"),
    }
    proxy.restore().await;
    eventually("it is back", DEADLINE, async || (roles(&all)[0] == FOLLOWER).then_some(())).await;
}

#[tokio::test]
async fn a_lost_member_of_etcd_costs_nobody_its_place() {
    let mut etcd = Etcd::start_cluster().await;
    let endpoints = etcd.each_ref().map(Etcd::endpoint);
    let first = join(&endpoints, 0);
    life_of(&first).await;
    let second = join(&endpoints, 1);
    let both = [(0, &first), (1, &second)];
    until_roles(&both, &[LEADER, FOLLOWER]).await;
    let lives = (life_of(&first).await, life_of(&second).await);
    for lost in &mut etcd {
        lost.stop();
        // Everybody goes on in the same life, at the latest when etcd has elected another leader.
        let (before, mut presence) = (Instant::now(), first.presence());
        eventually("it was renewed", DEADLINE, async || match &*presence.borrow_and_update() {
            Presence::Present { valid_until, .. } => (valid_until.into_std() > before + LEASE).then_some(()),
            absent => panic!("{absent:?}"),
        })
        .await;
        until_roles(&both, &[LEADER, FOLLOWER]).await;
        assert_eq!((life_of(&first).await, life_of(&second).await), lives);
        lost.restart().await;
    }
}

#[tokio::test]
async fn a_member_of_etcd_that_hangs_is_passed_over() {
    let etcd = Etcd::start_cluster().await;
    let endpoints = etcd.each_ref().map(Etcd::endpoint);
    let membership = join(&endpoints, 0);
    let since = life_of(&membership).await;
    etcd[0].signal("STOP");
    let begin = Instant::now();
    let renewed = eventually("it was renewed", DEADLINE, async || match &*membership.presence().borrow() {
        Presence::Present { valid_until, since_revision, .. } if valid_until.into_std() > begin + LEASE => {
            Some(*since_revision)
        }
        _ => None,
    });
    assert_eq!(renewed.await, since);
    etcd[0].signal("CONT");
}

#[tokio::test]
async fn a_majority_of_etcd_is_needed() {
    let mut etcd = Etcd::start_cluster().await;
    let membership = join(&etcd.each_ref().map(Etcd::endpoint), 0);
    life_of(&membership).await;
    etcd[1].stop();
    etcd[2].stop();
    until_roles(&[(0, &membership)], &[None]).await;
    etcd[1].start_again();
    until_roles(&[(0, &membership)], &[SUSPENDED]).await;
}

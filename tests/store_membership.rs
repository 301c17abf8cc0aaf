//! Several instances of maestro, as far as they meet in a real etcd.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what fails in a test fails the test")]

#[path = "store_membership/lives.rs"]
mod lives;
#[path = "store_membership/publications.rs"]
mod publications;
mod support;

use std::time::{Duration, Instant};

use maestro::members::{Role, role};
use maestro::notation::Name;
use maestro::store::{EtcdOptions, EtcdStore, Membership, Presence, Publication, Topic};
use serde_json::{Value, json};
use support::etcd::Etcd;
use support::eventually;
use support::proxy::Proxy;
use tokio::time::timeout;

/// Long enough for any step of these tests on a busy machine; a step that takes it has failed.
const DEADLINE: Duration = Duration::from_secs(30);

/// The shortest lease that etcd grants.
const LEASE: Duration = Duration::from_secs(2);

fn members() -> Vec<Name> {
    ["node-1:4411", "node-2:4411", "node-3:4411"].map(Name::from).to_vec()
}

fn join(endpoints: &[String], member: usize) -> Membership {
    let store = EtcdStore::new(&EtcdOptions { endpoints: endpoints.to_vec(), ..EtcdOptions::default() }).unwrap();
    store.join("orion", &members()[member], LEASE).unwrap()
}

/// The roles that some members see themselves in, by their places in the list of all.
fn roles(memberships: &[(usize, &Membership)]) -> Vec<Option<Role>> {
    let members = members();
    let seen = |(index, membership): &(usize, &Membership)| match &*membership.presence().borrow() {
        presence @ Presence::Present { live, .. } if presence.is_valid() => {
            Some(role(&members, live, &members[*index]))
        }
        _ => None,
    };
    memberships.iter().map(seen).collect()
}

/// Waits until members see themselves in these roles, and gives how long that took.
async fn until_roles(memberships: &[(usize, &Membership)], wanted: &[Option<Role>]) -> Duration {
    let begin = Instant::now();
    eventually(&format!("roles are {wanted:?}"), DEADLINE, async || (roles(memberships) == wanted).then_some(())).await;
    begin.elapsed()
}

/// When a member came to life.
async fn life_of(membership: &Membership) -> i64 {
    eventually("it is alive", DEADLINE, async || match &*membership.presence().borrow() {
        Presence::Present { since_revision, .. } => Some(*since_revision),
        Presence::Absent { .. } => None,
    })
    .await
}

async fn next(membership: &mut Membership) -> Publication {
    timeout(DEADLINE, membership.next_publication()).await.expect("a publication in time").expect("it goes on")
}

/// The next value that changes.
async fn next_change(membership: &mut Membership) -> (Option<Name>, Topic, Option<Value>) {
    loop {
        if let Publication::Changed { member, topic, value } = next(membership).await {
            return (member, topic, value);
        }
    }
}

fn daemon(name: &str) -> Topic {
    Topic::Daemon(name.into())
}

fn group(name: &str) -> Topic {
    Topic::Group(name.into())
}

//! What several instances of maestro share in etcd: who is alive, and what they publish.
//!
//! ```text
//! /maestro/PREFIX/instances/live/HOST:PORT                      who is alive, on the member's lease
//! /maestro/PREFIX/instances/observed/HOST:PORT/DAEMON/PART      what it says of a daemon, on the same lease
//! /maestro/PREFIX/instances/itself/HOST:PORT/PART               what it says of itself, on the same lease
//! /maestro/PREFIX/instances/placed/GROUP/PART                   what the leader has decided for a group
//! /maestro/PREFIX/instances/writing/HOST:PORT                   orders what it writes, on the same lease
//! ```
//!
//! A member that dies takes what it said along. Every write is a transaction that holds only while the writer's key
//! under `live` is the one that it made: who has been given up by etcd can write nothing, and neither can a leader that
//! is replaced, since another member leads only when that key is gone.
//!
//! - `keeper`: the lease, and who else is alive.
//! - `follow`: what the others publish.
//! - `publish`: what we publish.

mod follow;
mod keeper;
mod publish;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use self::keeper::Keeper;
use self::publish::Publisher;
use super::connection::Members;
use super::state::Guard;
use crate::members::LiveMember;
use crate::notation::Name;
use crate::store::keys::ClusterKeys;

/// How long etcd may take to be told that we leave; without an answer, our lease runs out.
const RESIGN_DEADLINE: Duration = Duration::from_secs(1);

/// Publications that wait for their reader, at most.
const PUBLICATIONS_WAITING: usize = 1024;

/// Whether etcd counts us among the living.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// It does not, or we do not know.
    Absent {
        /// Why; nothing before the first try.
        reason: String,
    },
    /// It does.
    Present {
        /// Our place in the order in which members came to life, another one each time.
        since_revision: i64,
        /// Until when nobody else can have taken our place. It is put off again and again.
        valid_until: Instant,
        /// Who is alive, we among them.
        live: Vec<LiveMember>,
        /// Why the validity could not be put off when it was last tried.
        trouble: Option<String>,
    },
}

impl Presence {
    /// Whether nobody else can have taken our place up to now.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        matches!(self, Presence::Present { valid_until, .. } if Instant::now() < *valid_until)
    }
}

/// What something published is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// A group, of which the leader publishes what it has decided.
    Group(Name),
    /// A member, which publishes something of itself.
    Member(Name),
    /// A daemon, of which its member publishes what it sees.
    Daemon(Name),
}

impl Topic {
    fn name(&self) -> &Name {
        match self {
            Topic::Group(name) | Topic::Member(name) | Topic::Daemon(name) => name,
        }
    }

    /// Whether it is for as long as its member lives.
    fn is_leased(&self) -> bool {
        !matches!(self, Topic::Group(_))
    }
}

/// What kind of topic a document is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Kind {
    #[default]
    Group,
    Member,
    Daemon,
}

impl Kind {
    fn of(self, name: Name) -> Topic {
        match self {
            Kind::Group => Topic::Group(name),
            Kind::Member => Topic::Member(name),
            Kind::Daemon => Topic::Daemon(name),
        }
    }
}

/// News of what is published.
#[derive(Debug, Clone, PartialEq)]
pub enum Publication {
    /// A value is another one.
    Changed {
        /// The member whose it is; none of what the leader publishes.
        member: Option<Name>,
        /// What it is about.
        topic: Topic,
        /// The value, a JSON object; `None` when it is gone.
        value: Option<Value>,
    },
    /// All that is published has been told.
    Complete,
    /// The rest may have changed meanwhile, until it is complete again.
    Interrupted {
        /// Why.
        reason: String,
    },
}

/// Our place among the instances. When this is dropped, our lease runs out.
#[derive(Debug)]
pub struct Membership {
    live_key: String,
    presence: watch::Receiver<Presence>,
    publications: mpsc::Receiver<Publication>,
    publisher: mpsc::UnboundedSender<publish::Order>,
    resign: Arc<Notify>,
    keeper: JoinHandle<()>,
    others: [JoinHandle<()>; 2],
}

impl Membership {
    /// Takes the place of a member, as soon as etcd lets it. Needs a running tokio runtime.
    pub(super) fn join(members: &Arc<Members>, keys: ClusterKeys, me: &Name, lease: Duration) -> Membership {
        let own = Own { keys, me: me.clone() };
        let live_key = own.live_key();
        let (presence_sender, presence) = watch::channel(Presence::Absent { reason: String::new() });
        let (publication_sender, publications) = mpsc::channel(PUBLICATIONS_WAITING);
        let (publisher, orders) = mpsc::unbounded_channel();
        let (resign, look) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let keeper = Keeper::new(members, own.clone(), lease, presence_sender, look.clone());
        let leases = keeper.leases();
        let follow = follow::Follower::new(members, own.clone(), look, leases.clone(), publication_sender);
        let publish = Publisher::new(members, own, leases, orders);
        Membership {
            live_key,
            presence,
            publications,
            publisher,
            resign: resign.clone(),
            keeper: tokio::spawn(keeper.run(resign)),
            others: [tokio::spawn(follow.run()), tokio::spawn(publish.run())],
        }
    }

    /// Whether we are alive, and who else is.
    #[must_use]
    pub fn presence(&self) -> watch::Receiver<Presence> {
        self.presence.clone()
    }

    /// What holds as long as we are alive since that revision: for what we write elsewhere.
    #[must_use]
    pub fn guard(&self, since_revision: i64) -> Guard {
        Guard { key: self.live_key.clone(), create_revision: since_revision }
    }

    /// Waits for the next publication of somebody else, or of the leader whoever that is.
    pub async fn next_publication(&mut self) -> Option<Publication> {
        self.publications.recv().await
    }

    /// Publishes a JSON object in place of what was published on a topic, or takes that back: as the member that came
    /// to life at `since_revision`, or not at all. What is overtaken by a later value may never be written.
    pub fn publish(&self, since_revision: i64, topic: Topic, value: Option<Value>) {
        // It ends with this.
        let _ = self.publisher.send(publish::Order { since_revision, topic, value });
    }

    /// Gives up our place, so that the others know at once.
    pub async fn resign(mut self) {
        self.resign.notify_one();
        if timeout(RESIGN_DEADLINE, &mut self.keeper).await.is_err() {
            tracing::debug!("our place among the maestro members is left to expire: etcd does not answer");
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.keeper.abort();
        self.others.iter().for_each(JoinHandle::abort);
    }
}

/// Our keys.
#[derive(Debug, Clone)]
struct Own {
    keys: ClusterKeys,
    me: Name,
}

/// What a key under `/maestro/PREFIX/instances/` is for.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    /// A member is alive.
    Live(&'a str),
    /// A part of a document: what comes before its id, and the member whose it is, if any.
    Part { document: &'a str, kind: Kind, member: Option<&'a str>, id: &'a str },
}

impl Own {
    fn live_root(&self) -> String {
        format!("{}live/", self.keys.instances())
    }

    fn live_key(&self) -> String {
        format!("{}{}", self.live_root(), self.me)
    }

    /// The key that our last transaction has written.
    fn last_write_key(&self) -> String {
        format!("{}writing/{}", self.keys.instances(), self.me)
    }

    /// What the keys of a document begin with, with the closing slash.
    fn document(&self, topic: &Topic) -> String {
        let instances = self.keys.instances();
        match topic {
            Topic::Group(name) => format!("{instances}placed/{}/", name.file_stem()),
            Topic::Member(name) => format!("{instances}itself/{name}/"),
            Topic::Daemon(name) => format!("{instances}observed/{}/{}/", self.me, name.file_stem()),
        }
    }

    /// None of a key that maestro would not have written.
    fn place<'a>(&self, key: &'a str) -> Option<Place<'a>> {
        let rest = key.strip_prefix(&self.keys.instances())?;
        let steps: Vec<&str> = rest.split('/').collect();
        let (kind, member, id) = match *steps.as_slice() {
            ["live", member] => return Some(Place::Live(member)),
            ["itself", member, id] => (Kind::Member, Some(member), id),
            ["observed", member, _, id] => (Kind::Daemon, Some(member), id),
            ["placed", _, id] => (Kind::Group, None, id),
            _ => return None,
        };
        Some(Place::Part { document: key.strip_suffix(id)?, kind, member, id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_what_it_is_for() {
        let own = Own { keys: ClusterKeys::new("orion").unwrap(), me: "node-1:4411".into() };
        let live = own.live_key();
        assert_eq!(live, "/maestro/orion/instances/live/node-1:4411");
        assert_eq!(own.place(&live), Some(Place::Live("node-1:4411")));
        let me = Some("node-1:4411");
        for (topic, kind, member, document) in [
            (Topic::Group("agg/1".into()), Kind::Group, None, "/maestro/orion/instances/placed/agg%2F1/"),
            (Topic::Member(own.me.clone()), Kind::Member, me, "/maestro/orion/instances/itself/node-1:4411/"),
            (Topic::Daemon("s-1".into()), Kind::Daemon, me, "/maestro/orion/instances/observed/node-1:4411/s-1/"),
        ] {
            assert_eq!(own.document(&topic), document);
            let key = format!("{document}head");
            assert_eq!(own.place(&key), Some(Place::Part { document, kind, member, id: "head" }));
            assert_eq!(kind.of(topic.name().clone()), topic);
        }
        for key in
            ["/maestro/orion/instances/live/a/b", "/maestro/orion2/instances/live/a", "/maestro/orion/instances/x"]
        {
            assert_eq!(own.place(key), None, "{key}");
        }
    }
}

//! Whether we can reach our daemons at all.
//!
//! Where a network fails between us and all of our daemons, they look dead and are not, and others may well reach them.
//! So a member that reaches none of its daemons says so, and gets none as long as anybody else reaches some.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rand::seq::IndexedRandom;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use crate::conductor::Event;
use crate::notation::Name;

/// One daemon that is down says nothing of the network.
const FEWEST_DAEMONS: usize = 2;

/// How often a daemon is tried while we have none, and how often in succession that has to succeed.
const TRY_INTERVAL: Duration = Duration::from_secs(2);
const SUCCESSES: u32 = 3;
const TRY_DEADLINE: Duration = Duration::from_secs(2);

/// What we know of our way to the daemons.
#[derive(Debug, Default)]
pub(super) struct Sight {
    unreachable: BTreeSet<Name>,
    is_blind: bool,
    trying: Option<Trying>,
    succeeded: Arc<Notify>,
}

#[derive(Debug)]
struct Trying(AbortHandle);

impl Drop for Trying {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Sight {
    /// Takes note of a daemon that was reached or was not.
    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::Up { daemon, .. } => drop(self.unreachable.remove(daemon)),
            Event::Down { daemon, .. } => drop(self.unreachable.insert(daemon.clone())),
            _ => {}
        }
    }

    /// We have these daemons from now on.
    pub(super) fn have(&mut self, mine: &BTreeSet<Name>) {
        self.unreachable.retain(|daemon| mine.contains(daemon));
    }

    /// Whether we reach none of our daemons. Without any, it is as it was.
    pub(super) fn is_blind(&mut self, mine: &BTreeSet<Name>) -> bool {
        if !mine.is_empty() {
            self.is_blind = mine.len() >= FEWEST_DAEMONS && self.unreachable.len() == mine.len();
        }
        self.is_blind
    }

    /// How many of our daemons cannot be reached.
    pub(super) fn unreachable(&self, mine: &BTreeSet<Name>) -> usize {
        self.unreachable.intersection(mine).count()
    }

    /// Tries to reach some of these hosts and ports from now on.
    pub(super) fn try_some(&mut self, targets: Vec<(String, u16)>) {
        let task = tokio::spawn(keep_trying(targets, self.succeeded.clone()));
        self.trying = Some(Trying(task.abort_handle()));
    }

    /// Whether it is being tried.
    pub(super) fn is_trying(&self) -> bool {
        self.trying.is_some()
    }

    /// There is no need to try any more.
    pub(super) fn stop_trying(&mut self) {
        self.trying = None;
    }

    /// Resolves when it has succeeded for some time.
    pub(super) async fn succeeded(&self) {
        self.succeeded.notified().await;
    }

    /// It has.
    pub(super) fn see_again(&mut self) {
        self.is_blind = false;
        self.unreachable.clear();
        self.trying = None;
    }
}

async fn keep_trying(targets: Vec<(String, u16)>, succeeded: Arc<Notify>) {
    let mut successes = 0;
    while successes < SUCCESSES {
        sleep(TRY_INTERVAL).await;
        let target = targets.choose(&mut rand::rng()).cloned();
        let Some((host, port)) = target else { return };
        let connected = timeout(TRY_DEADLINE, TcpStream::connect((host, port))).await;
        successes = if matches!(connected, Ok(Ok(_))) { successes + 1 } else { 0 };
    }
    succeeded.notify_one();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conductor::DownReason;

    fn down(daemon: &str) -> Event {
        Event::Down { daemon: daemon.into(), reason: DownReason::Silent("test".into()) }
    }

    #[test]
    fn who_reaches_none_of_several_daemons_is_blind() {
        let mine: BTreeSet<Name> = ["a", "b"].map(Name::from).into();
        let mut sight = Sight::default();
        assert!(!sight.is_blind(&mine));
        sight.note(&down("a"));
        assert!(!sight.is_blind(&mine));
        sight.note(&down("b"));
        assert!(sight.is_blind(&mine));
        // They go to others, and nothing is known until a try succeeds.
        sight.have(&BTreeSet::new());
        assert!(sight.is_blind(&BTreeSet::new()));
        sight.see_again();
        assert!(!sight.is_blind(&mine));
        // One daemon may just be down.
        sight.note(&down("a"));
        assert!(!sight.is_blind(&["a"].map(Name::from).into()));
    }
}

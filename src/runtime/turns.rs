//! In which order agents ask and send. Where thousands of samplers are changed at once, the changes go out before
//! anybody asks what has become of them: a change is waited for, the look after it is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

/// Samplers that are looked at after a change at the same time.
const LOOKING_AT_ONCE: usize = 64;
/// A daemon that hangs delays nobody's look for longer than this.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// The turns of all agents.
#[derive(Debug)]
pub(super) struct Turns {
    unanswered: AtomicUsize,
    all_answered: Notify,
    looking: Semaphore,
}

/// Changes that have been handed to an agent, until the daemon has answered them or will not.
#[derive(Debug)]
pub(super) struct Unanswered(Arc<Turns>);

impl Drop for Unanswered {
    fn drop(&mut self) {
        if self.0.unanswered.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.all_answered.notify_waiters();
        }
    }
}

impl Turns {
    pub(super) fn new() -> Arc<Turns> {
        let looking = Semaphore::new(LOOKING_AT_ONCE);
        Arc::new(Turns { unanswered: AtomicUsize::new(0), all_answered: Notify::new(), looking })
    }

    /// Changes are on their way to a daemon.
    pub(super) fn send(self: &Arc<Turns>) -> Unanswered {
        self.unanswered.fetch_add(1, Ordering::AcqRel);
        Unanswered(Arc::clone(self))
    }

    /// Waits until it is time to look at a daemon that has been changed: when no changes are unanswered any more and few
    /// others look. Not for long; who has waited long enough needs no turn.
    pub(super) async fn look(&self) -> Option<SemaphorePermit<'_>> {
        let turn = async {
            loop {
                let answered = self.all_answered.notified();
                if self.unanswered.load(Ordering::Acquire) == 0 {
                    break;
                }
                answered.await;
            }
            self.looking.acquire().await.ok()
        };
        timeout_at(Instant::now() + LONGEST_WAIT, turn).await.ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Future, poll_fn};
    use std::pin::Pin;
    use std::task::Poll;

    use super::*;

    /// What a future is ready with without any waiting.
    async fn at_once<T>(mut future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    #[tokio::test]
    async fn who_looks_lets_all_changes_go_first() {
        let turns = Turns::new();
        let (one, other) = (turns.send(), turns.send());
        let look = turns.look();
        tokio::pin!(look);
        assert!(at_once(look.as_mut()).await.is_none());
        drop(one);
        assert!(at_once(look.as_mut()).await.is_none(), "another change is unanswered");
        drop(other);
        assert!(at_once(look).await.flatten().is_some());
    }

    #[tokio::test]
    async fn few_look_at_once() {
        let turns = Turns::new();
        let mut looking = Vec::new();
        for _ in 0..LOOKING_AT_ONCE {
            looking.extend(turns.look().await);
        }
        let next = turns.look();
        tokio::pin!(next);
        assert!(at_once(next.as_mut()).await.is_none());
        looking.pop();
        assert!(at_once(next).await.flatten().is_some());
    }

    #[tokio::test]
    async fn a_daemon_that_never_answers_delays_no_look_for_long() {
        let turns = Turns::new();
        let _hanging = turns.send();
        assert!(turns.look().await.is_none(), "without a turn, but not for ever");
    }
}

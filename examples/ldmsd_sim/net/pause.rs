//! Whether a daemon hangs.

use tokio::sync::watch;

/// How the tasks of a daemon learn that it hangs.
#[derive(Debug, Clone)]
pub(super) struct Pause(watch::Receiver<bool>);

impl Pause {
    /// A switch, off, and what its tasks look at.
    pub(super) fn new() -> (watch::Sender<bool>, Pause) {
        let (switch, state) = watch::channel(false);
        (switch, Pause(state))
    }

    /// Waits until the daemon hangs; for ever when it has ended.
    pub(super) async fn begins(&mut self) {
        if self.0.wait_for(|paused| *paused).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until the daemon does not hang; whether it still is there.
    pub(super) async fn ends(&mut self) -> bool {
        self.0.wait_for(|paused| !paused).await.is_ok()
    }
}

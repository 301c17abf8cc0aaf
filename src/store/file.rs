//! Following a file, for running without etcd.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

/// How often the file is looked at. It is read each time: a configuration is small, and times of modification are
/// coarse on some file systems.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What there is to tell of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileEvent {
    /// The text of the file is another one; all of it.
    Changed(String),
    /// The file cannot be read, for this reason. Told once; the file is looked at again and again.
    Unreadable(String),
}

/// Follows a file until the receiver is dropped. The first event is how the file is now; after it, a change is told
/// when two looks, a second apart, have seen the same: an editor may be in the middle of writing.
///
/// Needs a running tokio runtime.
#[must_use]
pub fn watch_file(path: impl Into<PathBuf>) -> mpsc::Receiver<FileEvent> {
    watch_file_every(LOOK_INTERVAL, path.into())
}

fn watch_file_every(period: Duration, path: PathBuf) -> mpsc::Receiver<FileEvent> {
    let (events, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut looks = Looks::default();
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = events.closed() => return,
                _ = ticks.tick() => {}
            }
            if let Some(event) = looks.news(look(&path).await)
                && events.send(event).await.is_err()
            {
                return;
            }
        }
    });
    receiver
}

async fn look(path: &Path) -> FileEvent {
    match tokio::fs::read_to_string(path).await {
        Ok(text) => FileEvent::Changed(text),
        Err(error) => FileEvent::Unreadable(format!("cannot read {}: {error}", path.display())),
    }
}

/// What successive looks at a file have seen.
#[derive(Debug, Default)]
struct Looks {
    /// What the receiver was told last.
    told: Option<FileEvent>,
    /// What the last look saw.
    last: Option<FileEvent>,
}

impl Looks {
    /// Whether there is something to tell after a look that saw `now`.
    fn news(&mut self, now: FileEvent) -> Option<FileEvent> {
        let is_first = self.told.is_none();
        let is_settled = self.last.as_ref() == Some(&now);
        let is_known = self.told.as_ref() == Some(&now);
        self.last = Some(now.clone());
        if is_known || !(is_first || is_settled) {
            return None;
        }
        self.told = Some(now.clone());
        Some(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> FileEvent {
        FileEvent::Changed(text.to_owned())
    }

    fn missing() -> FileEvent {
        FileEvent::Unreadable("no such file".to_owned())
    }

    /// What is told after each of a number of looks.
    fn told(looks: &[FileEvent]) -> Vec<Option<FileEvent>> {
        let mut state = Looks::default();
        looks.iter().map(|look| state.news(look.clone())).collect()
    }

    #[test]
    fn the_first_look_is_told_at_once() {
        assert_eq!(told(&[text("a"), text("a")]), [Some(text("a")), None]);
        assert_eq!(told(&[missing(), missing()]), [Some(missing()), None]);
    }

    #[test]
    fn a_change_is_told_once_it_is_settled() {
        let looks = [text("a"), text("a b"), text("a b c"), text("a b c"), text("a b c")];
        assert_eq!(told(&looks), [Some(text("a")), None, None, Some(text("a b c")), None]);
    }

    #[test]
    fn a_file_that_is_replaced_is_not_missing() {
        assert_eq!(told(&[text("a"), missing(), text("a"), text("a")]), [Some(text("a")), None, None, None]);
    }

    #[test]
    fn a_file_that_comes_back_is_told() {
        let looks = [text("a"), missing(), missing(), text("a"), text("a")];
        assert_eq!(told(&looks), [Some(text("a")), None, Some(missing()), None, Some(text("a"))]);
    }

    #[tokio::test]
    async fn follows_a_file_on_disk() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cluster.yaml");
        let mut events = watch_file_every(Duration::from_millis(5), path.clone());
        assert!(matches!(events.recv().await, Some(FileEvent::Unreadable(reason)) if reason.contains("cluster.yaml")));
        std::fs::write(&path, "daemons:\n").unwrap();
        assert_eq!(events.recv().await, Some(text("daemons:\n")));
        std::fs::write(&path, "daemons: []\n").unwrap();
        assert_eq!(events.recv().await, Some(text("daemons: []\n")));
    }
}

//! What an operator at a terminal sees of work that lasts.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::store::Progress;

/// What is done sooner than this needs no progress bar.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often the clock of the bar is drawn anew: that is what is seen while etcd does not answer.
const TICK: Duration = Duration::from_millis(100);

/// The line while nobody knows how much there is to do.
const WITHOUT_END: &str = "{spinner} {msg} ({elapsed})";

/// The line while the end is in sight.
const WITH_END: &str = "{spinner} {msg} [{bar:30}] {percent}% ({elapsed}, {eta} to go)";

/// A line on standard error, where that is a terminal: what is being done, since when, and how far it is.
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn new() -> Bar {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        bar.set_message("talking to etcd");
        Bar(bar.with_style(style(WITHOUT_END)))
    }

    /// Runs the work, with the bar in sight once it has lasted for a while.
    pub(super) async fn shown_if_it_lasts<T>(&self, work: impl Future<Output = T>) -> T {
        let appear = async {
            tokio::time::sleep(PATIENCE).await;
            self.0.set_draw_target(ProgressDrawTarget::stderr());
            self.0.enable_steady_tick(TICK);
            std::future::pending::<T>().await
        };
        let result = tokio::select! {
            result = work => result,
            result = appear => result,
        };
        self.0.finish_and_clear();
        result
    }

    pub(super) fn show(&self, progress: &Progress) {
        let (message, part) = describe(progress);
        self.0.set_message(message);
        let Some((done, total)) = part else { return };
        if self.0.length() != Some(total) {
            self.0.set_style(style(WITH_END));
            self.0.set_length(total);
        }
        self.0.set_position(done);
    }
}

/// What the line says, and which part of the whole is done where that is known.
fn describe(progress: &Progress) -> (String, Option<(u64, u64)>) {
    match progress {
        Progress::Waiting { owner } => (format!("waiting for another maestro_ctrl ({owner})"), None),
        Progress::Reading { keys } => (format!("reading what etcd holds: {keys} keys"), None),
        Progress::Writing { done, total } => {
            (format!("writing {done} of {total} keys"), Some((*done as u64, *total as u64)))
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_being_done_and_how_far_it_is() {
        let waiting = Progress::Waiting { owner: "process 4711 on node-9".to_owned() };
        assert_eq!(describe(&waiting), ("waiting for another maestro_ctrl (process 4711 on node-9)".to_owned(), None));
        let reading = Progress::Reading { keys: 20_000 };
        assert_eq!(describe(&reading), ("reading what etcd holds: 20000 keys".to_owned(), None));
        let writing = Progress::Writing { done: 128, total: 512 };
        assert_eq!(describe(&writing), ("writing 128 of 512 keys".to_owned(), Some((128, 512))));
    }

    #[test]
    fn every_form_of_the_line_is_one_that_the_library_knows() {
        let bar = Bar::new();
        bar.show(&Progress::Writing { done: 128, total: 512 });
        assert_eq!((bar.0.position(), bar.0.length()), (128, Some(512)));
        for template in [WITHOUT_END, WITH_END] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}

//! The tasks around the conductor: connections, configuration source, clock, signals. They decide nothing.
//!
//! - `agent`: one task for each daemon: connects, probes, observes, sends what it is given.
//! - `inquiry`: what a daemon is asked about itself and how its answers are read, without a socket.
//! - `source`: where the configuration comes from, etcd or a file.

mod agent;
pub mod inquiry;
mod source;

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tracing::{debug, info, warn};

pub use agent::AgentSettings;
pub use source::{ConfigEvent, from_etcd, from_file, read_from_etcd};

use crate::conductor::{Action, Conductor, Event, Notice, Now, Settings, Severity};
use crate::notation::Name;

/// Events that wait for the conductor, at most; agents wait beyond that.
const EVENTS_WAITING: usize = 1024;

/// Keeps the cluster as its configuration says, until `stop` resolves.
///
/// Every ldmsd is left as it is when this returns: data go on flowing without maestro.
pub async fn run(
    mut configurations: mpsc::Receiver<ConfigEvent>,
    conductor: Settings,
    agents: AgentSettings,
    stop: impl Future<Output = ()>,
) {
    let (events, mut incoming) = mpsc::channel(EVENTS_WAITING);
    let mut conductor = Conductor::new(conductor);
    let mut running: BTreeMap<Name, agent::Handle> = BTreeMap::new();
    let clock = Clock::new();
    tokio::pin!(stop);
    loop {
        let event = tokio::select! {
            () = &mut stop => break,
            Some(configuration) = configurations.recv() => match configuration {
                ConfigEvent::Changed(cluster) => Event::Configured(cluster),
                ConfigEvent::Trouble(text) => {
                    warn!("{text}");
                    continue;
                }
                ConfigEvent::TroubleOver(text) => {
                    info!("{text}");
                    continue;
                }
            },
            Some(event) = incoming.recv() => event,
            () = clock.sleep_until(conductor.next_wake_us()) => Event::Wake,
        };
        for action in conductor.handle(event, clock.now()) {
            match action {
                Action::Connect(target) => {
                    let name = target.daemon.clone();
                    // The former agent of the name, if any, ends with its handle.
                    running.insert(name, agent::Handle::start(target, agents.clone(), events.clone()));
                }
                Action::Attend { daemon, sections } => {
                    if let Some(agent) = running.get(&daemon) {
                        agent.attend(sections);
                    }
                }
                Action::Forget(name) => {
                    running.remove(&name);
                }
                Action::Run { daemon, session, changes, scope } => {
                    for change in &changes {
                        for step in &change.steps {
                            debug!("{daemon} <- {}", step.command);
                        }
                    }
                    if let Some(agent) = running.get(&daemon) {
                        agent.order(session, changes, scope);
                    }
                }
                Action::Observe { daemon, session, scope } => {
                    if let Some(agent) = running.get(&daemon) {
                        agent.order(session, Vec::new(), scope);
                    }
                }
                Action::Report(notice) => log(&notice),
                Action::Publish { .. } | Action::PublishPlan { .. } => {}
            }
        }
    }
}

fn log(notice: &Notice) {
    match notice.severity() {
        Severity::Warning => warn!("{notice}"),
        Severity::Normal => info!("{notice}"),
        Severity::Detail => debug!("{notice}"),
    }
}

/// The clocks that the core is told of.
struct Clock {
    start: Instant,
}

impl Clock {
    fn new() -> Clock {
        Clock { start: Instant::now() }
    }

    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono_us: microseconds(self.start.elapsed()), wall_us: microseconds(wall) }
    }

    /// Resolves at a time of the monotonic clock, or never.
    async fn sleep_until(&self, mono_us: Option<u64>) {
        match mono_us {
            Some(us) => tokio::time::sleep_until((self.start + Duration::from_micros(us)).into()).await,
            None => std::future::pending().await,
        }
    }
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

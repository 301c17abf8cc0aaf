//! The tasks around the conductor: connections, configuration source, clock, signals. They decide nothing.
//!
//! - `agent`: one task for each daemon: connects, probes, observes, sends what it is given.
//! - `inquiry`: what a daemon is asked about itself and how its answers are read, without a socket.
//! - `members`: the place of this instance among several that share the work.
//! - `notebook`: what the next maestro has to know, in etcd.
//! - `pace`: how often a daemon may be asked for everything.
//! - `status`: the page on which an instance among several tells how it is.
//! - `turns`: in which order agents ask and send.
//! - `source`: where the configuration comes from, etcd or a file.

mod agent;
pub mod inquiry;
mod members;
mod notebook;
mod pace;
mod source;
mod status;
mod turns;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tracing::{debug, info, warn};

pub use agent::AgentSettings;
pub use members::Seat;
pub use notebook::Notebook;
pub use source::{ConfigEvent, cluster_name, from_etcd, from_file, read_from_etcd};

use members::{News, Warrant};
use turns::Turns;

use crate::conductor::{Action, Conductor, Event, Notice, Now, Settings, Severity};
use crate::notation::Name;

/// Events that wait for the conductor, at most; agents wait beyond that.
const EVENTS_WAITING: usize = 1024;

/// Keeps the cluster as its configuration says, until `stop` resolves; with others, where this instance has a `seat`
/// among several. What has to outlive this goes into the `notebook`.
///
/// Every ldmsd is left as it is when this returns: data go on flowing without maestro.
pub async fn run(
    mut configurations: mpsc::Receiver<ConfigEvent>,
    mut seat: Option<Seat>,
    notebook: Notebook,
    conductor: Settings,
    agents: AgentSettings,
    stop: impl Future<Output = ()>,
) {
    let (events, mut incoming) = mpsc::channel(EVENTS_WAITING);
    let mut conductor = Conductor::new(conductor);
    let mut running = Running { agents: BTreeMap::new(), settings: agents, events, turns: Turns::new(), notebook };
    let clock = Clock::new();
    let mut waiting: VecDeque<Event> = seat.iter().map(Seat::first).collect();
    tokio::pin!(stop);
    loop {
        // What the seat has said already comes before what it says next: the last word on its part has to be the newest.
        let mut said = waiting.len();
        tokio::select! {
            () = &mut stop => break,
            Some(configuration) = configurations.recv() => match configuration {
                ConfigEvent::Changed(cluster) => {
                    waiting.push_back(Event::Configured(cluster.clone()));
                    waiting.extend(seat.iter_mut().flat_map(|seat| seat.configure(&cluster)));
                    said = waiting.len();
                }
                ConfigEvent::Remembered(memory) => waiting.push_back(Event::Remembered(memory)),
                ConfigEvent::Trouble(text) => warn!("{text}"),
                ConfigEvent::TroubleOver(text) => info!("{text}"),
            },
            news = next_of(&mut seat) => match news {
                News::Events(events) => {
                    waiting.extend(events);
                    said = waiting.len();
                }
                News::Asked(question) => {
                    let status = seat.as_ref().map(|seat| seat.status(&conductor)).unwrap_or_default();
                    // Who asked may have gone.
                    let _ = question.send(status);
                }
            },
            Some(event) = incoming.recv() => {
                if let Some(seat) = &mut seat {
                    seat.note(&event);
                }
                waiting.push_back(event);
            }
            () = clock.sleep_until(conductor.next_wake_us()) => waiting.push_back(Event::Wake),
        }
        if let Some(seat) = &mut seat {
            for event in seat.review().into_iter().rev() {
                waiting.insert(said, event);
            }
            running.notebook.stand_on(seat.guard(), seat.share());
        }
        while let Some(event) = waiting.pop_front() {
            for action in conductor.handle(event, clock.now()) {
                running.act(action, seat.as_mut());
            }
        }
    }
    // No command is sent any more when the others take over.
    drop(running.agents);
    // Who is given up cannot write any more.
    running.notebook.close().await;
    if let Some(seat) = seat {
        seat.leave().await;
    }
}

/// What concerns the other instances, as soon as there is something; never for one that is alone.
async fn next_of(seat: &mut Option<Seat>) -> News {
    match seat {
        Some(seat) => seat.next().await,
        None => std::future::pending().await,
    }
}

/// The agents that run.
struct Running {
    agents: BTreeMap<Name, agent::Handle>,
    settings: AgentSettings,
    events: mpsc::Sender<Event>,
    turns: Arc<Turns>,
    notebook: Notebook,
}

impl Running {
    fn act(&mut self, action: Action, seat: Option<&mut Seat>) {
        match action {
            Action::Connect(target) => {
                let name = target.daemon.clone();
                // The former agent of the name, if any, ends with its handle.
                let agent =
                    agent::Handle::start(target, self.settings.clone(), self.events.clone(), Arc::clone(&self.turns));
                self.agents.insert(name, agent);
            }
            Action::Attend { daemon, sections } => {
                if let Some(agent) = self.agents.get(&daemon) {
                    agent.attend(sections);
                }
            }
            Action::Forget(name) => {
                self.agents.remove(&name);
            }
            Action::Run { daemon, session, changes, scope } => {
                for change in &changes {
                    for step in &change.steps {
                        debug!("{daemon} <- {}", step.command);
                    }
                }
                if let Some(agent) = self.agents.get(&daemon) {
                    let warrant = seat.map_or_else(Warrant::unlimited, |seat| seat.warrant());
                    agent.order(session, changes, scope, warrant);
                }
            }
            Action::Observe { daemon, session, scope } => {
                if let Some(agent) = self.agents.get(&daemon) {
                    agent.order(session, Vec::new(), scope, Warrant::unlimited());
                }
            }
            Action::Remember(memo) => self.notebook.write(memo),
            Action::Report(notice) => log(&notice),
            Action::Publish { daemon, report } => {
                if let Some(seat) = seat {
                    seat.publish(daemon, report.as_ref());
                }
            }
            Action::PublishPlan { group, plan } => {
                if let Some(seat) = seat {
                    seat.publish_plan(group, plan.as_ref());
                }
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

//! The processes, the files and the clock around the supervisor.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, anyhow};
use nix::sys::signal::Signal;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::files::{Paths, last_lines, replace};
use super::pid_file::PidFile;
use super::process::{Process, recognise};
use super::{Action, Ending, Event, Found, Launch, Supervisor};
use crate::cluster::Daemon;
use crate::notation::Name;

/// A daemon to be kept running on this machine, and its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalDaemon {
    name: Name,
    launch: Launch,
    paths: Paths,
    /// The text of its configuration file, where it starts with one.
    conf: Option<String>,
}

impl LocalDaemon {
    /// A daemon that is configured by a file with the text `conf`. All its files are in `directory`, an absolute path:
    /// `NAME.conf`, `NAME.log`, `NAME.pid`. `host_name` is what the configuration means by `${HOSTNAME}` where the
    /// environment does not say.
    #[must_use]
    pub fn with_file(
        program: &Path,
        directory: &Path,
        daemon: &Daemon,
        host_name: Option<&str>,
        conf: String,
    ) -> LocalDaemon {
        let paths = Paths::of(directory, &daemon.name);
        let launch = Launch::with_file(program, daemon, &paths.conf, &paths.log);
        LocalDaemon::new(daemon, launch, paths, host_name, Some(conf))
    }

    /// A daemon that only listens, for maestro to configure it: [`Launch::bare`]. `None` if maestro has no endpoint to
    /// do so.
    #[must_use]
    pub fn bare(program: &Path, directory: &Path, daemon: &Daemon, host_name: Option<&str>) -> Option<LocalDaemon> {
        let paths = Paths::of(directory, &daemon.name);
        let launch = Launch::bare(program, daemon, &paths.log)?;
        Some(LocalDaemon::new(daemon, launch, paths, host_name, None))
    }

    /// Whether a process that an earlier run has started is there.
    pub(super) fn has_process(&self) -> bool {
        let text = fs::read_to_string(&self.paths.pid).unwrap_or_default();
        let pid = text.trim().parse().ok();
        pid.is_some_and(|pid| recognise(pid, &self.launch, &self.paths.log, true) != Found::Nothing)
    }

    fn new(
        daemon: &Daemon,
        mut launch: Launch,
        paths: Paths,
        host_name: Option<&str>,
        conf: Option<String>,
    ) -> LocalDaemon {
        if let Some(host_name) = host_name {
            launch = launch.with_default("HOSTNAME", host_name);
        }
        LocalDaemon { name: daemon.name.clone(), launch, paths, conf }
    }
}

/// Keeps daemons running: starts them, and starts again those that end, until `stops` says to stop them; said
/// twice, they are killed at once. None of them is left when this returns.
///
/// Should we be killed ourselves, or the future be dropped, the daemons go on, and the next run knows them by their pid
/// files: those that are still right are kept as they are, the others are started anew.
///
/// # Errors
/// The files cannot be written, or somebody else keeps one of the daemons. Nothing is started then.
pub async fn keep(daemons: Vec<LocalDaemon>, mut stops: mpsc::Receiver<()>) -> anyhow::Result<()> {
    let (events, mut incoming) = mpsc::unbounded_channel();
    let mut kept: BTreeMap<Name, Kept> = BTreeMap::new();
    for daemon in daemons {
        let pid_file = PidFile::take(&daemon.paths.pid).with_context(|| format!("cannot keep {}", daemon.name))?;
        let name = daemon.name.clone();
        kept.insert(name, Kept { daemon, pid_file, signals: None, events: events.clone() });
    }
    let mut supervisor = Supervisor::default();
    let clock = Instant::now();
    // All of them are known before we heed anybody who wants us to stop.
    let found: Vec<Event> = kept.iter_mut().map(|(name, daemon)| Event::Found(name.clone(), daemon.find())).collect();
    let mut found = found.into_iter();
    loop {
        let event = match found.next() {
            Some(found) => found,
            None => tokio::select! {
                Some(event) = incoming.recv() => event,
                Some(()) = stops.recv() => Event::Stop,
                () = sleep_to(supervisor.wakes_at().map(|time| clock + time)) => Event::Wake,
            },
        };
        if let Event::Ended { daemon, .. } = &event
            && let Some(daemon) = kept.get_mut(daemon)
        {
            daemon.has_no_process();
        }
        for action in supervisor.handle(event, clock.elapsed()) {
            match action {
                Action::Start(name) => {
                    if let Some(daemon) = kept.get_mut(&name) {
                        daemon.start();
                    }
                }
                Action::Terminate(name) => signal(&kept, &name, Signal::SIGTERM),
                Action::Kill(name) => signal(&kept, &name, Signal::SIGKILL),
                Action::Report(notice) if notice.is_warning() => warn!("{notice}"),
                Action::Report(notice) => info!("{notice}"),
            }
        }
        if supervisor.is_done() {
            return Ok(());
        }
    }
}

async fn sleep_to(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn signal(kept: &BTreeMap<Name, Kept>, name: &Name, signal: Signal) {
    if let Some(signals) = kept.get(name).and_then(|daemon| daemon.signals.as_ref()) {
        // Where nobody takes it any more, the process has ended, and its last event is on its way.
        let _ = signals.send(signal);
    }
}

/// What is kept of a process while it runs.
struct Running {
    signals: mpsc::UnboundedSender<Signal>,
    /// How long the log was before.
    log_start: u64,
}

/// A daemon, its files, and its process if it has one.
struct Kept {
    daemon: LocalDaemon,
    pid_file: PidFile,
    signals: Option<mpsc::UnboundedSender<Signal>>,
    events: mpsc::UnboundedSender<Event>,
}

impl Kept {
    /// Looks for a process of an earlier run, and watches over it if there is one.
    fn find(&mut self) -> Found {
        let LocalDaemon { launch, paths, conf, .. } = &self.daemon;
        let is_there = |conf: &String| fs::read(&paths.conf).is_ok_and(|present| present == conf.as_bytes());
        let reads_the_same = conf.as_ref().is_none_or(is_there);
        let found = match self.pid_file.pid() {
            Some(pid) => recognise(pid, launch, &paths.log, reads_the_same),
            None => Found::Nothing,
        };
        match found {
            Found::Nothing => self.has_no_process(),
            Found::Current { pid } | Found::Outdated { pid } => {
                let (running, signals) = self.running();
                self.watch(Process::adopt(pid, signals), running);
            }
        }
        found
    }

    fn start(&mut self) {
        let daemon = self.daemon.name.clone();
        // The receiver lives as long as the loop that called us.
        match self.try_to_start() {
            Ok((process, pid, running)) => {
                let _ = self.events.send(Event::Started { daemon, pid });
                self.watch(process, running);
                self.write_pid(Some(pid));
            }
            Err(error) => {
                let ending = Ending::NotStarted(error.to_string());
                let _ = self.events.send(Event::Ended { daemon, ending, last_words: Vec::new() });
            }
        }
    }

    fn try_to_start(&self) -> anyhow::Result<(Process, u32, Running)> {
        let LocalDaemon { launch, paths, conf, .. } = &self.daemon;
        if let Some(conf) = conf {
            // Just before the start, so that the file is always what the process has read.
            replace(&paths.conf, conf).map_err(|error| anyhow!("cannot write {}: {error}", paths.conf.display()))?;
        }
        let (running, signals) = self.running();
        let (process, pid) = Process::start(launch, &paths.log, signals)
            .map_err(|error| anyhow!("cannot run {}: {error}", launch.program.display()))?;
        Ok((process, pid, running))
    }

    /// What there is to know of a process that begins now, and where it takes its signals from.
    fn running(&self) -> (Running, mpsc::UnboundedReceiver<Signal>) {
        let (sender, signals) = mpsc::unbounded_channel();
        let log_start = fs::metadata(&self.daemon.paths.log).map_or(0, |metadata| metadata.len());
        (Running { signals: sender, log_start }, signals)
    }

    /// Tells the end of a process when it comes.
    fn watch(&mut self, process: Process, Running { signals, log_start }: Running) {
        self.signals = Some(signals);
        let (daemon, log, events) = (self.daemon.name.clone(), self.daemon.paths.log.clone(), self.events.clone());
        tokio::spawn(async move {
            let ending = process.until_it_ends().await;
            let last_words = last_lines(&log, log_start);
            let _ = events.send(Event::Ended { daemon, ending, last_words });
        });
    }

    fn has_no_process(&mut self) {
        self.signals = None;
        self.write_pid(None);
    }

    fn write_pid(&mut self, pid: Option<u32>) {
        if let Err(error) = self.pid_file.set(pid) {
            warn!("cannot write {}: {error}; a later run would not know the daemon", self.pid_file.path().display());
        }
    }
}

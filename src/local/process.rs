//! The processes themselves: starting one, recognising one of an earlier run, ending them, seeing them end.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::{Ending, Found, Launch};

/// How often a process that is no child of ours is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// A process that we keep.
pub(super) struct Process {
    kind: Kind,
    /// Signals that are to be sent to it. They come here, so that none is sent once its end has been seen: the system
    /// may give its pid to another.
    signals: mpsc::UnboundedReceiver<Signal>,
}

enum Kind {
    Child(Box<Child>),
    /// A process of an earlier run, with its command line.
    Adopted {
        pid: u32,
        command_line: Vec<u8>,
    },
}

impl Process {
    /// Starts a process that writes what it says to the end of `log`.
    pub(super) fn start(
        launch: &Launch,
        log: &Path,
        signals: mpsc::UnboundedReceiver<Signal>,
    ) -> io::Result<(Process, u32)> {
        let log = OpenOptions::new().append(true).create(true).mode(0o600).open(log)?;
        let mut command = Command::new(&launch.program);
        command.args(&launch.arguments).envs(&launch.environment);
        // What ldmsd says before it has opened its log, and the loader.
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // In a process group of its own: Ctrl-C in a terminal is for us, who then stop the daemons.
        command.process_group(0);
        let child = command.spawn()?;
        let pid = child.id().ok_or_else(|| io::Error::other("it ended at once"))?;
        Ok((Process { kind: Kind::Child(Box::new(child)), signals }, pid))
    }

    /// Takes over a process of an earlier run.
    pub(super) fn adopt(pid: u32, signals: mpsc::UnboundedReceiver<Signal>) -> Process {
        let command_line = command_line(pid).unwrap_or_default();
        Process { kind: Kind::Adopted { pid, command_line }, signals }
    }

    /// Waits for the end, and sends signals meanwhile.
    pub(super) async fn until_it_ends(self) -> Ending {
        let Process { kind, mut signals } = self;
        match kind {
            Kind::Child(mut child) => loop {
                tokio::select! {
                    // Waiting fails for a process that somebody else has waited for: nobody can.
                    status = child.wait() => return status.map_or(Ending::Unseen, ending),
                    Some(signal) = signals.recv() => {
                        if let Some(pid) = child.id() {
                            send(pid, signal);
                        }
                    }
                }
            },
            Kind::Adopted { pid, command_line: known } => loop {
                if command_line(pid).as_ref() != Some(&known) {
                    return Ending::Unseen;
                }
                tokio::select! {
                    () = sleep(LOOK_INTERVAL) => {}
                    Some(signal) = signals.recv() => send(pid, signal),
                }
            },
        }
    }
}

fn ending(status: ExitStatus) -> Ending {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ending::Exited(code),
        (None, Some(signal)) => Ending::Killed(signal),
        (None, None) => Ending::Unseen,
    }
}

fn send(pid: u32, signal: Signal) {
    if let Ok(pid) = i32::try_from(pid)
        && let Err(error) = kill(Pid::from_raw(pid), signal)
    {
        tracing::warn!("cannot send {signal} to process {pid}: {error}");
    }
}

/// What the process is that a pid file of an earlier run names. It is ours if it writes to the daemon's log; it is
/// as it should be if it was started by the same words, and `reads_the_same` what it would read now.
pub(super) fn recognise(pid: u32, launch: &Launch, log: &Path, reads_the_same: bool) -> Found {
    let Some(line) = command_line(pid) else { return Found::Nothing };
    let words: Vec<&[u8]> = line.strip_suffix(b"\0").unwrap_or(&line).split(|byte| *byte == 0).collect();
    let program = std::iter::once(launch.program.as_os_str());
    let wanted = program.chain(launch.arguments.iter().map(AsRef::as_ref));
    let wanted: Vec<&[u8]> = wanted.map(OsStr::as_encoded_bytes).collect();
    // A script has its interpreter before it.
    if reads_the_same && words.ends_with(&wanted) {
        return Found::Current { pid };
    }
    let writes_to_the_log = words.windows(2).any(|words| words == [b"-l", log.as_os_str().as_encoded_bytes()]);
    if writes_to_the_log { Found::Outdated { pid } } else { Found::Nothing }
}

/// The words of a process's command line, each with a NUL after it; `None` if there is no such process, or only its
/// remains.
fn command_line(pid: u32) -> Option<Vec<u8>> {
    fs::read(format!("/proc/{pid}/cmdline")).ok().filter(|line| !line.is_empty())
}

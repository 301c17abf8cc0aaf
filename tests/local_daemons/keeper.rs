//! A machine with a script in the place of ldmsd, and the process that keeps its daemons.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use maestro::cli;
use maestro::local::LocalDaemon;
use maestro::notation::Name;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::{Process, eventually};

const MAESTRO_CTRL: &str = env!("CARGO_BIN_EXE_maestro_ctrl");
const MAESTRO: &str = env!("CARGO_BIN_EXE_maestro");

const PATIENCE: Duration = Duration::from_secs(30);

const FROM_FILE: [&str; 2] = ["--ldms_config", "cluster.yaml"];

/// Two daemons are at home on any machine, two on none.
const YAML: &str = r#"
daemons:
  - names: agg
    hosts: 127.0.0.2
    environment: { LABEL: "of-the-YAML" }
    endpoints:
      - { names: agg-e, ports: "[10001]", xprt: sock, maestro_comm: True }
  - names: sampler-1
    hosts: localhost
    environment: { LABEL: "of-the-YAML" }
    endpoints:
      - { names: sampler-1-e, ports: "[10002]", xprt: sock, maestro_comm: True }
  - names: "far-[1-2]"
    hosts: "198.51.100.[4-5]"
    endpoints:
      - { names: "far-[1-2]-e", ports: "[10001]", xprt: sock, maestro_comm: True }
"#;

/// Notes how it was started, does what `behaviour-NAME` says, and runs until it is told to end.
const LDMSD: &str = r#"#!/bin/sh
site=$(dirname "$(dirname "$0")")
while [ "$1" ] && [ "$1" != -l ]; do words="$words$1 "; shift; done
name=$(basename "$2" .log)
words="$words$*"
trap 'exit 0' TERM
trap 'touch "$site/interrupted"' INT
echo "$$ $words" >> "$site/starts-$name"
[ -f "$site/behaviour-$name" ] && . "$site/behaviour-$name"
echo "up, with ${HOSTNAME:+HOSTNAME and }LABEL=$LABEL"
while :; do sleep 0.05; done
"#;

pub(crate) struct Machine {
    site: TempDir,
}

impl Machine {
    pub(crate) fn new() -> Machine {
        let site = tempfile::tempdir().unwrap();
        fs::write(site.path().join("cluster.yaml"), YAML).unwrap();
        fs::create_dir(site.path().join("sbin")).unwrap();
        let ldmsd = site.path().join("sbin/ldmsd");
        fs::write(&ldmsd, LDMSD).unwrap();
        fs::set_permissions(&ldmsd, fs::Permissions::from_mode(0o755)).unwrap();
        Machine { site }
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.site.path().join(file)
    }

    /// What the ldmsd of a daemon does first, as shell commands.
    pub(crate) fn behave(&self, daemon: &str, commands: &str) {
        fs::write(self.path(&format!("behaviour-{daemon}")), commands).unwrap();
    }

    /// Changes the YAML of the cluster.
    pub(crate) fn replace(&self, old: &str, new: &str) {
        let yaml = fs::read_to_string(self.path("cluster.yaml")).unwrap();
        assert!(yaml.contains(old), "there is no {old:?} to replace");
        fs::write(self.path("cluster.yaml"), yaml.replace(old, new)).unwrap();
    }

    /// Adds to the YAML of the cluster.
    pub(crate) fn append(&self, yaml: &str) {
        let before = fs::read_to_string(self.path("cluster.yaml")).unwrap();
        fs::write(self.path("cluster.yaml"), before + yaml).unwrap();
    }

    /// Runs `maestro_ctrl` to its end.
    pub(crate) fn maestro_ctrl(&self, arguments: &[&str]) -> Output {
        Command::new(MAESTRO_CTRL).current_dir(self.site.path()).args(arguments).output().unwrap()
    }

    /// What `maestro_ctrl --daemon_name` says of a daemon.
    pub(crate) fn generated(&self, daemon: &str) -> String {
        let output = self.maestro_ctrl(&["--ldms_config", "cluster.yaml", "--daemon_name", daemon]);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts to keep the daemons, with some environment variables.
    pub(crate) fn keep(&self, environment: &[(&str, &str)]) -> Keeper {
        self.start(Command::new(MAESTRO_CTRL), &FROM_FILE, environment)
    }

    /// Starts to keep the daemons of the only cluster in etcd.
    pub(crate) fn keep_from_etcd(&self, etcd: &str) -> Keeper {
        self.start(Command::new(MAESTRO_CTRL), &["--cluster", etcd], &[])
    }

    pub(crate) fn keep_on_a_terminal(&self) -> Keeper {
        // The tests themselves may run under nohup, which is inherited.
        let mut command = Command::new("env");
        command.args(["--default-signal=HUP", MAESTRO_CTRL]);
        self.start(command, &FROM_FILE, &[])
    }

    pub(crate) fn keep_under_nohup(&self) -> Keeper {
        let mut command = Command::new("nohup");
        command.arg(MAESTRO_CTRL);
        self.start(command, &FROM_FILE, &[])
    }

    /// Runs maestro, which starts the aggregators of this machine.
    pub(crate) fn maestro_that_starts_aggregators(&self) -> Keeper {
        self.run(Command::new(MAESTRO), "--start-aggregators", &FROM_FILE, &[])
    }

    fn start(&self, command: Command, source: &[&str], environment: &[(&str, &str)]) -> Keeper {
        self.run(command, "--local", source, environment)
    }

    fn run(&self, mut command: Command, action: &str, source: &[&str], environment: &[(&str, &str)]) -> Keeper {
        let log = tempfile::NamedTempFile::new_in(self.site.path()).unwrap();
        let path = env::join_paths([self.path("sbin"), "/usr/bin".into(), "/bin".into()]).unwrap();
        command.current_dir(self.site.path());
        command.args([action, "--local_path", "files"]).args(source);
        command.env("PATH", path).env_remove("HOSTNAME").envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.reopen().unwrap()).process_group(0);
        Keeper { process: Process::start(&mut command, "cargo builds it"), log: log.keep().unwrap().1 }
    }

    /// The daemons, as maestro would configure them.
    pub(crate) fn bare_daemons(&self) -> Vec<LocalDaemon> {
        let cluster = cli::read_cluster(&self.path("cluster.yaml")).unwrap();
        let daemons = ["agg", "sampler-1"].map(|name| &cluster.daemons[&Name::from(name)]);
        let bare = |daemon| LocalDaemon::bare(&self.path("sbin/ldmsd"), &self.path("files"), daemon, None);
        daemons.into_iter().filter_map(bare).collect()
    }

    /// The processes of the daemons, once all of them are up by their own words.
    pub(crate) async fn until_up(&self, daemons: &[&str]) -> BTreeMap<String, u32> {
        eventually("the daemons are up", PATIENCE, async || {
            let pids = daemons.iter().map(|daemon| Some(((*daemon).to_owned(), self.pid_of(daemon)?)));
            pids.collect::<Option<BTreeMap<_, _>>>()
        })
        .await
    }

    /// The process of a daemon, where it has one and its pid file says the same.
    fn pid_of(&self, daemon: &str) -> Option<u32> {
        let pid = fs::read_to_string(self.path(&format!("files/{daemon}.pid"))).ok()?.trim().parse().ok()?;
        let (last, _) = self.starts(daemon).pop()?;
        let log = fs::read_to_string(self.path(&format!("files/{daemon}.log"))).ok()?;
        (pid == last && is_alive(pid) && log.contains("up, with")).then_some(pid)
    }

    pub(crate) async fn until_it_logs(&self, daemon: &str, text: &str) {
        let log = self.path(&format!("files/{daemon}.log"));
        let look = async || fs::read_to_string(&log).ok()?.contains(text).then_some(());
        eventually(text, PATIENCE, look).await;
    }

    /// The pid and the arguments of each start of a daemon.
    pub(crate) fn starts(&self, daemon: &str) -> Vec<(u32, String)> {
        let starts = fs::read_to_string(self.path(&format!("starts-{daemon}"))).unwrap_or_default();
        let start = |line: &str| line.split_once(' ').map(|(pid, words)| (pid.parse().unwrap(), words.to_owned()));
        starts.lines().filter_map(start).collect()
    }

    pub(crate) fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("files")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

/// No daemon is left, also where a test fails.
impl Drop for Machine {
    fn drop(&mut self) {
        for daemon in ["agg", "sampler-1"] {
            for (pid, _) in self.starts(daemon).into_iter().filter(|(pid, _)| is_alive(*pid)) {
                // It may end by itself just now.
                let _ = kill(process(pid), Signal::SIGKILL);
            }
        }
    }
}

/// The process that keeps the daemons.
pub(crate) struct Keeper {
    process: Process,
    log: PathBuf,
}

impl Keeper {
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) async fn until_it_says(&self, text: &str) {
        eventually(text, PATIENCE, async || self.log().contains(text).then_some(())).await;
    }

    pub(crate) fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// As a terminal does for Ctrl-C.
    pub(crate) fn interrupt_its_group(&self) {
        killpg(process(self.process.id()), Signal::SIGINT).unwrap();
    }

    pub(crate) async fn exit_code(&mut self) -> Option<i32> {
        self.process.exit_code_within(PATIENCE).await
    }
}

/// Sends SIGKILL.
pub(crate) fn kill_daemon(pid: u32) {
    kill(process(pid), Signal::SIGKILL).unwrap();
}

fn process(pid: u32) -> Pid {
    Pid::from_raw(pid.try_into().unwrap())
}

/// Whether it runs; what is left of a process until somebody asks for its end does not.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

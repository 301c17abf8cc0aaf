//! A real ldmsd on loopback, with nothing but what a test gives it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{FreePort, Process};

/// A daemon of the installation that `MAESTRO_TEST_LDMSD` names.
pub(crate) struct RealDaemon {
    port: FreePort,
    process: Process,
    dir: tempfile::TempDir,
}

/// The program to test against; tells that the test is skipped where there is none.
pub(crate) fn program() -> Option<PathBuf> {
    let program = env::var_os("MAESTRO_TEST_LDMSD").map(PathBuf::from);
    if program.is_none() {
        eprintln!("skipped: set MAESTRO_TEST_LDMSD to the ldmsd to test against, such as /opt/ovis/sbin/ldmsd");
    }
    program
}

impl RealDaemon {
    /// Starts a daemon with these arguments besides those that every daemon gets. It may not be ready yet.
    pub(crate) fn start(program: &Path, arguments: &[&str]) -> RealDaemon {
        let (port, dir) = (FreePort::reserve(), tempfile::tempdir().expect("a directory for the daemon"));
        let mut command = Command::new(program);
        command.args(["-F", "-m", "64m", "-x", &format!("sock:{}:127.0.0.1", port.number())]).args(arguments);
        command.arg("-l").arg(dir.path().join("log")).arg("-r").arg(dir.path().join("pid"));
        command.envs(environment(program)).current_dir(dir.path()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Process::start(&mut command, "MAESTRO_TEST_LDMSD has to name an ldmsd");
        RealDaemon { port, process, dir }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    /// A directory that goes with the daemon.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// What it has logged, for a test that fails.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

/// Where an installation that is not the system's finds its own libraries. What is set already stays.
fn environment(program: &Path) -> Vec<(&'static str, PathBuf)> {
    let Some(prefix) = program.parent().and_then(Path::parent) else { return Vec::new() };
    let libraries = ["lib64", "lib"].map(|name| prefix.join(name));
    let Some(libraries) = libraries.into_iter().find(|path| path.join("ovis-ldms").exists()) else { return Vec::new() };
    let plugins = libraries.join("ovis-ldms");
    [
        ("LD_LIBRARY_PATH", libraries.clone()),
        ("LDMS_AUTH_LIBPATH", libraries),
        ("ZAP_LIBPATH", plugins.clone()),
        ("LDMSD_PLUGIN_LIBPATH", plugins),
    ]
    .into_iter()
    .filter(|(name, _)| env::var_os(name).is_none())
    .collect()
}

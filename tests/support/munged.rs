//! An authentication service of one's own: munged with a private key and socket. It knows nothing of the host's.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{Process, eventually};

/// A munged with a key that no other has.
pub(crate) struct Munged {
    _process: Process,
    dir: tempfile::TempDir,
}

impl Munged {
    /// Starts one, or tells that there is none to start: MUNGE is optional.
    pub(crate) async fn start() -> Option<Munged> {
        let program = ["/usr/sbin/munged", "/usr/bin/munged", "/usr/local/sbin/munged"]
            .iter()
            .find(|path| fs::metadata(path).is_ok());
        let Some(program) = program else {
            eprintln!("skipped: this test needs munged (Debian: apt-get install munge)");
            return None;
        };
        let dir = tempfile::tempdir().expect("a directory for munged");
        // munged insists that everybody can get at its socket.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("permissions for munged");
        let file = |name: &str| dir.path().join(name);
        let key: Vec<u8> = std::iter::repeat_with(rand::random).take(128).collect();
        fs::write(file("key"), key).expect("a key for munged");
        fs::set_permissions(file("key"), Permissions::from_mode(0o600)).expect("permissions for the key");
        let mut command = Command::new(program);
        command.args(["--foreground", "--force"]);
        for (option, name) in
            [("socket", "socket"), ("key-file", "key"), ("pid-file", "pid"), ("seed-file", "seed"), ("log-file", "log")]
        {
            command.arg(format!("--{option}={}", file(name).display()));
        }
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let process = Process::start(&mut command, "install the package munge");
        let munged = Munged { _process: process, dir };
        let connectable = || std::os::unix::net::UnixStream::connect(munged.socket()).ok();
        eventually("munged listens", Duration::from_secs(20), async || connectable()).await;
        Some(munged)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }
}

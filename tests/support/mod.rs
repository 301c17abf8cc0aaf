//! What tests that start processes have in common.
//!
//! A guard ends what it has started, and nothing else, also when the test fails: [`Process`] kills its child,
//! [`FreePort`] gives back its reservation, temporary directories go.

#![allow(dead_code, reason = "every file of tests uses a part of this")]

pub(crate) mod etcd;
pub(crate) mod proxy;

use std::fs::File;
use std::net::TcpListener;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Ports for tests: below those that the system gives to outgoing connections, so that a server can be started again on
/// its port.
const PORTS: std::ops::Range<u16> = 15_000..30_000;

/// A TCP port of the loopback address on which nothing listens. No other test has it, in this process or another, as
/// long as the guard lives.
pub(crate) struct FreePort {
    port: u16,
    _reservation: File,
}

impl FreePort {
    pub(crate) fn reserve() -> FreePort {
        let reservations = std::env::temp_dir().join("maestro-test-ports");
        std::fs::create_dir_all(&reservations).expect("a directory for the reservations");
        for _ in 0..1000 {
            let port = rand::random_range(PORTS);
            let path = reservations.join(port.to_string());
            let Ok(reservation) = File::options().create(true).append(true).open(path) else { continue };
            if reservation.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok() {
                return FreePort { port, _reservation: reservation };
            }
        }
        panic!("no free port in {PORTS:?}");
    }

    pub(crate) fn number(&self) -> u16 {
        self.port
    }

    /// The port as `127.0.0.1:15000`.
    pub(crate) fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// A process that ends with its guard.
pub(crate) struct Process(Child);

impl Process {
    /// Starts a program. `advice` says how to get it when it is not there.
    pub(crate) fn start(command: &mut Command, advice: &str) -> Process {
        let child = command.spawn();
        Process(child.unwrap_or_else(|error| panic!("cannot start {:?}: {error}; {advice}", command.get_program())))
    }

    /// Whether it is still running.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Looks again and again until there is something, or fails the test after the deadline.
pub(crate) async fn eventually<T>(what: &str, deadline: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + deadline;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < give_up, "not within {deadline:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

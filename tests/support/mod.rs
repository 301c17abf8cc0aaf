//! What tests that start processes have in common.
//!
//! A guard ends what it has started, and nothing else, also when the test fails: [`Process`] kills its child,
//! [`FreePort`] gives back its reservation, temporary directories go.

#![allow(dead_code, reason = "every file of tests uses a part of this")]

pub(crate) mod etcd;
pub(crate) mod munged;
pub(crate) mod proxy;
pub(crate) mod real_ldmsd;
pub(crate) mod recordings;

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
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
        for _ in 0..1000 {
            let port = rand::random_range(PORTS);
            let Some(reservation) = reserve(&port.to_string()) else { continue };
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
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

/// 254 loopback addresses, all ports of which are free for one test, as long as the guard lives.
pub(crate) struct LoopbackNetwork {
    second: u8,
    third: u8,
    _reservation: File,
}

impl LoopbackNetwork {
    pub(crate) fn reserve() -> LoopbackNetwork {
        for _ in 0..1000 {
            let (second, third) = (rand::random_range(100..250), rand::random());
            if let Some(reservation) = reserve(&format!("127.{second}.{third}")) {
                return LoopbackNetwork { second, third, _reservation: reservation };
            }
        }
        panic!("no free loopback network");
    }

    /// The first three numbers of the addresses, as `127.100.0`.
    pub(crate) fn prefix(&self) -> String {
        format!("127.{}.{}", self.second, self.third)
    }

    /// The address of a host.
    pub(crate) fn address(&self, host: u8) -> String {
        Ipv4Addr::new(127, self.second, self.third, host).to_string()
    }
}

/// Takes a name that no other test has, unless one has it.
fn reserve(name: &str) -> Option<File> {
    let reservations = std::env::temp_dir().join("maestro-test-ports");
    std::fs::create_dir_all(&reservations).expect("a directory for the reservations");
    let reservation = File::options().create(true).append(true).open(reservations.join(name)).ok()?;
    reservation.try_lock().ok()?;
    Some(reservation)
}

/// A process that ends with its guard.
pub(crate) struct Process(Child);

impl Process {
    /// Starts a program. `advice` says how to get it when it is not there.
    pub(crate) fn start(command: &mut Command, advice: &str) -> Process {
        let child = command.spawn();
        Process(child.unwrap_or_else(|error| panic!("cannot start {:?}: {error}; {advice}", command.get_program())))
    }

    /// Its pid.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Whether it is still running.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    /// Sends it a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let kill = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.0.id())]).status();
        assert!(kill.is_ok_and(|status| status.success()), "cannot send {name}");
    }

    /// Its exit code, or `None` where a signal ended it.
    pub(crate) async fn exit_code_within(&mut self, deadline: Duration) -> Option<i32> {
        eventually("the program has ended", deadline, async || self.0.try_wait().ok().flatten()).await.code()
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

//! TCP sockets set up for an ldmsd (the wire specification, sections 2.6 and 2.6a).

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use super::ClientError;

/// The addresses of a host, those of IPv4 first.
pub(super) async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, ClientError> {
    let found = lookup_host((host, port)).await.map_err(|source| cannot_resolve(host, source))?;
    let mut addresses: Vec<SocketAddr> = found.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses.dedup();
    Ok(addresses)
}

fn cannot_resolve(host: &str, source: io::Error) -> ClientError {
    ClientError::Resolve { host: host.to_owned(), source }
}

/// Connects to the first address of a host that answers. The time is shared out, so that one that is silent does not
/// use up that of the others.
pub(super) async fn connect(host: &str, addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, ClientError> {
    let mut failure = None;
    for (index, &address) in addresses.iter().enumerate() {
        let untried = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(Instant::now()) / untried;
        // The last one has all the time that is left: the caller watches the deadline.
        let attempt = async {
            if untried == 1 {
                return TcpStream::connect(address).await;
            }
            let timed_out = |_| io::Error::from(ErrorKind::TimedOut);
            timeout_at(Instant::now() + share, TcpStream::connect(address)).await.map_err(timed_out)?
        };
        match attempt.await.and_then(|stream| set_up(&stream).map(|()| stream)) {
            Ok(stream) => return Ok(stream),
            Err(source) => failure = Some(ClientError::Connect { address, source }),
        }
    }
    Err(failure.unwrap_or_else(|| cannot_resolve(host, io::Error::new(ErrorKind::NotFound, "it has no address"))))
}

/// Small messages leave at once, and a host that vanishes is noticed after 16 s, as ldmsd itself does.
fn set_up(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(10)).with_interval(Duration::from_secs(2)).with_retries(3);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Makes the kernel acknowledge at once what is read next. ldmsd does not set TCP_NODELAY: each of its small
/// replies waits for the acknowledgement of the one before, which Linux delays by 40 ms. The kernel
/// falls back to that by itself, so this is done before every read.
#[cfg(target_os = "linux")]
pub(super) fn acknowledge_at_once(stream: &TcpStream) {
    // Only speed is lost if it fails.
    let _ = SockRef::from(stream).set_tcp_quickack(true);
}

/// Other systems have no such switch.
#[cfg(not(target_os = "linux"))]
pub(super) fn acknowledge_at_once(_stream: &TcpStream) {}

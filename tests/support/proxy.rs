//! A network between a client and a server that fails when a test wants it to.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::FreePort;

/// Forwards TCP connections to a server.
pub(crate) struct Proxy {
    port: FreePort,
    target: String,
    is_frozen: Arc<watch::Sender<bool>>,
    running: Option<JoinHandle<()>>,
}

impl Proxy {
    pub(crate) async fn to(target: String) -> Proxy {
        let mut proxy =
            Proxy { port: FreePort::reserve(), target, is_frozen: Arc::new(watch::Sender::new(false)), running: None };
        proxy.restore().await;
        proxy
    }

    /// Where clients reach it, as `host:port`.
    pub(crate) fn endpoint(&self) -> String {
        self.port.endpoint()
    }

    /// Breaks all connections and refuses new ones.
    pub(crate) async fn cut(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
            // It has closed its sockets when it has ended.
            let _ = running.await;
        }
    }

    /// Ends a cut.
    pub(crate) async fn restore(&mut self) {
        self.cut().await;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port.number()));
        let listener = TcpListener::bind(address).await.expect("the port is reserved");
        let (target, is_frozen) = (self.target.clone(), self.is_frozen.clone());
        self.running = Some(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(forward(client, target.clone(), is_frozen.subscribe()));
            }
        }));
    }

    /// Lets nothing through any more, without a word to either side: a network that has lost its route.
    pub(crate) fn freeze(&self) {
        self.is_frozen.send_replace(true);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}

async fn forward(mut client: TcpStream, target: String, mut is_frozen: watch::Receiver<bool>) {
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    let freeze = async {
        let _ = is_frozen.wait_for(|is_frozen| *is_frozen).await;
    };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => return,
        () = freeze => {}
    }
    // Both connections stay open until the proxy ends.
    std::future::pending::<()>().await;
}

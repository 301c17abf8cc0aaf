//! Daemons and the endpoints that they listen on.

use std::collections::BTreeMap;

use crate::notation::Name;

/// One ldmsd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daemon {
    /// Its name in the cluster, unique.
    pub name: Name,
    /// The host that it runs on, a host name or an address.
    pub host: String,
    /// The hostlist that it was named by, as written (`sampler-[1-8]`).
    pub group: Name,
    /// Where it listens, ordered by name.
    pub endpoints: Vec<Endpoint>,
    /// Environment variables of the daemon.
    pub environment: BTreeMap<String, String>,
    /// Whether the stream service is to be switched on; `None` leaves the daemon's default.
    pub stream_enable: Option<bool>,
    /// Whether the message service is to be switched on; `None` leaves the daemon's default.
    pub msg_enable: Option<bool>,
    /// Further options of ldmsd's command line (`credits`, `quota`, …) as written.
    pub options: BTreeMap<String, String>,
}

impl Daemon {
    /// The endpoint over which maestro configures the daemon: the first with `maestro_comm`.
    /// A daemon without one is not configured by maestro.
    #[must_use]
    pub fn control_endpoint(&self) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.maestro_comm)
    }

    /// The host name or address of one of its endpoints.
    #[must_use]
    pub fn host_of<'a>(&'a self, endpoint: &'a Endpoint) -> &'a str {
        endpoint.host.as_deref().unwrap_or(&self.host)
    }
}

/// A transport address on which an ldmsd listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its name, unique in the cluster; also the name of the producer that collects from it.
    pub name: Name,
    /// Its own host name or address, where it differs from the daemon's.
    pub host: Option<String>,
    /// The port.
    pub port: u16,
    /// The transport: `sock`, `rdma`, `ugni`, `fabric`.
    pub xprt: String,
    /// Whether maestro talks to the daemon over this endpoint.
    pub maestro_comm: bool,
    /// The authentication domain.
    pub auth: AuthDomain,
    /// Whether ldmsd listens on all addresses of the host.
    pub bind_all: bool,
}

/// An authentication domain: a named configuration of an authentication plugin.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AuthDomain {
    /// The name of the domain.
    pub name: Name,
    /// The authentication plugin: `none`, `naive`, `ovis`, `munge`.
    pub plugin: String,
    /// The plugin's options (`conf` → path of the secret file), ordered by key.
    pub options: BTreeMap<String, String>,
}

impl AuthDomain {
    /// The domain that does not authenticate.
    #[must_use]
    pub fn none() -> AuthDomain {
        AuthDomain { name: Name::from("none"), plugin: "none".into(), options: BTreeMap::new() }
    }
}

/// Options may hold a secret, so only their keys are shown.
impl std::fmt::Debug for AuthDomain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthDomain")
            .field("name", &self.name)
            .field("plugin", &self.plugin)
            .field("options", &self.options.keys())
            .finish()
    }
}

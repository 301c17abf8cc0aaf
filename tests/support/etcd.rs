//! etcd for tests: single members and clusters, each a process with its own ports and directory.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, GetOptions, Identity, Permission, PermissionType, TlsOptions};
use tempfile::TempDir;

use super::{FreePort, Process, eventually};

/// The time a member gets to become ready.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// One member of an etcd cluster, which can be stopped and started again with its ports and data.
pub(crate) struct Etcd {
    name: String,
    client_port: FreePort,
    peer_port: FreePort,
    directory: TempDir,
    scheme: &'static str,
    arguments: Vec<String>,
    process: Option<Process>,
}

impl Etcd {
    /// A cluster of one member, ready.
    pub(crate) async fn start() -> Etcd {
        let mut member = Etcd::prepare("alone");
        member.arguments.push(format!("--initial-cluster={}", member.peer()));
        member.spawn();
        member.wait_until_ready().await;
        member
    }

    /// A cluster of one member, ready, that talks TLS and wants its clients to do so with a certificate.
    pub(crate) async fn start_with_tls() -> Etcd {
        let mut member = Etcd::prepare("alone");
        member.scheme = "https";
        member.arguments.extend([
            format!("--initial-cluster={}", member.peer()),
            format!("--cert-file={}", tls_file("server.pem").display()),
            format!("--key-file={}", tls_file("server.key").display()),
            format!("--trusted-ca-file={}", tls_file("ca.pem").display()),
            "--client-cert-auth".to_owned(),
        ]);
        member.spawn();
        member.wait_until_ready().await;
        member
    }

    /// A cluster of one member, ready, whose user `maestro` with the password `opensesame` may use what the LDMS cluster
    /// `orion` needs and nothing else.
    pub(crate) async fn start_with_authentication() -> Etcd {
        let etcd = Etcd::start().await;
        let mut client = etcd.client().await;
        client.user_add("root", "of all evil", None).await.unwrap();
        client.role_add("root").await.unwrap();
        client.user_grant_role("root", "root").await.unwrap();
        client.user_add("maestro", "opensesame", None).await.unwrap();
        client.role_add("orion").await.unwrap();
        client.user_grant_role("maestro", "orion").await.unwrap();
        for prefix in ["/orion/", "/maestro/orion/"] {
            let all = Permission::new(PermissionType::Readwrite, prefix).with_prefix();
            client.role_grant_permission("orion", all).await.unwrap();
        }
        client.auth_enable().await.unwrap();
        etcd
    }

    /// A cluster of three members, all ready.
    pub(crate) async fn start_cluster() -> [Etcd; 3] {
        let mut members = ["first", "second", "third"].map(Etcd::prepare);
        let peers = members.each_ref().map(Etcd::peer).join(",");
        for member in &mut members {
            member.arguments.push(format!("--initial-cluster={peers}"));
            member.spawn();
        }
        for member in &mut members {
            member.wait_until_ready().await;
        }
        members
    }

    /// Where clients reach it, as `host:port`.
    pub(crate) fn endpoint(&self) -> String {
        self.client_port.endpoint()
    }

    /// A client of this member alone, to look behind the store's back.
    pub(crate) async fn client(&self) -> Client {
        self.connect().await.expect("a client for etcd")
    }

    /// Ends it as a power cut does.
    pub(crate) fn stop(&mut self) {
        self.process = None;
    }

    /// Sends it a signal, such as `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        self.process.as_ref().expect("it runs").signal(name);
    }

    /// Starts it with its ports and data after it was stopped, and does not wait for it.
    pub(crate) fn start_again(&mut self) {
        self.spawn();
    }

    /// Starts it again with its ports and data.
    pub(crate) async fn restart(&mut self) {
        self.stop();
        self.spawn();
        self.wait_until_ready().await;
    }

    fn prepare(name: &str) -> Etcd {
        Etcd {
            name: name.to_owned(),
            client_port: FreePort::reserve(),
            peer_port: FreePort::reserve(),
            directory: tempfile::tempdir().expect("a directory for etcd"),
            scheme: "http",
            arguments: Vec::new(),
            process: None,
        }
    }

    async fn connect(&self) -> Result<Client, etcd_client::Error> {
        let read = |name| std::fs::read(tls_file(name)).expect("a fixture");
        let mut options = ConnectOptions::new();
        if self.scheme == "https" {
            let ca = Certificate::from_pem(read("ca.pem"));
            let identity = Identity::from_pem(read("client.pem"), read("client.key"));
            options = options.with_tls(TlsOptions::new().ca_certificate(ca).identity(identity));
        }
        Client::connect([self.endpoint()], Some(options)).await
    }

    fn peer(&self) -> String {
        format!("{}=http://{}", self.name, self.peer_port.endpoint())
    }

    fn spawn(&mut self) {
        let log = File::create(self.directory.path().join("log")).expect("a log for etcd");
        let client_url = format!("{}://{}", self.scheme, self.client_port.endpoint());
        let peer_url = format!("http://{}", self.peer_port.endpoint());
        let mut command = Command::new("etcd");
        command
            .args(["--name", &self.name, "--data-dir"])
            .arg(self.directory.path().join("data"))
            .args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url])
            .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
            .args(&self.arguments)
            .stdout(log.try_clone().expect("a second handle of the log"))
            .stderr(log);
        self.process = Some(Process::start(&mut command, "install etcd (on Debian: apt-get install etcd-server)"));
    }

    async fn wait_until_ready(&mut self) {
        let mut process = self.process.take().expect("etcd was started");
        eventually("etcd is ready", START_DEADLINE, async || {
            let log = self.directory.path().join("log");
            assert!(process.is_running(), "etcd ended: {}", std::fs::read_to_string(log).unwrap_or_default());
            let mut client = self.connect().await.ok()?;
            let look = client.get("/", Some(GetOptions::new().with_count_only()));
            tokio::time::timeout(Duration::from_secs(2), look).await.ok()?.ok()
        })
        .await;
        self.process = Some(process);
    }
}

/// A file of the certificates for tests.
pub(crate) fn tls_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name)
}

//! The program `ldmsd_request` against a simulated daemon: what scripts and people rely on.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on shall fail")]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use support::{FreePort, Process, eventually};

/// A simulated daemon that authenticates with a secret.
struct Daemon {
    port: FreePort,
    dir: tempfile::TempDir,
    _process: Process,
}

const SECRET: &str = "correct-horse-battery";

const CLUSTER: &str = "
daemons:
  - names: d
    hosts: 127.0.0.1
    endpoints:
      - { names: d-ep, ports: PORT, maestro_comm: true, xprt: sock, auth: { name: s, plugin: ovis, conf: SECRET } }
aggregators:
  - { daemons: d, peers: [] }
";

impl Daemon {
    async fn start(version: &str) -> Daemon {
        let (port, dir) = (FreePort::reserve(), tempfile::tempdir().unwrap());
        let secret = dir.path().join("secret");
        std::fs::write(&secret, format!("secretword={SECRET}\n")).unwrap();
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
        let yaml = CLUSTER.replace("PORT", &port.number().to_string()).replace("SECRET", secret.to_str().unwrap());
        std::fs::write(dir.path().join("cluster.yaml"), yaml).unwrap();
        let mut command = Command::new(example("ldmsd_sim"));
        command.args(["up", "--version", version, "--dir"]).arg(dir.path());
        command.arg("--ldms_config").arg(dir.path().join("cluster.yaml")).stdout(Stdio::null());
        let process = Process::start(&mut command, "build it with `cargo build --example ldmsd_sim`");
        let ready = dir.path().join("ready");
        eventually("the daemon is ready", Duration::from_secs(20), async || ready.exists().then_some(())).await;
        Daemon { port, dir, _process: process }
    }

    /// Sends a command; gives the exit status, the output and the complaints.
    fn request(&self, arguments: &str) -> (i32, String, String) {
        let conf = self.dir.path().join("secret");
        run(&format!("--port {} --auth ovis --conf {} {arguments}", self.port.number(), conf.display()))
    }
}

fn run(arguments: &str) -> (i32, String, String) {
    run_with_secret_file("", arguments)
}

/// The same, with the environment naming the secret file.
fn run_with_secret_file(path: &str, arguments: &str) -> (i32, String, String) {
    let mut command = Command::new(example("ldmsd_request"));
    command.args(arguments.split_whitespace()).env_remove("LDMS_AUTH_FILE");
    if !path.is_empty() {
        command.env("LDMS_AUTH_FILE", path);
    }
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Examples are next to the tests: target/debug/deps/ldmsd_request-…, target/debug/examples/….
fn example(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    tests.parent().and_then(Path::parent).unwrap().join("examples").join(name)
}

#[tokio::test]
async fn answers_are_laid_out_and_codes_are_the_exit_status() {
    let daemon = Daemon::start("main").await;
    let add = "prdcr_add name=p type=active xprt=sock host=127.0.0.1 port=1 reconnect=1s";
    assert_eq!(daemon.request(add), (0, String::new(), String::new()));
    let (status, output, complaint) = daemon.request(add);
    assert_eq!((status, output.as_str()), (17, ""));
    assert_eq!(
        complaint.trim_end(),
        "ldmsd_request: prdcr_add was refused: 17 (File exists): The prdcr p already exists."
    );

    let (status, output, _) = daemon.request("prdcr_status");
    assert_eq!(status, 0);
    let producers: Value = serde_json::from_str(&output).unwrap();
    assert_eq!((&producers[0]["name"], &producers[0]["state"]), (&json!("p"), &json!("STOPPED")));
    assert!(output.lines().count() > 10, "{output}");
    let (_, output, _) = daemon.request("--table prdcr_status");
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines.len(), 2, "{output}");
    assert!(lines[0].starts_with("NAME  TYPE    HOST") && lines[1].starts_with("p     active  127.0.0.1"), "{output}");

    assert_eq!(daemon.request("greeting name=you"), (0, "Hello 'you'\n".into(), String::new()));
    assert_eq!(daemon.request("dir").1, "[]\n");
    daemon.request("load name=meminfo");
    daemon.request("config name=meminfo producer=n1 instance=n1/meminfo");
    let sets: Value = serde_json::from_str(&daemon.request("dir").1).unwrap();
    assert_eq!(sets[0]["name"], json!("n1/meminfo"));
}

#[tokio::test]
async fn what_harms_the_daemon_takes_force() {
    let daemon = Daemon::start("main").await;
    let (status, _, complaint) = daemon.request("xprt_stats");
    assert_eq!(status, 254);
    assert!(complaint.contains("xprt_stats is not sent") && complaint.contains("--force"), "{complaint}");
    assert_eq!(daemon.request("--force xprt_stats").0, 0);

    // A policy is added when there is none of its name, which is asked first.
    daemon.request("load name=store_csv");
    daemon.request("config name=store_csv path=/tmp");
    let add = "strgp_add name=s plugin=store_csv container=c schema=m";
    assert_eq!(daemon.request(add).0, 0);
    assert_eq!(daemon.request(add).0, 254);
    assert_eq!(daemon.request("strgp_status name=s").0, 0, "the policy survives");
}

#[tokio::test]
async fn who_cannot_ask_says_why_and_not_the_secret() {
    let daemon = Daemon::start("4.4").await;
    let port = daemon.port.number();
    let (status, _, complaint) = run(&format!("--port {port} daemon_status"));
    assert_eq!(status, 254);
    assert!(complaint.contains("Auth mismatch") && complaint.contains("plugin none"), "{complaint}");

    let other = daemon.dir.path().join("other");
    std::fs::write(&other, "secretword=battery-staple\n").unwrap();
    let with_conf = |conf: &Path| run(&format!("--port {port} --auth ovis --conf {} daemon_status", conf.display()));
    let open = with_conf(&other);
    assert!(open.0 == 254 && open.2.contains("chmod 600"), "{open:?}");
    std::fs::set_permissions(&other, std::fs::Permissions::from_mode(0o600)).unwrap();
    let wrong = with_conf(&other);
    assert!(wrong.0 == 254 && wrong.2.contains("secret"), "{wrong:?}");
    std::fs::write(&other, "secretword=short\n").unwrap();
    let short = with_conf(&other);
    assert!(short.0 == 254 && short.2.contains("5 bytes"), "{short:?}");
    for shown in [open.2, wrong.2, short.2, daemon.request("--table daemon_status").1] {
        assert!(!shown.contains("battery-staple") && !shown.contains(SECRET) && !shown.contains("short"), "{shown}");
    }
}

#[tokio::test]
async fn the_environment_names_the_secret_file_as_for_ldmsd() {
    let daemon = Daemon::start("4.5").await;
    let ask = format!("--port {} --auth ovis daemon_status", daemon.port.number());
    let secret = daemon.dir.path().join("secret").display().to_string();
    assert_eq!(run_with_secret_file(&secret, &ask).0, 0);
    // It counts even where there is no such file.
    let missing = run_with_secret_file(&format!("{secret}-missing"), &ask);
    assert!(missing.0 == 254 && missing.2.contains("secret-missing"), "{missing:?}");
}

#[test]
fn a_wrong_command_line_is_told_without_asking_anybody() {
    for (arguments, told) in [
        ("prdcr_ad name=p", "there is no verb `prdcr_ad`"),
        ("prdcr_add nmae=p", "prdcr_add: there is no attribute `nmae`"),
        ("--prot 1 daemon_status", "--prot"),
        ("", "VERB"),
    ] {
        let (status, output, complaint) = run(arguments);
        assert_eq!((status, output.as_str()), (255, ""), "{arguments}");
        assert!(complaint.contains(told), "{complaint}");
    }
    let (status, help, _) = run("--help");
    assert!(status == 0 && help.contains("Examples:") && help.contains("Exit status:"), "{help}");
}

//! Keeping the daemons of this machine running, with a script in the place of ldmsd.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what fails in a test fails the test")]

#[path = "local_daemons/keeper.rs"]
mod keeper;
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use keeper::{Machine, is_alive, kill_daemon};
use maestro::local;
use tokio::sync::mpsc;

use crate::support::etcd::Etcd;

/// Makes the first daemon an aggregator of the second.
const AGGREGATES: &str = "
aggregators:
  - daemons: agg
    peers:
      - { endpoints: sampler-1-e, reconnect: 1s, updaters: [ { interval: 1s } ] }
";

#[tokio::test]
async fn the_daemons_of_this_machine_are_started_and_all_are_gone_after_ctrl_c() {
    let machine = Machine::new();
    let mut keeper = machine.keep(&[]);
    let pids = machine.until_up(&["agg", "sampler-1"]).await;
    let files = machine.path("files");
    for (name, pid) in &pids {
        let path = |extension: &str| files.join(format!("{name}.{extension}"));
        let arguments = format!("-F -c {} -l {}", path("conf").display(), path("log").display());
        assert_eq!(machine.starts(name), [(*pid, arguments)]);
        assert_eq!(fs::read_to_string(path("conf")).unwrap(), machine.generated(name));
        assert_eq!(fs::metadata(path("conf")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(path("log")).unwrap(), "up, with HOSTNAME and LABEL=of-the-YAML\n");
    }
    let text = keeper.log();
    assert!(text.contains("keeping 2 of 4 daemons") && text.contains(files.to_str().unwrap()), "{text}");

    keeper.interrupt_its_group();
    assert_eq!(keeper.exit_code().await, Some(0));
    assert!(pids.values().all(|pid| !is_alive(*pid)), "{}", keeper.log());
    assert!(!machine.path("interrupted").exists(), "Ctrl-C has reached a daemon");
    let left: Vec<String> = machine.files().into_iter().filter(|name| name.ends_with("pid")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_daemon_that_is_killed_comes_back_alone() {
    let machine = Machine::new();
    let mut keeper = machine.keep(&[]);
    let pids = machine.until_up(&["agg", "sampler-1"]).await;
    kill_daemon(pids["agg"]);
    keeper.until_it_says("agg was killed by SIGKILL").await;
    keeper.until_it_says("agg is started again").await;
    let now = machine.until_up(&["agg", "sampler-1"]).await;
    assert_ne!(now["agg"], pids["agg"]);
    assert_eq!(now["sampler-1"], pids["sampler-1"]);

    keeper.signal("TERM");
    assert_eq!(keeper.exit_code().await, Some(0));
    assert!(now.values().all(|pid| !is_alive(*pid)), "{}", keeper.log());
}

#[tokio::test]
async fn a_daemon_that_does_not_come_up_is_shown_with_its_last_words() {
    let machine = Machine::new();
    fs::create_dir(machine.path("files")).unwrap();
    fs::write(machine.path("files/agg.log"), "of last week\n").unwrap();
    machine.behave("agg", "echo 'no plugin nosuch' >&2; exit 2");
    let mut keeper = machine.keep(&[]);
    keeper.until_it_says("agg exited with status 2").await;
    let text = keeper.log();
    assert!(
        text.contains("it is started again in 1 s; its log ends:") && text.contains("    no plugin nosuch"),
        "{text}"
    );
    assert!(!text.contains("of last week"), "{text}");
    // Mended, it comes up.
    machine.behave("agg", "");
    machine.until_up(&["agg", "sampler-1"]).await;
    keeper.signal("TERM");
    assert_eq!(keeper.exit_code().await, Some(0));
}

#[tokio::test]
async fn stopping_twice_does_not_wait_for_a_daemon_that_is_deaf() {
    let machine = Machine::new();
    machine.behave("agg", "trap 'echo deaf' TERM");
    let mut keeper = machine.keep(&[]);
    let pids = machine.until_up(&["agg", "sampler-1"]).await;
    keeper.signal("TERM");
    machine.until_it_logs("agg", "deaf").await;
    assert!(is_alive(pids["agg"]));
    keeper.signal("TERM");
    assert_eq!(keeper.exit_code().await, Some(0));
    assert!(!is_alive(pids["agg"]) && !is_alive(pids["sampler-1"]));
}

#[tokio::test]
async fn what_a_killed_run_has_left_is_kept_while_it_is_right() {
    let machine = Machine::new();
    let mut first = machine.keep(&[]);
    let pids = machine.until_up(&["agg", "sampler-1"]).await;
    first.signal("KILL");
    assert_eq!(first.exit_code().await, None);
    assert!(pids.values().all(|pid| is_alive(*pid)), "data go on without us");

    // The configuration of one has changed meanwhile.
    machine.replace("[10001]", "[10003]");
    let mut second = machine.keep(&[]);
    second.until_it_says("sampler-1 runs already as it should").await;
    second.until_it_says("agg runs with another configuration").await;
    second.until_it_says("agg is started").await;
    let now = machine.until_up(&["agg", "sampler-1"]).await;
    assert_eq!(now["sampler-1"], pids["sampler-1"]);
    assert!(now["agg"] != pids["agg"] && !is_alive(pids["agg"]), "{}", second.log());
    assert_eq!(fs::read_to_string(machine.path("files/agg.conf")).unwrap(), machine.generated("agg"));

    // One that is not our child is seen to end, too.
    kill_daemon(pids["sampler-1"]);
    second.until_it_says("sampler-1 is started again").await;
    let now = machine.until_up(&["agg", "sampler-1"]).await;
    second.signal("TERM");
    assert_eq!(second.exit_code().await, Some(0));
    assert!(now.values().all(|pid| !is_alive(*pid)));
}

#[tokio::test]
async fn an_adopted_daemon_is_stopped_like_the_others() {
    let machine = Machine::new();
    let mut first = machine.keep(&[]);
    let pids = machine.until_up(&["agg", "sampler-1"]).await;
    first.signal("KILL");
    first.exit_code().await;
    let mut second = machine.keep(&[]);
    second.until_it_says("sampler-1 runs already as it should").await;
    second.signal("TERM");
    assert_eq!(second.exit_code().await, Some(0));
    assert!(pids.values().all(|pid| !is_alive(*pid)));
}

#[tokio::test]
async fn daemons_that_maestro_configures_stay_when_it_goes() {
    let machine = Machine::new();
    fs::create_dir(machine.path("files")).unwrap();
    let (stop, stops) = mpsc::channel(1);
    let pids = tokio::select! {
        ended = local::keep(machine.bare_daemons(), stops) => panic!("it stops by itself: {ended:?}"),
        pids = machine.until_up(&["agg", "sampler-1"]) => pids,
    };
    let arguments = format!("-F -l {} -x sock:10001:127.0.0.2", machine.path("files/agg.log").display());
    assert_eq!(machine.starts("agg"), [(pids["agg"], arguments)]);
    assert!(pids.values().all(|pid| is_alive(*pid)));
    drop(stop);

    let (stop, stops) = mpsc::channel(1);
    stop.send(()).await.unwrap();
    local::keep(machine.bare_daemons(), stops).await.unwrap();
    assert!(pids.values().all(|pid| !is_alive(*pid)));
    assert_eq!((machine.starts("agg").len(), machine.starts("sampler-1").len()), (1, 1));
}

#[tokio::test]
async fn nobody_else_keeps_the_same_daemons() {
    let machine = Machine::new();
    let mut first = machine.keep(&[]);
    let pids = machine.until_up(&["agg", "sampler-1"]).await;
    let mut second = machine.keep(&[]);
    assert_eq!(second.exit_code().await, Some(1));
    assert!(second.log().contains("agg.pid is locked: another maestro keeps this daemon"), "{}", second.log());
    assert_eq!(machine.until_up(&["agg", "sampler-1"]).await, pids);
    first.signal("TERM");
    assert_eq!(first.exit_code().await, Some(0));
}

#[tokio::test]
async fn a_pid_that_is_somebody_elses_is_left_alone() {
    let machine = Machine::new();
    let mut bystander = support::Process::start(std::process::Command::new("sleep").arg("60"), "it is everywhere");
    fs::create_dir(machine.path("files")).unwrap();
    fs::write(machine.path("files/agg.pid"), bystander.id().to_string()).unwrap();
    let mut keeper = machine.keep(&[]);
    machine.until_up(&["agg", "sampler-1"]).await;
    keeper.signal("TERM");
    assert_eq!(keeper.exit_code().await, Some(0));
    assert!(bystander.is_running());
}

#[tokio::test]
async fn a_terminal_that_goes_stops_the_daemons_but_not_under_nohup() {
    let machine = Machine::new();
    let mut keeper = machine.keep_on_a_terminal();
    let pids = machine.until_up(&["agg", "sampler-1"]).await;
    keeper.signal("HUP");
    assert_eq!(keeper.exit_code().await, Some(0));
    assert!(pids.values().all(|pid| !is_alive(*pid)));

    let mut keeper = machine.keep_under_nohup();
    machine.until_up(&["agg", "sampler-1"]).await;
    keeper.signal("HUP");
    let now = machine.until_up(&["agg", "sampler-1"]).await;
    kill_daemon(now["agg"]);
    keeper.until_it_says("agg is started again").await;
    keeper.signal("TERM");
    assert_eq!(keeper.exit_code().await, Some(0));
}

#[tokio::test]
async fn without_ldmsd_or_without_daemons_nothing_is_done() {
    let machine = Machine::new();
    let mut keeper = machine.keep(&[("PATH", "/nowhere/bin:/nowhere/sbin")]);
    assert_eq!(keeper.exit_code().await, Some(1));
    let text = keeper.log();
    assert!(text.contains("ldmsd was not found in PATH (/nowhere/bin:/nowhere/sbin)"), "{text}");

    machine.replace("127.0.0.2", "198.51.100.2");
    machine.replace("localhost", "198.51.100.3");
    let mut keeper = machine.keep(&[]);
    assert_eq!(keeper.exit_code().await, Some(1));
    let text = keeper.log();
    let host_name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert!(text.contains(&format!("no daemon lives here: this machine is {}", host_name.trim())), "{text}");
    assert!(text.contains("198.51.100.2, 198.51.100.3, 198.51.100.4, 198.51.100.5"), "{text}");

    assert!(!machine.path("files").exists());
    assert_eq!(machine.starts("agg"), []);
}

#[tokio::test]
async fn the_cluster_may_come_from_etcd() {
    let machine = Machine::new();
    let etcd = Etcd::start().await;
    let (endpoint, member) = (etcd.endpoint(), machine.path("etcd.yaml"));
    let (host, port) = endpoint.split_once(':').unwrap();
    fs::write(member, format!("cluster: test\nmembers:\n  - {{ host: {host}, port: {port} }}\n")).unwrap();
    let loaded = machine.maestro_ctrl(&["--cluster", "etcd.yaml", "--ldms_config", "cluster.yaml"]);
    assert!(loaded.status.success(), "{loaded:?}");
    let mut keeper = machine.keep_from_etcd("etcd.yaml");
    machine.until_up(&["agg", "sampler-1"]).await;
    assert_eq!(fs::read_to_string(machine.path("files/agg.conf")).unwrap(), machine.generated("agg"));
    keeper.signal("TERM");
    assert_eq!(keeper.exit_code().await, Some(0));
}

#[test]
fn wrong_usage_is_refused() {
    let machine = Machine::new();
    for arguments in [
        &["--ldms_config", "cluster.yaml", "--local_path", "files"][..],
        &["--ldms_config", "cluster.yaml", "--ldmsd", "sbin/ldmsd"],
        &["--ldms_config", "cluster.yaml", "--local", "--check"],
        &["--ldms_config", "cluster.yaml", "--local", "--daemon_name", "agg"],
        &["--ldms_config", "cluster.yaml", "--local", "--generate-config-path", "files"],
    ] {
        assert_eq!(machine.maestro_ctrl(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[tokio::test]
async fn a_configuration_that_no_file_can_hold_starts_nothing() {
    let machine = Machine::new();
    machine.replace("hosts: localhost", "hosts: localhost\n    no_such_option: 1");
    let mut keeper = machine.keep(&[]);
    assert_eq!(keeper.exit_code().await, Some(1));
    assert!(keeper.log().contains("sampler-1: `no_such_option` is no option of ldmsd"), "{}", keeper.log());
    assert!(!machine.path("files").exists());
    assert_eq!(machine.starts("agg"), []);
}

#[tokio::test]
async fn maestro_starts_the_aggregators_of_its_machine_and_leaves_them_running() {
    let machine = Machine::new();
    machine.append(AGGREGATES);
    let mut maestro = machine.maestro_that_starts_aggregators();
    let pids = machine.until_up(&["agg"]).await;
    let log = machine.path("files/agg.log");
    assert_eq!(machine.starts("agg")[0].1, format!("-F -l {} -x sock:10001:127.0.0.2", log.display()));
    assert!(machine.starts("sampler-1").is_empty(), "samplers are not its business");

    kill_daemon(pids["agg"]);
    maestro.until_it_says("agg is started again").await;
    let pids = machine.until_up(&["agg"]).await;
    maestro.signal("TERM");
    assert_eq!(maestro.exit_code().await, Some(0));
    assert!(is_alive(pids["agg"]), "data go on without maestro");

    let mut next = machine.maestro_that_starts_aggregators();
    next.until_it_says("agg runs already as it should").await;
    assert_eq!(machine.until_up(&["agg"]).await, pids);
    next.signal("TERM");
    assert_eq!(next.exit_code().await, Some(0));
}

#[tokio::test]
async fn maestro_leaves_an_aggregator_alone_that_somebody_else_runs() {
    let machine = Machine::new();
    machine.append(AGGREGATES);
    let somebody = std::net::TcpListener::bind("127.0.0.2:0").unwrap();
    machine.replace("[10001]", &format!("[{}]", somebody.local_addr().unwrap().port()));
    let mut maestro = machine.maestro_that_starts_aggregators();
    maestro.until_it_says("agg runs already, and was not started by maestro").await;
    maestro.signal("TERM");
    assert_eq!(maestro.exit_code().await, Some(0));
    assert!(machine.starts("agg").is_empty());
}

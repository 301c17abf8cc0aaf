//! What an operator gets who makes a mistake: one message that says where, and nothing half done.

use std::time::Instant;

use maestro::store::{EtcdOptions, EtcdStore};

use crate::site::{PATIENCE, Site};
use crate::support::FreePort;

/// A text of the cluster's file, what is written in its place, and what is said of it.
const MISTAKES: [(&str, &str, &str); 6] = [
    ("container: all, schema: meminfo", "contanier: all, schema: meminfo", "52:50: error: unknown key `contanier`"),
    ("daemons: *samplers", "daemons: nobody", "43:14: error: no daemon is called `nobody`"),
    ("NETWORK.[1-8]", "NETWORK.[1-9]", "5:12: error: 8 daemons cannot be shared evenly by 9 hosts"),
    ("[ meminfo, loadavg ]", "[ meminfo, loadavg", "44:14: error: this `[` is never closed"),
    ("plugins: [ meminfo", "plugins: [ memnifo", "44:16: error: "),
    ("csv, container: all, schema: loadavg", "cvs, container: all, schema: loadavg", "53:43: error: "),
];

#[tokio::test]
async fn a_mistake_in_the_file_is_told_with_its_place_and_nothing_is_loaded() {
    let site = Site::without_daemons();
    let etcd = site.start_etcd().await;
    let store = EtcdStore::new(&EtcdOptions { endpoints: vec![etcd.endpoint()], ..EtcdOptions::default() }).unwrap();
    site.load("cluster.yaml");
    let before = store.load("cluster").await.unwrap();

    for (right, wrong, message) in MISTAKES {
        site.write("cluster.yaml", &[(right, wrong)]);
        let loaded = site.maestro_ctrl(&["--cluster", "etcd.yaml", "--ldms_config", "cluster.yaml"]);
        assert_eq!((loaded.code, loaded.stdout.as_str()), (Some(1), ""), "{wrong}");
        assert!(loaded.stderr.starts_with(&format!("cluster.yaml:{message}")), "{}", loaded.stderr);
        assert_eq!(loaded.stderr.matches("cluster.yaml:").count(), 1, "one message: {}", loaded.stderr);
        assert_eq!(store.load("cluster").await.unwrap(), before, "{wrong}");

        let run = site.maestro_that_ends(&["--ldms_config", "cluster.yaml"]).await;
        assert_eq!(run.code, Some(1), "{wrong}");
        assert_eq!(run.stderr, format!("maestro: {}", loaded.stderr));
    }
}

#[tokio::test]
async fn a_file_that_is_missing_is_named() {
    let site = Site::without_daemons();
    let _etcd = site.start_etcd().await;
    let missing = "cannot read missing.yaml: No such file or directory (os error 2)\n";
    for arguments in [
        ["--cluster", "etcd.yaml", "--ldms_config", "missing.yaml"],
        ["--cluster", "missing.yaml", "--ldms_config", "cluster.yaml"],
    ] {
        let loaded = site.maestro_ctrl(&arguments);
        assert_eq!((loaded.code, loaded.stderr.as_str()), (Some(1), missing));
    }
    for arguments in [["--ldms_config", "missing.yaml"], ["--cluster", "missing.yaml"]] {
        let run = site.maestro_that_ends(&arguments).await;
        assert_eq!((run.code, run.stderr), (Some(1), format!("maestro: {missing}")));
    }
}

#[tokio::test]
async fn an_etcd_that_nobody_runs_is_named_and_not_waited_for_long() {
    let site = Site::without_daemons();
    let port = FreePort::reserve();
    site.write_text("etcd.yaml", &format!("members: [ {{ host: 127.0.0.1, port: {} }} ]\n", port.number()));
    let begin = Instant::now();
    let loaded = site.maestro_ctrl(&["--cluster", "etcd.yaml", "--ldms_config", "cluster.yaml"]);
    let run = site.maestro_that_ends(&["--cluster", "etcd.yaml"]).await;
    assert!(begin.elapsed() < PATIENCE);
    let message = format!("etcd at {} does not answer: ", port.endpoint());
    assert_eq!((loaded.code, loaded.stdout.as_str()), (Some(1), ""));
    assert_eq!(run.code, Some(1));
    assert!(loaded.stderr.starts_with(&message) && loaded.stderr.lines().count() == 1, "{}", loaded.stderr);
    assert!(
        run.stderr.starts_with(&format!("maestro: {message}")) && run.stderr.lines().count() == 1,
        "{}",
        run.stderr
    );
}

#[tokio::test]
async fn a_mistake_in_etcd_yaml_is_told_with_its_place() {
    let site = Site::without_daemons();
    site.write_text("etcd.yaml", "members:\n  - host: 127.0.0.1\n    prot: 2379\n");
    let loaded = site.maestro_ctrl(&["--cluster", "etcd.yaml", "--ldms_config", "cluster.yaml"]);
    assert_eq!(loaded.code, Some(1));
    assert!(loaded.stderr.starts_with("etcd.yaml:3:5: error: unknown key `prot`"), "{}", loaded.stderr);
}

//! Loading a cluster into etcd, and how maestro finds it there.

use maestro::store::{EtcdOptions, EtcdStore};

use crate::site::{Finished, Site};
use crate::support::etcd::Etcd;

const SAVED: &str = "LDMS cluster configuration saved to etcd cluster.\n";

fn store(etcd: &Etcd) -> EtcdStore {
    EtcdStore::new(&EtcdOptions { endpoints: vec![etcd.endpoint()], ..EtcdOptions::default() }).unwrap()
}

#[tokio::test]
async fn a_cluster_is_loaded_under_the_name_of_its_file_or_a_given_one() {
    let site = Site::without_daemons();
    let etcd = site.start_etcd().await;
    let stems = site.maestro_ctrl(&["--cluster", "etcd.yaml", "--ldms_config", "cluster.yaml"]);
    assert_eq!((stems.code, stems.stdout.as_str()), (Some(0), SAVED), "{}", stems.stderr);
    assert_eq!(store(&etcd).clusters().await.unwrap(), ["cluster"]);

    // Either spelling of an option will do.
    let named = site.maestro_ctrl(&["--ldms-config=cluster.yaml", "--cluster", "etcd.yaml", "--prefix", "second"]);
    assert_eq!((named.code, named.stdout.as_str()), (Some(0), SAVED), "{}", named.stderr);
    let store = store(&etcd);
    assert_eq!(store.clusters().await.unwrap(), ["cluster", "second"]);
    let [first, second] = ["cluster", "second"].map(async |name| store.load(name).await.unwrap().unwrap().tree);
    assert_eq!(first.await, second.await);

    // Loading again changes what is different and nothing else.
    site.write("cluster.yaml", &[("container: all, schema: meminfo", "container: memory, schema: meminfo")]);
    let again = site.maestro_ctrl(&["--cluster", "etcd.yaml", "--ldms_config", "cluster.yaml"]);
    assert_eq!((again.code, again.stdout.as_str()), (Some(0), SAVED), "{}", again.stderr);
    assert!(again.stderr.contains("cluster: 1 changed, 0 added, 0 removed"), "{}", again.stderr);
}

#[tokio::test]
async fn maestro_takes_the_only_cluster_or_asks_which() {
    let site = Site::start().await;
    let _etcd = site.start_etcd().await;
    let none = site.maestro_that_ends(&["--cluster", "etcd.yaml"]).await;
    assert_eq!(none.code, Some(1));
    assert_eq!(
        none.stderr,
        "maestro: etcd holds no cluster: load one with maestro_ctrl --ldms_config FILE --prefix NAME\n"
    );

    site.load("cluster.yaml");
    let mut only = site.maestro(&["--cluster", "etcd.yaml"]);
    only.until_balanced("agg-1 3, agg-2 3, agg-3 2").await;
    assert_eq!(only.signal("TERM").await, Some(0));

    let second = site.maestro_ctrl(&["--cluster", "etcd.yaml", "--ldms_config", "cluster.yaml", "--prefix", "second"]);
    assert_eq!(second.code, Some(0), "{}", second.stderr);
    let several = site.maestro_that_ends(&["--cluster", "etcd.yaml"]).await;
    assert_eq!(several.code, Some(1));
    assert_eq!(
        several.stderr,
        "maestro: etcd holds several clusters (cluster, second): choose one with --prefix NAME\n"
    );
    let unknown = site.maestro_that_ends(&["--cluster", "etcd.yaml", "--prefix", "third"]).await;
    assert_eq!(unknown.code, Some(1));
    assert_eq!(
        unknown.stderr,
        "maestro: etcd holds no cluster `third` (it holds cluster, second): \
         load it with maestro_ctrl --prefix third\n"
    );

    let mut chosen = site.maestro(&["--cluster", "etcd.yaml", "--prefix", "second"]);
    chosen.until_balanced("agg-1 3, agg-2 3, agg-3 2").await;
}

fn stdout_lines(finished: &Finished) -> Vec<&str> {
    finished.stdout.lines().collect()
}

#[tokio::test]
async fn the_difference_is_shown_and_not_loaded() {
    let site = Site::without_daemons();
    let etcd = site.start_etcd().await;
    let diff = |more: &[&str]| {
        let arguments = ["--cluster", "etcd.yaml", "--ldms_config", "cluster.yaml", "--diff"];
        let diff = site.maestro_ctrl(&[&arguments, more].concat());
        assert_eq!(diff.code, Some(0), "{}", diff.stderr);
        diff
    };

    let first = diff(&[]);
    assert!(
        first.stderr.starts_with("etcd holds no cluster `cluster`: all of it would be added\n"),
        "{}",
        first.stderr
    );
    assert!(
        stdout_lines(&first).iter().any(|line| line.starts_with("+ daemons/sampler-[1-8] (8 x ")),
        "{}",
        first.stdout
    );
    assert!(first.stdout.lines().all(|line| line.starts_with("+ ")), "{}", first.stdout);
    assert_eq!(store(&etcd).clusters().await.unwrap(), Vec::<String>::new());

    site.load("cluster.yaml");
    let same = diff(&[]);
    assert_eq!(same.stdout, "");
    assert_eq!(same.stderr, "cluster: 0 changed, 0 added, 0 removed; nothing was written\n");

    let before = store(&etcd).load("cluster").await.unwrap().unwrap();
    site.write("cluster.yaml", &[("container: all, schema: meminfo", "container: memory, schema: meminfo")]);
    let change = diff(&[]);
    assert_eq!(stdout_lines(&change), ["~ stores/top/memory/container: all -> memory"]);
    assert_eq!(diff(&["--verbose"]).stdout, change.stdout);
    assert_eq!(change.stderr, "cluster: 1 changed, 0 added, 0 removed; nothing was written\n");
    assert_eq!(store(&etcd).load("cluster").await.unwrap().unwrap(), before);
}

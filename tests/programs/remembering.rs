//! What maestro has noted in etcd, and what the next one makes of it.

use std::collections::BTreeSet;

use etcd_client::GetOptions;

use crate::site::{DAEMONS, Maestro, PATIENCE, Site};
use crate::support::etcd::Etcd;
use crate::support::eventually;

const WITH_ETCD: [&str; 4] = ["--cluster", "etcd.yaml", "--log-level", "debug"];
/// The configuration of a plugin in the YAML.
const MEMINFO: &str = "config: [ { schema: meminfo } ]";

/// A site that a maestro has made right, and that maestro.
async fn settled() -> (Site, Etcd, Maestro) {
    let site = Site::start().await;
    let etcd = site.start_etcd().await;
    site.load("cluster.yaml");
    let mut maestro = site.maestro(&WITH_ETCD);
    maestro.until_balanced("agg-1 3, agg-2 3, agg-3 2").await;
    site.until_home().await;
    until_settled(&mut maestro, &DAEMONS).await;
    (site, etcd, maestro)
}

async fn until_settled(maestro: &mut Maestro, daemons: &[&str]) {
    for daemon in daemons {
        maestro.until_log(&format!(" {daemon} is as configured")).await;
    }
}

/// What was sent to change daemons, without its attributes but for the name: `sampler-1 term meminfo`.
fn sent(maestro: &Maestro) -> BTreeSet<String> {
    let lines = maestro.sent();
    let short = |line: &String| {
        let (before, command) = line.split_once(" <- ")?;
        let daemon = before.split(' ').next_back()?;
        let words: Vec<&str> = command.split(' ').collect();
        let name = words.iter().find_map(|word| word.strip_prefix("name=")).unwrap_or_default();
        Some(format!("{daemon} {} {name}", words[0]).trim_end().to_owned())
    };
    lines.iter().filter_map(short).collect()
}

#[tokio::test]
async fn a_restart_sends_nothing_that_was_sent_before() {
    let (site, _etcd, mut maestro) = settled().await;
    let counters = site.change_counters().await;
    for signal in ["TERM", "INT"] {
        assert_eq!(maestro.signal(signal).await, Some(0), "SIG{signal}");
        maestro = site.maestro(&WITH_ETCD);
        maestro.until_balanced("agg-1 3, agg-2 3, agg-3 2").await;
        until_settled(&mut maestro, &DAEMONS).await;
        assert_eq!(maestro.sent(), Vec::<String>::new());
        assert_eq!(site.change_counters().await, counters);
    }
}

#[tokio::test]
async fn what_changed_while_no_maestro_ran_reaches_the_daemons() {
    let (site, _etcd, maestro) = settled().await;
    assert_eq!(maestro.signal("TERM").await, Some(0));

    // Another configuration of a plugin, a sampler less, a plugin less, a policy less.
    site.write(
        "cluster.yaml",
        &[
            (MEMINFO, "config: [ { schema: meminfo, component_id: 7 } ]"),
            ("sampler-[1-8]", "sampler-[1-7]"),
            ("NETWORK.[1-8]", "NETWORK.[1-7]"),
            ("plugins: [ meminfo, loadavg ]", "plugins: [ meminfo ]"),
            ("  load: { daemons: *second-level, plugin: csv, container: all, schema: loadavg }\n", ""),
        ],
    );
    site.load("cluster.yaml");
    let mut maestro = site.maestro(&WITH_ETCD);
    maestro.until_balanced("agg-1 3, agg-2 2, agg-3 2").await;
    let left: Vec<&str> = DAEMONS.into_iter().filter(|daemon| *daemon != "sampler-8").collect();
    until_settled(&mut maestro, &left).await;
    site.until("nobody knows sampler-8, and samplers have one set", |reports| {
        ["agg-1", "agg-2", "agg-3"].iter().all(|aggregator| reports[*aggregator].producers == 7)
            && (1..=7).all(|sampler| reports[&format!("sampler-{sampler}")].own_sets == 1)
    })
    .await;

    let sent = sent(&maestro);
    for sampler in 1..=7 {
        let of = |line: &&String| line.starts_with(&format!("sampler-{sampler} "));
        let mut expected: Vec<String> =
            ["stop", "term", "load", "config", "start"].map(|v| format!("{v} meminfo")).into();
        expected.extend(["stop", "term"].map(|verb| format!("{verb} loadavg")));
        let expected: BTreeSet<String> = expected.iter().map(|line| format!("sampler-{sampler} {line}")).collect();
        assert_eq!(sent.iter().filter(of).cloned().collect::<BTreeSet<_>>(), expected);
    }
    for line in ["top strgp_del load", "agg-1 prdcr_del sampler-8-ep", "agg-3 prdcr_del sampler-8-ep"] {
        assert!(sent.contains(line), "no {line:?} in {sent:#?}");
    }
    assert!(!sent.iter().any(|line| line.contains("auth_add") || line.contains("memory")), "{sent:#?}");
}

#[tokio::test]
async fn what_is_gone_is_not_kept_in_mind() {
    let (site, etcd, maestro) = settled().await;
    assert_eq!(maestro.signal("TERM").await, Some(0));
    assert!(notes(&etcd).await.contains("sampler-8"));
    site.write("cluster.yaml", &[("sampler-[1-8]", "sampler-[1-7]"), ("NETWORK.[1-8]", "NETWORK.[1-7]")]);
    site.load("cluster.yaml");
    let mut maestro = site.maestro(&WITH_ETCD);
    maestro.until_balanced("agg-1 3, agg-2 2, agg-3 2").await;
    site.until("nobody knows sampler-8", |reports| {
        ["agg-1", "agg-2", "agg-3"].iter().all(|aggregator| reports[*aggregator].producers == 7)
    })
    .await;
    eventually("the notes are without sampler-8", PATIENCE, async || {
        let notes = notes(&etcd).await;
        (!notes.contains("sampler-8") && notes.contains("sampler-7")).then_some(())
    })
    .await;
}

/// All that is noted of the daemons and groups, as text.
async fn notes(etcd: &Etcd) -> String {
    let mut client = etcd.client().await;
    let mut text = String::new();
    for kind in ["daemons", "producers"] {
        let options = GetOptions::new().with_prefix();
        let key = format!("/maestro/{}/{kind}/", cluster_name(etcd).await);
        let found = client.get(key, Some(options)).await.unwrap();
        for entry in found.kvs() {
            // A run of names is written by its ends.
            let value = entry.value_str().unwrap().replace(r#"["sampler-","1","8","-ep"]"#, "sampler-8");
            let value = value.replace(r#"["sampler-","1","7","-ep"]"#, "sampler-7");
            text.push_str(&format!("{} {value}\n", entry.key_str().unwrap()));
        }
    }
    text
}

/// The name of the only cluster.
async fn cluster_name(etcd: &Etcd) -> String {
    let first = GetOptions::new().with_prefix().with_keys_only().with_limit(1);
    let found = etcd.client().await.get("/", Some(first)).await.unwrap();
    let key = found.kvs()[0].key_str().unwrap().trim_start_matches("/maestro");
    key.split('/').nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn a_note_that_cannot_be_read_is_passed_over() {
    let site = Site::start().await;
    let etcd = site.start_etcd().await;
    site.load("cluster.yaml");
    let key = format!("/maestro/{}/daemons/agg-1", cluster_name(&etcd).await);
    etcd.client().await.put(key, "no note", None).await.unwrap();
    let mut maestro = site.maestro(&WITH_ETCD);
    maestro.until_log("what is noted in etcd of agg-1 cannot be read").await;
    maestro.until_balanced("agg-1 3, agg-2 3, agg-3 2").await;
    site.until_home().await;
}

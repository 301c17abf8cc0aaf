//! What the files say where it cannot be compared with the Python program's.

use super::*;
use crate::spec::read_cluster_with;

/// A cluster of YAML with `ENDPOINT` for the rest of an endpoint.
fn cluster(yaml: &str) -> Cluster {
    let yaml = yaml.replace("ENDPOINT", "xprt: sock, maestro_comm: true");
    let (cluster, diagnostics) = read_cluster_with("test.yaml", &yaml, &|_| true);
    cluster.unwrap_or_else(|| panic!("{diagnostics:?}"))
}

fn text(cluster: &Cluster, daemon: &str) -> String {
    StartupFiles::of(cluster).unwrap().file(&Name::from(daemon)).unwrap().to_string()
}

/// The commands with one of these verbs.
fn lines(cluster: &Cluster, daemon: &str, verbs: &[&str]) -> Vec<String> {
    let text = text(cluster, daemon);
    text.lines().filter(|line| verbs.contains(&line.split(' ').next().unwrap())).map(str::to_owned).collect()
}

/// Aggregators `a-1` to `a-3` that accept advertisers, and collect some of the twelve nodes themselves.
fn advertising(collected: &str, advertise: &str) -> Cluster {
    cluster(&format!(
        "daemons:
  - {{ names: 'node-[1-12]', hosts: 'h-[1-12]', endpoints: [{{ names: 'ep-[1-12]', ports: 10001, ENDPOINT }}] }}
  - {{ names: 'a-[1-3]', hosts: 'b-[1-3]', endpoints: [{{ names: 'a-ep-[1-3]', ports: 10101, ENDPOINT }}] }}
aggregators:
  - daemons: 'a-[1-3]'
    prdcr_listen: [{{ name: l, reconnect: 1s }}]
    peers: [{{ daemons: 'node-[1-12]', endpoints: '{collected}', reconnect: 1s, type: active, updaters: [] }}]
    subscribe: [{{ stream: jobs, regex: '.*' }}]
samplers:
  - {{ daemons: 'node-[1-12]', plugins: [m], advertise: {advertise} }}
plugins: {{ m: {{ name: meminfo, interval: 1s, config: [{{ schema: meminfo }}] }} }}
"
    ))
}

/// The advertisers of each node, without what all have in common.
fn advertisers_of(cluster: &Cluster) -> Vec<String> {
    let mut all = Vec::new();
    for number in 1..=12 {
        for line in lines(cluster, &format!("node-{number}"), &["advertiser_add"]) {
            let words: Vec<&str> = line.split(' ').collect();
            all.push(format!("{number}: {} {} {}", words[1], words[2], words[4]));
        }
    }
    all
}

#[test]
fn advertisers_fill_up_what_the_aggregators_collect_already() {
    let cluster = advertising("ep-[1-4]", "{ names: 'node-[5-12]', to: 'a-ep-[1-3]', reconnect: 2s }");
    assert_eq!(
        advertisers_of(&cluster),
        [
            "5: name=node-5-b-1 host=b-1 port=10101",
            "6: name=node-6-b-1 host=b-1 port=10101",
            "7: name=node-7-b-2 host=b-2 port=10101",
            "8: name=node-8-b-2 host=b-2 port=10101",
            "9: name=node-9-b-2 host=b-2 port=10101",
            "10: name=node-10-b-3 host=b-3 port=10101",
            "11: name=node-11-b-3 host=b-3 port=10101",
            "12: name=node-12-b-3 host=b-3 port=10101",
        ]
    );
    // node-1 and node-2 are collected by a-1, one by each of the others.
    assert_eq!(lines(&cluster, "a-1", &["prdcr_start"]), ["prdcr_start name=ep-1", "prdcr_start name=ep-2"]);
    assert_eq!(
        lines(&cluster, "a-3", &["prdcr_listen_add", "prdcr_listen_start"]),
        ["prdcr_listen_add name=l reconnect=1000000", "prdcr_listen_start name=l"]
    );
}

#[test]
fn advertisers_are_called_after_the_names_in_the_yaml() {
    let names = |advertise: &str| {
        let lines = lines(&advertising("ep-1", advertise), "node-10", &["advertiser_start"]);
        lines.into_iter().map(|line| line.replace("advertiser_start name=", "")).collect::<Vec<_>>()
    };
    assert_eq!(names("{ names: 'ep-[2-12]', to: 'a-ep-[1-3]', reconnect: 2s }"), ["ep-10-b-3"]);
    assert_eq!(names("{ names: 'own-[21-32]', to: 'a-ep-[1-3]', reconnect: 2s }"), ["own-30-b-3"]);
    assert_eq!(names("{ hosts: 'b-3', port: 10101, reconnect: 2s }"), ["node-10-b-3"]);
}

#[test]
fn addresses_that_are_no_aggregators_stay_as_written() {
    let cluster = advertising("ep-1", "{ hosts: 'b-[2-3],elsewhere', port: 10101, xprt: rdma, reconnect: 2s }");
    assert_eq!(
        lines(&cluster, "node-2", &["advertiser_add"]),
        [
            "advertiser_add name=node-2-b-2 host=b-2 xprt=rdma port=10101 type=advertiser reconnect=2000000 auth=none",
            "advertiser_add name=node-2-elsewhere host=elsewhere xprt=rdma port=10101 type=advertiser reconnect=2000000 \
         auth=none",
        ]
    );
}

#[test]
fn two_targets_on_one_host_are_told_apart_by_their_ports() {
    let advertise = "[{ hosts: elsewhere, port: 1, reconnect: 1s }, { hosts: 'elsewhere', port: 2, reconnect: 1s }]";
    let mut cluster = advertising("ep-1", advertise);
    // One entry with both targets, as `to` can give it.
    let group = cluster.samplers.values_mut().next().unwrap();
    let second = group.advertisers.pop().unwrap();
    group.advertisers[0].targets.extend(second.targets);
    assert_eq!(
        lines(&cluster, "node-2", &["advertiser_start"]),
        ["advertiser_start name=node-2-elsewhere-1", "advertiser_start name=node-2-elsewhere-2"]
    );
}

#[test]
fn a_daemon_that_is_advertised_twice_to_a_group_is_collected_once() {
    let to = "to: 'a-ep-[1-3]', reconnect: 1s";
    let cluster = advertising("ep-1", &format!("[{{ names: 'node-[2-12]', {to} }}, {{ names: 'ep-[2-12]', {to} }}]"));
    assert_eq!(lines(&cluster, "node-2", &["advertiser_add"]).len(), 1);
}

#[test]
fn daemons_that_advertise_to_subscribers_have_the_stream_service() {
    let cluster = advertising("ep-1", "{ names: 'node-[2-12]', to: 'a-ep-[1-3]', reconnect: 1s }");
    assert_eq!(lines(&cluster, "node-12", &["stream_enable"]), ["stream_enable"]);
}

#[test]
fn a_daemon_says_once_where_it_listens_and_first_where_it_is_configured() {
    let yaml = "
daemons:
  - names: n
    hosts: h
    environment: { SITE: here }
    log_level: INFO
    quota: 1M
    endpoints:
      - { names: a-data, ports: 10002, xprt: sock, auth: { name: ovis1, plugin: ovis, conf: /etc/secret } }
      - { names: b-all, ports: 10003, xprt: sock, bind_all: true }
      - { names: c-twice, ports: 10001, xprt: sock }
      - { names: d-rdma, ports: 10001, xprt: rdma }
      - { names: e-control, ports: 10001, ENDPOINT }
";
    let head = "# Generated by maestro_ctrl --generate-config-path: changes made here are lost
# ldmsd n, on h

# The daemon itself
env SITE=here
log_level level=INFO
option --default_quota 1M
auth_add name=none plugin=none
auth_add name=ovis1 plugin=ovis conf=/etc/secret
listen xprt=sock port=10001 auth=none host=h
listen xprt=sock port=10002 auth=ovis1 host=h
listen xprt=sock port=10003 auth=none
listen xprt=rdma port=10001 auth=none host=h
";
    assert_eq!(text(&cluster(yaml), "n"), head);
}

#[test]
fn what_a_file_cannot_hold_is_an_error_that_says_whose() {
    let failure = |cluster: &Cluster, daemon: &str| {
        StartupFiles::of(cluster).and_then(|files| files.file(&daemon.into()).map(drop)).unwrap_err().to_string()
    };
    let mut cluster = advertising("ep-[1-4]", "{ names: 'node-[5-12]', to: 'a-ep-[1-3]', reconnect: 1s }");
    assert_eq!(failure(&cluster, "nobody"), "the cluster has no daemon `nobody`");

    let node = cluster.daemons.get_mut(&Name::from("node-7")).unwrap();
    node.options.insert("worker_thread".into(), "4".into());
    assert_eq!(
        failure(&cluster, "node-7"),
        "node-7: `worker_thread` is no option of ldmsd; did you mean `worker_threads`?"
    );
    cluster.daemons.get_mut(&Name::from("node-3")).unwrap().host = "two words".into();
    assert_eq!(
        failure(&cluster, "a-1"),
        "a-[1-3]: a configuration file cannot hold this `prdcr_add`: `host=two words` has a blank in it"
    );
    cluster.daemons.get_mut(&Name::from("node-3")).unwrap().host = "h-3".into();

    let node = cluster.daemons.get_mut(&Name::from("node-8")).unwrap();
    node.environment.insert("SITE".into(), "our site".into());
    assert_eq!(
        failure(&cluster, "node-8"),
        "node-8: a configuration file cannot hold this `env`: `SITE=our site` has a blank in it"
    );
    let node = cluster.daemons.get_mut(&Name::from("node-9")).unwrap();
    node.endpoints[0].auth.options.insert("conf".into(), "/our secret".into());
    assert_eq!(
        failure(&cluster, "node-9"),
        "node-9: a configuration file cannot hold this `auth_add`: `conf=/our secret` has a blank in it"
    );
    let plugin = cluster.plugins.get_mut(&Name::from("m")).unwrap();
    plugin.config = vec![PluginConfig::Attributes([("schema".into(), vec!["mem info".into()])].into())];
    assert_eq!(
        failure(&cluster, "node-9"),
        "m: a configuration file cannot hold this `config`: `schema=mem info` has a blank in it"
    );
}

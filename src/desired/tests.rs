//! What the fixtures' clusters ask of their daemons, beside what the Python maestro sent them.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::cluster::{Cluster, Relations};
use crate::ldmsd::{Attribute, Command, Verb};
use crate::notation::Name;
use crate::placement::home_blocks;
use crate::spec;

fn fixture_path(case: &str, file: &str) -> String {
    format!("{}/tests/fixtures/reference/{case}/{file}", env!("CARGO_MANIFEST_DIR"))
}

fn fixture(case: &str) -> Cluster {
    let path = fixture_path(case, "input.yaml");
    let (cluster, diagnostics) = spec::read_cluster(&path, &std::fs::read_to_string(&path).unwrap());
    cluster.unwrap_or_else(|| panic!("{case}: {diagnostics:?}"))
}

/// The commands for a daemon that knows nothing, with every aggregator of its group in use.
fn commands(cluster: &Cluster, daemon: &str) -> Vec<Command> {
    let name = Name::from(daemon);
    let relations = Relations::of(cluster);
    let mut roles = Roles::default();
    if let Some(group) = relations.group_of(&name).map(|group| &cluster.groups[group]) {
        let producers: Vec<Name> = group.producers.keys().cloned().collect();
        let homes = home_blocks(&producers, &group.aggregators);
        roles.started = homes.into_iter().filter(|(_, owner)| *owner == name).map(|(producer, _)| producer).collect();
    }
    let config = daemon_config(cluster, &relations, &name, &roles);
    let changes = changes(&config, &Observation::default(), &Ledger::default(), Numbering::V45);
    changes.into_iter().flat_map(|change| change.steps).map(|step| step.command).collect()
}

fn lines(cluster: &Cluster, daemon: &str) -> Vec<String> {
    commands(cluster, daemon).iter().map(Command::to_string).collect()
}

/// A request as the wire has it: the verb, and the attributes by their numbers.
type Request = (Verb, BTreeMap<u32, String>);

/// What the Python maestro sent to a daemon that was not a question.
fn python_requests(case: &str, address: &str) -> BTreeSet<Request> {
    let text = std::fs::read_to_string(fixture_path(case, "requests-current.jsonl")).unwrap();
    let calls = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let mut requests = BTreeSet::new();
    for call in calls.filter(|call| call["to"] == address) {
        for request in call["wire"].as_array().unwrap() {
            let verb = Verb::from_word(request[0].as_str().unwrap()).unwrap();
            let attributes = request[1].as_object().unwrap().iter().map(|(word, value)| {
                (Attribute::from_word(word).unwrap().id(Numbering::V45).unwrap(), value.as_str().unwrap().to_owned())
            });
            if !verb.only_asks() {
                requests.insert((verb, attributes.collect()));
            }
        }
    }
    requests
}

/// Our requests, with the differences that are meant undone:
/// - producers are started by an expression, so that they can be deleted later;
/// - an updater's name needs no aggregator's name in it;
/// - a match list is sent in the producers' mode, too;
/// - no `perm=None`; times are numbers of microseconds.
fn comparable(requests: impl IntoIterator<Item = Request>) -> BTreeSet<String> {
    let id = |attribute: Attribute| attribute.id(Numbering::V45).unwrap();
    let mut comparable = BTreeSet::new();
    for (verb, mut attributes) in requests {
        attributes.retain(|key, value| !(*key == id(Attribute::Perm) && value == "None"));
        if let Some(interval) = attributes.get_mut(&id(Attribute::Interval)) {
            *interval = crate::notation::Interval::parse(interval).unwrap().to_string();
        }
        match verb {
            Verb::PrdcrStartRegex => {
                let expression = attributes[&id(Attribute::Regex)].trim_matches(['^', '$', '(', ')']).to_owned();
                comparable.extend(expression.split('|').map(|name| format!("start producer {name}")));
                continue;
            }
            Verb::PrdcrStart => {
                comparable.insert(format!("start producer {}", attributes[&id(Attribute::Name)]));
                continue;
            }
            Verb::UpdtrMatchAdd => continue,
            Verb::UpdtrAdd | Verb::UpdtrPrdcrAdd | Verb::UpdtrStart => {
                let name = attributes.get_mut(&id(Attribute::Name)).unwrap();
                *name = name.splitn(3, '_').take(2).collect::<Vec<_>>().join("_");
            }
            _ => {}
        }
        comparable.insert(format!("{verb} {attributes:?}"));
    }
    comparable
}

#[test]
fn daemons_are_sent_what_the_python_maestro_sent() {
    for case in ["basic-current", "three-levels-current", "two-groups-current"] {
        let cluster = fixture(case);
        for (name, daemon) in &cluster.daemons {
            if case == "two-groups-current" && name.starts_with("alpha") {
                // The Python program configures the last sampler group alone.
                assert!(commands(&cluster, name).iter().any(|command| command.verb == Verb::Load));
                continue;
            }
            let endpoint = daemon.control_endpoint().unwrap();
            let address = format!("{}:{}", daemon.host_of(endpoint), endpoint.port);
            let ours = commands(&cluster, name).into_iter().map(|command| {
                let attributes = command.attributes.into_iter();
                (command.verb, attributes.map(|(key, value)| (key.id(Numbering::V45).unwrap(), value)).collect())
            });
            assert_eq!(comparable(ours), comparable(python_requests(case, &address)), "{case}: {name} at {address}");
        }
    }
}

#[test]
fn a_storing_aggregator_gets_its_plugin_before_the_policies_and_producers_before_updaters() {
    assert_eq!(
        lines(&fixture("three-levels-current"), "l3-agg"),
        [
            "auth_add name=none plugin=none",
            "load name=csv1 plugin=store_csv",
            "config name=csv1 path=/tmp/maestro-lab-store/three",
            "prdcr_add name=node-15-10104 host=node-15 port=10104 xprt=sock type=active reconnect=1000000 auth=none",
            "prdcr_add name=node-16-10104 host=node-16 port=10104 xprt=sock type=active reconnect=1000000 auth=none",
            "prdcr_start_regex regex=^(node-15-10104|node-16-10104)$",
            "strgp_add name=csv-meminfo plugin=csv1 container=ldms_data schema=meminfo flush=5000000",
            "strgp_prdcr_add name=csv-meminfo regex=.*",
            "strgp_start name=csv-meminfo",
            "updtr_add name=updtr_2 interval=2000000",
            "updtr_prdcr_add name=updtr_2 regex=.*",
            "updtr_start name=updtr_2",
        ]
    );
}

#[test]
fn services_come_before_the_producers_that_need_them() {
    let lines = lines(&fixture("readme"), "l1-agg-11");
    let place = |beginning: &str| lines.iter().position(|line| line.starts_with(beginning)).unwrap();
    assert!(place("stream_enable") < place("prdcr_add"));
    assert!(place("prdcr_add name=node-8") < place("prdcr_subscribe regex=.* stream=kokkos-perf-data"));
    assert!(place("prdcr_subscribe") < place("prdcr_start_regex"));
}

#[test]
fn a_line_of_options_is_passed_on_as_it_stands() {
    assert!(lines(&fixture("readme"), "sampler-1").contains(
        &"config name=loadavg schema=loadavg producer=${HOSTNAME} instance=${HOSTNAME}/loadavg perm=0777".to_owned()
    ));
}

/// An aggregator without producers of its own, and what it shows: one has left the configuration, an updater lists it.
fn retired_case() -> (DaemonConfig, Observation) {
    let status = r#"[{"name":"gone","type":"active","host":"h","port":1,"transport":"sock","reconnect_us":"1000000","state":"STOPPED","sets":[]}]"#;
    let updaters = r#"[{"name":"updtr_0","interval":"1000000","offset":"0","sync":"true","mode":"Pull","auto":"false","state":"RUNNING","producers":[{"name":"gone","host":"h","port":1,"transport":"sock","state":"STOPPED"}]}]"#;
    let observed = Observation {
        producers: Observation::producers_from(crate::ldmsd::status::parse(status).unwrap()),
        updaters: Observation::updaters_from(crate::ldmsd::status::parse(updaters).unwrap(), Vec::new()),
        ..Observation::default()
    };
    let updater = crate::cluster::Updater {
        name: "updtr_0".into(),
        mode: crate::cluster::UpdaterMode::Pull,
        interval: crate::notation::Interval::from_us(1_000_000),
        offset: None,
        perm: None,
        producers: vec![".*".into()],
        sets: Vec::new(),
    };
    let retired = Retired { producers: [Name::from("gone")].into(), ..Retired::default() };
    (DaemonConfig { updaters: vec![updater.into()], retired, ..DaemonConfig::default() }, observed)
}

#[test]
fn a_producer_that_left_is_deleted_when_its_updater_has_let_it_go() {
    let (config, mut observed) = retired_case();
    let sent = |observed: &Observation| -> Vec<String> {
        let changes = changes(&config, observed, &Ledger::default(), Numbering::V45);
        changes.into_iter().flat_map(|change| change.steps).map(|step| step.command.to_string()).collect()
    };
    assert_eq!(
        sent(&observed),
        [
            "updtr_add name=updtr_0.1 interval=1000000",
            "updtr_prdcr_add name=updtr_0.1 regex=.*",
            "updtr_prdcr_del name=updtr_0.1 regex=^gone$",
            "updtr_start name=updtr_0.1",
        ]
    );
    let mut updater = observed.updaters[&Name::from("updtr_0")].clone();
    updater.producers.clear();
    observed.updaters.insert("updtr_0.1".into(), updater);
    assert_eq!(sent(&observed), ["updtr_stop name=updtr_0", "updtr_del name=updtr_0"]);
    observed.updaters.remove(&Name::from("updtr_0"));
    assert_eq!(sent(&observed), ["prdcr_del name=gone"]);
    observed.producers.clear();
    assert_eq!(sent(&observed), [""; 0]);
}

#[test]
fn advertisers_and_listeners_are_left_alone_unless_they_are_asked_for() {
    let cluster = fixture("advertise-current");
    let advertises = |line: &String| line.starts_with("advertiser") || line.starts_with("prdcr_listen");
    assert!(!lines(&cluster, "sampler-1").iter().any(advertises));
    assert!(!lines(&cluster, "l1-agg-1").iter().any(advertises));
}

#[test]
fn an_advertiser_is_added_once_and_started_where_it_is_stopped() {
    let cluster = fixture("advertise-current");
    let advertiser = &cluster.samplers[&Name::from("sampler-[1-6]")].advertisers[0];
    let wanted = AdvertiserWanted {
        target: advertiser.targets[0].clone(),
        reconnect: crate::notation::Interval::from_us(1_000_000),
        options: [("rail".to_owned(), "2".to_owned())].into(),
    };
    let advertising = Some(Advertising { advertisers: [("s-1".into(), wanted)].into(), ..Advertising::default() });
    let roles = Roles { advertising, ..Roles::default() };
    let config = daemon_config(&cluster, &Relations::of(&cluster), &"sampler-1".into(), &roles);
    let sent = |state: Option<&str>| -> Vec<String> {
        let status = state.map(|state| {
            let entry = r#"[{"name":"s-1","type":"advertiser","host":"node-11","port":10101,"transport":"sock","reconnect_us":"1000000","state":"STATE","sets":[]}]"#;
            crate::ldmsd::status::parse(&entry.replace("STATE", state)).unwrap()
        });
        let producers = Observation::producers_from(status.unwrap_or_default());
        let observed = Observation { producers, ..Observation::default() };
        let changes = changes(&config, &observed, &Ledger::default(), Numbering::V45);
        let commands = changes.into_iter().flat_map(|change| change.steps).map(|step| step.command.to_string());
        commands.filter(|line| line.contains("adv") || line.contains("labnone")).collect()
    };
    assert_eq!(
        sent(None),
        [
            "auth_add name=labnone plugin=none",
            "advertiser_add name=s-1 host=node-11 xprt=sock port=10101 type=advertiser reconnect=1000000 auth=labnone \
             rail=2",
            "advertiser_start name=s-1",
        ]
    );
    assert_eq!(sent(Some("STOPPED")), ["auth_add name=labnone plugin=none", "advertiser_start name=s-1"]);
    for state in ["CONNECTED", "DISCONNECTED"] {
        assert_eq!(sent(Some(state)), ["auth_add name=labnone plugin=none"]);
    }
}

#[test]
fn a_listener_starts_what_comes_only_where_nobody_else_does() {
    let cluster = fixture("advertise-current");
    let lines = |starts_what_comes: bool| -> Vec<String> {
        let advertising = Some(Advertising { starts_what_comes, ..Advertising::default() });
        let roles = Roles { advertising, ..Roles::default() };
        let config = daemon_config(&cluster, &Relations::of(&cluster), &"l1-agg-1".into(), &roles);
        let changes = changes(&config, &Observation::default(), &Ledger::default(), Numbering::V45);
        let commands = changes.into_iter().flat_map(|change| change.steps).map(|step| step.command.to_string());
        commands.filter(|line| line.starts_with("prdcr_listen")).collect()
    };
    let start = "prdcr_listen_start name=l1-listen";
    assert_eq!(lines(true), ["prdcr_listen_add name=l1-listen reconnect=1000000", start]);
    assert_eq!(lines(false), ["prdcr_listen_add name=l1-listen reconnect=1000000 disable_start=true", start]);
}

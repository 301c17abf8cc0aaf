//! Status replies of real daemons, recorded, read into their types.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall fail")]

use std::fs;

use maestro::ldmsd::codec::record::{MAX_RECORD_BYTES, MessageKind};
use maestro::ldmsd::codec::{FrameBody, FrameDecoder, LdmsMessage, RecordAssembler};
use maestro::ldmsd::status::{
    CollectedSet, DaemonStatus, DaemonVersion, ListenerState, ListenerStatus, PluginKind, PluginSets, PluginStatus,
    ProducerState, ProducerStatus, SetInfo, SetOrigin, SetState, StoragePolicyState, StoragePolicyStatus, UpdateHint,
    UpdateMode, UpdaterMatches, UpdaterState, UpdaterStatus,
};
use maestro::ldmsd::{Numbering, Response, Verb};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The LDMS messages of one side of a recording.
fn messages(recording: &str, side: &str) -> Vec<LdmsMessage> {
    let path = format!("{}/tests/fixtures/wire/{recording}.json", env!("CARGO_MANIFEST_DIR"));
    let entries: Vec<Value> = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let mut decoder = FrameDecoder::new();
    for entry in entries.iter().filter(|entry| entry["dir"] == side) {
        let hex = entry["hex"].as_str().unwrap();
        let bytes: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        decoder.push(&bytes);
    }
    std::iter::from_fn(|| decoder.next_frame().unwrap())
        .filter_map(|frame| match frame.body {
            FrameBody::SendRecv(data) => Some(LdmsMessage::decode(&data).unwrap()),
            _ => None,
        })
        .collect()
}

/// The successful answers to a command in a recording, in their order.
fn answers(recording: &str, verb: Verb) -> Vec<Response> {
    let numbering = if recording.starts_with("b44-") { Numbering::V44 } else { Numbering::V45 };
    let mut assembler = RecordAssembler::new(MAX_RECORD_BYTES, 4 << 20);
    let mut numbers = Vec::new();
    let mut found = Vec::new();
    for side in ["c2s", "s2c"] {
        for message in messages(recording, side) {
            let LdmsMessage::Send(record) = message else { continue };
            let Ok(Some(message)) = assembler.push(&record) else { continue };
            match message.kind {
                MessageKind::Request if Some(message.code) == verb.id(numbering) => numbers.push(message.msg_no),
                MessageKind::Request => {}
                MessageKind::Response => found.extend(Response::decode(&message)),
            }
        }
    }
    found.retain(|response| response.is_ok() && numbers.contains(&response.msg_no));
    found
}

fn read<T: DeserializeOwned>(recording: &str, verb: Verb) -> Vec<T> {
    answers(recording, verb).iter().map(|response| response.json().unwrap()).collect()
}

fn last<T: DeserializeOwned>(recording: &str, verb: Verb) -> T {
    read(recording, verb).pop().unwrap()
}

fn directory(recording: &str) -> Vec<SetInfo> {
    let parts: Vec<Vec<u8>> = messages(recording, "s2c")
        .into_iter()
        .filter_map(|message| match message {
            LdmsMessage::DirReply(part) => Some(part.json),
            _ => None,
        })
        .collect();
    SetInfo::from_directory(&parts).unwrap()
}

#[test]
fn producers_with_their_sets() {
    let replies: Vec<Vec<ProducerStatus>> = read("updtr", Verb::PrdcrStatus);
    let [bad, node_1, node_2] = replies.last().unwrap().as_slice().as_array().unwrap();
    assert_eq!((bad.name.as_str(), bad.kind.as_str(), &bad.state), ("bad", "active", &ProducerState::Stopped));
    assert_eq!((node_1.host.as_str(), node_1.port, node_1.transport.as_str()), ("127.0.0.1", Some(10412), "sock"));
    assert_eq!(node_1.reconnect_us, Some(2_000_000));
    assert_eq!(node_1.state, ProducerState::Connected);
    assert_eq!(node_1.auth.as_deref(), Some("DEFAULT"));
    let sets: Vec<_> = node_1.sets.iter().map(|set| (set.instance.as_str(), &set.state)).collect();
    assert_eq!(sets, [("node-1/meminfo", &SetState::Ready), ("node-1/meminfo_b", &SetState::Ready)]);
    assert_eq!((node_2.rail, node_2.quota.as_deref(), node_2.rx_rate.as_deref()), (Some(2), Some("1MB"), Some("1GB")));
}

#[test]
fn producers_of_the_4_4_line_tell_less() {
    let producers: Vec<ProducerStatus> = last("b44-prdcr-updtr-strgp", Verb::PrdcrStatus);
    assert_eq!(producers[0].state, ProducerState::Connected);
    assert_eq!((&producers[0].auth, producers[0].rail, &producers[0].quota), (&None, None, &None));
    let all: Vec<ProducerStatus> = last("b44-prdcr_listen-status", Verb::PrdcrStatus);
    let advertised = all.iter().find(|producer| producer.name == "vm:10432").unwrap();
    assert_eq!(advertised.kind, "advertised");
}

#[test]
fn thousands_of_producers_in_several_records() {
    let producers: Vec<ProducerStatus> = last("large-prdcr_status-multi-record", Verb::PrdcrStatus);
    assert_eq!(producers.len(), 2904);
    assert!(producers.iter().all(|producer| producer.reconnect_us.is_some() && producer.port.is_some()));
}

#[test]
fn collected_sets_with_their_time() {
    let sets: Vec<CollectedSet> = last("updtr", Verb::PrdcrSetStatus);
    let set = &sets[0];
    assert_eq!(
        (set.instance.as_str(), set.producer.as_str(), &set.state),
        ("node-1/meminfo", "node-1", &SetState::Ready)
    );
    assert_eq!((set.timestamp_s, set.timestamp_us), (Some(1_795_328_171), Some(848)));
}

#[test]
fn updaters_with_their_producers_and_matches() {
    let replies: Vec<Vec<UpdaterStatus>> = read("updtr", Verb::UpdtrStatus);
    let [u1, u3, u4] = replies.iter().find_map(|updaters| updaters.as_slice().as_array()).unwrap();
    assert_eq!((u1.interval_us, u1.offset_us, u1.synchronous), (Some(1_000_000), Some(100_000), true));
    assert_eq!((&u1.state, &u1.mode, u1.auto_interval), (&UpdaterState::Running, &UpdateMode::Pull, false));
    let producers: Vec<_> = u1.producers.iter().map(|producer| (producer.name.as_str(), &producer.state)).collect();
    let expected =
        [("bad", &ProducerState::Stopped), ("node-1", &ProducerState::Connected), ("node-2", &ProducerState::Stopped)];
    assert_eq!(producers, expected);
    assert!(u3.auto_interval);
    assert_eq!((&u4.mode, &u4.state), (&UpdateMode::PushOnChange, &UpdaterState::Stopped));

    let matches: Vec<UpdaterMatches> = last("updtr", Verb::UpdtrMatchList);
    let of_u1: Vec<_> = matches[0].matches.iter().map(|one| (one.regex.as_str(), one.selector.as_str())).collect();
    assert_eq!(of_u1, [("meminfo", "schema"), ("node-1/meminfo", "inst")]);
}

#[test]
fn storage_policies_and_what_was_not_given() {
    let replies: Vec<Vec<StoragePolicyStatus>> = read("strgp", Verb::StrgpStatus);
    let first = &replies.iter().find(|policies| !policies.is_empty()).unwrap()[0];
    assert_eq!((first.flush_s, &first.regex, &first.decomposition), (Some(10.0), &None, &None));
    let two = replies.iter().find(|policies| policies.len() == 2).unwrap();
    assert_eq!((two[0].container.as_deref(), &two[0].state), (Some("c1"), &StoragePolicyState::Running));
    assert_eq!(
        (two[0].producers.as_slice(), two[0].metrics.as_slice()),
        (&[".*".to_owned()][..], &["MemFree".to_owned()][..])
    );
    assert_eq!((&two[1].container, two[1].schema.as_deref()), (&None, Some("vmstat")));
}

#[test]
fn names_and_expressions_that_are_not_escaped() {
    let listeners: Vec<ListenerStatus> = last("status-unescaped-json", Verb::PrdcrListenStatus);
    assert_eq!(listeners[0].regex.as_deref(), Some(r"node\d+\.example"));
    let policies: Vec<StoragePolicyStatus> = last("status-unescaped-json", Verb::StrgpStatus);
    assert_eq!((policies[0].name.as_str(), policies[0].producers[0].as_str()), ("s\"q", r"n\.x"));
}

#[test]
fn listeners_and_the_producers_that_came() {
    let replies: Vec<Vec<ListenerStatus>> = read("prdcr_listen", Verb::PrdcrListenStatus);
    let states: Vec<_> = replies.iter().flatten().filter(|listener| listener.name == "pl1").collect();
    assert!(states.iter().all(|pl1| pl1.ip_range.as_deref() == Some("127.0.0.0/8")));
    assert!(states.iter().any(|pl1| pl1.state == ListenerState::Running));
    assert_eq!(states.last().unwrap().state, ListenerState::Stopped);
    let old: Vec<ListenerStatus> = last("b44-prdcr_listen-status", Verb::PrdcrListenStatus);
    assert_eq!((old[0].producers.as_slice(), &old[0].kind), (&["vm:10432".to_owned()][..], &None));
}

#[test]
fn plugins_of_all_lines() {
    for recording in ["plugn", "b45-plugn"] {
        let plugins: Vec<PluginStatus> = read::<Vec<_>>(recording, Verb::PlugnStatus)
            .into_iter()
            .find(|all: &Vec<PluginStatus>| all.len() == 2)
            .unwrap();
        assert_eq!((plugins[0].name.as_str(), plugins[0].plugin.as_deref()), ("mem_b", Some("meminfo")));
        assert_eq!(plugins[0].kind, PluginKind::Sampler);
    }
    let old: Vec<PluginStatus> = last("b44-plugn", Verb::PlugnStatus);
    assert_eq!((&old[0].plugin, old[0].sample_interval_us), (&None, Some(1_000_000)));
    let stores: Vec<PluginStatus> = last("strgp", Verb::PlugnStatus);
    assert_eq!(stores[0].kind, PluginKind::Store);
    let sets: Vec<Vec<PluginSets>> = read("plugn", Verb::PlugnSets);
    assert!(sets.iter().flatten().any(|sampler| sampler.plugin == "meminfo" && sampler.sets == ["node-1/meminfo"]));
}

#[test]
fn the_daemon_itself() {
    assert!(last::<DaemonStatus>("daemon_status", Verb::DaemonStatus).is_ready());
    let counters: Vec<Option<u64>> = answers("prdcr", Verb::CfgCntr).iter().map(Response::config_counter).collect();
    assert_eq!(counters.last(), Some(&Some(16)));
    let version = |recording| DaemonVersion::parse(&answers(recording, Verb::Version)[0].text()).ldmsd.unwrap();
    assert_eq!(version("daemon_status"), "4.5.1.210-279bd");
    assert_eq!(version("b45-version"), "4.5.3.2-348a8");
    assert_eq!(version("b44-version"), "3.2.2.0");
}

#[test]
fn the_directory_with_sizes_and_hints() {
    for recording in ["dir", "b45-dir", "b44-dir"] {
        let set = directory(recording).into_iter().find(|set| set.name == "node-1/meminfo").unwrap();
        assert_eq!((set.schema.as_str(), set.origin), ("meminfo", SetOrigin::Local), "{recording}");
        assert_eq!(set.data_size_bytes, 544, "{recording}");
        assert_eq!(set.update_hint, Some(UpdateHint { interval_us: 1_000_000, offset_us: Some(0) }), "{recording}");
        assert!(set.timestamp_us > 1_795_000_000_000_000, "{recording}");
    }
    assert!(directory("dir-aggregator").iter().all(|set| set.origin == SetOrigin::Remote));
    assert_eq!(directory("dir-empty"), []);
    assert_eq!(directory("dir-unprivileged-invalid-json").len(), 1);
}

//! The simulated daemon answers recorded requests as the real daemon did that they were sent to.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use maestro::ldmsd::codec::{Frame, FrameBody, FrameDecoder, LdmsMessage, RecordAssembler, Request, Response};
use maestro::ldmsd::{Attribute, Verb};
use serde_json::Value;

use crate::daemon::{Action, Daemon, Imitation, Listing, MetricSet, Reply, read_directory};

const SECOND_US: u64 = 1_000_000;

/// The daemon under test in a world with one sampler, to which port 10412 (10432 for the older lines) leads.
struct Replay {
    imitation: Imitation,
    daemon: Daemon,
    now_us: u64,
}

impl Replay {
    fn new(imitation: Imitation) -> Replay {
        Replay { imitation, daemon: Daemon::new(imitation), now_us: 1_795_328_000 * SECOND_US + 300_000 }
    }

    /// Lets so much time pass, with the sampler answering at once.
    fn pass(&mut self, us: u64) {
        let end_us = self.now_us + us;
        loop {
            self.settle();
            match self.daemon.next_event_us().filter(|due_us| *due_us <= end_us) {
                Some(due_us) => {
                    self.now_us = due_us.max(self.now_us);
                    self.daemon.tick(self.now_us);
                }
                None => break,
            }
        }
        self.now_us = end_us;
    }

    fn settle(&mut self) {
        loop {
            let actions = self.daemon.take_actions();
            if actions.is_empty() {
                return;
            }
            for action in actions {
                match action {
                    Action::Connect { producer, port: 10412 | 10432 | 10411 | 10431, .. } => {
                        self.daemon.connected(&producer);
                    }
                    Action::Connect { producer, .. } => self.daemon.disconnected(&producer),
                    Action::ReadDirectory { producer, ticket } => {
                        let sets = recorded_directory(self.imitation);
                        self.daemon.listing(&producer, Listing::Whole { ticket, sets }, self.now_us);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Plays one recording to the daemon and compares every answer.
    fn play(&mut self, recording: &str) {
        self.play_while(recording, |_, _, _| {});
    }

    /// The same; `meanwhile` does what happened to the recorded daemon before a request, which it is told with how often
    /// the same came before.
    fn play_while(&mut self, recording: &str, meanwhile: impl Fn(&mut Daemon, &str, usize)) {
        let mut times = BTreeMap::new();
        for (note, request, recorded) in requests(recording, self.imitation) {
            let before = times.entry(note.clone()).or_insert(0);
            meanwhile(&mut self.daemon, &note, *before);
            *before += 1;
            let reply = match request {
                None => Reply::error(38, "The request is not implemented"),
                Some((verb, attributes)) => {
                    // People and recorders look at a status after the daemon had time to do what it was told.
                    if waits(verb) {
                        self.pass(5 * SECOND_US);
                    }
                    let attributes: Vec<_> = attributes.iter().map(|(key, value)| (*key, value.as_str())).collect();
                    self.daemon.request(verb, &attributes, self.now_us)
                }
            };
            compare(recording, &note, &reply, &recorded);
        }
    }
}

fn waits(verb: Verb) -> bool {
    use Verb::{AdvertiserStop, PrdcrSetStatus, PrdcrStatus, PrdcrStop, UpdtrStatus};
    matches!(verb, PrdcrStatus | UpdtrStatus | PrdcrSetStatus | PrdcrStop | AdvertiserStop)
}

/// Every request of a recording with the recorded answer; a request without a verb is unknown to the daemon.
#[expect(clippy::type_complexity, reason = "used in one place")]
fn requests(
    recording: &str,
    imitation: Imitation,
) -> Vec<(String, Option<(Verb, Vec<(Attribute, String)>)>, Response)> {
    let path = format!("{}/tests/fixtures/wire/{recording}.json", env!("CARGO_MANIFEST_DIR"));
    let messages: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut sent = BTreeMap::new();
    let mut exchanges = Vec::new();
    let mut client = (FrameDecoder::new(), RecordAssembler::new(1 << 20, 1 << 22));
    let mut server = (FrameDecoder::new(), RecordAssembler::new(1 << 20, 1 << 22));
    for message in &messages {
        let from_client = message["dir"] == "c2s";
        let (frames, records) = if from_client { &mut client } else { &mut server };
        frames.push(&unhex(message["hex"].as_str().unwrap()));
        let Some(Frame { body: FrameBody::SendRecv(payload), .. }) = frames.next_frame().unwrap() else { continue };
        let Ok(LdmsMessage::Send(record)) = LdmsMessage::decode(&payload) else { continue };
        let Ok(Some(assembled)) = records.push(&record) else { continue };
        if from_client {
            let request = Request::decode(&assembled).unwrap();
            let note = message["note"].as_str().unwrap().replace("ldms SEND_MSG ldmsd request ", "");
            let command = request.to_command(imitation.numbering());
            sent.insert(request.msg_no, (note, command.map(|command| (command.verb, command.attributes))));
        } else {
            let response = Response::decode(&assembled).unwrap();
            if let Some((note, command)) = sent.remove(&response.msg_no) {
                exchanges.push((note, command, response));
            }
        }
    }
    assert!(!exchanges.is_empty(), "{recording} has no requests");
    exchanges
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn compare(recording: &str, note: &str, reply: &Reply, recorded: &Response) {
    let context = format!("{recording}: {note}: {reply:?}, recorded {} {:?}", recorded.code, recorded.text());
    assert_eq!(reply.code, recorded.code, "{context}");
    let recorded_json = recorded.attributes.iter().any(|attribute| attribute.id == 26);
    assert_eq!(reply.json, recorded_json, "{context}");
    let text = reply.text.clone().unwrap_or_default();
    if recorded_json {
        match (serde_json::from_str(&text), serde_json::from_str(&recorded.text())) {
            (Ok(ours), Ok(theirs)) => assert_eq!(normal(ours), normal(theirs), "{context}"),
            // Neither is valid JSON: then the text itself has to agree.
            _ => assert_eq!(text, recorded.text(), "{context}"),
        }
    } else if !(recorded.text().contains("dlerror") || note.starts_with("store_time_stats")) {
        assert_eq!(text.trim_end(), recorded.text(), "{context}");
    }
}

/// Leaves out what belongs to the recorded day: times, addresses, installation paths.
fn normal(mut value: Value) -> Value {
    match &mut value {
        Value::Array(elements) => elements.iter_mut().for_each(|element| *element = normal(element.take())),
        Value::Object(fields) => {
            if fields.get("host").is_some_and(|host| host == "vm") {
                // The recorded port of an advertised producer is an ephemeral one.
                fields.insert("port".into(), Value::Null);
            }
            for (key, field) in fields.iter_mut() {
                let of_the_day = key == "libpath" || key.starts_with("timestamp.") || key.starts_with("duration.");
                *field = match key.as_str() {
                    _ if of_the_day => Value::Null,
                    // An update that was under way when the daemon was asked.
                    "state" if field == "UPDATING" => Value::from("READY"),
                    _ => normal(field.take()),
                };
            }
        }
        _ => {}
    }
    value
}

/// The directory of the sampler that the recorded aggregators collected from.
fn recorded_directory(imitation: Imitation) -> Vec<MetricSet> {
    let recording = if imitation == Imitation::Main { "dir" } else { "b45-dir" };
    let path = format!("{}/tests/fixtures/wire/{recording}.json", env!("CARGO_MANIFEST_DIR"));
    let messages: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let replies = messages.iter().filter(|message| message["dir"] == "s2c").filter_map(|message| {
        let mut frames = FrameDecoder::new();
        frames.push(&unhex(message["hex"].as_str()?));
        match frames.next_frame().unwrap()?.body {
            FrameBody::SendRecv(payload) => LdmsMessage::decode(&payload).ok(),
            _ => None,
        }
    });
    let texts = replies.filter_map(|reply| match reply {
        LdmsMessage::DirReply(directory) => Some(directory.json),
        _ => None,
    });
    texts.flat_map(|text| read_directory(&text).unwrap()).collect()
}

#[test]
fn main_line_answers_as_recorded() {
    let mut aggregator = Replay::new(Imitation::Main);
    for recording in ["stream-msg-enable", "greeting", "bad-command", "prdcr", "updtr", "strgp", "auth_add-listen"] {
        aggregator.play(recording);
    }
    // The sampler advertises itself between the requests, and goes away again.
    aggregator.play_while("prdcr_listen", |daemon, note, before| match (note, before) {
        ("prdcr_listen_status", 2) => {
            assert_eq!(daemon.advertised("vm", 10412, Ipv4Addr::LOCALHOST).as_deref(), Some("vm:10412"));
        }
        ("prdcr_status", 1) => daemon.disconnected("vm:10412"),
        _ => {}
    });
    Replay::new(Imitation::Main).play("plugn");
    Replay::new(Imitation::Main).play("advertiser");
    Replay::new(Imitation::Main).play("status-unescaped-json");
}

#[test]
fn older_lines_answer_as_recorded() {
    for (imitation, line) in [(Imitation::V45, "b45"), (Imitation::V44, "b44")] {
        for subject in ["prdcr-updtr-strgp", "plugn", "advertiser", "prdcr_listen"] {
            Replay::new(imitation).play(&format!("{line}-{subject}"));
        }
    }
}

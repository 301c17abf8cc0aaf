//! The bodies of the fuzz targets for the wire, fed with damaged recordings: the same damage at every run.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on shall fail")]

mod support;
#[path = "fuzz/src/wire/mod.rs"]
#[allow(unreachable_pub, reason = "public for the fuzz targets")]
mod wire;

use maestro::ldmsd::codec::{FrameBody, LdmsMessage, Message, RecordAssembler, Response};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use support::recordings::{Entry, From, Recording};

/// Longer inputs show no more, and take long.
const MOST_BYTES: usize = 20_000;

/// How many damaged inputs each target gets.
const CASES: usize = 3_000;

/// Feeds a target with inputs, as they are and damaged.
fn feed(inputs: &[Vec<u8>], target: fn(&[u8])) {
    let inputs: Vec<&Vec<u8>> = inputs.iter().filter(|input| (1..=MOST_BYTES).contains(&input.len())).collect();
    assert!(inputs.len() >= 10, "only {} inputs", inputs.len());
    for input in &inputs {
        target(input);
    }
    let mut rng = StdRng::seed_from_u64(0x1d35);
    for case in 0..CASES {
        let mut bytes = inputs[rng.random_range(0..inputs.len())].clone();
        let other = inputs[rng.random_range(0..inputs.len())];
        for _ in 0..rng.random_range(1..=4) {
            damage(&mut bytes, other, &mut rng);
        }
        let outcome = std::panic::catch_unwind(|| target(&bytes));
        assert!(outcome.is_ok(), "case {case}: {}", bytes.escape_ascii());
    }
}

fn damage(bytes: &mut Vec<u8>, other: &[u8], rng: &mut StdRng) {
    let place = rng.random_range(0..=bytes.len());
    let end = (place + rng.random_range(0..40)).min(bytes.len());
    match rng.random_range(0..7) {
        0 => bytes.truncate(place),
        1 => drop(bytes.drain(place..end)),
        2 => {
            let piece = bytes[place..end].to_vec();
            bytes.splice(place..place, piece);
        }
        3 => {
            let from = rng.random_range(0..=other.len());
            bytes.splice(place..end, other[from..].iter().take(60).copied());
        }
        4 => bytes.insert(place, rng.random()),
        _ => {
            // Lengths and types are where a decoder can go wrong, and they are small numbers or none.
            let value = [0, 1, 2, 0x7f, 0x80, 0xff, rng.random()][rng.random_range(0..7)];
            if let Some(byte) = bytes.get_mut(place) {
                *byte = value;
            }
        }
    }
}

fn entries() -> Vec<Entry> {
    Recording::all().into_iter().flat_map(|recording| recording.entries).collect()
}

/// What servers and clients said on one connection each.
fn streams() -> Vec<Vec<u8>> {
    let side = |recording: &Recording, from| recording.of(from).flat_map(|entry| entry.bytes.clone()).collect();
    Recording::all()
        .iter()
        .flat_map(|recording| [From::Server, From::Client].map(|from| side(recording, from)))
        .collect()
}

fn behind(prefix: &[u8], bytes: &[u8]) -> Vec<u8> {
    [prefix, bytes].concat()
}

#[test]
fn damaged_streams_are_framed() {
    let inputs: Vec<_> = streams().iter().map(|stream| behind(&[9], stream)).collect();
    feed(&inputs, wire::zap::run);
}

#[test]
fn damaged_messages_are_read() {
    let payload = |entry: Entry| match entry.frame().ok()?.body {
        FrameBody::Connect(data) | FrameBody::Accepted(data) | FrameBody::SendRecv(data) => Some(data),
        FrameBody::Rejected(_) | FrameBody::AckAccepted => None,
    };
    let inputs: Vec<_> = entries().into_iter().filter(|entry| !entry.bytes.is_empty()).filter_map(payload).collect();
    feed(&inputs, wire::transport::run);
}

#[test]
fn damaged_records_are_put_together() {
    let framed = |record: Vec<u8>| {
        u16::try_from(record.len()).map(|length| behind(&length.to_be_bytes(), &record)).unwrap_or_default()
    };
    let inputs: Vec<Vec<u8>> = Recording::all()
        .iter()
        .flat_map(|recording| {
            [From::Server, From::Client]
                .map(|from| recording.of(from).filter_map(Entry::record).flat_map(framed).collect())
        })
        .collect();
    feed(&inputs, wire::records::run);
}

#[test]
fn damaged_answers_are_understood() {
    let mut inputs = Vec::new();
    for message in entries()
        .iter()
        .filter(|entry| entry.from == From::Server)
        .filter_map(|entry| if entry.bytes.is_empty() { None } else { entry.message() })
    {
        match message {
            LdmsMessage::DirReply(directory) | LdmsMessage::DirUpdate(directory) => inputs.push(directory.json),
            LdmsMessage::Send(record) => inputs.extend(text_of(&record)),
            _ => {}
        }
    }
    feed(&inputs, wire::status::run);
}

/// The text of an answer that came in one record.
fn text_of(record: &[u8]) -> Option<Vec<u8>> {
    let message: Message = RecordAssembler::new(1 << 20, 1 << 20).push(record).ok()??;
    Some(Response::decode(&message).ok()?.text().as_bytes().to_vec())
}

#[test]
fn damaged_connections_do_no_harm() {
    let inputs: Vec<_> = Recording::all()
        .iter()
        .map(|recording| {
            let plugin = match recording.client().map(|client| client.auth_plugin).as_deref() {
                Some("naive") => 1,
                Some("ovis") => 2,
                Some("munge") => 3,
                _ => 0,
            };
            behind(&[plugin, 30], &recording.server_bytes())
        })
        .collect();
    feed(&inputs, wire::session::run);
}

#[test]
fn damaged_authentication_convinces_nobody() {
    let mut inputs: Vec<_> = entries().iter().filter(|entry| !entry.bytes.is_empty()).filter_map(Entry::auth).collect();
    inputs.push(b"# comment\nsecretword=correct-horse # comment\n".to_vec());
    feed(&inputs, wire::auth::run);
}

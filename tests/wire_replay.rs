//! Conversations recorded from real daemons, replayed through the codec and the client's session.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on shall fail")]

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use maestro::ldmsd::Numbering;
use maestro::ldmsd::auth::{Auth, AuthMethod, Credentials, Role, Secret};
use maestro::ldmsd::codec::record::MAX_RECORD_BYTES;
use maestro::ldmsd::codec::{
    ConnectMessage, FrameBody, FrameDecoder, LdmsMessage, Message, RecordAssembler, RecordError, Request, Response,
    ZapError,
};
use maestro::ldmsd::session::{ClientSession, Event, SessionError, SessionOptions};
use serde_json::Value;
use support::recordings::{Entry, From, Recording, with_directory_xid};

/// What the messages of a byte stream say, without the numbers that only count them.
fn bodies(bytes: &[u8]) -> Vec<FrameBody> {
    let mut decoder = FrameDecoder::new();
    decoder.push(bytes);
    std::iter::from_fn(|| decoder.next_frame().unwrap()).map(|frame| frame.body).collect()
}

#[test]
fn every_recorded_message_is_read_and_written_again_byte_by_byte() {
    for recording in Recording::all() {
        for (index, entry) in recording.entries.iter().enumerate().filter(|(_, entry)| !entry.bytes.is_empty()) {
            let place = format!("{} entry {index}", recording.name);
            let frame = match entry.frame() {
                Ok(frame) => frame,
                Err(error) => {
                    let expected = match recording.name.as_str() {
                        "close-bad-zap-version" => matches!(error, ZapError::Version(_)),
                        "close-bad-zap-signature" => error == ZapError::Signature,
                        _ => false,
                    };
                    assert!(expected, "{place}: {error}");
                    continue;
                }
            };
            assert!(frame.encode() == entry.bytes, "{place}: frame");
            match &frame.body {
                FrameBody::SendRecv(data) => {
                    assert!(LdmsMessage::decode(data).unwrap().encode() == *data, "{place}: LDMS message");
                }
                FrameBody::Accepted(data) => {
                    let plugin = entry.decoded["auth"].as_str().unwrap();
                    let message = ConnectMessage::decode(data, plugin).unwrap();
                    assert_eq!(message.encode(), *data, "{place}: connect message");
                    let is_old = recording.name.starts_with("b44-") || recording.name.ends_with("legacy20");
                    let expected = if is_old { Numbering::V44 } else { Numbering::V45 };
                    assert_eq!(message.numbering(), expected, "{place}");
                }
                _ => {}
            }
        }
    }
}

#[test]
fn every_recorded_request_and_response_is_read_and_written_again_byte_by_byte() {
    let mut messages = 0;
    for recording in Recording::all().iter().filter(|recording| recording.name != "record-errors") {
        for from in [From::Client, From::Server] {
            let mut assembler = RecordAssembler::new(MAX_RECORD_BYTES, 4 << 20);
            let mut records: Vec<Vec<u8>> = Vec::new();
            for record in recording.of(from).filter_map(Entry::record) {
                let message = assembler.push(&record).unwrap();
                records.push(record);
                let Some(message) = message else { continue };
                let again = match from {
                    From::Client => Request::decode(&message).unwrap().encode(),
                    From::Server => Response::decode(&message).unwrap().encode(),
                };
                assert!(again.records(records[0].len()) == records, "{}: message {}", recording.name, message.msg_no);
                records.clear();
                messages += 1;
            }
            assert!(records.is_empty(), "{}: a message has not ended", recording.name);
        }
    }
    assert!(messages > 600, "only {messages} messages");
}

#[test]
fn commands_encode_as_they_were_recorded() {
    let mut commands = 0;
    for recording in Recording::all().iter().filter(|recording| recording.name != "multi-record-request") {
        let numbering = if recording.name.starts_with("b44-") { Numbering::V44 } else { Numbering::V45 };
        let mut assembler = RecordAssembler::new(MAX_RECORD_BYTES, 4 << 20);
        for record in recording.of(From::Client).filter_map(Entry::record) {
            let Ok(Some(message)) = assembler.push(&record) else { continue };
            let Ok(request) = Request::decode(&message) else { continue };
            let Some(command) = request.to_command(numbering) else { continue };
            let mut expected = request.clone();
            expected.attributes.retain(|attribute| attribute.value != b"\0");
            assert_eq!(Request::from_command(&command, numbering, request.msg_no), Ok(expected), "{command}");
            commands += 1;
        }
    }
    assert!(commands > 250, "only {commands} commands");
}

/// Munged's part: the credential of the recorded daemon was root's.
fn vouch(session: &mut ClientSession) {
    if session.unchecked_credential().is_some() {
        let _ = session.credential_checked(Ok(Credentials { uid: 0, gid: 0 }), SystemTime::UNIX_EPOCH);
    }
}

/// What a session makes of everything that a server sent: events and the error at the end, with what the
/// session sends of its own accord.
fn outcome<'a>(
    recording: &Recording,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (Vec<Event>, Vec<u8>, Option<SessionError>) {
    let mut session = recording.session();
    session.directory();
    let mut events = Vec::new();
    let mut error = None;
    for piece in pieces {
        if let Err(failure) = session.receive(piece, SystemTime::UNIX_EPOCH) {
            error = Some(failure);
            break;
        }
        vouch(&mut session);
        events.extend(std::iter::from_fn(|| session.next_event()));
    }
    events.extend(std::iter::from_fn(|| session.next_event()));
    (events, session.take_output(), error)
}

#[test]
fn a_session_understands_every_recorded_answer() {
    let mut responses = 0;
    for recording in Recording::all() {
        let bytes = recording.server_bytes();
        let (events, _, _) = outcome(&recording, std::iter::once(bytes.as_slice()));
        let answers = events.iter().filter_map(|event| match event {
            Event::Response(response) => Some(response),
            _ => None,
        });
        let expected: Vec<&Value> =
            recording.of(From::Server).map(|entry| &entry.decoded).filter(|value| value["rsp_err"].is_u64()).collect();
        let answers: Vec<&Response> = answers.collect();
        assert_eq!(answers.len(), expected.len(), "{}", recording.name);
        for (response, expected) in answers.iter().zip(expected) {
            assert_eq!(u64::from(response.code.cast_unsigned()), expected["rsp_err"], "{}", recording.name);
            if let Some(text) = expected["text"].as_str().filter(|_| expected["rec_len_advice_native_endian"].is_null())
            {
                assert_eq!(response.text(), text.trim_end(), "{}", recording.name);
            } else if !expected["json"].is_null() {
                let json: Value = serde_json::from_str(&response.text()).unwrap();
                assert_eq!(json, expected["json"], "{}", recording.name);
            }
            responses += 1;
        }
    }
    assert!(responses > 280, "only {responses} responses");
}

#[test]
fn it_does_not_matter_how_tcp_cuts_the_stream() {
    for recording in Recording::all() {
        let bytes = recording.server_bytes();
        let whole = outcome(&recording, std::iter::once(bytes.as_slice()));
        // Every byte; of the two with replies of 100 kB and 1 MB the borders of messages and some hundred in between.
        let step = if bytes.len() < 20_000 { 1 } else { bytes.len() / 300 };
        let borders = recording.of(From::Server).scan(0, |end, entry| {
            *end += entry.bytes.len();
            Some(*end)
        });
        let near_borders = borders.flat_map(|end| end.saturating_sub(2)..(end + 45).min(bytes.len()));
        let positions = (0..bytes.len()).step_by(step).chain(near_borders.step_by(if step > 1 { 7 } else { 45 }));
        for position in positions {
            let (head, tail) = bytes.split_at(position);
            assert!(outcome(&recording, [head, tail].into_iter()) == whole, "{} cut at {position}", recording.name);
        }
        assert!(outcome(&recording, bytes.chunks(1)) == whole, "{} byte by byte", recording.name);
    }
}

proptest::proptest! {
    /// A daemon gone mad may break its connection, but nothing else.
    #[test]
    fn damaged_streams_do_no_harm(
        name in proptest::sample::select(vec!["prdcr", "connect-ovis", "dir-notify", "b45-set-delete", "record-errors"]),
        damage in proptest::collection::vec((proptest::prelude::any::<proptest::sample::Index>(), 0_u8..), 1..6),
        piece in 1_usize..400,
    ) {
        let recording = Recording::named(name);
        let mut bytes = recording.server_bytes();
        for (place, value) in damage {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        let (events, _, _) = outcome(&recording, bytes.chunks(piece));
        for event in events {
            if let Event::Response(response) = event {
                let _ = (response.is_ok(), response.text().len(), response.json::<Value>().is_ok());
            }
        }
    }
}

/// What the session does for the next message of the recording client: reactions come by themselves.
fn act(session: &mut ClientSession, entry: &Entry) {
    match entry.message() {
        Some(LdmsMessage::Send(record)) => {
            let message = RecordAssembler::new(MAX_RECORD_BYTES, 1).push(&record).unwrap().unwrap();
            session.request(Request::decode(&message).unwrap());
        }
        Some(LdmsMessage::Dir { flags: 0, .. }) => {
            session.directory();
        }
        _ => {}
    }
}

#[test]
fn a_session_sends_what_the_recording_client_sent() {
    // Clients that broke the rules on purpose, used another connect message, cut their requests into small
    // records or subscribed to changes of the directory: what a session never does.
    let peculiar = [
        "bad-command",
        "close-bad",
        "dir-notify",
        "legacy20",
        "multi-record-request",
        "rail-",
        "reject-ldms",
        "reject-rail",
        "reject-ovis",
        "record-errors",
        "set-delete",
    ];
    let mut replayed = 0;
    for recording in Recording::all() {
        if peculiar.iter().any(|part| recording.name.contains(part)) {
            continue;
        }
        let mut session = recording.session();
        let (mut sent, mut recorded) = (Vec::new(), Vec::new());
        for entry in recording.entries.iter().filter(|entry| !entry.bytes.is_empty()) {
            match entry.from {
                From::Client => {
                    act(&mut session, entry);
                    sent.extend(bodies(&session.take_output()));
                    recorded.extend(bodies(&with_directory_xid(&entry.bytes, 1)));
                }
                From::Server => {
                    let _ = session.receive(&with_directory_xid(&entry.bytes, 1), SystemTime::UNIX_EPOCH);
                    vouch(&mut session);
                }
            }
        }
        assert!(sent == recorded, "{}", recording.name);
        replayed += 1;
    }
    assert!(replayed >= 40, "only {replayed} recordings");
}

#[test]
fn both_sides_of_a_recorded_authentication_are_reproduced() {
    for name in ["connect-ovis", "b45-connect-ovis", "b44-connect-ovis", "connect-naive"] {
        let recording = Recording::named(name);
        let messages = |from| -> Vec<Vec<u8>> { recording.of(from).filter_map(Entry::auth).collect() };
        for (role, own, peer) in
            [(Role::Client, From::Client, From::Server), (Role::Server, From::Server, From::Client)]
        {
            let (own, peer) = (messages(own), messages(peer));
            let method = if name.ends_with("naive") {
                let id = |range| u32::from_be_bytes(<[u8; 4]>::try_from(&own[0][range]).unwrap());
                AuthMethod::Naive(Credentials { uid: id(0..4), gid: id(4..8) })
            } else {
                AuthMethod::Ovis(Secret::parse(b"secretword=correct-horse-battery").unwrap())
            };
            let challenge = own[0].get(4..12).map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()));
            let mut handshake = method.handshake(role, challenge);
            let mut sent: Vec<Vec<u8>> = handshake.start().into_iter().collect();
            for message in &peer {
                sent.extend(handshake.receive(message).unwrap());
            }
            assert_eq!(sent, own, "{name} as {role:?}");
            assert!(handshake.is_content(), "{name} as {role:?}");
        }
    }
}

#[test]
fn a_daemon_of_the_4_4_line_is_recognised_and_others_tell_their_process_id() {
    let connected = |name| {
        let recording = Recording::named(name);
        let bytes = recording.server_bytes();
        match outcome(&recording, std::iter::once(bytes.as_slice())).0.into_iter().next() {
            Some(Event::Connected(peer)) => (peer.numbering, peer.pid),
            other => panic!("{name}: {other:?}"),
        }
    };
    assert_eq!(connected("b44-connect-ovis"), (Numbering::V44, None));
    assert_eq!(connected("b45-set-delete"), (Numbering::V45, Some(8454)));
    assert_eq!(connected("connect-none").0, Numbering::V45);
}

#[test]
fn refusals_are_told_with_the_daemons_reason() {
    for (name, reason) in [
        ("reject-auth-mismatch", "Auth mismatch"),
        ("reject-ldms-version", "Version mismatch"),
        ("reject-rail-bad-index", "bad ep_idx 1 (should be in 0..0 range)"),
        ("reject-rail-bad-length", "Bad msg"),
    ] {
        let recording = Recording::named(name);
        let bytes = recording.server_bytes();
        let (events, _, error) = outcome(&recording, std::iter::once(bytes.as_slice()));
        assert_eq!(events, []);
        let Some(SessionError::Rejected { reason: told, domain, .. }) = error else { panic!("{name}: {error:?}") };
        assert_eq!((told.as_str(), domain.as_str()), (reason, "recorded"));
    }
}

#[test]
fn a_daemon_with_another_secret_is_found_out() {
    let recording = Recording::named("connect-ovis");
    let mut session = ClientSession::new(SessionOptions {
        auth: Auth {
            domain: "cluster-secret".into(),
            method: AuthMethod::Ovis(Secret::parse(b"secretword=battery-horse-correct").unwrap()),
        },
        pid: 1,
        rail_gn: 2,
        challenge: 3_599_548_214_377_222_223,
        credential: None,
    });
    let error = session.receive(&recording.server_bytes(), SystemTime::UNIX_EPOCH).unwrap_err();
    assert_eq!(
        error.to_string(),
        "authentication domain cluster-secret: the daemon did not prove that it knows the secret"
    );
}

#[test]
fn the_end_of_the_stream_is_explained_by_where_it_came() {
    let recording = Recording::named("connect-ovis");
    let mut session = recording.session();
    assert_eq!(session.end_of_stream(), SessionError::ClosedBeforeAccepted);
    let mut server = recording.of(From::Server);
    session.receive(&server.next().unwrap().bytes, SystemTime::UNIX_EPOCH).unwrap();
    assert!(
        session.end_of_stream().to_string().contains("another secret? (authentication domain recorded, plugin ovis)")
    );
    for entry in server {
        session.receive(&entry.bytes, SystemTime::UNIX_EPOCH).unwrap();
    }
    assert_eq!(session.end_of_stream(), SessionError::Closed);
}

#[test]
fn a_directory_that_nobody_asked_for_is_passed_over() {
    let recording = Recording::named("dir");
    let mut session = recording.session();
    session.receive(&recording.server_bytes(), SystemTime::UNIX_EPOCH).unwrap();
    let events: Vec<Event> = std::iter::from_fn(|| session.next_event()).collect();
    assert!(matches!(events.as_slice(), [Event::Connected(_)]), "{events:?}");
}

#[test]
fn consent_to_the_deletion_of_a_set_is_given() {
    let recording = Recording::named("b45-set-delete");
    let consent = recording.of(From::Client).find_map(|entry| match entry.message() {
        Some(LdmsMessage::SetDeleteReply { received: Some((seconds, nanoseconds)), .. }) => {
            Some((entry.frame().unwrap().body, Duration::new(seconds, u32::try_from(nanoseconds).unwrap())))
        }
        _ => None,
    });
    let (recorded, since_1970) = consent.unwrap();
    let mut session = recording.session();
    session.receive(&recording.server_bytes(), SystemTime::UNIX_EPOCH + since_1970).unwrap();
    assert_eq!(bodies(&session.take_output()).last(), Some(&recorded));
}

/// The record layer of a server: what it answers to each record of the recording client.
fn serve(record: &[u8], assembler: &mut RecordAssembler) -> Option<Message> {
    let request = match assembler.push(record) {
        Ok(None) => return None,
        Ok(Some(message)) => Request::decode(&message),
        Err(error) => Err(error),
    };
    Some(match request {
        // The only proper request of the recording is daemon_status.
        Ok(request) => Response {
            msg_no: request.msg_no,
            code: 0,
            attributes: vec![maestro::ldmsd::codec::WireAttribute::json(r#"{"state":"ready"}"#)],
        }
        .encode(),
        Err(error) => error.answer().unwrap().encode(),
    })
}

#[test]
fn malformed_records_are_answered_as_a_real_daemon_does() {
    let recording = Recording::named("record-errors");
    let mut assembler = RecordAssembler::new(MAX_RECORD_BYTES, 1 << 20);
    let answers: Vec<Vec<u8>> = recording
        .of(From::Client)
        .filter_map(Entry::record)
        .filter_map(|record| serve(&record, &mut assembler))
        .flat_map(|message| message.records(MAX_RECORD_BYTES))
        .collect();
    let recorded: Vec<Vec<u8>> = recording.of(From::Server).filter_map(Entry::record).collect();
    assert_eq!(answers, recorded);
}

#[test]
fn a_malformed_request_counts_as_failed_although_its_result_code_is_0() {
    let recording = Recording::named("record-errors");
    let bytes = recording.server_bytes();
    let (events, _, _) = outcome(&recording, std::iter::once(bytes.as_slice()));
    let by_number: BTreeMap<u32, bool> = events
        .iter()
        .filter_map(|event| match event {
            Event::Response(response) if response.code == 0 => Some((response.msg_no, response.is_ok())),
            _ => None,
        })
        .collect();
    assert_eq!(by_number, BTreeMap::from([(61, false), (62, false), (1, true)]));
}

#[test]
fn a_record_error_without_an_answer_closes_the_connection() {
    assert_eq!(RecordError::Truncated(3).answer(), None);
}

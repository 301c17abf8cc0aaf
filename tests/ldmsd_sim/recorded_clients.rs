//! The simulated daemon, over a socket, hears what recorded clients said and answers as the real daemon did.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use maestro::ldmsd::codec::record::MAX_RECORD_BYTES;
use maestro::ldmsd::codec::{Frame, FrameBody, FrameDecoder, LdmsMessage, RecordAssembler, Response};

use crate::cluster::Simulation;
use crate::support::FreePort;
use crate::support::recordings::{Entry, From, Recording};

/// Long enough for an answer that comes at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a server did, without what differs from day to day.
#[derive(Debug, PartialEq)]
enum Deed {
    /// It accepted, with a connect message of so many bytes.
    Accepted(usize),
    Rejected(String),
    /// A part of an answer.
    Record,
    /// An answer: message number and result code.
    Answer(u32, i32),
    /// A message of the LDMS transport: its kind.
    Message(std::mem::Discriminant<LdmsMessage>),
    Closed,
}

/// One connection to a daemon.
struct Connection {
    stream: TcpStream,
    frames: FrameDecoder,
    records: RecordAssembler,
}

impl Connection {
    fn open(port: u16) -> Connection {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Connection { stream, frames: FrameDecoder::new(), records: RecordAssembler::new(MAX_RECORD_BYTES, 8 << 20) }
    }

    fn deed(&mut self) -> Deed {
        loop {
            if let Some(frame) = self.frames.next_frame().unwrap() {
                return deed(frame, &mut self.records);
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Deed::Closed,
                Ok(count) => self.frames.push(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Deed::Closed,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn deed(frame: Frame, records: &mut RecordAssembler) -> Deed {
    match frame.body {
        FrameBody::Accepted(data) => Deed::Accepted(data.len()),
        FrameBody::Rejected(data) => Deed::Rejected(String::from_utf8(data).unwrap()),
        FrameBody::SendRecv(data) => match LdmsMessage::decode(&data).unwrap() {
            LdmsMessage::Send(record) => records.push(&record).unwrap().map_or(Deed::Record, |message| {
                let answer = Response::decode(&message).unwrap();
                Deed::Answer(answer.msg_no, answer.code)
            }),
            message => Deed::Message(std::mem::discriminant(&message)),
        },
        other => panic!("a server does not send {other:?}"),
    }
}

/// Plays the client of a recording to a fresh daemon, and compares what the daemon does with what was recorded.
async fn replay(recording: &Recording) {
    let line = match recording.name.get(..4) {
        Some("b44-") => "4.4",
        Some("b45-") => "4.5",
        _ => "main",
    };
    let is_naive = recording.client().is_some_and(|client| client.auth_plugin == "naive");
    let daemon = if is_naive && recording.name != "reject-auth-mismatch" {
        start_naive().await
    } else {
        Simulation::start(line).await
    };
    let port = daemon.sampler.number();
    let mut connections = Vec::new();
    let mut recorded = Vec::new();
    for (index, entry) in recording.entries.iter().enumerate() {
        let number = usize::try_from(entry.connection).unwrap();
        while connections.len() <= number {
            connections.push(Connection::open(port));
            recorded.push(RecordAssembler::new(MAX_RECORD_BYTES, 8 << 20));
        }
        if entry.from == From::Client {
            // The daemon may have closed the connection by then.
            let _ = connections[number].stream.write_all(&entry.bytes);
            continue;
        }
        let place = format!("{} entry {index}", recording.name);
        let expected = recorded_deed(entry, &mut recorded[number]);
        assert_eq!(connections[number].deed(), expected, "{place}");
    }
}

fn recorded_deed(entry: &Entry, records: &mut RecordAssembler) -> Deed {
    if entry.bytes.is_empty() { Deed::Closed } else { deed(entry.frame().unwrap(), records) }
}

/// A daemon that authenticates by `naive`.
async fn start_naive() -> Simulation {
    let (sampler, aggregator) = (FreePort::reserve(), FreePort::reserve());
    let directory = tempfile::tempdir().unwrap();
    let yaml = directory.path().join("cluster.yaml");
    std::fs::write(&yaml, NAIVE.replace("PORT", &sampler.number().to_string())).unwrap();
    Simulation::with(sampler, aggregator, &["--ldms_config", yaml.to_str().unwrap()]).await
}

const NAIVE: &str = "
daemons:
  - names: d
    hosts: 127.0.0.1
    endpoints: [{ names: d-ep, ports: PORT, maestro_comm: true, xprt: sock, auth: { name: naive, plugin: naive } }]
aggregators: [{ daemons: d, peers: [] }]
";

#[tokio::test]
async fn recorded_clients_are_served_as_by_the_daemon_they_spoke_to() {
    let elsewhere = [
        // Challenges and credentials are new at every connection.
        "ovis",
        "munge",
        // A daemon that was prepared before, or changed by others meanwhile.
        "large-",
        "dir",
        "set-delete",
        "prdcr_listen",
        // Ports and secret files of the recording machine.
        "listen-auth",
        "auth_add-listen",
        "connect-quota-listen",
        // A real daemon answers on the first connection of a rail; the simulated one where it was asked.
        "rail-2-endpoints",
    ];
    let mut replayed = 0;
    for recording in Recording::all() {
        if elsewhere.iter().any(|part| recording.name.contains(part)) {
            continue;
        }
        replay(&recording).await;
        replayed += 1;
    }
    assert!(replayed >= 32, "only {replayed} recordings");
}

//! Conversations that were recorded between a plain client and real daemons: tests/fixtures/wire.

#![allow(clippy::unwrap_used, reason = "a recording that cannot be read shall fail the test")]

use std::fs;
use std::ops::Range;
use std::path::Path;

use maestro::ldmsd::auth::{Auth, AuthMethod, Credentials, Munge, Secret};
use maestro::ldmsd::codec::{ConnectMessage, Frame, FrameBody, FrameDecoder, LdmsMessage, ZapError};
use maestro::ldmsd::session::{ClientSession, SessionOptions};
use serde_json::Value;

#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub(crate) enum From {
    Client,
    Server,
}

pub(crate) struct Entry {
    pub(crate) from: From,
    /// Empty where the server closed the connection.
    pub(crate) bytes: Vec<u8>,
    pub(crate) decoded: Value,
    pub(crate) connection: u64,
}

impl Entry {
    pub(crate) fn frame(&self) -> Result<Frame, ZapError> {
        let mut decoder = FrameDecoder::new();
        decoder.push(&self.bytes);
        Ok(decoder.next_frame()?.expect("an entry is a whole message"))
    }

    pub(crate) fn message(&self) -> Option<LdmsMessage> {
        match self.frame().ok()?.body {
            FrameBody::SendRecv(data) => Some(LdmsMessage::decode(&data).expect("recorded messages are well-formed")),
            _ => None,
        }
    }

    pub(crate) fn record(&self) -> Option<Vec<u8>> {
        match self.message()? {
            LdmsMessage::Send(record) => Some(record),
            _ => None,
        }
    }

    pub(crate) fn auth(&self) -> Option<Vec<u8>> {
        match self.message()? {
            LdmsMessage::Auth(message) => Some(message),
            _ => None,
        }
    }
}

pub(crate) struct Recording {
    pub(crate) name: String,
    pub(crate) entries: Vec<Entry>,
}

impl Recording {
    pub(crate) fn load(path: &Path) -> Recording {
        let text = fs::read_to_string(path).unwrap();
        let list: Vec<Value> = serde_json::from_str(&text).unwrap();
        let entries = list.into_iter().map(|mut entry| Entry {
            from: if entry["dir"] == "c2s" { From::Client } else { From::Server },
            bytes: unhex(entry["hex"].as_str().unwrap()),
            decoded: entry["decoded"].take(),
            connection: entry["conn"].as_u64().unwrap_or(0),
        });
        Recording { name: path.file_stem().unwrap().to_str().unwrap().to_owned(), entries: entries.collect() }
    }

    pub(crate) fn named(name: &str) -> Recording {
        Recording::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/wire/{name}.json")))
    }

    pub(crate) fn all() -> Vec<Recording> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/wire");
        let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        assert!(paths.len() >= 58, "only {} recordings", paths.len());
        paths.iter().map(|path| Recording::load(path)).collect()
    }

    /// The messages of one side of the first connection.
    pub(crate) fn of(&self, from: From) -> impl Iterator<Item = &Entry> {
        let wanted = move |entry: &&Entry| entry.from == from && entry.connection == 0 && !entry.bytes.is_empty();
        self.entries.iter().filter(wanted)
    }

    /// The connect message of the recording client.
    pub(crate) fn client(&self) -> Option<ConnectMessage> {
        match self.entries.first()?.frame().ok()?.body {
            FrameBody::Connect(data) => {
                ["none", "naive", "ovis", "munge"].iter().find_map(|plugin| ConnectMessage::decode(&data, plugin).ok())
            }
            _ => None,
        }
    }

    /// A session with what the recording client had chosen: process id, rail number, credentials, challenge.
    pub(crate) fn session(&self) -> ClientSession {
        let client = self.client();
        let first_auth = self.of(From::Client).find_map(Entry::auth).unwrap_or_default();
        let method = match client.as_ref().map(|client| client.auth_plugin.as_str()) {
            Some("naive") => {
                let id = |range: Range<usize>| {
                    first_auth.get(range).map_or(0, |id| u32::from_be_bytes(id.try_into().unwrap()))
                };
                AuthMethod::Naive(Credentials { uid: id(0..4), gid: id(4..8) })
            }
            Some("ovis") => AuthMethod::Ovis(Secret::parse(b"secretword=correct-horse-battery").unwrap()),
            Some("munge") => AuthMethod::Munge(Munge::default()),
            _ => AuthMethod::None,
        };
        let credential = matches!(method, AuthMethod::Munge(_)).then(|| first_auth.clone().into());
        let challenge = first_auth.get(4..12).map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()));
        let rail = client.and_then(|client| client.rail);
        ClientSession::new(SessionOptions {
            auth: Auth { domain: "recorded".into(), method },
            pid: rail.as_ref().map_or(0, |rail| rail.pid),
            rail_gn: rail.as_ref().map_or(0, |rail| rail.rail_gn),
            challenge,
            credential,
        })
    }

    /// Everything that the server sent on the first connection, directory numbers as a session chooses them.
    pub(crate) fn server_bytes(&self) -> Vec<u8> {
        self.of(From::Server).flat_map(|entry| with_directory_xid(&entry.bytes, 1)).collect()
    }
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// The message with another number, if it is a directory query or an answer to one.
pub(crate) fn with_directory_xid(bytes: &[u8], xid: u64) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let is_directory = matches!(bytes.get(32..36), Some([0, 0, 0, 0] | [0, 0, 1, 1 | 3]));
    if is_directory && bytes[1] == 2 {
        bytes[24..32].copy_from_slice(&xid.to_be_bytes());
    }
    bytes
}

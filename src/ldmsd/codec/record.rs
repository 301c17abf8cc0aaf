//! ldmsd records: a message of the request protocol travels in one or more of them (the wire
//! specification, sections 5.1 and 5.3).

use std::collections::BTreeMap;

use super::field::{Fields, length_field};
use super::request::{Response, WireAttribute};
use super::zap::MAX_PAYLOAD_BYTES;

/// The longest record that fits one LDMS message, header included (section 1.2).
pub const MAX_RECORD_BYTES: usize = MAX_PAYLOAD_BYTES - 20;

const HEADER_BYTES: usize = 24;
const MARKER: u32 = 0xffff_ffff;
const START: u32 = 1;
const END: u32 = 2;
const REQUEST: u32 = 1;
const RESPONSE: u32 = 2;

/// The message number of an error reply to a request that could not be identified.
pub const UNIDENTIFIED: u32 = 0xffff_ffff;

/// What one message of the request protocol is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageKind {
    /// A command.
    Request,
    /// The answer to a command.
    Response,
}

/// One message of the request protocol, its attributes still encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Request or response.
    pub kind: MessageKind,
    /// Chosen by the client, unique among its outstanding requests; the response repeats it.
    pub msg_no: u32,
    /// The command number of a request, the result code of a response.
    pub code: u32,
    /// The attribute list.
    pub body: Vec<u8>,
}

impl Message {
    /// The records of the message, none longer than `max_record_bytes` (header included).
    #[must_use]
    pub fn records(&self, max_record_bytes: usize) -> Vec<Vec<u8>> {
        // A record carries at least one byte, or a small maximum would never come to an end.
        let piece_bytes = max_record_bytes.clamp(HEADER_BYTES + 1, MAX_RECORD_BYTES) - HEADER_BYTES;
        let pieces: Vec<&[u8]> = if self.body.is_empty() { vec![&[]] } else { self.body.chunks(piece_bytes).collect() };
        let last = pieces.len() - 1;
        pieces
            .into_iter()
            .enumerate()
            .map(|(index, piece)| {
                let start = if index == 0 { START } else { 0 };
                let end = if index == last { END } else { 0 };
                self.record(start | end, piece)
            })
            .collect()
    }

    fn record(&self, flags: u32, piece: &[u8]) -> Vec<u8> {
        let kind = match self.kind {
            MessageKind::Request => REQUEST,
            MessageKind::Response => RESPONSE,
        };
        let mut out = Vec::with_capacity(HEADER_BYTES + piece.len());
        for field in [MARKER, kind, flags, self.msg_no, self.code] {
            out.extend(field.to_be_bytes());
        }
        out.extend(length_field(HEADER_BYTES + piece.len()));
        out.extend_from_slice(piece);
        out
    }
}

/// Why a record is refused (section 5.6).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Too short for a record header.
    #[error("a record of {0} bytes has no room for its header")]
    Truncated(usize),
    /// The record does not begin with the marker.
    #[error("Config request is missing record marker")]
    Marker,
    /// The record is longer than the maximum.
    #[error("record of message {msg_no} declares {declared_bytes} bytes, more than {max_record_bytes}")]
    TooLong {
        /// The message.
        msg_no: u32,
        /// The length that the record declares.
        declared_bytes: usize,
        /// The longest that is accepted.
        max_record_bytes: usize,
    },
    /// The declared length disagrees with that of the enclosing message.
    #[error("record of message {msg_no} declares {declared_bytes} bytes and has {actual_bytes}")]
    Length {
        /// The message.
        msg_no: u32,
        /// The length that the record declares.
        declared_bytes: usize,
        /// Its length.
        actual_bytes: usize,
    },
    /// A later record of a message that never began.
    #[error("The message no {msg_no} was not found.")]
    NotStarted {
        /// The message.
        msg_no: u32,
    },
    /// A second beginning of a message that has not ended.
    #[error("Duplicate message number {msg_no}:2received")]
    Duplicate {
        /// The message.
        msg_no: u32,
    },
    /// The attribute list is malformed.
    #[error("LDMSD received a bad request.")]
    Attributes {
        /// The message.
        msg_no: u32,
    },
    /// The unfinished messages of this connection take too much memory.
    #[error("unfinished messages take more than {limit_bytes} bytes")]
    TooMuch {
        /// The most that is held.
        limit_bytes: usize,
    },
}

impl RecordError {
    /// What an ldmsd answers to the client that caused the error, `None` where it closes the connection.
    #[must_use]
    pub fn answer(&self) -> Option<Response> {
        // A text of the record layer is not NUL-terminated, with two exceptions; the numbers are errnos.
        let (msg_no, code, attribute) = match *self {
            RecordError::Marker => (UNIDENTIFIED, 22, WireAttribute::raw_text(self.to_string())),
            RecordError::TooLong { msg_no, max_record_bytes, .. } => {
                // In the server's native order, which is little-endian on every machine in use.
                let advice = u32::try_from(max_record_bytes).unwrap_or(u32::MAX).to_le_bytes();
                (msg_no, 7, WireAttribute { id: WireAttribute::RECORD_LENGTH, value: advice.to_vec() })
            }
            RecordError::NotStarted { msg_no } => (msg_no, 2, WireAttribute::raw_text(self.to_string())),
            RecordError::Duplicate { msg_no } => (msg_no, 98, WireAttribute::raw_text(self.to_string())),
            // The result code of a malformed request is 0: a client must look at the text.
            RecordError::Attributes { msg_no } => (msg_no, 0, WireAttribute::text(self.to_string())),
            RecordError::Truncated(_) | RecordError::Length { .. } | RecordError::TooMuch { .. } => return None,
        };
        Some(Response { msg_no, code, attributes: vec![attribute] })
    }
}

/// Puts messages together from records. Messages may be interleaved with each other.
#[derive(Debug)]
pub struct RecordAssembler {
    max_record_bytes: usize,
    limit_bytes: usize,
    held_bytes: usize,
    unfinished: BTreeMap<(MessageKind, u32), Message>,
}

impl RecordAssembler {
    /// An assembler that refuses records above `max_record_bytes` and holds at most `limit_bytes` of
    /// messages that have not ended.
    #[must_use]
    pub fn new(max_record_bytes: usize, limit_bytes: usize) -> RecordAssembler {
        RecordAssembler { max_record_bytes, limit_bytes, held_bytes: 0, unfinished: BTreeMap::new() }
    }

    /// Takes one record; gives the message that it completes. Records that are neither request nor response
    /// are passed over (section 5.4).
    ///
    /// # Errors
    /// The record is malformed or does not belong to anything; the unfinished messages stay as they are.
    pub fn push(&mut self, record: &[u8]) -> Result<Option<Message>, RecordError> {
        let header = Header::decode(record, self.max_record_bytes)?;
        let Some(kind) = header.kind else { return Ok(None) };
        let msg_no = header.msg_no;
        let piece = &record[HEADER_BYTES..];

        let key = (kind, msg_no);
        let begins = header.flags & START != 0;
        let ends = header.flags & END != 0;
        match (begins, self.unfinished.contains_key(&key)) {
            (true, true) => return Err(RecordError::Duplicate { msg_no }),
            (false, false) => return Err(RecordError::NotStarted { msg_no }),
            _ => {}
        }
        if begins && ends {
            return Ok(Some(Message { kind, msg_no, code: header.code, body: piece.to_vec() }));
        }
        // A message that has just begun takes memory even without contents.
        let cost_bytes = piece.len() + if begins { HEADER_BYTES } else { 0 };
        if self.held_bytes + cost_bytes > self.limit_bytes {
            return Err(RecordError::TooMuch { limit_bytes: self.limit_bytes });
        }
        self.held_bytes += cost_bytes;
        let message =
            self.unfinished.entry(key).or_insert_with(|| Message { kind, msg_no, code: header.code, body: Vec::new() });
        message.body.extend_from_slice(piece);
        if !ends {
            return Ok(None);
        }
        let message = self.unfinished.remove(&key);
        self.held_bytes -= message.as_ref().map_or(0, |message| HEADER_BYTES + message.body.len());
        Ok(message)
    }
}

struct Header {
    /// `None` for a type that does not exist.
    kind: Option<MessageKind>,
    flags: u32,
    msg_no: u32,
    code: u32,
}

impl Header {
    fn decode(record: &[u8], max_record_bytes: usize) -> Result<Header, RecordError> {
        let too_short = || RecordError::Truncated(record.len());
        let mut fields = Fields::new(record);
        if fields.u32().ok_or_else(too_short)? != MARKER {
            return Err(RecordError::Marker);
        }
        let kind = match fields.u32().ok_or_else(too_short)? {
            REQUEST => Some(MessageKind::Request),
            RESPONSE => Some(MessageKind::Response),
            _ => None,
        };
        let flags = fields.u32().ok_or_else(too_short)?;
        let msg_no = fields.u32().ok_or_else(too_short)?;
        let code = fields.u32().ok_or_else(too_short)?;
        let declared_bytes = fields.length().ok_or_else(too_short)?;
        if declared_bytes > max_record_bytes {
            return Err(RecordError::TooLong { msg_no, declared_bytes, max_record_bytes });
        }
        if declared_bytes != record.len() {
            return Err(RecordError::Length { msg_no, declared_bytes, actual_bytes: record.len() });
        }
        Ok(Header { kind, flags, msg_no, code })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(msg_no: u32, body: &[u8]) -> Message {
        Message { kind: MessageKind::Response, msg_no, code: 0, body: body.to_vec() }
    }

    #[test]
    fn interleaved_messages_are_told_apart() {
        let (a, b) = (message(1, b"first message"), message(2, b"the second"));
        let mut assembler = RecordAssembler::new(MAX_RECORD_BYTES, 1000);
        let mut finished = Vec::new();
        let (of_a, of_b) = (a.records(27), b.records(27));
        for index in 0..of_a.len().max(of_b.len()) {
            for records in [&of_a, &of_b] {
                if let Some(record) = records.get(index) {
                    finished.extend(assembler.push(record).unwrap());
                }
            }
        }
        assert_eq!(finished, [b, a]);
        assert_eq!(assembler.held_bytes, 0);
    }

    #[test]
    fn unfinished_messages_take_bounded_memory() {
        let mut assembler = RecordAssembler::new(MAX_RECORD_BYTES, 10_000);
        let refused = (0..).find_map(|msg_no| assembler.push(&message(msg_no, &[0; 2]).records(25)[0]).err()).unwrap();
        assert_eq!(refused, RecordError::TooMuch { limit_bytes: 10_000 });
        assert!(assembler.unfinished.len() <= 400);
    }

    #[test]
    fn memory_is_given_back_when_messages_end() {
        let mut assembler = RecordAssembler::new(MAX_RECORD_BYTES, 1000);
        let never_ends = message(0, b"ab").records(25);
        assembler.push(&never_ends[0]).unwrap();
        for msg_no in 1..500 {
            let records = message(msg_no, &[1; 300]).records(160);
            let ends = records.iter().filter_map(|record| assembler.push(record).unwrap()).count();
            assert_eq!(ends, 1, "message {msg_no}");
        }
    }

    #[test]
    fn a_record_above_the_maximum_is_answered_with_the_maximum() {
        let record = &message(9, &[0; 100]).records(MAX_RECORD_BYTES)[0];
        let error = RecordAssembler::new(64, 1000).push(record).unwrap_err();
        let answer = error.answer().unwrap();
        assert_eq!((answer.msg_no, answer.code), (9, 7));
        assert_eq!(answer.max_record_bytes(), Some(64));
    }

    proptest! {
        #[test]
        fn messages_survive_cutting_into_records(
            body in proptest::collection::vec(any::<u8>(), 0..500),
            max_record_bytes in 0_usize..300,
            msg_no in any::<u32>(),
            code in any::<u32>(),
            kind in prop_oneof![Just(MessageKind::Request), Just(MessageKind::Response)],
        ) {
            let message = Message { kind, msg_no, code, body };
            let records = message.records(max_record_bytes);
            prop_assert!(records.iter().all(|record| record.len() <= max_record_bytes.max(25)));
            let mut assembler = RecordAssembler::new(MAX_RECORD_BYTES, 100_000);
            let (last, rest) = records.split_last().unwrap();
            for record in rest {
                prop_assert_eq!(assembler.push(record), Ok(None));
            }
            prop_assert_eq!(assembler.push(last), Ok(Some(message)));
        }

        #[test]
        fn random_records_do_no_harm(records in proptest::collection::vec(any_record(), 0..20)) {
            let mut assembler = RecordAssembler::new(MAX_RECORD_BYTES, 300);
            for record in records {
                if let Ok(Some(message)) = assembler.push(&record) {
                    let _ = Response::decode(&message);
                }
                prop_assert!(assembler.held_bytes <= 300);
            }
        }
    }

    fn any_record() -> impl Strategy<Value = Vec<u8>> {
        let body = proptest::collection::vec(prop_oneof![Just(0_u8), Just(1), any::<u8>()], 0..40);
        (0_u32..4, 0_u32..4, 0_u32..3, body, any::<bool>()).prop_map(|(kind, flags, msg_no, body, honest)| {
            let mut record = Vec::new();
            for field in [MARKER, kind, flags, msg_no, 0] {
                record.extend(field.to_be_bytes());
            }
            record.extend(length_field(if honest { HEADER_BYTES + body.len() } else { body.len() }));
            record.extend(body);
            record
        })
    }
}

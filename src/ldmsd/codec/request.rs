//! Requests and responses with their attributes (the wire specification, section 5.2).

use std::borrow::Cow;

use super::field::{Fields, length_field, until_nul, without_trailing_nuls};
use super::record::{Message, MessageKind, RecordError};
use crate::ldmsd::attribute::Attribute;
use crate::ldmsd::command::Command;
use crate::ldmsd::verb::{Numbering, Verb};

/// An attribute as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireAttribute {
    /// Its number, in the numbering of the daemon.
    pub id: u32,
    /// Its value: in requests NUL-terminated text, or nothing for a keyword.
    pub value: Vec<u8>,
}

impl WireAttribute {
    /// The number of the attribute that carries a text, alike in all numberings.
    pub const STRING: u32 = 16;
    /// The number of the attribute that carries the maximum record length, alike in all numberings.
    pub const RECORD_LENGTH: u32 = 25;
    /// The number of the attribute that carries a JSON text, alike in all numberings.
    pub const JSON: u32 = 26;

    /// A message for people, as most commands send it: NUL-terminated.
    #[must_use]
    pub fn text(text: impl Into<String>) -> WireAttribute {
        let mut value = text.into().into_bytes();
        value.push(0);
        WireAttribute { id: WireAttribute::STRING, value }
    }

    /// A message for people without a NUL, as the record layer sends it.
    #[must_use]
    pub fn raw_text(text: impl Into<String>) -> WireAttribute {
        WireAttribute { id: WireAttribute::STRING, value: text.into().into_bytes() }
    }

    /// A JSON text.
    #[must_use]
    pub fn json(text: impl Into<String>) -> WireAttribute {
        WireAttribute { id: WireAttribute::JSON, value: text.into().into_bytes() }
    }
}

/// A command as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Unique among the outstanding requests of the connection.
    pub msg_no: u32,
    /// The number of the command, in the numbering of the daemon.
    pub id: u32,
    /// The attributes; of a repeated one the first counts.
    pub attributes: Vec<WireAttribute>,
}

/// Why a command cannot be sent to this daemon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The daemon has no such command.
    #[error("a daemon of the LDMS 4.4 line has no command {0}")]
    Verb(Verb),
    /// The daemon has no such attribute, and without it the command would mean something else.
    #[error("{verb}: a daemon of the LDMS 4.4 line has no attribute {attribute}")]
    Attribute {
        /// The command.
        verb: Verb,
        /// Its attribute.
        attribute: Attribute,
    },
    /// A value that cannot travel.
    #[error("{verb}: the value of {attribute} contains a NUL")]
    Nul {
        /// The command.
        verb: Verb,
        /// Its attribute.
        attribute: Attribute,
    },
}

impl Request {
    /// The command as a request to a daemon of the given numbering.
    ///
    /// Attributes without a value are left out, since ldmsd takes them as absent; `test`, a keyword, is sent.
    /// To a daemon of the 4.4 line the attributes that tune what that line does not have (`rail`, `quota`,
    /// `rx_rate`, `exclusive_thread`) are left out too: the command does the same without them. Any other
    /// attribute that the daemon lacks is an error. One numbering serves 4.5 and the development head,
    /// which has a few attributes more (`state`); a 4.5 daemon ignores those.
    ///
    /// # Errors
    /// The daemon has no such command or attribute, or a value contains a NUL.
    pub fn from_command(command: &Command, numbering: Numbering, msg_no: u32) -> Result<Request, EncodeError> {
        let verb = command.verb;
        let id = verb.id(numbering).ok_or(EncodeError::Verb(verb))?;
        let mut attributes = Vec::with_capacity(command.attributes.len());
        for &(attribute, ref value) in &command.attributes {
            if value.is_empty() && !is_keyword(attribute) {
                continue;
            }
            if value.contains('\0') {
                return Err(EncodeError::Nul { verb, attribute });
            }
            let Some(id) = attribute.id(numbering) else {
                if is_tuning(attribute) {
                    continue;
                }
                return Err(EncodeError::Attribute { verb, attribute });
            };
            let mut bytes = value.clone().into_bytes();
            if !bytes.is_empty() {
                bytes.push(0);
            }
            attributes.push(WireAttribute { id, value: bytes });
        }
        Ok(Request { msg_no, id, attributes })
    }

    /// The text of an attribute, of a repeated one the first. An empty value counts as absent.
    #[must_use]
    pub fn get(&self, attribute: Attribute, numbering: Numbering) -> Option<Cow<'_, str>> {
        let id = attribute.id(numbering)?;
        let found = self.attributes.iter().find(|attribute| attribute.id == id)?;
        Some(String::from_utf8_lossy(until_nul(&found.value))).filter(|text| !text.is_empty())
    }

    /// The command that the request stands for; `None` where its number is unknown. Of the words that share
    /// an attribute number the most general is taken, and attributes with unknown numbers are left out.
    #[must_use]
    pub fn to_command(&self, numbering: Numbering) -> Option<Command> {
        let mut command = Command::new(Verb::from_id(self.id, numbering)?);
        for WireAttribute { id, value } in &self.attributes {
            if let Some(attribute) = Attribute::from_id(*id, numbering) {
                command = command.with(attribute, String::from_utf8_lossy(until_nul(value)));
            }
        }
        Some(command)
    }

    /// The request as a message.
    #[must_use]
    pub fn encode(&self) -> Message {
        let body = encode_attributes(&self.attributes);
        Message { kind: MessageKind::Request, msg_no: self.msg_no, code: self.id, body }
    }

    /// Reads a message as a request, with the checks of an ldmsd.
    ///
    /// # Errors
    /// [`RecordError::Attributes`] where the attribute list is malformed.
    pub fn decode(message: &Message) -> Result<Request, RecordError> {
        let msg_no = message.msg_no;
        let attributes = decode_attributes(&message.body).ok_or(RecordError::Attributes { msg_no })?;
        if attributes.iter().any(|attribute| attribute.value.last().is_some_and(|last| *last != 0)) {
            return Err(RecordError::Attributes { msg_no });
        }
        Ok(Request { msg_no, id: message.code, attributes })
    }
}

/// Attributes that mean something without a value.
fn is_keyword(attribute: Attribute) -> bool {
    attribute == Attribute::Test
}

/// Attributes of 4.5 without which a command does the same, on a daemon that does not have what they tune.
fn is_tuning(attribute: Attribute) -> bool {
    use Attribute::{ExclusiveThread, Quota, Rail, RxRate, Xthread};
    matches!(attribute, Rail | Quota | RxRate | Xthread | ExclusiveThread)
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// That of the request.
    pub msg_no: u32,
    /// The result: 0, or an errno that some commands negate.
    pub code: i32,
    /// Usually none or one.
    pub attributes: Vec<WireAttribute>,
}

impl Response {
    /// A success without a text.
    #[must_use]
    pub fn success(msg_no: u32) -> Response {
        Response { msg_no, code: 0, attributes: Vec::new() }
    }

    /// Whether the command was carried out. The result code decides, except that ldmsd answers a malformed
    /// request with code 0, which only the text gives away (section 5.6).
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.code == 0 && !self.is_bad_request()
    }

    fn is_bad_request(&self) -> bool {
        const COMPLAINT: &[u8] = b"LDMSD received a bad request";
        self.text_bytes().is_some_and(|text| text.starts_with(COMPLAINT))
    }

    /// The message or result, without the NULs and line ends at its end; empty where there is none.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        let bytes = self.text_bytes().unwrap_or_default();
        String::from_utf8_lossy(bytes.trim_ascii_end())
    }

    fn text_bytes(&self) -> Option<&[u8]> {
        // Some commands send JSON as STRING and some texts as JSON: the two are alike.
        let attribute = self
            .attributes
            .iter()
            .find(|attribute| attribute.id == WireAttribute::STRING || attribute.id == WireAttribute::JSON)?;
        Some(without_trailing_nuls(&attribute.value))
    }

    /// The longest record that the daemon accepts, in the answer to one that was longer (code 7).
    #[must_use]
    pub fn max_record_bytes(&self) -> Option<usize> {
        let attribute = self.attributes.iter().find(|attribute| attribute.id == WireAttribute::RECORD_LENGTH)?;
        let bytes: [u8; 4] = attribute.value.as_slice().try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    }

    /// The response as a message.
    #[must_use]
    pub fn encode(&self) -> Message {
        let body = encode_attributes(&self.attributes);
        Message { kind: MessageKind::Response, msg_no: self.msg_no, code: self.code.cast_unsigned(), body }
    }

    /// Reads a message as a response.
    ///
    /// # Errors
    /// [`RecordError::Attributes`] where the attribute list is malformed.
    pub fn decode(message: &Message) -> Result<Response, RecordError> {
        let msg_no = message.msg_no;
        let attributes = decode_attributes(&message.body).ok_or(RecordError::Attributes { msg_no })?;
        Ok(Response { msg_no, code: message.code.cast_signed(), attributes })
    }
}

const ATTRIBUTE_FOLLOWS: u32 = 1;
const END_OF_LIST: u32 = 0;

fn encode_attributes(attributes: &[WireAttribute]) -> Vec<u8> {
    let length = attributes.iter().map(|attribute| 12 + attribute.value.len()).sum::<usize>() + 4;
    let mut out = Vec::with_capacity(length);
    for attribute in attributes {
        out.extend(ATTRIBUTE_FOLLOWS.to_be_bytes());
        out.extend(attribute.id.to_be_bytes());
        out.extend(length_field(attribute.value.len()));
        out.extend_from_slice(&attribute.value);
    }
    out.extend(END_OF_LIST.to_be_bytes());
    out
}

/// `None` where the list is malformed. What follows its end is ignored.
fn decode_attributes(body: &[u8]) -> Option<Vec<WireAttribute>> {
    let mut fields = Fields::new(body);
    let mut attributes = Vec::new();
    loop {
        match fields.u32()? {
            END_OF_LIST => return Some(attributes),
            ATTRIBUTE_FOLLOWS => {
                let id = fields.u32()?;
                let length = fields.length()?;
                attributes.push(WireAttribute { id, value: fields.bytes(length)?.to_vec() });
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_command_travels_in_the_numbering_of_the_daemon() {
        let command = Command::new(Verb::PrdcrListenAdd).with(Attribute::Name, "l").with(Attribute::Ip, "10.0.0.0/8");
        let ids = |numbering| {
            let request = Request::from_command(&command, numbering, 1).unwrap();
            (request.id, request.attributes.iter().map(|attribute| attribute.id).collect::<Vec<_>>())
        };
        assert_eq!(ids(Numbering::V45), (0x111, vec![1, 43]));
        assert_eq!(ids(Numbering::V44), (0x110, vec![1, 40]));
    }

    #[test]
    fn what_the_4_4_line_lacks_is_left_out_or_refused() {
        let add = Command::new(Verb::PrdcrAdd)
            .with(Attribute::Name, "p")
            .with(Attribute::Rail, "2")
            .with(Attribute::Quota, "1M")
            .with(Attribute::RxRate, "-1");
        let request = Request::from_command(&add, Numbering::V44, 1).unwrap();
        assert_eq!(request.attributes, [WireAttribute { id: 1, value: b"p\0".to_vec() }]);
        assert_eq!(Request::from_command(&add, Numbering::V45, 1).unwrap().attributes.len(), 4);

        let subscribe = Command::new(Verb::PrdcrSubscribe).with(Attribute::MessageTag, "jobs");
        let refused = EncodeError::Attribute { verb: Verb::PrdcrSubscribe, attribute: Attribute::MessageTag };
        assert_eq!(Request::from_command(&subscribe, Numbering::V44, 1), Err(refused));
        let enable = Command::new(Verb::StreamEnable);
        assert_eq!(Request::from_command(&enable, Numbering::V44, 1), Err(EncodeError::Verb(Verb::StreamEnable)));
    }

    #[test]
    fn empty_values_are_absent_and_keywords_have_none() {
        let greeting = Command::new(Verb::Greeting).with(Attribute::Name, "").with(Attribute::Test, "");
        let request = Request::from_command(&greeting, Numbering::V45, 1).unwrap();
        assert_eq!(request.attributes, [WireAttribute { id: 24, value: Vec::new() }]);

        let nul = Command::new(Verb::Greeting).with(Attribute::Name, "a\0b");
        let error = EncodeError::Nul { verb: Verb::Greeting, attribute: Attribute::Name };
        assert_eq!(Request::from_command(&nul, Numbering::V45, 1), Err(error));
    }

    #[test]
    fn only_the_result_code_decides_except_for_malformed_requests() {
        let response = |code, text: &str| Response { msg_no: 1, code, attributes: vec![WireAttribute::text(text)] };
        assert!(Response::success(1).is_ok());
        assert!(response(0, "0").is_ok());
        assert!(!response(-22, "").is_ok());
        assert!(!response(0, "LDMSD received a bad request.").is_ok());
        assert_eq!(response(2, "22Invalid regular expression\n").text(), "22Invalid regular expression");
        assert_eq!(Response::success(1).text(), "");
    }

    #[test]
    fn negative_results_survive_the_wire() {
        let response = Response { msg_no: 7, code: -22, attributes: Vec::new() };
        assert_eq!(response.encode().code, 0xffff_ffea);
        assert_eq!(Response::decode(&response.encode()), Ok(response));
    }

    proptest! {
        #[test]
        fn commands_survive_the_wire(
            verb in proptest::sample::select(Verb::ALL),
            values in proptest::collection::vec((proptest::sample::select(Attribute::ALL), "[^\\x00]{1,20}"), 0..6),
            msg_no in any::<u32>(),
        ) {
            let mut command = Command::new(verb);
            for (attribute, value) in values {
                command = command.with(attribute, value);
            }
            let request = Request::from_command(&command, Numbering::V45, msg_no).unwrap();
            let received = Request::decode(&request.encode()).unwrap();
            prop_assert_eq!(&received, &request);
            let again = received.to_command(Numbering::V45).unwrap();
            prop_assert_eq!(again.verb, verb);
            let ids = |command: &Command| -> Vec<_> {
                command.attributes.iter().map(|(key, value)| (key.id(Numbering::V45), value.clone())).collect()
            };
            prop_assert_eq!(ids(&again), ids(&command));
        }

        #[test]
        fn random_attribute_lists_do_no_harm(
            body in proptest::collection::vec(prop_oneof![Just(0_u8), Just(1), any::<u8>()], 0..80),
        ) {
            let message = Message { kind: MessageKind::Response, msg_no: 1, code: 0, body };
            if let Ok(response) = Response::decode(&message) {
                let _ = (response.is_ok(), response.text().len(), response.max_record_bytes());
                prop_assert_eq!(Response::decode(&response.encode()), Ok(response));
            }
            let _ = Request::decode(&message);
        }
    }
}

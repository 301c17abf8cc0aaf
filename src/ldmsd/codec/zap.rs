//! The zap `sock` transport: framing and connection set-up (the wire specification, section 2).

use super::field::{Fields, length_field};

/// The longest message that a peer accepts, its header included (section 1.2).
pub const MAX_FRAME_BYTES: usize = 1_048_576;

/// The longest payload of a SENDRECV (section 1.2): an LDMS message may not be longer.
pub const MAX_PAYLOAD_BYTES: usize = MAX_FRAME_BYTES - 40;

const HEADER_BYTES: usize = 20;
const DATA_HEADER_BYTES: usize = 24;
const CONNECT_HEADER_BYTES: usize = 36;

/// What a decoder without an unfinished message may hold.
const IDLE_BYTES: usize = 4096;

const VERSION: [u8; 4] = [1, 3, 1, 0];
const SIGNATURE: [u8; 8] = *b"SOCKET\0\0";

const CONNECT: u16 = 1;
const SENDRECV: u16 = 2;
/// RENDEZVOUS to WRITE_RESP: remote memory, of which this program makes no use.
const REMOTE_MEMORY: std::ops::RangeInclusive<u16> = 3..=7;
const READ_RESP: u16 = 5;
const WRITE_REQ: u16 = 6;
const ACCEPTED: u16 = 8;
const REJECTED: u16 = 9;
const ACK_ACCEPTED: u16 = 10;

/// One zap message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Chosen by the sender, not 0; a counter. Nobody compares it.
    pub xid: u32,
    /// Opaque, 0 in all messages of this program.
    pub ctxt: u64,
    /// What the message says.
    pub body: FrameBody,
}

/// The zap messages that set up a connection and carry LDMS messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameBody {
    /// Client to server, the first message: the client's LDMS connect message.
    Connect(Vec<u8>),
    /// Server to client: the server's LDMS connect message.
    Accepted(Vec<u8>),
    /// Server to client: a NUL-terminated reason. The server closes the connection right after.
    Rejected(Vec<u8>),
    /// Client to server, the answer to ACCEPTED.
    AckAccepted,
    /// Both ways: one LDMS message of at most [`MAX_PAYLOAD_BYTES`].
    SendRecv(Vec<u8>),
}

/// Why a byte stream is not a zap conversation. The connection is to be closed, without a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ZapError {
    /// The length is outside the limits of section 1.2, or too short for the type.
    #[error("a message of type {message_type} declares a length of {length_bytes} bytes")]
    Length {
        /// The type of the message.
        message_type: u16,
        /// The length that it declares.
        length_bytes: usize,
    },
    /// The length of the data disagrees with the length of the message.
    #[error("a message of {length_bytes} bytes declares {data_bytes} bytes of data")]
    DataLength {
        /// The length of the message.
        length_bytes: usize,
        /// The length of data that it declares.
        data_bytes: usize,
    },
    /// A message type that does not exist.
    #[error("unknown message type {0}")]
    UnknownType(u16),
    /// A CONNECT of another version of the protocol.
    #[error("the peer speaks version {}.{} of the transport", .0[0], .0[1])]
    Version([u8; 4]),
    /// A CONNECT for another transport.
    #[error("the peer does not speak the sock transport")]
    Signature,
}

impl Frame {
    /// A message with the given number.
    #[must_use]
    pub fn new(xid: u32, body: FrameBody) -> Frame {
        Frame { xid, ctxt: 0, body }
    }

    /// Appends the bytes of the message to `out`.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let (message_type, data): (u16, &[u8]) = match &self.body {
            FrameBody::Connect(data) => (CONNECT, data),
            FrameBody::Accepted(data) => (ACCEPTED, data),
            FrameBody::Rejected(data) => (REJECTED, data),
            FrameBody::AckAccepted => (ACK_ACCEPTED, &[]),
            FrameBody::SendRecv(data) => (SENDRECV, data),
        };
        let header_bytes = if message_type == CONNECT { CONNECT_HEADER_BYTES } else { DATA_HEADER_BYTES };
        out.reserve(header_bytes + data.len());
        out.extend(message_type.to_be_bytes());
        out.extend([0; 2]);
        out.extend(length_field(header_bytes + data.len()));
        out.extend(self.xid.to_be_bytes());
        out.extend(self.ctxt.to_be_bytes());
        if message_type == CONNECT {
            out.extend(VERSION);
            out.extend(SIGNATURE);
        }
        out.extend(length_field(data.len()));
        out.extend(data);
    }

    /// The bytes of the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_into(&mut out);
        out
    }

    /// Decodes one whole message (`bytes` is exactly as long as its header declares).
    fn decode(message_type: u16, bytes: &[u8]) -> Result<Frame, ZapError> {
        let too_short = || ZapError::Length { message_type, length_bytes: bytes.len() };
        let mut fields = Fields::new(bytes);
        fields.bytes(8).ok_or_else(too_short)?;
        let xid = fields.u32().ok_or_else(too_short)?;
        let ctxt = fields.u64().ok_or_else(too_short)?;
        if message_type == CONNECT {
            let version: [u8; 4] = fields.array().ok_or_else(too_short)?;
            let signature: [u8; 8] = fields.array().ok_or_else(too_short)?;
            if version[..2] != VERSION[..2] {
                return Err(ZapError::Version(version));
            }
            if signature != SIGNATURE {
                return Err(ZapError::Signature);
            }
        }
        let data_bytes = fields.length().ok_or_else(too_short)?;
        let data = fields.rest();
        if data.len() != data_bytes {
            return Err(ZapError::DataLength { length_bytes: bytes.len(), data_bytes });
        }
        let body = match message_type {
            CONNECT => FrameBody::Connect(data.to_vec()),
            SENDRECV => FrameBody::SendRecv(data.to_vec()),
            ACCEPTED => FrameBody::Accepted(data.to_vec()),
            REJECTED => FrameBody::Rejected(data.to_vec()),
            ACK_ACCEPTED => FrameBody::AckAccepted,
            other => return Err(ZapError::UnknownType(other)),
        };
        Ok(Frame { xid, ctxt, body })
    }
}

/// Cuts a byte stream into messages, however TCP split or joined them.
///
/// Messages about remote memory (section 2.7) are passed over. The memory it holds is bounded by
/// [`MAX_FRAME_BYTES`] plus what was pushed since [`FrameDecoder::next_frame`] last returned `None`.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    buffer: Vec<u8>,
    /// Where the first byte not yet consumed is in `buffer`.
    start: usize,
    /// How much of a message that nobody wants is still to come.
    skip_bytes: usize,
}

impl FrameDecoder {
    /// A decoder at the beginning of a connection.
    #[must_use]
    pub fn new() -> FrameDecoder {
        FrameDecoder::default()
    }

    /// Takes bytes as they were received.
    pub fn push(&mut self, bytes: &[u8]) {
        let skipped = self.skip_bytes.min(bytes.len());
        self.skip_bytes -= skipped;
        self.buffer.extend_from_slice(&bytes[skipped..]);
    }

    /// The next whole message, `None` until more bytes arrive.
    ///
    /// # Errors
    /// The stream is not a zap conversation; asking again gives the same error.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, ZapError> {
        let frame = self.take_frame()?;
        if frame.is_none() {
            self.reclaim();
        }
        Ok(frame)
    }

    /// Gives back the memory of what was consumed. There may be a decoder for each of 30 000 daemons, so that
    /// an idle one should not hold the space of the longest message that it has ever seen.
    fn reclaim(&mut self) {
        // Only once it is the larger part, so that each byte moves at most once.
        if self.start >= self.buffer.len() - self.start {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        if self.buffer.is_empty() {
            self.buffer.shrink_to(IDLE_BYTES);
        }
    }

    fn take_frame(&mut self) -> Result<Option<Frame>, ZapError> {
        loop {
            let available = &self.buffer[self.start..];
            let mut fields = Fields::new(available);
            let (Some(message_type), Some(_reserved), Some(length_bytes)) =
                (fields.u16(), fields.u16(), fields.length())
            else {
                return Ok(None);
            };
            if REMOTE_MEMORY.contains(&message_type) {
                check_length(message_type, length_bytes, HEADER_BYTES)?;
                let held = length_bytes.min(available.len());
                self.start += held;
                self.skip_bytes = length_bytes - held;
                continue;
            }
            let least = match message_type {
                CONNECT => CONNECT_HEADER_BYTES,
                SENDRECV | ACCEPTED | REJECTED | ACK_ACCEPTED => DATA_HEADER_BYTES,
                other => return Err(ZapError::UnknownType(other)),
            };
            check_length(message_type, length_bytes, least)?;
            let Some(bytes) = available.get(..length_bytes) else { return Ok(None) };
            let frame = Frame::decode(message_type, bytes)?;
            self.start += length_bytes;
            return Ok(Some(frame));
        }
    }
}

/// Refuses a length that is too short for its type, or longer than a peer may send.
fn check_length(message_type: u16, length_bytes: usize, least: usize) -> Result<(), ZapError> {
    let unlimited = matches!(message_type, READ_RESP | WRITE_REQ);
    if length_bytes < least || (length_bytes > MAX_FRAME_BYTES && !unlimited) {
        return Err(ZapError::Length { message_type, length_bytes });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode_all(decoder: &mut FrameDecoder) -> Vec<Frame> {
        std::iter::from_fn(|| decoder.next_frame().unwrap()).collect()
    }

    fn header(message_type: u16, length_bytes: u32) -> Vec<u8> {
        let mut bytes = message_type.to_be_bytes().to_vec();
        bytes.extend([0; 2]);
        bytes.extend(length_bytes.to_be_bytes());
        bytes.extend([0; 12]);
        bytes
    }

    #[test]
    fn messages_about_remote_memory_are_passed_over_even_when_larger_than_the_limit() {
        let mut stream = header(READ_RESP, 3_000_000);
        stream.resize(3_000_000, 7);
        stream.extend(header(3, 40));
        stream.extend([1; 20]);
        let wanted = Frame::new(9, FrameBody::SendRecv(b"hello".to_vec()));
        wanted.encode_into(&mut stream);

        let mut decoder = FrameDecoder::new();
        let mut frames = Vec::new();
        for piece in stream.chunks(70_000) {
            decoder.push(piece);
            frames.extend(decode_all(&mut decoder));
            assert!(decoder.buffer.len() <= 2 * 70_000, "holds {} bytes of a skipped message", decoder.buffer.len());
        }
        assert_eq!(frames, [wanted]);
    }

    #[test]
    fn memory_is_given_back_when_messages_are_consumed() {
        let mut decoder = FrameDecoder::new();
        let small = Frame::new(1, FrameBody::SendRecv(vec![0; 100])).encode();
        let large = Frame::new(1, FrameBody::SendRecv(vec![0; MAX_PAYLOAD_BYTES])).encode();
        decoder.push(&large);
        assert_eq!(decode_all(&mut decoder).len(), 1);
        assert!(decoder.buffer.capacity() <= IDLE_BYTES);
        for _ in 0..1000 {
            // Always a message and a half, so that the buffer is never empty.
            decoder.push(&small[..50]);
            decode_all(&mut decoder);
            decoder.push(&small[50..]);
            decoder.push(&small[..70]);
            decode_all(&mut decoder);
            decoder.push(&small[70..]);
        }
        assert!(decoder.buffer.len() <= 4 * small.len(), "{} bytes", decoder.buffer.len());
    }

    #[test]
    fn lengths_outside_the_limits_are_refused_from_the_header_alone() {
        for (message_type, length_bytes) in
            [(SENDRECV, 23), (SENDRECV, 1_048_577), (CONNECT, 35), (3, 19), (4, 2_000_000)]
        {
            let mut decoder = FrameDecoder::new();
            decoder.push(&header(message_type, length_bytes));
            let length_bytes = length_bytes as usize;
            assert_eq!(decoder.next_frame(), Err(ZapError::Length { message_type, length_bytes }));
            assert_eq!(decoder.next_frame(), Err(ZapError::Length { message_type, length_bytes }), "asked again");
        }
        let mut decoder = FrameDecoder::new();
        decoder.push(&header(11, 24));
        assert_eq!(decoder.next_frame(), Err(ZapError::UnknownType(11)));
    }

    #[test]
    fn a_data_length_that_disagrees_with_the_message_is_refused() {
        let mut bytes = Frame::new(1, FrameBody::SendRecv(vec![0; 10])).encode();
        bytes[23] = 9;
        let mut decoder = FrameDecoder::new();
        decoder.push(&bytes);
        assert_eq!(decoder.next_frame(), Err(ZapError::DataLength { length_bytes: 34, data_bytes: 9 }));
    }

    fn any_frame() -> impl Strategy<Value = Frame> {
        let data = proptest::collection::vec(any::<u8>(), 0..200);
        let body = prop_oneof![
            data.clone().prop_map(FrameBody::Connect),
            data.clone().prop_map(FrameBody::Accepted),
            data.clone().prop_map(FrameBody::Rejected),
            Just(FrameBody::AckAccepted),
            data.prop_map(FrameBody::SendRecv),
        ];
        (any::<u32>(), any::<u64>(), body).prop_map(|(xid, ctxt, body)| Frame { xid, ctxt, body })
    }

    proptest! {
        #[test]
        fn frames_survive_any_cutting_of_the_stream(
            frames in proptest::collection::vec(any_frame(), 0..8),
            piece in 1_usize..300,
        ) {
            let mut stream = Vec::new();
            for frame in &frames {
                frame.encode_into(&mut stream);
            }
            let mut decoder = FrameDecoder::new();
            let mut decoded = Vec::new();
            for bytes in stream.chunks(piece) {
                decoder.push(bytes);
                decoded.extend(decode_all(&mut decoder));
            }
            prop_assert_eq!(decoded, frames);
        }

        #[test]
        fn random_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0_u8..12) {
            let mut decoder = FrameDecoder::new();
            decoder.push(&[0, kind, 0, 0, 0, 0, 0]);
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next_frame() {}
        }
    }
}

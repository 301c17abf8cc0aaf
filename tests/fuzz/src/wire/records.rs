//! Records, the messages that they make up, requests and responses.

use maestro::ldmsd::codec::record::MAX_RECORD_BYTES;
use maestro::ldmsd::codec::{RecordAssembler, Request, Response};
use maestro::ldmsd::{Numbering, status};

/// The most that an assembler holds here.
const LIMIT_BYTES: usize = 1 << 16;

/// Reads the bytes as records, each behind its length in two bytes.
pub fn run(data: &[u8]) {
    let mut assembler = RecordAssembler::new(MAX_RECORD_BYTES, LIMIT_BYTES);
    let mut rest = data;
    while let Some((length, behind)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length)).min(behind.len());
        let (record, behind) = behind.split_at(length);
        rest = behind;
        match assembler.push(record) {
            Ok(None) => {}
            Ok(Some(message)) => {
                if let Ok(response) = Response::decode(&message) {
                    assert_eq!(
                        response.is_ok(),
                        response.code == 0 && !response.text().starts_with("LDMSD received a bad request")
                    );
                    let _ = (response.max_record_bytes(), response.config_counter());
                    let _ = response.json::<Vec<status::ProducerStatus>>();
                    assert_eq!(Response::decode(&response.encode()), Ok(response));
                }
                if let Ok(request) = Request::decode(&message) {
                    for numbering in [Numbering::V44, Numbering::V45] {
                        let again = request
                            .to_command(numbering)
                            .map(|command| Request::from_command(&command, numbering, request.msg_no));
                        assert!(again.is_none_or(|again| again.is_ok()));
                    }
                    assert_eq!(Request::decode(&request.encode()), Ok(request));
                }
            }
            Err(error) => {
                // What a daemon answers to it can be sent.
                let answer = error.answer().map(|answer| Response::decode(&answer.encode()) == Ok(answer));
                assert_ne!(answer, Some(false));
            }
        }
    }
}

//! Messages of the LDMS transport and connect messages: what is read is written as something that reads as the same.

use maestro::ldmsd::codec::{ConnectMessage, LdmsMessage};

/// Reads the bytes as one message.
pub fn run(data: &[u8]) {
    if let Ok(message) = LdmsMessage::decode(data) {
        assert_eq!(LdmsMessage::decode(&message.encode()), Ok(message));
    }
    for plugin in ["none", "naive", "ovis", "munge", ""] {
        if let Ok(message) = ConnectMessage::decode(data, plugin) {
            assert_eq!(ConnectMessage::decode(&message.encode(), plugin), Ok(message));
        }
    }
}

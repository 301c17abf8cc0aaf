//! What is done with any bytes that come: whatever they are, the code under test must not panic, hang or eat memory, and
//! what it takes must be what it says.
//!
//! One subject a file, each with a function `run`.

pub mod etcd_yaml;
pub mod hostlist;
pub mod interval;
pub mod ldms_yaml;
pub mod tree;
pub mod wire;

/// The bytes as text; what is no UTF-8 is replaced.
fn text_of(data: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(data)
}

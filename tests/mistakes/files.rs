//! Files that are something else, or lack everything.

use maestro::spec::decode;

use crate::said_of;

#[test]
fn a_text_that_is_no_configuration_is_told_once() {
    for (text, message) in [
        ("", "1:1: error: the file is empty"),
        ("# nothing yet\n", "2:1: error: the file is empty"),
        ("---\n", "2:1: error: the file is empty"),
        ("hello", "1:1: error: an LDMS configuration must be a mapping"),
        ("- a", "1:1: error: an LDMS configuration must be a mapping"),
        ("aggregators: []", "1:1: error: an LDMS configuration needs `daemons`"),
        ("daemons: [ sampler ]", "1:12: error: a daemon entry must be a mapping"),
        ("members: [ { host: a } ]", "1:1: error: an LDMS configuration needs `daemons`"),
    ] {
        let printed = said_of(text);
        let errors: Vec<&String> = printed.iter().filter(|told| told.contains(": error: ")).collect();
        assert_eq!(errors.len(), 1, "{text}: {printed:?}");
        assert!(errors[0].starts_with(&format!("ldms.yaml:{message}")), "{text}: {}", errors[0]);
    }
}

#[test]
fn sections_may_be_empty() {
    let daemons = "daemons:\n  - { names: a, hosts: b, endpoints: [ { names: c, ports: 1 } ] }\n";
    assert_eq!(said_of(daemons), Vec::<String>::new());
    for nothing in ["", " ~", " []", " {}"] {
        let sections =
            ["aggregators", "samplers", "plugins", "stores"].map(|name| format!("{name}:{nothing}\n")).concat();
        let printed = said_of(&format!("{daemons}{sections}"));
        if nothing == " {}" {
            // An entry of a list without its keys.
            assert_eq!(printed.len(), 2, "{printed:?}");
        } else {
            assert_eq!(printed, Vec::<String>::new(), "{nothing}");
        }
    }
}

#[test]
fn bytes_that_are_no_text_are_told_with_their_place() {
    let told = decode("ldms.yaml", b"daemons:\n  - names: knoten-\xfcber\n".to_vec()).unwrap_err().to_string();
    assert!(told.starts_with("ldms.yaml:2:19: error: this byte is no UTF-8 text\n help: convert"), "{told}");
    let told = decode("maestro", b"\x7fELF\x02\x01\x01\0\0\0".to_vec()).unwrap_err().to_string();
    assert!(told.starts_with("maestro:1:8: error: this is no text, but a binary file"), "{told}");
}

//! etcd.yaml: where the configuration is kept, and which maestro instances share the work.

use std::fmt;

use super::diagnostic::{Diagnostic, Report, nearest};
use super::fields::{Fields, items_of};
use super::yaml::{self, Entry, Node, Value};

/// Where etcd is, how to speak to it, and who the maestro instances are.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct EtcdConfig {
    /// The name of the cluster, under which its configuration is kept.
    pub cluster: Option<String>,
    /// The members of etcd; at least one.
    pub members: Vec<Member>,
    /// The instances of maestro that share the work; none for a single one.
    pub maestro_members: Vec<Member>,
    /// The path of the certificate of the authority that signs etcd's certificates.
    pub ca: Option<String>,
    /// The path of our own certificate.
    pub cert: Option<String>,
    /// The path of the key of our own certificate.
    pub key: Option<String>,
    /// The user of etcd.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<String>,
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Member {
    /// A host name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// As `host:port`, an IPv6 address in brackets.
impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Without the password.
impl fmt::Debug for EtcdConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdConfig")
            .field("cluster", &self.cluster)
            .field("members", &self.members)
            .field("maestro_members", &self.maestro_members)
            .field("ca", &self.ca)
            .field("cert", &self.cert)
            .field("key", &self.key)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "(hidden)"))
            .finish()
    }
}

/// Reads etcd.yaml. The configuration is there if no diagnostic is an error.
///
/// `members` and `maestro_members` may be repeated, each time with further members.
#[must_use]
pub fn read(file_name: &str, text: &str) -> (Option<EtcdConfig>, Vec<Diagnostic>) {
    let report = Report::secretive(file_name, text, harmless);
    let config = yaml::parse(text, &report).and_then(|root| read_document(&root, &report));
    let config = config.filter(|_| !report.has_errors());
    (config, report.into_diagnostics())
}

fn read_document(root: &Node, report: &Report<'_>) -> Option<EtcdConfig> {
    let joined = join_members(root);
    let fields = Fields::of(&joined, "an etcd configuration", report)?;
    let members = fields.require("members").map_or(&[][..], items_of);
    let either = |key, other| fields.text_or_former(key, other).map(str::to_owned);
    let config = EtcdConfig {
        cluster: fields.owned_text("cluster"),
        members: read_members(members, 2379, report),
        maestro_members: read_members(fields.items("maestro_members"), 4411, report),
        ca: either("ca", "ca_cert"),
        cert: either("cert", "cert_cert"),
        key: either("key", "cert_key"),
        user: fields.owned_text("user"),
        password: fields.owned_text("password"),
    };
    fields.refuse_others();
    if config.members.is_empty() && !report.has_errors() {
        let help = "add `- host: …` for each member of etcd";
        report.error(fields.position_of("members"), "`members` names no member of etcd", help);
    }
    for (one, other, set) in [
        ("cert", "key", (config.cert.is_some(), config.key.is_some())),
        ("user", "password", (config.user.is_some(), config.password.is_some())),
    ] {
        if set.0 != set.1 {
            let message = format!("`{one}` and `{other}` belong together");
            report.error(root.position, message, format!("write both `{one}` and `{other}`, or neither"));
        }
    }
    if config.cert.is_some() && config.key.is_some() && config.ca.is_none() {
        let message = "`cert` and `key` are for TLS, which needs `ca`";
        report.error(root.position, message, "write `ca`, the file of the authority that signs etcd's certificates");
    }
    Some(config)
}

/// The mapping with the values of a repeated `members` or `maestro_members` in one list.
fn join_members(root: &Node) -> Node {
    let Value::Map(entries) = root.value() else { return root.clone() };
    let mut joined: Vec<Entry> = Vec::new();
    for entry in entries {
        let earlier = joined
            .iter_mut()
            .find(|other| other.key == entry.key && ["members", "maestro_members"].contains(&&*entry.key));
        match earlier {
            Some(earlier) => {
                let items = [items_of(&earlier.value), items_of(&entry.value)].concat();
                earlier.value = Node::new(earlier.value.position, Value::List(items));
            }
            None => joined.push(entry.clone()),
        }
    }
    Node::new(root.position, Value::Map(joined))
}

fn read_members(nodes: &[Node], default_port: u16, report: &Report<'_>) -> Vec<Member> {
    let mut members: Vec<Member> = Vec::new();
    for node in nodes {
        let Some(fields) = Fields::of(node, "a member", report) else { continue };
        let host = fields.require("host").and_then(|_| fields.owned_text("host"));
        let port = match fields.get("port") {
            Some(_) => fields.port("port"),
            None => Some(default_port),
        };
        fields.refuse_others();
        let (Some(host), Some(port)) = (host, port) else { continue };
        let member = Member { host, port };
        if members.contains(&member) {
            let message = format!("{}:{} is listed twice", member.host, member.port);
            report.error(fields.position, message, "list each member once");
        } else {
            members.push(member);
        }
    }
    members
}

/// The part of a line up to the first key whose value may be a secret: any key that is not near a known harmless one.
/// Nothing of a line without a key, which may belong to the key above it.
fn harmless(line: &str) -> &str {
    let mut shown = 0;
    for (colon, _) in line.match_indices(':') {
        let before = line[..colon].trim_end();
        let word_begin = before.rfind(|c: char| !c.is_alphanumeric() && c != '_');
        let word_begin = word_begin.map_or(0, |at| at + before[at..].chars().next().map_or(0, char::len_utf8));
        let word = line[word_begin..colon].trim_end().trim_matches(['"', '\'']);
        if HARMLESS.contains(&word) || nearest(word, HARMLESS).is_some() {
            shown = line.len();
        } else if !is_number(word) || shown == 0 {
            return line[..word_begin].trim_end();
        }
    }
    &line[..shown]
}

/// The keys whose values may be shown.
const HARMLESS: [&str; 11] =
    ["cluster", "members", "maestro_members", "host", "port", "ca", "ca_cert", "cert", "cert_key", "key", "user"];

/// Part of an address, such as `::1` or `[fe80::2]:2379`.
fn is_number(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_error(text: &str) -> String {
        let (config, diagnostics) = read("etcd.yaml", text);
        assert_eq!(config, None, "{text}");
        diagnostics[0].to_string()
    }

    #[test]
    fn reads_the_users_example_with_its_repeated_members() {
        let text = include_str!("../../tests/fixtures/user-example/etcd.yaml");
        let (config, diagnostics) = read("etcd.yaml", text);
        assert_eq!(diagnostics, []);
        let config = config.unwrap();
        assert_eq!(config.cluster.as_deref(), Some("voltrino"));
        let hosts: Vec<(&str, u16)> = config.members.iter().map(|member| (member.host.as_str(), member.port)).collect();
        assert_eq!(hosts, [("10.128.0.7", 2379), ("10.128.0.8", 2379), ("10.128.0.9", 2379)]);
        assert_eq!(config.maestro_members.len(), 3);
        assert_eq!(config.maestro_members[0].port, 4411);
    }

    #[test]
    fn reads_one_member_and_default_ports() {
        let (config, _) = read("f", "members: { host: a }\nmaestro_members: [ { host: b } ]");
        let config = config.unwrap();
        assert_eq!(config.members, [Member { host: "a".into(), port: 2379 }]);
        assert_eq!(config.maestro_members, [Member { host: "b".into(), port: 4411 }]);
    }

    #[test]
    fn never_shows_the_password() {
        let text = "members: [ { host: a } ]\nuser: root\npassword: hunter2\n";
        let (config, _) = read("f", text);
        assert!(!format!("{config:?}").contains("hunter2"));
        let repeated = first_error(&format!("{text}password: hunter3\n"));
        assert!(repeated.contains("key `password` is repeated"), "{repeated}");
        assert!(!repeated.contains("hunter"), "{repeated}");
    }

    #[test]
    fn shows_no_value_that_may_be_a_secret() {
        for line in [
            "pasword: hunter2",
            "password hunter2",
            "password:\thunter2",
            "password: *hunter2",
            "  hunter2",
            "  'hunter2",
            "secret: hunter2: x",
            "members: [ { host: a, pwd: hunter2 } ]",
            "\u{fffd}:hunter2",
        ] {
            let (_, diagnostics) = read("f", &format!("user: root\n{line}\npassword: hunter2\npassword: hunter2\n"));
            assert!(!diagnostics.is_empty(), "{line}");
            for diagnostic in diagnostics {
                assert!(!diagnostic.to_string().contains("hunter2"), "{line}: {diagnostic}");
            }
        }
    }

    #[test]
    fn a_line_without_secrets_is_shown() {
        assert!(first_error("members:\n  - host: ::1\n    prot: 2379\n").contains("3 |     prot: 2379"));
    }

    #[test]
    fn says_what_is_missing_or_wrong() {
        assert!(first_error("cluster: a").contains("needs `members`"));
        assert!(first_error("members: []").contains("`members` names no member"));
        assert!(first_error("members: [ { port: 1 } ]").contains("a member needs `host`"));
        assert!(first_error("members: [ { host: a }, { host: a } ]").contains("a:2379 is listed twice"));
        assert!(first_error("members: [ { host: a } ]\ncert: c").contains("`cert` and `key` belong together"));
        assert!(first_error("members: [ { host: a } ]\ncert: c\nkey: k").contains("which needs `ca`"));
        assert!(first_error("members: [ { host: a } ]\ncluster: a\ncluster: b").contains("key `cluster` is repeated"));
    }
}

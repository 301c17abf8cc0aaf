//! What an operator may try where a connection with or without TLS fails for a reason that does not tell.

/// How the members are talked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tls {
    /// In the clear.
    Off,
    /// With TLS, without a certificate of our own.
    Anonymous,
    /// With TLS and a certificate of our own.
    WithIdentity,
}

/// Advice on a failure whose reason is in the words of the TLS or HTTP library; none where the reason tells enough, as
/// `connection refused` does. The keys are those of etcd.yaml.
pub(super) fn on(tls: Tls, reason: &str) -> Option<&'static str> {
    let contains = |texts: &[&str]| texts.iter().any(|text| reason.contains(text));
    // How soon a server hangs up on what it does not understand is a matter of chance.
    let hung_up = contains(&["broken pipe", "connection closed", "connection reset", "frame with invalid size"]);
    match tls {
        Tls::Off if hung_up => Some("if it wants TLS, say `ca` in etcd.yaml"),
        Tls::Off => None,
        _ if contains(&["UnknownIssuer", "BadSignature"]) => Some("no authority in the file `ca` vouches for it"),
        _ if contains(&["NotValidForName"]) => Some("say its `host` as its certificate does"),
        _ if contains(&["handshake eof", "InvalidContentType"]) => {
            Some("if it does not talk TLS, say no `ca` in etcd.yaml")
        }
        Tls::Anonymous if contains(&["fatal alert"]) => {
            Some("if it wants a certificate of yours, say `cert` and `key` in etcd.yaml")
        }
        Tls::Anonymous if hung_up => Some(
            "if it wants a certificate of yours, say `cert` and `key` in etcd.yaml; if it does not talk TLS, say no `ca`",
        ),
        Tls::WithIdentity if contains(&["fatal alert"]) || hung_up => {
            Some("it may not accept the certificate of the file `cert`")
        }
        Tls::Anonymous | Tls::WithIdentity => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_that_tells_enough_gets_no_advice() {
        for tls in [Tls::Off, Tls::Anonymous, Tls::WithIdentity] {
            for reason in ["connection refused", "no answer within 2 s", "no leader"] {
                assert_eq!(on(tls, reason), None, "{reason}");
            }
        }
    }
}

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
    match tls {
        Tls::Off if contains(&["broken pipe", "connection closed", "connection reset", "frame with invalid size"]) => {
            Some("if it wants TLS, say `ca` in etcd.yaml")
        }
        _ if contains(&["UnknownIssuer", "BadSignature"]) => Some("no authority in the file `ca` vouches for it"),
        _ if contains(&["NotValidForName"]) => Some("say its `host` as its certificate does"),
        Tls::Anonymous | Tls::WithIdentity if contains(&["handshake eof", "InvalidContentType"]) => {
            Some("it may not talk TLS: then say no `ca` in etcd.yaml")
        }
        Tls::Anonymous
            if contains(&["broken pipe", "connection closed", "connection reset", "CertificateRequired"]) =>
        {
            Some("if it wants a certificate of yours, say `cert` and `key` in etcd.yaml")
        }
        Tls::WithIdentity if contains(&["broken pipe", "connection closed", "connection reset", "alert"]) => {
            Some("it may not accept the certificate of the file `cert`")
        }
        _ => None,
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

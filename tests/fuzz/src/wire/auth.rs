//! Messages of the authentication plugins, and secret files.

use maestro::ldmsd::auth::{AuthMethod, Credentials, Munge, Role, Secret};

/// Reads the bytes as a secret file, and behind the first as a message of the peer's, for each plugin and each role.
pub fn run(data: &[u8]) {
    if let Ok(secret) = Secret::parse(data) {
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }
    let Some((cut, message)) = data.split_first() else { return };
    let (first, second) = message.split_at(usize::from(*cut).min(message.len()));
    let Ok(secret) = Secret::parse(b"secretword=known-to-nobody-else") else { return };
    let naive = AuthMethod::Naive(Credentials { uid: 1, gid: 2 });
    for method in [AuthMethod::None, naive, AuthMethod::Ovis(secret), AuthMethod::Munge(Munge::default())] {
        for role in [Role::Client, Role::Server] {
            let mut handshake = method.handshake(role, 3_141_592_653_589_793_238);
            let _ = (handshake.receive(first), handshake.receive(second));
            match method {
                AuthMethod::None => assert!(handshake.is_content()),
                AuthMethod::Naive(_) => {}
                AuthMethod::Ovis(_) | AuthMethod::Munge(_) => assert!(!handshake.is_content(), "{role:?}"),
            }
        }
    }
}

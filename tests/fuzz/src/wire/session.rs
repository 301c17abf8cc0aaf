//! A whole connection: whatever the daemon sends, and however it is cut, the client makes the same of it.

use std::time::SystemTime;

use maestro::ldmsd::auth::{Auth, AuthMethod, Credentials, Munge, Secret};
use maestro::ldmsd::session::{ClientSession, Event, SessionError, SessionOptions};

/// Reads the bytes behind the first two as what a daemon sends; the first says how both authenticate, the second how the
/// stream is cut.
pub fn run(data: &[u8]) {
    let [plugin, piece, stream @ ..] = data else { return };
    let whole = converse(*plugin, std::iter::once(stream));
    assert_eq!(converse(*plugin, stream.chunks(usize::from(*piece) + 1)), whole);
    // Nobody makes a client say much more than was said to it.
    assert!(whole.1.len() <= 1_000 + 3 * stream.len(), "{} bytes", whole.1.len());
    // The secret is not in the stream, so that nobody has proved to know it.
    let connected = whole.0.iter().any(|event| matches!(event, Event::Connected(_)));
    assert!(!connected || !matches!(method(*plugin), AuthMethod::Ovis(_)));
}

fn method(number: u8) -> AuthMethod {
    match number % 4 {
        0 => AuthMethod::None,
        1 => AuthMethod::Naive(Credentials { uid: 0, gid: 0 }),
        2 => Secret::parse(b"secretword=known-to-nobody-else").map_or(AuthMethod::None, AuthMethod::Ovis),
        _ => AuthMethod::Munge(Munge::default()),
    }
}

fn converse<'a>(plugin: u8, pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Event>, Vec<u8>, Option<SessionError>) {
    let method = method(plugin);
    let credential = matches!(method, AuthMethod::Munge(_)).then(|| b"MUNGE:ours:\0".to_vec().into());
    let auth = Auth { domain: "d".into(), method };
    let mut session = ClientSession::new(SessionOptions {
        auth,
        pid: 1,
        rail_gn: 2,
        challenge: 3_141_592_653_589_793_238,
        credential,
    });
    session.directory();
    let mut output = session.take_output();
    let (mut events, mut error) = (Vec::new(), None);
    for piece in pieces {
        let mut outcome = session.receive(piece, SystemTime::UNIX_EPOCH);
        if session.unchecked_credential().is_some() {
            // munged vouches for everybody.
            outcome = session.credential_checked(Ok(Credentials { uid: 7, gid: 7 }), SystemTime::UNIX_EPOCH);
        }
        if let Err(failure) = outcome {
            error = Some(failure);
            break;
        }
        events.extend(std::iter::from_fn(|| session.next_event()));
        output.extend(session.take_output());
    }
    events.extend(std::iter::from_fn(|| session.next_event()));
    output.extend(session.take_output());
    (events, output, error)
}

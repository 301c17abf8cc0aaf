//! Authentication by MUNGE, over loopback, with a munged of the test's own. Skipped where there is none.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on shall fail")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use maestro::ldmsd::auth::{Auth, AuthMethod, Credentials, Role};
use maestro::ldmsd::codec::transport::Rail;
use maestro::ldmsd::codec::{ConnectMessage, Frame, FrameBody, FrameDecoder, LdmsMessage};
use maestro::ldmsd::{Client, ClientError, ConnectOptions};
use support::munged::Munged;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn method(socket: &Path) -> AuthMethod {
    let options = BTreeMap::from([("socket".to_owned(), socket.display().to_string())]);
    AuthMethod::from_options("munge", &options).expect("whoever has munged has libmunge")
}

/// A daemon that authenticates one client by munge, and tells who it is.
async fn serve_one(listener: TcpListener, method: AuthMethod) -> Result<Credentials, String> {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut frames = FrameDecoder::new();
    assert!(matches!(next_frame(&mut stream, &mut frames).await, Some(FrameBody::Connect(_))));
    let hello = ConnectMessage { auth_plugin: "munge".into(), rail: Some(Rail::single(77, 1)) };
    send(&mut stream, FrameBody::Accepted(hello.encode())).await;
    assert_eq!(next_frame(&mut stream, &mut frames).await, Some(FrameBody::AckAccepted));
    let mut handshake = method.handshake(Role::Server, 0);
    handshake.introduce_with(method.credential(stream.local_addr().unwrap()).unwrap().unwrap());
    let credential = handshake.start().unwrap();
    send(&mut stream, FrameBody::SendRecv(LdmsMessage::Auth(credential).encode())).await;
    let Some(FrameBody::SendRecv(data)) = next_frame(&mut stream, &mut frames).await else {
        return Err("the client left".into());
    };
    let LdmsMessage::Auth(message) = LdmsMessage::decode(&data).unwrap() else { panic!("no credential") };
    handshake.receive(&message).unwrap();
    assert!(!handshake.is_content(), "content with a credential that nobody has checked");
    let peer = method.check(handshake.unchecked_credential().unwrap()).map_err(|error| error.to_string());
    // Until the client has gone, so that it is not the end of the connection that it sees.
    let _ = stream.read(&mut [0; 16]).await;
    handshake.checked(peer?);
    assert!(handshake.is_content());
    Ok(handshake.peer())
}

async fn next_frame(stream: &mut TcpStream, frames: &mut FrameDecoder) -> Option<FrameBody> {
    loop {
        if let Some(frame) = frames.next_frame().unwrap() {
            return Some(frame.body);
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => frames.push(&buffer[..count]),
        }
    }
}

async fn send(stream: &mut TcpStream, body: FrameBody) {
    stream.write_all(&Frame::new(1, body).encode()).await.unwrap();
}

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn options(port: u16, method: AuthMethod) -> ConnectOptions {
    let auth = Auth { domain: "cluster".into(), method };
    ConnectOptions { connect_timeout: Duration::from_secs(20), ..ConnectOptions::new("127.0.0.1", port, auth) }
}

#[tokio::test]
async fn both_sides_know_each_other_by_munge() {
    let Some(munged) = Munged::start().await else { return };
    let (listener, port) = listen().await;
    let served = tokio::spawn(serve_one(listener, method(&munged.socket())));
    let client = Client::connect(options(port, method(&munged.socket()))).await.unwrap();
    assert_eq!(client.peer_pid(), Some(77));
    drop(client);
    let peer = served.await.unwrap().unwrap();
    let (own_uid, own_gid) = own_ids();
    assert_eq!(peer, Credentials { uid: own_uid, gid: own_gid });
}

/// A process's files belong to its user.
fn own_ids() -> (u32, u32) {
    use std::os::unix::fs::MetadataExt;
    let file = tempfile::NamedTempFile::new().unwrap();
    let metadata = file.as_file().metadata().unwrap();
    (metadata.uid(), metadata.gid())
}

#[tokio::test]
async fn a_daemon_with_another_key_is_found_out() {
    let (Some(ours), Some(theirs)) = (Munged::start().await, Munged::start().await) else { return };
    let (listener, port) = listen().await;
    let served = tokio::spawn(serve_one(listener, method(&theirs.socket())));
    let error = Client::connect(options(port, method(&ours.socket()))).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ClientError::Handshake(_)), "{text}");
    assert!(text.starts_with("authentication domain cluster: munged does not accept the credential: "), "{text}");
    assert_eq!(served.await.unwrap().unwrap_err().split(':').next(), Some("munged does not accept the credential"));
}

#[tokio::test]
async fn without_munged_the_daemon_is_not_even_asked() {
    let Some(munged) = Munged::start().await else { return };
    let nowhere = munged.socket().with_file_name("nobody-listens-here");
    let (listener, port) = listen().await;
    let text = Client::connect(options(port, method(&nowhere))).await.unwrap_err().to_string();
    assert!(text.starts_with("authentication domain cluster: munged does not help: "), "{text}");
    assert!(text.contains("nobody-listens-here") && text.ends_with("Is it running on this host?"), "{text}");
    let (mut stream, _) = listener.accept().await.unwrap();
    assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 0, "the daemon was spoken to");
}

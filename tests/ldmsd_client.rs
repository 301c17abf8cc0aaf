//! The client against a daemon that does what the test wants, over loopback.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall fail")]

use std::net::SocketAddr;
use std::time::Duration;

use maestro::ldmsd::auth::{Auth, AuthMethod};
use maestro::ldmsd::client::ConnectPhase;
use maestro::ldmsd::codec::record::MAX_RECORD_BYTES;
use maestro::ldmsd::codec::transport::{Directory, Rail};
use maestro::ldmsd::codec::{
    ConnectMessage, Frame, FrameBody, FrameDecoder, LdmsMessage, RecordAssembler, WireAttribute,
};
use maestro::ldmsd::session::SessionError;
use maestro::ldmsd::{
    Attribute, Client, ClientError, CloseReason, Command, ConnectOptions, Hazard, Numbering, Request, Response, Verb,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

/// Long enough for anything that should happen at all.
const SOON: Duration = Duration::from_secs(10);

/// The daemon's end of a connection.
struct Daemon {
    stream: TcpStream,
    frames: FrameDecoder,
    records: RecordAssembler,
}

impl Daemon {
    async fn accept(listener: &TcpListener, rail: Option<Rail>) -> Daemon {
        let (stream, _) = listener.accept().await.unwrap();
        let records = RecordAssembler::new(MAX_RECORD_BYTES, 1 << 20);
        let mut daemon = Daemon { stream, frames: FrameDecoder::new(), records };
        assert!(matches!(daemon.frame().await, Some(FrameBody::Connect(_))));
        let message = ConnectMessage { auth_plugin: "none".into(), rail };
        daemon.send(FrameBody::Accepted(message.encode())).await;
        assert_eq!(daemon.frame().await, Some(FrameBody::AckAccepted));
        daemon
    }

    /// The next message, `None` when the client has closed the connection.
    async fn frame(&mut self) -> Option<FrameBody> {
        loop {
            if let Some(frame) = self.frames.next_frame().unwrap() {
                return Some(frame.body);
            }
            let mut buffer = [0; 4096];
            match timeout(SOON, self.stream.read(&mut buffer)).await.unwrap() {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.frames.push(&buffer[..count]),
            }
        }
    }

    async fn message(&mut self) -> LdmsMessage {
        match self.frame().await {
            Some(FrameBody::SendRecv(data)) => LdmsMessage::decode(&data).unwrap(),
            other => panic!("the client sent {other:?}"),
        }
    }

    async fn request(&mut self) -> Request {
        let LdmsMessage::Send(record) = self.message().await else { panic!("no request") };
        Request::decode(&self.records.push(&record).unwrap().unwrap()).unwrap()
    }

    async fn send(&mut self, body: FrameBody) {
        self.stream.write_all(&Frame::new(1, body).encode()).await.unwrap();
    }

    async fn answer(&mut self, request: &Request, text: &str) {
        let response = Response { msg_no: request.msg_no, code: 0, attributes: vec![WireAttribute::text(text)] };
        for record in response.encode().records(MAX_RECORD_BYTES) {
            self.send(FrameBody::SendRecv(LdmsMessage::Send(record).encode())).await;
        }
    }
}

async fn listen() -> (TcpListener, ConnectOptions) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let auth = Auth { domain: "open".into(), method: AuthMethod::None };
    let options =
        ConnectOptions { connect_timeout: SOON, request_timeout: SOON, ..ConnectOptions::new("127.0.0.1", port, auth) };
    (listener, options)
}

async fn connected() -> (Client, Daemon) {
    let (listener, options) = listen().await;
    let (client, daemon) = tokio::join!(Client::connect(options), Daemon::accept(&listener, Some(Rail::single(77, 1))));
    (client.unwrap(), daemon)
}

fn greeting(name: impl ToString) -> Command {
    Command::new(Verb::Greeting).with(Attribute::Name, name)
}

/// Answers every greeting with its name.
async fn echo(daemon: &mut Daemon, count: usize) {
    for _ in 0..count {
        let request = daemon.request().await;
        let name = request.get(Attribute::Name, Numbering::V45).unwrap().into_owned();
        daemon.answer(&request, &name).await;
    }
}

#[tokio::test]
async fn the_peer_is_known_after_connecting() {
    let (client, _daemon) = connected().await;
    assert_eq!((client.numbering(), client.peer_pid()), (Numbering::V45, Some(77)));

    let (listener, options) = listen().await;
    let (client, _daemon) = tokio::join!(Client::connect(options), Daemon::accept(&listener, None));
    let client = client.unwrap();
    assert_eq!((client.numbering(), client.peer_pid()), (Numbering::V44, None));
}

#[tokio::test]
async fn answers_come_in_the_order_of_the_commands_however_the_daemon_answers() {
    let (client, mut daemon) = connected().await;
    let serve = async {
        // Two at a time, the second first.
        for _ in 0..50 {
            let (first, second) = (daemon.request().await, daemon.request().await);
            for request in [second, first] {
                let name = request.get(Attribute::Name, Numbering::V45).unwrap().into_owned();
                daemon.answer(&request, &name).await;
            }
        }
    };
    let commands = (0..100).map(greeting).collect();
    let (responses, ()) = tokio::join!(client.request_all(commands, SOON), serve);
    let texts: Vec<String> = responses.unwrap().iter().map(|response| response.text().into_owned()).collect();
    assert_eq!(texts, (0..100).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn requests_in_flight_are_bounded_and_all_are_answered() {
    let (client, mut daemon) = connected().await;
    let serve = async {
        // Nothing is answered until the client stops sending by itself.
        let mut waiting = Vec::new();
        while let Ok(request) = timeout(Duration::from_millis(300), daemon.request()).await {
            waiting.push(request);
        }
        let in_flight = waiting.len();
        for request in &waiting {
            daemon.answer(request, "").await;
        }
        echo(&mut daemon, 3000 - in_flight).await;
        in_flight
    };
    let commands = (0..3000).map(greeting).collect();
    let (responses, in_flight) = tokio::join!(client.request_all(commands, SOON), serve);
    assert_eq!(responses.unwrap().len(), 3000);
    assert!((100..1000).contains(&in_flight), "{in_flight} requests in flight");
}

/// Like an ldmsd, this daemon does not set TCP_NODELAY: each of its answers waits for the acknowledgement of
/// the one before, which a Linux host delays by 40 ms unless it is told not to.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn small_answers_are_not_held_up_by_delayed_acknowledgements() {
    const ROUNDS: usize = 40;
    let (client, mut daemon) = connected().await;
    let ask = async {
        let began = Instant::now();
        for _ in 0..ROUNDS {
            client.request_all((0..3).map(greeting).collect(), SOON).await.unwrap();
        }
        began.elapsed()
    };
    let (elapsed, ()) = tokio::join!(ask, echo(&mut daemon, 3 * ROUNDS));
    assert!(elapsed < Duration::from_secs(1), "{ROUNDS} rounds took {elapsed:?}");
}

#[tokio::test]
async fn a_request_that_nobody_waits_for_any_longer_disturbs_no_other() {
    let (client, mut daemon) = connected().await;
    let abandoned = timeout(Duration::from_millis(50), client.request(greeting("first"))).await;
    assert!(abandoned.is_err());
    let (response, ()) = tokio::join!(client.request(greeting("second")), echo(&mut daemon, 2));
    assert_eq!(response.unwrap().text(), "second");
}

#[tokio::test]
async fn a_silent_daemon_fails_the_request_in_time_and_the_connection_with_it() {
    let (client, mut daemon) = connected().await;
    let began = Instant::now();
    let within = Duration::from_millis(200);
    let error = client.request_all(vec![greeting("x")], within).await.unwrap_err();
    assert!(matches!(&error, ClientError::Timeout { .. }), "{error}");
    assert_eq!(error.to_string(), "no answer to greeting within 200ms");
    assert!((within..SOON).contains(&began.elapsed()));

    let reason = timeout(SOON, client.closed()).await.unwrap();
    assert_eq!(reason, CloseReason::Unanswered("greeting".into()));
    let error = client.request(greeting("y")).await.unwrap_err();
    assert!(matches!(error, ClientError::Closed(CloseReason::Unanswered(_))), "{error}");
    // The daemon sees the connection closed, and nothing of the second request.
    daemon.request().await;
    assert_eq!(daemon.frame().await, None);
}

#[tokio::test]
async fn the_end_of_the_connection_is_noticed_while_idle() {
    let (client, daemon) = connected().await;
    let pending = client.closed();
    drop(daemon);
    let reason = timeout(Duration::from_secs(1), pending).await.expect("noticed within a second");
    assert_eq!(reason, CloseReason::Session(SessionError::Closed));
}

#[tokio::test]
async fn a_reset_fails_the_requests_in_flight_at_once() {
    let (client, mut daemon) = connected().await;
    let serve = async move {
        daemon.request().await;
        daemon.stream.set_zero_linger().unwrap();
    };
    let began = Instant::now();
    let (response, ()) = tokio::join!(client.request(greeting("x")), serve);
    assert!(matches!(response, Err(ClientError::Closed(CloseReason::Session(SessionError::Closed)))), "{response:?}");
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn what_was_answered_before_the_end_still_counts() {
    let (client, mut daemon) = connected().await;
    let serve = async move { echo(&mut daemon, 1).await };
    let (response, ()) = tokio::join!(client.request(greeting("last words")), serve);
    assert_eq!(response.unwrap().text(), "last words");
}

#[tokio::test]
async fn dropping_the_client_closes_the_connection() {
    let (client, mut daemon) = connected().await;
    drop(client);
    assert_eq!(daemon.frame().await, None);
}

#[tokio::test]
async fn nothing_is_sent_of_commands_of_which_one_does_not_exist() {
    let (listener, options) = listen().await;
    let (client, daemon) = tokio::join!(Client::connect(options), Daemon::accept(&listener, None));
    let (client, mut daemon) = (client.unwrap(), daemon);
    let error = client.request_all(vec![greeting("x"), Command::new(Verb::MsgEnable)], SOON).await.unwrap_err();
    assert_eq!(error.to_string(), "a daemon of the LDMS 4.4 line has no command msg_enable");
    drop(client);
    assert_eq!(daemon.frame().await, None);
}

fn command(line: &str) -> Command {
    Command::from_words(line.split(' ')).unwrap()
}

#[tokio::test]
async fn what_would_harm_the_daemon_is_not_sent() {
    let (client, mut daemon) = connected().await;
    let batch = vec![greeting("x"), command("start name=m interval=0"), greeting("y")];
    let (place, error) = client.objection(&batch).unwrap();
    assert_eq!(
        (place, error.to_string()),
        (1, "start is not sent with an interval of 0: the daemon dies of it".into())
    );
    let error = client.request_all(batch, SOON).await.unwrap_err();
    assert!(matches!(error, ClientError::Hazard(Hazard::NoInterval { .. })), "{error}");
    // The connection is as good as before.
    let (response, ()) = tokio::join!(client.request(greeting("z")), echo(&mut daemon, 1));
    assert_eq!(response.unwrap().text(), "z");
}

#[tokio::test]
async fn a_daemon_is_asked_what_a_hazard_depends_on() {
    let (client, mut daemon) = connected().await;
    let (push, add) =
        (command("updtr_add name=u interval=1s push=true"), command("strgp_add name=p plugin=s schema=m"));
    for withheld in [&push, &add] {
        let error = client.request(withheld.clone()).await.unwrap_err();
        assert!(matches!(error, ClientError::Hazard(_)), "{error}");
    }
    let serve = async {
        let line = daemon.request().await;
        assert_eq!(line.to_command(Numbering::V45).unwrap().verb, Verb::StrgpPiStats);
        let unknown = Response { msg_no: line.msg_no, code: 38, attributes: Vec::new() };
        for record in unknown.encode().records(MAX_RECORD_BYTES) {
            daemon.send(FrameBody::SendRecv(LdmsMessage::Send(record).encode())).await;
        }
        let policies = daemon.request().await;
        daemon.answer(&policies, r#"[{"name":"another"}]"#).await;
    };
    let (survey, ()) = tokio::join!(client.survey(), serve);
    survey.unwrap();
    assert!(client.objection(&[push, add]).is_none());
    assert!(client.objection(&[command("strgp_add name=another plugin=s schema=m")]).is_some());
}

#[tokio::test]
async fn whoever_insists_may_send_anything() {
    let (listener, mut options) = listen().await;
    options.allow_hazards = true;
    let (client, mut daemon) = tokio::join!(Client::connect(options), Daemon::accept(&listener, None));
    let client = client.unwrap();
    let serve = async {
        let request = daemon.request().await;
        assert_eq!(request.to_command(Numbering::V44).unwrap().verb, Verb::SetStats);
        daemon.answer(&request, "{}").await;
    };
    let (response, ()) = tokio::join!(client.request(Command::new(Verb::SetStats)), serve);
    assert!(response.unwrap().is_ok());
}

#[tokio::test]
async fn a_directory_in_several_messages_is_one_answer() {
    let (client, mut daemon) = connected().await;
    let serve = async {
        let LdmsMessage::Dir { xid, flags: 0 } = daemon.message().await else { panic!("no DIR") };
        let part = |more, json: &str| Directory { xid, code: 0, kind: 0, more, json: json.into() };
        let unasked = Directory { xid: xid + 1, ..part(false, "nonsense") };
        for message in [
            LdmsMessage::DirReply(part(true, r#"{ "directory" : [{"name":"a"}]}"#)),
            LdmsMessage::DirReply(unasked),
            LdmsMessage::DirUpdate(part(false, "nonsense")),
            LdmsMessage::Other { xid: 0, command: 10, body: vec![0; 8] },
            LdmsMessage::DirReply(part(true, r#"{ "directory" : []}"#)),
            LdmsMessage::DirReply(part(false, r#"{ "directory" : [,{"name":"b"}]}"#)),
        ] {
            daemon.send(FrameBody::SendRecv(message.encode())).await;
        }
        let LdmsMessage::Dir { xid, .. } = daemon.message().await else { panic!("no DIR") };
        let refusal = Directory { xid, code: 12, kind: 0, more: false, json: Vec::new() };
        daemon.send(FrameBody::SendRecv(LdmsMessage::DirReply(refusal).encode())).await;
    };
    let ask = async {
        let sets = client.directory(SOON).await.unwrap();
        let names: Vec<&str> = sets.iter().map(|set| set.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(matches!(client.directory(SOON).await, Err(ClientError::Directory(12))));
    };
    tokio::join!(ask, serve);
}

#[tokio::test]
async fn a_host_that_accepts_and_is_silent_is_given_up_in_time() {
    let (_listener, mut options) = listen().await;
    options.connect_timeout = Duration::from_millis(200);
    let error = timeout(SOON, Client::connect(options)).await.unwrap().unwrap_err();
    let ClientError::ConnectTimeout { phase, .. } = error else { panic!("{error}") };
    assert_eq!(phase, ConnectPhase::Authenticating);
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_told_with_the_address() {
    let (listener, options) = listen().await;
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = Client::connect(options).await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot connect to {address}: ")), "{error}");
}

#[tokio::test]
async fn a_refusal_is_told_with_its_reason() {
    let (listener, options) = listen().await;
    let refuse = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let refusal = Frame::new(1, FrameBody::Rejected(b"Auth mismatch\0".to_vec()));
        stream.write_all(&refusal.encode()).await.unwrap();
    };
    let (client, ()) = tokio::join!(Client::connect(options), refuse);
    let error = client.unwrap_err().to_string();
    assert_eq!(error, "the daemon refused the connection: Auth mismatch (authentication domain open, plugin none)");
}

//! How fast the wire is: the codec, the reading of status replies, and a client over loopback.
//!
//! ```text
//! cargo bench --bench wire                   # figures
//! taskset -c 0 cargo bench --bench wire      # client and daemon on one core
//! ```
//!
//! Without `--bench`, as `cargo test --all-targets` runs it, everything is done once, and only what does not depend on the
//! machine is judged: the allocations for each request. The daemon here answers without looking, so that it is the client
//! that is measured; with `--daemon PORT` a real or simulated one is asked instead.

#![expect(clippy::expect_used, reason = "a measurement that cannot go on shall fail")]

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant, SystemTime};

use maestro::ldmsd::auth::{Auth, AuthMethod};
use maestro::ldmsd::codec::record::MAX_RECORD_BYTES;
use maestro::ldmsd::codec::transport::Rail;
use maestro::ldmsd::codec::{
    ConnectMessage, Frame, FrameBody, FrameDecoder, LdmsMessage, RecordAssembler, Request, Response, WireAttribute,
};
use maestro::ldmsd::session::{ClientSession, SessionOptions};
use maestro::ldmsd::status::ProducerStatus;
use maestro::ldmsd::{Attribute, Client, Command, ConnectOptions, Numbering, Verb};

/// How many producers the large answer tells of.
const PRODUCERS: usize = 10_000;

/// How many requests are handed to the client at a time.
const BATCH: usize = 1_000;

/// The most allocations that a request may take, its answer included. It took 17 when this was written.
const MOST_ALLOCATIONS: u64 = 20;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let measures = arguments.iter().any(|argument| argument == "--bench");
    let port = arguments.iter().position(|argument| argument == "--daemon").and_then(|at| arguments.get(at + 1));
    let port = port.map(|port| port.parse().expect("a port"));
    let time = if measures { Duration::from_secs(2) } else { Duration::ZERO };

    small_answers(time);
    large_answers(time);
    small_requests(time);
    client(time, port);
}

/// Repeats something for a while, at least once; gives how often it was done a second.
fn rate(time: Duration, mut action: impl FnMut()) -> f64 {
    let began = Instant::now();
    let mut times = 0_u32;
    while times == 0 || began.elapsed() < time {
        action();
        times += 1;
    }
    f64::from(times) / began.elapsed().as_secs_f64()
}

fn report(what: &str, megabytes: f64, rate: f64) {
    println!("{what:<44} {:>10.0} MB/s", megabytes * rate);
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn megabytes(bytes: &[u8]) -> f64 {
    bytes.len() as f64 / 1e6
}

fn small_answers(time: Duration) {
    let stream: Vec<u8> = (0..1_000).flat_map(|number| answer_bytes(number, WireAttribute::text("OK"))).collect();
    let per_second = rate(time, || assert_eq!(read_answers(&stream).len(), 1_000));
    report("answers of 3 bytes read", megabytes(&stream), per_second);
}

fn large_answers(time: Duration) {
    let status = producer_status();
    let stream = answer_bytes(1, WireAttribute::json(status.clone()));
    let per_second = rate(time, || assert_eq!(read_answers(&stream).len(), 1));
    report(&format!("answer of {PRODUCERS} producers put together"), megabytes(&stream), per_second);
    let answer = read_answers(&stream).pop().expect("an answer");
    let per_second = rate(time, || {
        let producers: Vec<ProducerStatus> = answer.json().expect("a status");
        assert_eq!(producers.len(), PRODUCERS);
    });
    report(&format!("status of {PRODUCERS} producers parsed"), megabytes(status.as_bytes()), per_second);
}

fn small_requests(time: Duration) {
    let auth = Auth { domain: "d".into(), method: AuthMethod::None };
    let mut session = ClientSession::new(SessionOptions { auth, pid: 1, rail_gn: 1, challenge: 1, credential: None });
    session.receive(&accepted_bytes(), SystemTime::UNIX_EPOCH).expect("accepted");
    let _ = session.take_output();
    let command = question();
    let mut output = Vec::new();
    let per_second = rate(time, || {
        for _ in 0..1_000 {
            let request = Request::from_command(&command, Numbering::V45, 0).expect("a request");
            session.request(request);
        }
        output = session.take_output();
    });
    report("requests written", megabytes(&output), per_second);
}

/// Requests in flight over loopback, and what they allocate.
fn client(time: Duration, port: Option<u16>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let is_stub = port.is_none();
    let port = port.unwrap_or_else(daemon_that_answers_without_looking);
    let auth = Auth { domain: "d".into(), method: AuthMethod::None };
    let client = Client::connect(ConnectOptions::new("127.0.0.1", port, auth));
    let client = runtime.block_on(client).expect("a connection");
    let ask = || {
        let commands = vec![question(); BATCH];
        let answers = runtime.block_on(client.request_all(commands, Duration::from_secs(20))).expect("answers");
        assert_eq!(answers.len(), BATCH);
        black_box(answers);
    };
    ask();
    let batches = rate(time, ask);
    let per_second = batches * f64::from(u32::try_from(BATCH).expect("a small number"));
    println!("{:<44} {per_second:>10.0} /s", "requests over loopback, pipelined");
    let one = rate(time, || {
        let answer = runtime.block_on(client.request(question())).expect("an answer");
        black_box(answer);
    });
    println!("{:<44} {one:>10.0} /s", "requests over loopback, one at a time");
    let allocations = allocation_counter::measure(ask).count_total / u64::try_from(BATCH).expect("a small number");
    println!("{:<44} {allocations:>10}", "allocations for each request");
    assert!(!is_stub || allocations <= MOST_ALLOCATIONS, "{allocations} allocations for each request");
}

fn question() -> Command {
    Command::new(Verb::PrdcrStatus).with(Attribute::Name, "node-0001")
}

fn producer_status() -> String {
    let producer = |number| {
        format!(
            r#"{{ "name":"n{number:05}","type":"active","host":"n{number:05}","port":411,"transport":"sock","auth":"DEFAULT","rail":"1","quota":"-1","rx_rate":"-1","reconnect_us":"2000000","state":"CONNECTED","sets": [{{ "inst_name":"n{number:05}/meminfo","schema_name":"meminfo","state":"READY"}}]}}"#
        )
    };
    format!("[{}]", (0..PRODUCERS).map(producer).collect::<Vec<_>>().join(",\n"))
}

fn read_answers(stream: &[u8]) -> Vec<Response> {
    let mut frames = FrameDecoder::new();
    let mut records = RecordAssembler::new(MAX_RECORD_BYTES, 64 << 20);
    let mut answers = Vec::new();
    for piece in stream.chunks(32 << 10) {
        frames.push(piece);
        while let Some(frame) = frames.next_frame().expect("frames") {
            let FrameBody::SendRecv(data) = frame.body else { continue };
            let LdmsMessage::Send(record) = LdmsMessage::decode(&data).expect("a message") else { continue };
            let message = records.push(&record).expect("a record");
            answers.extend(message.map(|message| Response::decode(&message).expect("an answer")));
        }
    }
    answers
}

fn answer_bytes(msg_no: u32, attribute: WireAttribute) -> Vec<u8> {
    let answer = Response { msg_no, code: 0, attributes: vec![attribute] };
    let records = answer.encode().records(MAX_RECORD_BYTES);
    let frame = |record| Frame::new(1, FrameBody::SendRecv(LdmsMessage::Send(record).encode())).encode();
    records.into_iter().flat_map(frame).collect()
}

fn accepted_bytes() -> Vec<u8> {
    let message = ConnectMessage { auth_plugin: "none".into(), rail: Some(Rail::single(1, 1)) };
    Frame::new(1, FrameBody::Accepted(message.encode())).encode()
}

/// A daemon on a thread of its own, which answers every request alike. It ends with the connection.
fn daemon_that_answers_without_looking() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a client");
        // The client may be gone before the daemon has noticed.
        let _ = serve(stream);
    });
    port
}

fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut frames = FrameDecoder::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        frames.push(&buffer[..count]);
        let mut out = Vec::new();
        while let Some(frame) = frames.next_frame().map_err(std::io::Error::other)? {
            match frame.body {
                FrameBody::Connect(_) => out.extend(accepted_bytes()),
                // The number of the message is behind the headers of the LDMS message and of the record's first fields.
                FrameBody::SendRecv(data) => {
                    let msg_no = data[32..].first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
                    out.extend(answer_bytes(
                        msg_no,
                        WireAttribute::json(r#"[{"name":"node-0001","state":"CONNECTED"}]"#),
                    ));
                }
                _ => {}
            }
        }
        stream.write_all(&out)?;
    }
}

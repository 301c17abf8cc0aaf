//! Sends one command to one ldmsd and prints the answer.
//!
//! ```text
//! ldmsd_request --port 10411 daemon_status
//! ldmsd_request --host l1-agg-1 --port 10401 --auth ovis --conf /etc/ldms/secret.conf --table prdcr_status
//! ldmsd_request --port 10411 prdcr_add name=n1 type=active xprt=sock host=n1 port=411 reconnect=5s
//! ldmsd_request --port 10411 --table dir
//! ```
//!
//! It is also an example of how to use [`maestro::ldmsd::Client`].

#[path = "ldmsd_request/output.rs"]
mod output;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use maestro::ldmsd::auth::{Auth, AuthConfigError, AuthMethod};
use maestro::ldmsd::codec::Response;
use maestro::ldmsd::{Client, ClientError, Command, CommandError, ConnectOptions, Hazard};

const EXAMPLES: &str = "\
Examples:
  ldmsd_request --port 10411 daemon_status
  ldmsd_request --host l1-agg-1 --port 10401 --auth ovis --conf /etc/ldms/secret.conf --table prdcr_status
  ldmsd_request --port 10411 --auth naive --uid 0 --gid 0 load name=meminfo
  ldmsd_request --port 10411 config name=meminfo producer=n1 instance=n1/meminfo
  ldmsd_request --port 10411 prdcr_start_regex 'regex=^(n1|n2)$'
  ldmsd_request --port 10411 --table dir

Exit status: 0 when the daemon did it, the error number of its answer when it did not (16 for EBUSY, for example),
254 when it could not be asked, 255 when the command line is wrong.";

/// The exit status where the daemon could not be asked.
const NOT_ASKED: u8 = 254;
/// The exit status where the command line is wrong.
const USAGE: u8 = 255;

/// Sends one command to one ldmsd and prints the answer: JSON well laid out, anything else as it is.
#[derive(Debug, Parser)]
#[command(name = "ldmsd_request", after_help = EXAMPLES)]
struct Arguments {
    /// The host of the daemon.
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// The port where it listens with the transport sock.
    #[arg(long, default_value_t = 411)]
    port: u16,
    /// The authentication plugin of the daemon: none, naive, ovis or munge.
    #[arg(long, default_value = "none")]
    auth: String,
    /// For ovis: the file with the secret. Without it the places where an ldmsd looks are tried.
    #[arg(long)]
    conf: Option<String>,
    /// For naive: the user to be; 65534 without it.
    #[arg(long)]
    uid: Option<String>,
    /// For naive: the group to be; 65534 without it.
    #[arg(long)]
    gid: Option<String>,
    /// For munge: the socket of munged.
    #[arg(long)]
    socket: Option<String>,
    /// How long to wait for the connection, and again for the answer.
    #[arg(long, default_value = "5s")]
    timeout: humantime::Duration,
    /// Print lists as tables.
    #[arg(long)]
    table: bool,
    /// Send what is known to harm the daemon, too.
    #[arg(long)]
    force: bool,
    /// A verb with its attributes, as in a configuration file of ldmsd; or `dir` for the metric sets.
    #[arg(required = true, value_name = "VERB [ATTRIBUTE=VALUE]", allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Auth(#[from] AuthConfigError),
    #[error("{0} (--force sends it)")]
    Hazard(Hazard),
    #[error(transparent)]
    Client(ClientError),
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        match error {
            ClientError::Hazard(hazard) => Failure::Hazard(hazard),
            other => Failure::Client(other),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Where there is nobody to tell there is nothing to be done about it.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    let failure = match ask(&arguments).await {
        Ok(status) => return ExitCode::from(status),
        Err(failure) => failure,
    };
    eprintln!("ldmsd_request: {failure}");
    ExitCode::from(if matches!(failure, Failure::Command(_)) { USAGE } else { NOT_ASKED })
}

/// Asks and prints; gives the exit status.
async fn ask(arguments: &Arguments) -> Result<u8, Failure> {
    let words = arguments.command.iter().map(String::as_str);
    let wants_directory = arguments.command == ["dir"];
    let command = if wants_directory { None } else { Some(Command::from_words(words)?) };

    let client = Client::connect(connect_options(arguments)?).await?;
    let Some(command) = command else {
        let sets = client.directory(arguments.timeout.into()).await?;
        output::print(&serde_json::json!(sets), arguments.table);
        return Ok(0);
    };
    if matches!(client.objection(std::slice::from_ref(&command)), Some((_, ClientError::Hazard(_)))) {
        client.survey().await?;
    }
    let verb = command.verb;
    let answer = client.request(command).await?;
    match answer.json::<serde_json::Value>() {
        _ if !answer.is_ok() => eprintln!("ldmsd_request: {verb} was refused: {}", refusal(&answer)),
        Ok(value) if value.is_object() || value.is_array() => output::print(&value, arguments.table),
        _ if answer.text().is_empty() => {}
        _ => output::print_line(&answer.text()),
    }
    Ok(exit_status(&answer))
}

fn connect_options(arguments: &Arguments) -> Result<ConnectOptions, AuthConfigError> {
    let Arguments { conf, uid, gid, socket, .. } = arguments;
    let options: BTreeMap<String, String> = [("conf", conf), ("uid", uid), ("gid", gid), ("socket", socket)]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value.clone()?)))
        .collect();
    let method = AuthMethod::from_options(&arguments.auth, &options)?;
    let auth = Auth { domain: arguments.auth.clone(), method };
    let timeout: Duration = arguments.timeout.into();
    Ok(ConnectOptions {
        connect_timeout: timeout,
        request_timeout: timeout,
        allow_hazards: arguments.force,
        ..ConnectOptions::new(arguments.host.clone(), arguments.port, auth)
    })
}

/// The error of an answer in the words of the system and of the daemon.
fn refusal(answer: &Response) -> String {
    let (code, text) = (answer.code, answer.text());
    // A malformed request is answered with the code 0.
    let meaning = std::io::Error::from_raw_os_error(error_number(answer)).to_string();
    let meaning = meaning.split(" (os error").next().unwrap_or_default();
    if text.is_empty() { format!("{code} ({meaning})") } else { format!("{code} ({meaning}): {text}") }
}

/// The errno of an answer that is none of success; some commands negate it.
fn error_number(answer: &Response) -> i32 {
    const EINVAL: i32 = 22;
    if answer.code == 0 { EINVAL } else { answer.code.saturating_abs() }
}

fn exit_status(answer: &Response) -> u8 {
    if answer.is_ok() {
        0
    } else {
        u8::try_from(error_number(answer)).map_or(NOT_ASKED - 1, |code| code.min(NOT_ASKED - 1))
    }
}

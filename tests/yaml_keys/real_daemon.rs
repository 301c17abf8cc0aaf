//! The commands of each case, sent to a real ldmsd and given to one as its configuration file; skipped unless
//! `MAESTRO_TEST_LDMSD` names one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use maestro::ldmsd::auth::{Auth, AuthMethod};
use maestro::ldmsd::{Client, Command, ConnectOptions, Numbering, Verb};
use serde_json::Value;

use super::{CASES, CLUSTER, Case, lines, table};
use crate::support::real_ldmsd::{RealDaemon, program};
use crate::support::{FreePort, LoopbackNetwork, eventually};

const PATIENCE: Duration = Duration::from_secs(20);

/// The answer to a command that a daemon does not know.
const NOT_IMPLEMENTED: i32 = 38;

/// What becomes of the command of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is refused, or not sent because the daemon would suffer from it.
    Refused,
    /// It is carried out, and the daemon does not tell of it.
    Taken,
    /// It is carried out, and what the daemon says of itself is another than without it.
    Shown,
}

/// The lines of development.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Main,
    V45,
    V44,
}

#[tokio::test]
async fn each_command_does_on_a_real_daemon_what_the_table_says() {
    let Some(program) = program() else { return };
    let site = Site { program, network: LoopbackNetwork::reserve(), dir: tempfile::tempdir().unwrap() };
    site.write_files();
    let line = site.line().await;
    let mut without = BTreeMap::new();
    for daemon in ["s-1", "a", "l"] {
        let (_, status) = site.send(line, &lines(CLUSTER, daemon), "").await;
        without.insert(daemon, status);
    }
    let rows = table();
    let (mut report, mut wrong) = (String::new(), 0);
    for Case { key, edit: (from, to), daemon, line: wanted } in CASES {
        let edited = lines(&CLUSTER.replacen(from, to, 1), daemon);
        let (is_taken, status) = site.send(line, &edited, wanted).await;
        let fate = match is_taken {
            Some(true) if status == without[daemon] => Fate::Taken,
            Some(true) => Fate::Shown,
            Some(false) => Fate::Refused,
            // It is no command but an option, which only a file can hold.
            None => Fate::Taken,
        };
        let row = rows.iter().find(|row| row.mapping == key.0 && row.keys.iter().any(|name| name == key.1)).unwrap();
        let expected = expected(&row.on_a_real_daemon, line);
        let in_a_file = site.starts_with(&edited).await;
        let starts = line == Line::V44 || in_a_file != (row.on_a_real_daemon == "refused");
        let is_wrong = fate != expected || !starts;
        wrong += usize::from(is_wrong);
        let mark = if is_wrong { "!!!" } else { "   " };
        let _infallible =
            writeln!(report, "{mark} {} {key:?}: {fate:?}, in a file {in_a_file}: {wanted}", row.on_a_real_daemon);
    }
    println!("{line:?}\n{report}");
    assert_eq!(wrong, 0, "{line:?}\n{report}");
}

/// What a cell of the table says of a line: `shown`, or `shown; 4.4: taken`.
fn expected(cell: &str, line: Line) -> Fate {
    let name = match line {
        Line::Main => "main",
        Line::V45 => "4.5",
        Line::V44 => "4.4",
    };
    let mut parts = cell.split("; ");
    let usual = parts.next().unwrap();
    let of_this_line = parts.find_map(|part| part.strip_prefix(name)?.strip_prefix(": "));
    match of_this_line.unwrap_or(usual) {
        "shown" => Fate::Shown,
        "taken" => Fate::Taken,
        "refused" => Fate::Refused,
        other => panic!("{other} in {cell}"),
    }
}

/// Where the daemons are.
struct Site {
    program: std::path::PathBuf,
    network: LoopbackNetwork,
    dir: tempfile::TempDir,
}

impl Site {
    /// The files that commands refer to.
    fn write_files(&self) {
        use std::os::unix::fs::PermissionsExt;
        let secret = self.dir.path().join("secret");
        std::fs::write(&secret, "secretword=correct-horse-battery\n").unwrap();
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
        let decomposition = r#"{ "type": "as_is", "indices": [] }"#;
        std::fs::write(self.dir.path().join("decomposition"), decomposition).unwrap();
    }

    /// With hosts, ports and files that are there.
    fn made_real(&self, line: &str, ports: &mut Vec<FreePort>) -> String {
        // The hosts of the cluster and of its edits.
        const HOSTS: [&str; 11] = ["h-1", "h-2", "b", "c", "g-1", "g-2", "i-1", "i-2", "x-1", "x-2", "z"];
        let file = |name: &str| self.dir.path().join(name).display().to_string();
        let listens_everywhere = line.starts_with("listen ") && !line.contains(" host=");
        let word = |word: &str| match word.split_once('=') {
            Some(("host", host)) => {
                let number = HOSTS.iter().position(|known| *known == host).unwrap() + 1;
                format!("host={}.{number}", self.network.prefix())
            }
            Some(("port", _)) if listens_everywhere => {
                ports.push(FreePort::reserve());
                format!("port={}", ports.last().unwrap().number())
            }
            Some(("conf", "/s")) => format!("conf={}", file("secret")),
            Some(("decomposition", _)) => format!("decomposition={}", file("decomposition")),
            Some(("path", "/store")) => format!("path={}", file("store")),
            _ => word.to_owned(),
        };
        let words: Vec<String> = line.split(' ').map(word).collect();
        words.join(" ")
    }

    async fn line(&self) -> Line {
        let mut daemon = RealDaemon::start(&self.program, &["-a", "none"]);
        let client = connected(&mut daemon).await.expect("the daemon is ready");
        let asked = Command::from_words(["strgp_pi_stats", "name=nobody"]).unwrap();
        match client.numbering() {
            Numbering::V44 => Line::V44,
            _ if client.request(asked).await.unwrap().code == NOT_IMPLEMENTED => Line::V45,
            _ => Line::Main,
        }
    }

    /// Sends lines to a new daemon: whether the wanted one was carried out, if it can be sent, and what the daemon says of
    /// itself afterwards. All others have to be carried out, but for services on 4.4.
    async fn send(&self, line: Line, lines: &[String], wanted: &str) -> (Option<bool>, String) {
        let mut daemon = RealDaemon::start(&self.program, &["-a", "none"]);
        let client = connected(&mut daemon).await.expect("the daemon is ready");
        client.survey().await.unwrap();
        let mut ports = Vec::new();
        let mut is_taken = None;
        let libraries: BTreeMap<&str, &str> = lines.iter().filter_map(|line| loaded(line)).collect();
        for text in lines.iter().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let mut real = self.made_real(text, &mut ports);
            if line == Line::V44 {
                real = by_libraries(&real, &libraries);
            }
            let Ok(command) = Command::from_words(real.split(' ')) else { continue };
            let absent = line == Line::V44 && matches!(command.verb, Verb::StreamEnable | Verb::MsgEnable);
            let answer = match client.request(command).await {
                Ok(answer) => {
                    Ok(answer.code).and_then(|code| if code == 0 { Ok(()) } else { Err(answer.text().into_owned()) })
                }
                Err(error) => Err(error.to_string()),
            };
            if text == wanted {
                if let Err(reason) = &answer {
                    println!("{line:?} {real}: {reason}");
                }
                is_taken = Some(answer.is_ok());
            } else if !absent && is_taken != Some(false) {
                assert_eq!(answer, Ok(()), "{real}");
            }
        }
        assert!(daemon.is_running(), "{lines:?}");
        (is_taken, told(&client).await)
    }

    /// Whether a daemon starts with these lines as its file.
    async fn starts_with(&self, lines: &[String]) -> bool {
        let mut ports = Vec::new();
        let text: Vec<String> = lines.iter().map(|line| self.made_real(line, &mut ports)).collect();
        let file = self.dir.path().join("daemon.conf");
        std::fs::write(&file, text.join("\n")).unwrap();
        let mut daemon = RealDaemon::start(&self.program, &["-a", "none", "-c", file.to_str().unwrap()]);
        let is_ready = connected(&mut daemon).await.is_some();
        if !is_ready || !daemon.is_running() {
            println!("{}\n{}", text.join("\n"), daemon.log());
        }
        is_ready && daemon.is_running()
    }
}

/// The name of the instance that a command loads, and its library.
fn loaded(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("load name=")?.split_once(" plugin=")
}

/// As maestro sends it to a 4.4 daemon, whose plugins go by the names of their libraries.
fn by_libraries(line: &str, libraries: &BTreeMap<&str, &str>) -> String {
    let verb = line.split(' ').next().unwrap();
    let attribute = match verb {
        "load" | "config" | "start" => "name",
        "strgp_add" => "plugin",
        _ => return line.to_owned(),
    };
    let word = |word: &str| match word.split_once('=') {
        Some((key, name)) if key == attribute => format!("{key}={}", libraries.get(name).unwrap_or(&name)),
        _ => word.to_owned(),
    };
    line.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// Connects as soon as the daemon listens; none where it ends.
async fn connected(daemon: &mut RealDaemon) -> Option<Client> {
    let auth = Auth { domain: "none".into(), method: AuthMethod::None };
    eventually("the daemon is ready, or has ended", PATIENCE, async || {
        if !daemon.is_running() {
            return Some(None);
        }
        let mut options = ConnectOptions::new("127.0.0.1", daemon.port(), auth.clone());
        options.connect_timeout = PATIENCE;
        options.request_timeout = PATIENCE;
        let client = Client::connect(options).await.ok()?;
        let status = client.request(Command::new(Verb::DaemonStatus)).await.ok()?;
        status.text().contains("ready").then_some(Some(client))
    })
    .await
}

/// What a daemon says of itself, without what changes by itself.
async fn told(client: &Client) -> String {
    const QUESTIONS: [Verb; 7] = [
        Verb::PrdcrStatus,
        Verb::PrdcrListenStatus,
        Verb::UpdtrStatus,
        Verb::UpdtrMatchList,
        Verb::StrgpStatus,
        Verb::PlugnStatus,
        Verb::PlugnSets,
    ];
    let mut told = String::new();
    for question in QUESTIONS {
        let answer = client.request(Command::new(question)).await.unwrap();
        let mut value: Value = answer.json().unwrap_or(Value::Null);
        forget_what_moves(&mut value);
        let _infallible = writeln!(told, "{question}: {value}");
    }
    for set in client.directory(PATIENCE).await.unwrap() {
        let _infallible = writeln!(told, "{} {} {:?}", set.name, set.schema, set.update_hint);
    }
    told
}

fn forget_what_moves(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            entries.retain(|key, _| !matches!(key.as_str(), "state" | "outstanding count" | "oversampled count"));
            entries.values_mut().for_each(forget_what_moves);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_what_moves),
        _ => {}
    }
}

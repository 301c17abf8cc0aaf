//! How other processes act on a running simulation: one JSON line to a Unix-domain socket, one JSON line back.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, Notify};

use crate::cluster::SimulatedCluster;
use crate::net::{Fault, now_us};
use crate::report::{gaps_text, status, status_text};

/// What can be asked of a running simulation.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    Kill {
        names: Vec<String>,
    },
    Start {
        names: Vec<String>,
    },
    Restart {
        names: Vec<String>,
    },
    Pause {
        names: Vec<String>,
    },
    Resume {
        names: Vec<String>,
    },
    Fault {
        names: Vec<String>,
        fault: Fault,
    },
    Status {
        json: bool,
    },
    Sampling,
    /// Samples taken between `since_us` and `margin_us` before now.
    Gaps {
        since_us: u64,
        margin_us: u64,
        /// Samplers without losses too.
        all: bool,
        json: bool,
    },
    Down,
}

#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    error: Option<String>,
    text: String,
}

/// The socket of a simulation's directory.
pub(crate) fn socket_path(dir: &Path) -> PathBuf {
    dir.join("control")
}

/// Sends an order to the simulation of a directory; gives what it has to say.
pub(crate) fn send(dir: &Path, order: &Order) -> anyhow::Result<String> {
    let path = socket_path(dir);
    let mut stream =
        StdUnixStream::connect(&path).with_context(|| format!("no simulation runs in {}", dir.display()))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    writeln!(stream, "{}", serde_json::to_string(order)?)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).context("the simulation does not answer")?;
    let answer: Answer = serde_json::from_str(&line).context("the simulation has ended")?;
    match answer.error {
        Some(error) => bail!(error),
        None => Ok(answer.text),
    }
}

/// Waits until the simulation of a directory, which has been told to end, has ended.
pub(crate) fn wait_for_end(dir: &Path) -> anyhow::Result<()> {
    let give_up = Instant::now() + Duration::from_secs(10);
    while socket_path(dir).exists() {
        ensure!(Instant::now() < give_up, "the simulation does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Obeys orders until one of them is to end.
pub(crate) async fn serve(listener: UnixListener, cluster: SimulatedCluster) {
    let cluster = Arc::new(Mutex::new(cluster));
    let end = Arc::new(Notify::new());
    loop {
        tokio::select! {
            () = end.notified() => return,
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    tokio::spawn(serve_one(stream, Arc::clone(&cluster), Arc::clone(&end)));
                }
            }
        }
    }
}

async fn serve_one(stream: UnixStream, cluster: Arc<Mutex<SimulatedCluster>>, end: Arc<Notify>) {
    let mut stream = tokio::io::BufReader::new(stream);
    let mut line = String::new();
    if !matches!(stream.read_line(&mut line).await, Ok(length) if length > 0) {
        return;
    }
    let order = serde_json::from_str::<Order>(&line).context("not an order");
    let ends = matches!(order, Ok(Order::Down));
    let result = match order {
        Ok(order) => obey(order, &mut *cluster.lock().await).await,
        Err(error) => Err(error),
    };
    let answer = match result {
        Ok(text) => Answer { error: None, text },
        Err(error) => Answer { error: Some(format!("{error:#}")), text: String::new() },
    };
    // Texts without exotic map keys always serialise; should they not, the other side sees the end of the stream.
    if let Ok(mut text) = serde_json::to_string(&answer) {
        text.push('\n');
        let _asker_is_gone = stream.get_mut().write_all(text.as_bytes()).await;
    }
    if ends {
        end.notify_one();
    }
}

async fn obey(order: Order, cluster: &mut SimulatedCluster) -> anyhow::Result<String> {
    match order {
        Order::Kill { names } => cluster.kill(&cluster.named(&names)?).await?,
        Order::Start { names } => cluster.start_again(&cluster.named(&names)?)?,
        Order::Restart { names } => {
            let names = cluster.named(&names)?;
            cluster.kill(&names).await?;
            cluster.start_again(&names)?;
        }
        Order::Pause { names } => cluster.pause(&cluster.named(&names)?)?,
        Order::Resume { names } => cluster.resume(&cluster.named(&names)?)?,
        Order::Fault { names, fault } => cluster.fault(&cluster.named(&names)?, &fault)?,
        Order::Status { json } => {
            let reports = status(cluster).await;
            return if json { Ok(serde_json::to_string_pretty(&reports)?) } else { Ok(status_text(&reports)) };
        }
        Order::Sampling => return Ok(serde_json::to_string_pretty(&cluster.journal.sampled_sets())?),
        Order::Gaps { since_us, margin_us, all, json } => {
            let until_us = now_us().saturating_sub(margin_us);
            let gaps = cluster.journal.gaps(since_us, until_us, &|host, port| cluster.node_at(host, port));
            return if json { Ok(serde_json::to_string_pretty(&gaps)?) } else { Ok(gaps_text(&gaps, all)) };
        }
        Order::Down => {
            let all: Vec<_> = cluster.slots.keys().cloned().collect();
            cluster.kill(&all).await?;
        }
    }
    Ok(String::new())
}

//! `maestro`: keeps the daemons of an LDMS cluster configured and balanced.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{CommandFactory, FromArgMatches, Parser, ValueEnum};
use maestro::cli::{self, LogLevel};
use maestro::cluster::Cluster;
use maestro::local::{find_ldmsd, keep_aggregators};
use maestro::notation::Name;
use maestro::placement::sets::Band;
use maestro::runtime::{self, AgentSettings, ConfigEvent, Notebook, Seat};
use maestro::{conductor, store};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

/// Configures the daemons of an LDMS cluster and balances its producers over the aggregators.
///
/// When an aggregator fails, the rest of its group takes over; when it returns, its work goes home.
/// Stopping maestro leaves every ldmsd as it is.
#[derive(Debug, Parser)]
#[command(name = "maestro", version)]
struct Arguments {
    /// The YAML file that names the members of the etcd cluster [default: etcd at 127.0.0.1:2379]
    #[arg(long, value_name = "FILE", conflicts_with = "ldms_config")]
    cluster: Option<PathBuf>,

    /// The name of the LDMS cluster in etcd [default: the only one there]
    #[arg(long, value_name = "NAME", conflicts_with = "ldms_config")]
    prefix: Option<String>,

    /// Which of the `maestro_members` of the --cluster file this is [default: the one whose host is this machine]
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "ldms_config")]
    member: Option<String>,

    /// Among several instances: after how long without a sign of life the others take over; at least 2s
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = lease)]
    member_lease: Duration,

    /// Run without etcd: read the LDMS cluster from this YAML file, and follow its changes
    #[arg(long = "ldms_config", value_name = "FILE")]
    ldms_config: Option<PathBuf>,

    /// What is balanced over the first-level aggregators
    #[arg(long, value_name = "WHAT", default_value = "producers")]
    rebalance: Rebalance,

    /// With --rebalance sets: by how many percent the heaviest aggregator may be above what is possible before sets move
    #[arg(long, value_name = "PERCENT", default_value = "10", value_parser = clap::value_parser!(u64).range(0..=1000))]
    band: u64,

    /// How long connecting to a daemon may take, and configuring its plugins and stores
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = seconds)]
    timeout: Duration,

    /// How often an aggregator is probed; samplers are probed ten times less often
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    probe_interval: Duration,

    /// How long a daemon may take to answer anything else before it counts as failed
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = humantime::parse_duration)]
    probe_deadline: Duration,

    /// How long a returned aggregator must stay up before it gets its work back; longer for one that flaps
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    return_delay: Duration,

    /// Keep each producer connected on the aggregator that would take it over: a loss then costs fewer samples, and each
    /// sampler carries a second connection. With --rebalance sets, producers that are split go without
    #[arg(long)]
    standby: bool,

    /// Start the aggregators whose host is this machine, and start again those that end; they stay when maestro stops
    #[arg(long)]
    start_aggregators: bool,

    /// With --start-aggregators: where their log and pid files are [default: the home directory]
    #[arg(long = "local_path", value_name = "DIR", requires = "start_aggregators")]
    local_path: Option<PathBuf>,

    /// With --start-aggregators: the ldmsd to start [default: the first in PATH]
    #[arg(long, value_name = "FILE", requires = "start_aggregators")]
    ldmsd: Option<PathBuf>,

    /// How much is logged
    #[arg(long, value_name = "LEVEL", default_value = "info", ignore_case = true)]
    log_level: LogLevel,

    /// Log everything, as --log-level debug
    #[arg(long)]
    debug: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Rebalance {
    /// Whole producers, by their number
    Producers,
    /// The bytes per second of their metric sets; a producer is split where that needs it
    Sets,
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 86_400.0 => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("expected a number of seconds, such as 15 or 2.5".into()),
    }
}

fn lease(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(lease) if lease >= Duration::from_secs(2) && lease <= Duration::from_secs(600) => Ok(lease),
        _ => Err("expected a time between 2s, which is the least that etcd grants, and 10m".into()),
    }
}

fn main() -> ExitCode {
    let command = Arguments::command();
    let matches = command.clone().get_matches_from(cli::spelt_as_known(&command, std::env::args_os()));
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    cli::log_to_stderr(if arguments.debug { LogLevel::Debug } else { arguments.log_level });
    match start(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("maestro: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start")?;
    let outcome = runtime.block_on(serve(arguments));
    // Nothing is owed to the daemons: whatever is still being said ends here.
    runtime.shutdown_background();
    outcome
}

async fn serve(arguments: Arguments) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping; every ldmsd stays as it is");
    };
    tokio::pin!(stop);
    let keeping = match arguments.start_aggregators {
        true => {
            let program = find_ldmsd(arguments.ldmsd.as_deref(), std::env::var_os("PATH").as_deref())?;
            Some((cli::directory_or_home(arguments.local_path.as_deref())?, program))
        }
        false => None,
    };
    let options_of_all = options_of_all(&arguments);
    let configurations = async {
        match arguments.ldms_config {
            Some(path) => Ok((runtime::from_file(path).await?, None, Notebook::none())),
            None => {
                let (options, members) = cli::etcd_file(arguments.cluster.as_deref())?;
                let me = cli::own_member(&members, arguments.member.as_deref()).await?;
                let store = store::EtcdStore::new(&options)?;
                let prefix = runtime::cluster_name(&store, arguments.prefix).await?;
                let (configurations, notebook) = runtime::from_etcd(store.clone(), Some(prefix.clone())).await?;
                let members: Vec<Name> = members.iter().map(|member| Name::from(member.to_string())).collect();
                let (lease, notes) = (arguments.member_lease, notebook.reader());
                let seat = me.map(|me| Seat::take(&store, &prefix, members, me, options_of_all, lease, notes));
                anyhow::Ok((configurations, seat.transpose()?, notebook))
            }
        }
    };
    let (configurations, seat, notebook) = tokio::select! {
        () = &mut stop => return Ok(()),
        configurations = configurations => configurations?,
    };
    let agents = AgentSettings {
        timeout: arguments.timeout,
        probe_interval: arguments.probe_interval,
        sampler_probe_interval: arguments.probe_interval * 10,
        probe_deadline: arguments.probe_deadline.min(arguments.timeout),
        resync_interval: Duration::from_secs(60),
    };
    let settings = conductor::Settings {
        settle_us: micros(agents.probe_deadline),
        return_delay_us: micros(arguments.return_delay),
        standby: arguments.standby,
        rebalance: match arguments.rebalance {
            Rebalance::Producers => conductor::Rebalance::Producers,
            Rebalance::Sets => conductor::Rebalance::Sets,
        },
        band: Band { percent: arguments.band },
    };
    let configurations = match keeping {
        Some((directory, program)) => starting_aggregators(configurations, directory, program),
        None => configurations,
    };
    runtime::run(configurations, seat, notebook, settings, agents, stop).await;
    Ok(())
}

/// The options by which it is decided who collects what: among several instances all have to have the same.
fn options_of_all(arguments: &Arguments) -> String {
    let balanced = match arguments.rebalance {
        Rebalance::Producers => "--rebalance producers".to_owned(),
        Rebalance::Sets => format!("--rebalance sets --band {}", arguments.band),
    };
    if arguments.standby { balanced + " --standby" } else { balanced }
}

/// Hands the configurations on, and keeps the aggregators of this machine running as they say.
fn starting_aggregators(
    mut configurations: mpsc::Receiver<ConfigEvent>,
    directory: PathBuf,
    program: PathBuf,
) -> mpsc::Receiver<ConfigEvent> {
    let (events, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut keeper: Option<watch::Sender<Arc<Cluster>>> = None;
        while let Some(event) = configurations.recv().await {
            match (&event, &keeper) {
                (ConfigEvent::Changed(cluster), Some(keeper)) => drop(keeper.send_replace(Arc::clone(cluster))),
                (ConfigEvent::Changed(cluster), None) => {
                    let (sender, clusters) = watch::channel(Arc::clone(cluster));
                    tokio::spawn(keep_aggregators(clusters, directory.clone(), program.clone()));
                    keeper = Some(sender);
                }
                _ => {}
            }
            if events.send(event).await.is_err() {
                return;
            }
        }
    });
    receiver
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

//! `--generate-config-path` and `--daemon_name`: v4 configuration files, with which ldmsds start without maestro.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, bail};

use super::Source;
use crate::cluster::Cluster;
use crate::desired::startup::{MARK, StartupError, StartupFile, StartupFiles};
use crate::notation::Name;
use crate::spec::diagnostic::nearest;

/// How many files that are of no daemon any more are named in the warning.
const NAMED_IN_WARNING: usize = 5;

/// Prints the configuration file of one daemon.
///
/// # Errors
/// The cluster cannot be read, has no such daemon, or says of it what a configuration file cannot hold.
pub fn print(source: Source, daemon: &str) -> anyhow::Result<()> {
    let cluster = source.read()?;
    let name = find(&cluster, daemon)?;
    print!("{}", StartupFiles::of(&cluster)?.file(name)?);
    io::stdout().flush().context("cannot print")
}

/// Writes the configuration file of each daemon, or of `daemon` alone, into a directory, which is made if need be.
///
/// A file is there with its former text or with the new one, never with a part of it; one whose text stays the same
/// is not touched.
///
/// # Errors
/// The cluster cannot be read, or says what a configuration file cannot hold: then nothing is written. Or a file
/// cannot be written: the text names it.
pub fn generate(source: Source, directory: &Path, daemon: Option<&str>) -> anyhow::Result<()> {
    let cluster = source.read()?;
    let names: Vec<&Name> = match daemon {
        Some(daemon) => vec![find(&cluster, daemon)?],
        None => cluster.daemons.keys().collect(),
    };
    let files = StartupFiles::of(&cluster)?;
    in_parallel(&names, |name| files.file(name).map(drop))?;

    fs::create_dir_all(directory).with_context(|| format!("cannot make the directory {}", directory.display()))?;
    let written = AtomicUsize::new(0);
    in_parallel(&names, |name| {
        let path = directory.join(file_name(name));
        let file = files.file(name)?;
        if replace(&path, &file).with_context(|| format!("cannot write {}", path.display()))? {
            written.fetch_add(1, Ordering::Relaxed);
        }
        anyhow::Ok(())
    })?;
    println!("LDMSD v4 config files generated");
    let written = written.into_inner();
    eprintln!("{}: {} written, {} as they were", directory.display(), written, names.len() - written);
    if daemon.is_none() {
        warn_of_stale_files(directory, &names);
    }
    Ok(())
}

fn find<'c>(cluster: &'c Cluster, daemon: &str) -> anyhow::Result<&'c Name> {
    let wanted = Name::from(daemon);
    match cluster.daemons.get_key_value(&wanted) {
        Some((name, _)) => Ok(name),
        None => {
            let near = nearest(daemon, cluster.daemons.keys().map(Name::as_str));
            let hint = near.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            bail!("{}{hint}", StartupError::Unknown(wanted))
        }
    }
}

/// Runs `work` for each item on all processors; the first error, in the order of the items that were begun, ends it.
fn in_parallel<T: Sync, E: Send>(items: &[T], work: impl Fn(&T) -> Result<(), E> + Sync) -> Result<(), E> {
    let next = AtomicUsize::new(0);
    let some_of_it = || -> Result<(), (usize, E)> {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return Ok(()) };
            if let Err(error) = work(item) {
                next.store(items.len(), Ordering::Relaxed);
                return Err((index, error));
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(items.len());
    let first_error = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(some_of_it)).collect();
        let errors = workers.into_iter().filter_map(|worker| match worker.join() {
            Ok(outcome) => outcome.err(),
            Err(panic) => std::panic::resume_unwind(panic),
        });
        errors.min_by_key(|(index, _)| *index)
    });
    first_error.map_or(Ok(()), |(_, error)| Err(error))
}

fn file_name(daemon: &Name) -> String {
    format!("{}.conf", daemon.file_stem())
}

/// Whether the file had to be written.
fn replace(path: &Path, text: &StartupFile<'_>) -> io::Result<bool> {
    let former = match File::open(path) {
        Ok(file) => Some(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    if let Some(former) = &former
        && holds(former, text)?
    {
        return Ok(false);
    }
    let new = temporary(path);
    let renamed = write_new(&new, former.as_ref(), text).and_then(|()| fs::rename(&new, path));
    if renamed.is_err() {
        // It may not even be there; what counts is the first error.
        let _ = fs::remove_file(&new);
    }
    renamed.map(|()| true)
}

fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}", std::process::id()))
}

fn holds(mut file: &File, text: &StartupFile<'_>) -> io::Result<bool> {
    let length: usize = text.parts.iter().map(|part| part.len()).sum();
    if file.metadata()?.len() != length as u64 {
        return Ok(false);
    }
    let mut found = Vec::with_capacity(length);
    file.read_to_end(&mut found)?;
    let mut rest = found.as_slice();
    let same = text.parts.iter().all(|part| match rest.strip_prefix(part.as_bytes()) {
        Some(after) => {
            rest = after;
            true
        }
        None => false,
    });
    Ok(same && rest.is_empty())
}

/// A file that is written anew keeps the permissions that somebody has given it.
fn write_new(path: &Path, former: Option<&File>, text: &StartupFile<'_>) -> io::Result<()> {
    let mut file = File::create(path)?;
    if let Some(former) = former {
        file.set_permissions(former.metadata()?.permissions())?;
    }
    text.parts.iter().try_for_each(|part| file.write_all(part.as_bytes()))
}

/// Files of daemons that have left the cluster stay: they may be another cluster's, or somebody may want them. But an
/// ldmsd that starts with one collects what others do.
fn warn_of_stale_files(directory: &Path, names: &[&Name]) {
    let current: BTreeSet<String> = names.iter().map(|name| file_name(name)).collect();
    let Ok(entries) = fs::read_dir(directory) else { return };
    let found = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut stale: Vec<Name> = found
        .filter(|name| name.ends_with(".conf") && !current.contains(name) && is_generated(&directory.join(name)))
        .map(Name::from)
        .collect();
    stale.sort();
    let named: Vec<&str> = stale.iter().take(NAMED_IN_WARNING).map(Name::as_str).collect();
    match stale.len() {
        0 => {}
        1 => eprintln!("warning: one file is of no daemon of this cluster, and stays: {}", named.join(", ")),
        number => {
            let more = if number > named.len() { ", …" } else { "" };
            eprintln!("warning: {number} files are of no daemon of this cluster, and stay: {}{more}", named.join(", "));
        }
    }
}

fn is_generated(path: &Path) -> bool {
    let mut beginning = vec![0; MARK.len()];
    File::open(path).and_then(|mut file| file.read_exact(&mut beginning)).is_ok() && beginning == MARK.as_bytes()
}

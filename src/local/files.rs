//! The files of a daemon: where they are, and what is read from and written to them.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::notation::Name;

/// How much of the end of a log is read.
const TAIL_BYTES: u64 = 8192;
/// How many of its lines are shown, and how much of each.
const TAIL_LINES: usize = 5;
const LINE_CHARACTERS: usize = 300;

/// Where the files of a daemon are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Paths {
    pub(super) conf: PathBuf,
    pub(super) log: PathBuf,
    pub(super) pid: PathBuf,
}

impl Paths {
    pub(super) fn of(directory: &Path, daemon: &Name) -> Paths {
        let stem = daemon.file_stem();
        let path = |extension: &str| directory.join(format!("{stem}.{extension}"));
        Paths { conf: path("conf"), log: path("log"), pid: path("pid") }
    }
}

/// Writes a file that only its owner reads, whole or not at all. One that holds the text already stays as it is.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    if fs::read(path).is_ok_and(|present| present == text.as_bytes()) {
        return Ok(());
    }
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let written = write_new(Path::new(&new), text).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        // It may not even have been created.
        let _ = fs::remove_file(&new);
    }
    written
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    // The mode counts for a file that is created only.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// The last lines of a log from `start`, a place in bytes. Control characters do not get through to a terminal.
pub(super) fn last_lines(path: &Path, start: u64) -> Vec<String> {
    let text = read_end(path, start).unwrap_or_default();
    let mut lines: Vec<String> = text
        .lines()
        .rev()
        .filter(|line| !line.trim().is_empty())
        .take(TAIL_LINES)
        .map(|line| {
            let visible = |character: char| if character.is_control() { ' ' } else { character };
            line.trim().chars().take(LINE_CHARACTERS).map(visible).collect()
        })
        .collect();
    lines.reverse();
    lines
}

fn read_end(path: &Path, start: u64) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    // A log that has become shorter was emptied since.
    let start = if start > length { 0 } else { start };
    let from = start.max(length.saturating_sub(TAIL_BYTES));
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(match (from > start, text.split_once('\n')) {
        // The first line has lost its beginning.
        (true, Some((_, whole))) => whole.to_owned(),
        _ => text.into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn every_daemon_has_files_of_its_own() {
        let conf = |name: &str| Paths::of(Path::new("/d"), &name.into()).conf;
        assert_eq!(conf("node-1"), Path::new("/d/node-1.conf"));
        assert_eq!(conf("node-1/rdma"), Path::new("/d/node-1%2Frdma.conf"));
        assert_ne!(conf("a/b"), conf("a%2Fb"));
        assert_eq!(conf("..").parent(), Some(Path::new("/d")));
    }

    #[test]
    fn a_file_is_replaced_whole_and_readable_by_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.conf");
        fs::write(&path, "old").unwrap();
        fs::write(directory.path().join("a.conf.new"), "left by a run that was killed").unwrap();
        replace(&path, "new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let written = fs::metadata(&path).unwrap().modified().unwrap();
        replace(&path, "new").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), written);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_replaced_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.conf");
        fs::create_dir(&path).unwrap();
        replace(&path, "new").unwrap_err();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_last_lines_are_those_since_the_start() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        assert!(last_lines(&path, 0).is_empty());
        fs::write(&path, "of an earlier run\nfirst\n\n second\x1b[31m\n").unwrap();
        assert_eq!(last_lines(&path, 18), ["first", "second [31m"]);
        assert_eq!(last_lines(&path, 1000).len(), 3, "it was emptied meanwhile");
        let many: String = (0..1000).map(|line| format!("line {line} {}\n", "x".repeat(500))).collect();
        fs::write(&path, many).unwrap();
        let lines = last_lines(&path, 0);
        assert_eq!((lines.len(), lines[4].chars().count()), (5, 300));
        assert!(lines[0].starts_with("line 995 ") && lines[4].starts_with("line 999 "), "{lines:?}");
    }
}

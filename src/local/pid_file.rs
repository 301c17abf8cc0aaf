//! The pid file of a daemon: which process it is, and that we keep it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A pid file that is locked as long as we keep the daemon, so that nobody else keeps it too. It goes with this
/// value, unless the process is there still.
///
/// ldmsd is not asked to write it: 4.4 does not while it is in the foreground, and the others would replace the file
/// that is locked.
#[derive(Debug)]
pub(super) struct PidFile {
    path: PathBuf,
    file: File,
    /// What it says.
    pid: Option<u32>,
}

/// Why a pid file cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum PidFileError {
    /// Another program keeps the daemon.
    #[error("{} is locked: another maestro keeps this daemon", .0.display())]
    Taken(PathBuf),
    /// The file cannot be opened.
    #[error("cannot write {}: {error}", .path.display())]
    Io { path: PathBuf, error: io::Error },
}

impl PidFile {
    /// Takes the file, with what an earlier run has left in it.
    pub(super) fn take(path: &Path) -> Result<PidFile, PidFileError> {
        let failed = |error| PidFileError::Io { path: path.to_owned(), error };
        loop {
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).create(true).truncate(false).mode(0o644).open(path);
            let file = file.map_err(failed)?;
            match file.try_lock() {
                // Some file systems know no locks; there we have to do without.
                Ok(()) | Err(TryLockError::Error(_)) => {}
                Err(TryLockError::WouldBlock) => return Err(PidFileError::Taken(path.to_owned())),
            }
            // The one who had it may have removed it between the opening and the lock.
            let inode = file.metadata().map_err(failed)?.ino();
            if fs::metadata(path).is_ok_and(|metadata| metadata.ino() == inode) {
                let mut text = String::new();
                // What is no text is no pid.
                let _ = (&file).read_to_string(&mut text);
                return Ok(PidFile { path: path.to_owned(), file, pid: text.trim().parse().ok() });
            }
        }
    }

    /// The process that it names.
    pub(super) fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Writes a pid, or that there is none.
    pub(super) fn set(&mut self, pid: Option<u32>) -> io::Result<()> {
        self.pid = pid;
        self.file.set_len(0)?;
        self.file.rewind()?;
        match pid {
            Some(pid) => writeln!(self.file, "{pid}"),
            None => Ok(()),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if self.pid.is_none() {
            // It may be on a file system that is gone; an empty file misleads nobody.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_outlives_the_one_who_wrote_it_until_the_process_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.pid");
        let mut file = PidFile::take(&path).unwrap();
        assert_eq!(file.pid(), None);
        file.set(Some(12345)).unwrap();
        file.set(Some(77)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "77\n");
        drop(file);
        let mut file = PidFile::take(&path).unwrap();
        assert_eq!(file.pid(), Some(77));
        file.set(None).unwrap();
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn two_cannot_have_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.pid");
        let file = PidFile::take(&path).unwrap();
        assert!(matches!(PidFile::take(&path), Err(PidFileError::Taken(_))));
        drop(file);
        PidFile::take(&path).unwrap();
    }

    #[test]
    fn what_is_no_pid_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.pid");
        for text in [&b"-1"[..], b"12 13", b"\xff\xfe", b""] {
            fs::write(&path, text).unwrap();
            assert_eq!(PidFile::take(&path).unwrap().pid(), None, "{text:?}");
        }
    }
}

//! The shared secret of the plugin `ovis` and the file that holds it (the wire specification, section 4.3).

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const LEAST_BYTES: usize = 8;
const MOST_BYTES: usize = 513;

/// A shared secret. It is never shown: `Debug` conceals it, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why a text holds no usable secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// No line begins with `secretword=`.
    #[error("it has no line `secretword=…`")]
    Missing,
    /// Nothing follows `secretword=`.
    #[error("the word after `secretword=` is missing")]
    Empty,
    /// The word is too short or too long.
    #[error("the secret word has {0} bytes; LDMS wants between {LEAST_BYTES} and {MOST_BYTES}")]
    Length(usize),
}

/// Why the secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The file cannot be read.
    #[error("cannot read the secret file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The path is not absolute. LDMS refuses such a path.
    #[error("the path of the secret file, {}, is not absolute", path.display())]
    Relative {
        /// The path.
        path: PathBuf,
    },
    /// Others may read the file. LDMS refuses such a file.
    #[error("the secret file {} has mode {mode:03o}, which lets others at it: chmod 600 it", path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file holds no usable secret.
    #[error("the secret file {} is of no use: {source}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: SecretError,
    },
    /// No file was named, and there is none where LDMS looks.
    #[error(
        "no secret file: the authentication domain has no option `conf`, and there is none of {}",
        list(.0)
    )]
    NoneFound(Vec<PathBuf>),
}

impl Secret {
    /// Finds the secret in the contents of a secret file: the first word of the first line that begins with
    /// `secretword=`. What follows the word is a comment.
    ///
    /// # Errors
    /// There is none, or its length is not what LDMS accepts.
    pub fn parse(contents: &[u8]) -> Result<Secret, SecretError> {
        let line = contents
            .split(|byte| *byte == b'\n')
            .find_map(|line| line.strip_prefix(b"secretword="))
            .ok_or(SecretError::Missing)?;
        let word = line
            .split(|byte| matches!(byte, b'#' | b' ' | b'\t'))
            .find(|word| !word.is_empty())
            .ok_or(SecretError::Empty)?;
        if !(LEAST_BYTES..=MOST_BYTES).contains(&word.len()) {
            return Err(SecretError::Length(word.len()));
        }
        Ok(Secret(word.to_vec()))
    }

    /// Reads a secret file.
    ///
    /// # Errors
    /// The path is not absolute, the file cannot be read, others may read it, or it holds no secret.
    pub fn read(path: &Path) -> Result<Secret, SecretFileError> {
        if !path.is_absolute() {
            return Err(SecretFileError::Relative { path: path.to_owned() });
        }
        let cannot_read = |source| SecretFileError::Read { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(cannot_read)?;
        let mode = file.metadata().map_err(cannot_read)?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(SecretFileError::Mode { path: path.to_owned(), mode });
        }
        let mut contents = Vec::new();
        file.read_to_end(&mut contents).map_err(cannot_read)?;
        Secret::parse(&contents).map_err(|source| SecretFileError::Content { path: path.to_owned(), source })
    }

    /// Reads the secret file from where an ldmsd looks when it is not told: the environment variable
    /// `LDMS_AUTH_FILE`, which counts whether or not there is such a file; else the first that exists of those in the
    /// home directory and in `/etc`. (An ldmsd looks below the directory of its installation, too, which is not known
    /// here.)
    ///
    /// # Errors
    /// As [`Secret::read`], or there is none.
    pub fn read_default() -> Result<Secret, SecretFileError> {
        if let Some(path) = std::env::var_os("LDMS_AUTH_FILE") {
            return Secret::read(path.as_ref());
        }
        let mut places = Vec::new();
        places.extend(std::env::home_dir().map(|home| home.join(".ldmsauth.conf")));
        places.extend(["/etc/ldmsd/ldmsauth.conf", "/etc/ldmsauth.conf"].map(PathBuf::from));
        match places.iter().find(|path| path.exists()) {
            Some(path) => Secret::read(path),
            None => Err(SecretFileError::NoneFound(places)),
        }
    }

    /// The secret itself, to compute a proof with.
    pub(super) fn expose(&self) -> &[u8] {
        &self.0
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_first_word_of_the_first_secretword_line_counts() {
        let word = |text: &str| Secret::parse(text.as_bytes()).map(|secret| String::from_utf8(secret.0).unwrap());
        assert_eq!(
            word("# secretword=commented\n\nsecretword=first-one\nsecretword=second-one\n").unwrap(),
            "first-one"
        );
        assert_eq!(word("secretword= \t #leading-skipped rest\n").unwrap(), "leading-skipped");
        assert_eq!(word("secretword=a-secret#and a comment").unwrap(), "a-secret");
        assert_eq!(word(" secretword=indented\n"), Err(SecretError::Missing));
        assert_eq!(word("secretword=#\n"), Err(SecretError::Empty));
        assert_eq!(word("secretword=seven77\n"), Err(SecretError::Length(7)));
        assert_eq!(word("secretword=eight888\n").unwrap(), "eight888");
        assert!(word(&format!("secretword={}", "x".repeat(513))).is_ok());
        assert_eq!(word(&format!("secretword={}", "x".repeat(514))), Err(SecretError::Length(514)));
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::parse(b"secretword=correct-horse").unwrap();
        let method = super::super::AuthMethod::Ovis(secret);
        let handshake = method.handshake(super::super::Role::Client, 1);
        for shown in [format!("{method:?}"), format!("{handshake:?}")] {
            assert!(!shown.contains("correct-horse") && !shown.contains("99, 111"), "{shown}");
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_as_ldms_does() {
        let path = std::env::temp_dir().join(format!("maestro-secret-{}", std::process::id()));
        fs::write(&path, "secretword=correct-horse\n").unwrap();
        let read_with_mode = |mode| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            Secret::read(&path).map_err(|error| error.to_string())
        };
        let open = read_with_mode(0o640);
        let closed = read_with_mode(0o600);
        fs::remove_file(&path).unwrap();
        assert!(open.unwrap_err().contains("has mode 640"));
        assert_eq!(closed.unwrap(), Secret::parse(b"secretword=correct-horse").unwrap());
        assert!(Secret::read(&path).unwrap_err().to_string().starts_with("cannot read the secret file"));
        let relative = Secret::read("secret.conf".as_ref()).unwrap_err().to_string();
        assert_eq!(relative, "the path of the secret file, secret.conf, is not absolute");
    }
}

//! What an operator says about etcd.

use std::fmt;
use std::path::PathBuf;

/// How etcd is reached.
#[derive(Debug, Clone, Default)]
pub struct EtcdOptions {
    /// The members of the etcd cluster as `host:port`, an IPv6 address in brackets. All of them are tried, in this
    /// order at first.
    pub endpoints: Vec<String>,
    /// Talk TLS, with these files.
    pub tls: Option<TlsFiles>,
    /// Log in, where etcd's authentication is enabled.
    pub login: Option<Login>,
}

/// The files for TLS, all in PEM format.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// Certificates of the authorities that vouch for the members.
    pub ca: PathBuf,
    /// Our certificate and its key, where the members want to know who we are.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// A user of etcd. Its role must grant reading and writing of `/PREFIX/` and `/maestro/PREFIX/`.
#[derive(Clone)]
pub struct Login {
    /// The user's name.
    pub user: String,
    /// The user's password; never shown.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_not_shown() {
        let login = Some(Login { user: "maestro".to_owned(), password: "opensesame".to_owned() });
        let options = EtcdOptions { login, ..EtcdOptions::default() };
        let shown = format!("{options:?}");
        assert!(shown.contains("maestro") && !shown.contains("opensesame"), "{shown}");
    }
}

//! Authentication between the two ends of a connection (the wire specification, section 4).
//!
//! A [`Handshake`] is one side's part: messages in, messages out, no sockets. All plugins are symmetric,
//! so the same handshake serves the client and the server; the two differ only in when they are content
//! ([`Role`]). There is no message that says "approved": a side that is not content closes the connection.
//!
//! `munge` alone needs a service of the host, which may block: the handshake is given a credential beforehand
//! ([`AuthMethod::credential`], [`Handshake::introduce_with`]) and hands out the peer's to be checked
//! ([`Handshake::unchecked_credential`], [`AuthMethod::check`], [`Handshake::checked`]).

mod munge;
mod naive;
mod ovis;
mod secret;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::ParseIntError;

pub use munge::{Credential, Munge, MungeError};
pub use naive::Credentials;
pub use secret::{Secret, SecretError, SecretFileError};

/// An authentication domain, ready for use: what one needs to connect to the daemons of the domain.
#[derive(Debug, Clone)]
pub struct Auth {
    /// The name of the domain, for messages.
    pub domain: String,
    /// How its daemons authenticate.
    pub method: AuthMethod,
}

/// How two daemons authenticate each other.
#[derive(Debug, Clone)]
pub enum AuthMethod {
    /// Not at all (4.1).
    None,
    /// Each side says who it is and is believed (4.2).
    Naive(Credentials),
    /// Each side proves that it knows a shared secret (4.3).
    Ovis(Secret),
    /// Each side has the munged of its host vouch for it (4.4).
    Munge(Munge),
}

/// Why an authentication domain cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthConfigError {
    /// A plugin that this program does not speak.
    #[error("authentication plugin `{0}` is not supported: use none, naive, ovis or munge")]
    Plugin(String),
    /// A user or group id that is not a number.
    #[error("option {option} of the authentication plugin naive is `{value}`, not a number")]
    Id {
        /// `uid` or `gid`.
        option: &'static str,
        /// What was given.
        value: String,
        /// Why it is none.
        source: ParseIntError,
    },
    /// The secret of the plugin `ovis` cannot be had.
    #[error(transparent)]
    Secret(#[from] SecretFileError),
    /// The plugin `munge` cannot be used on this host.
    #[error(transparent)]
    Munge(#[from] MungeError),
}

impl AuthMethod {
    /// The method that a plugin name and its options stand for: `uid` and `gid` for `naive`, `conf` (the path
    /// of the secret file) for `ovis`, `socket` (that of munged) for `munge`. Without `conf` the places where an
    /// ldmsd looks are tried. Reads the secret file, loads libmunge.
    ///
    /// # Errors
    /// The plugin is unknown, or its options are of no use; the text is for the operator.
    pub fn from_options(plugin: &str, options: &BTreeMap<String, String>) -> Result<AuthMethod, AuthConfigError> {
        match plugin {
            "none" => Ok(AuthMethod::None),
            "naive" => {
                let id = |option| match options.get(option) {
                    None => Ok(Credentials::NOBODY),
                    Some(value) => value.parse().map_err(|source| {
                        let value = value.clone();
                        AuthConfigError::Id { option, value, source }
                    }),
                };
                Ok(AuthMethod::Naive(Credentials { uid: id("uid")?, gid: id("gid")? }))
            }
            "ovis" => Ok(AuthMethod::Ovis(match options.get("conf") {
                Some(path) => Secret::read(path.as_ref())?,
                None => Secret::read_default()?,
            })),
            "munge" => Ok(AuthMethod::Munge(Munge::new(options.get("socket").map(String::as_str))?)),
            other => Err(AuthConfigError::Plugin(other.to_owned())),
        }
    }

    /// The name of the plugin, which the two sides compare when they connect.
    #[must_use]
    pub fn plugin(&self) -> &'static str {
        match self {
            AuthMethod::None => "none",
            AuthMethod::Naive(_) => "naive",
            AuthMethod::Ovis(_) => "ovis",
            AuthMethod::Munge(_) => "munge",
        }
    }

    /// One side's part of the authentication of a new connection. `challenge` must be unpredictable; only
    /// `ovis` uses it.
    #[must_use]
    pub fn handshake(&self, role: Role, challenge: u64) -> Handshake {
        Handshake(match self {
            AuthMethod::None => Plugin::None,
            AuthMethod::Naive(own) => Plugin::Naive(naive::Naive::new(*own)),
            AuthMethod::Ovis(secret) => Plugin::Ovis(ovis::Ovis::new(role, secret.clone(), challenge)),
            AuthMethod::Munge(_) => Plugin::Munge(munge::Exchange::default()),
        })
    }

    /// Whether a handshake needs [`AuthMethod::credential`] and [`AuthMethod::check`], which may block.
    #[must_use]
    pub fn needs_service(&self) -> bool {
        matches!(self, AuthMethod::Munge(_))
    }

    /// The credential that a handshake introduces itself with on a connection whose own end is `local`; none for the plugins
    /// that need none. May block.
    ///
    /// # Errors
    /// The service of this host that makes credentials is not there.
    pub fn credential(&self, local: SocketAddr) -> Result<Option<Credential>, AuthError> {
        match self {
            AuthMethod::Munge(munge) => Ok(Some(munge.credential(local)?)),
            AuthMethod::None | AuthMethod::Naive(_) | AuthMethod::Ovis(_) => Ok(None),
        }
    }

    /// Who made a peer's credential. May block.
    ///
    /// # Errors
    /// The credential is not genuine, or the service of this host that checks credentials is not there.
    pub fn check(&self, credential: &Credential) -> Result<Credentials, AuthError> {
        match self {
            AuthMethod::Munge(munge) => Ok(munge.check(credential)?),
            AuthMethod::None | AuthMethod::Naive(_) | AuthMethod::Ovis(_) => {
                Err(AuthError::Malformed { plugin: self.plugin() })
            }
        }
    }
}

/// The end of the connection that a handshake serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Content when the server has proved itself and has been answered.
    Client,
    /// Content when the client has proved itself. The client need not challenge.
    Server,
}

/// Why the authentication failed. The connection is to be closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The answer to the challenge was wrong.
    #[error("the daemon did not prove that it knows the secret")]
    WrongSecret,
    /// A message that the plugin does not know.
    #[error("the daemon sent a message that is not one of the authentication plugin {plugin}")]
    Malformed {
        /// The plugin.
        plugin: &'static str,
    },
    /// MUNGE does not vouch for the peer, or not for us.
    #[error(transparent)]
    Munge(#[from] MungeError),
}

/// One side's part of the authentication of one connection.
#[derive(Debug)]
pub struct Handshake(Plugin);

#[derive(Debug)]
enum Plugin {
    None,
    Naive(naive::Naive),
    Ovis(ovis::Ovis),
    Munge(munge::Exchange),
}

impl Handshake {
    /// Hands over what [`AuthMethod::credential`] has made.
    pub fn introduce_with(&mut self, credential: Credential) {
        if let Plugin::Munge(exchange) = &mut self.0 {
            exchange.introduce_with(credential);
        }
    }

    /// The message to send as soon as the connection is accepted, without waiting for the peer.
    #[must_use]
    pub fn start(&self) -> Option<Vec<u8>> {
        match &self.0 {
            Plugin::None => None,
            Plugin::Naive(naive) => Some(naive.introduction()),
            Plugin::Ovis(ovis) => Some(ovis.challenge()),
            Plugin::Munge(exchange) => exchange.introduction(),
        }
    }

    /// Takes a message of the peer; gives the message to send in return.
    ///
    /// # Errors
    /// The peer has failed.
    pub fn receive(&mut self, message: &[u8]) -> Result<Option<Vec<u8>>, AuthError> {
        match &mut self.0 {
            Plugin::None => Err(AuthError::Malformed { plugin: "none" }),
            Plugin::Naive(naive) => naive.receive(message).map(|()| None),
            Plugin::Ovis(ovis) => ovis.receive(message),
            Plugin::Munge(exchange) => exchange.receive(message).map(|()| None),
        }
    }

    /// The credential of the peer that is to be checked before this side can be content.
    #[must_use]
    pub fn unchecked_credential(&self) -> Option<&Credential> {
        match &self.0 {
            Plugin::Munge(exchange) => exchange.unchecked(),
            Plugin::None | Plugin::Naive(_) | Plugin::Ovis(_) => None,
        }
    }

    /// Takes note that the peer's credential is genuine, and whose it is.
    pub fn checked(&mut self, peer: Credentials) {
        if let Plugin::Munge(exchange) = &mut self.0 {
            exchange.checked(peer);
        }
    }

    /// Whether this side is content with its peer.
    #[must_use]
    pub fn is_content(&self) -> bool {
        match &self.0 {
            Plugin::None => true,
            Plugin::Naive(naive) => naive.peer().is_some(),
            Plugin::Ovis(ovis) => ovis.is_content(),
            Plugin::Munge(exchange) => exchange.peer().is_some(),
        }
    }

    /// Who the peer is, for permission checks; meaningful once this side is content.
    #[must_use]
    pub fn peer(&self) -> Credentials {
        let nobody = Credentials { uid: Credentials::NOBODY, gid: Credentials::NOBODY };
        match &self.0 {
            Plugin::None | Plugin::Ovis(_) => Credentials { uid: 0, gid: 0 },
            Plugin::Naive(naive) => naive.peer().unwrap_or(nobody),
            Plugin::Munge(exchange) => exchange.peer().unwrap_or(nobody),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    /// Lets two handshakes talk until both are silent.
    fn converse(client: &mut Handshake, server: &mut Handshake) -> Result<(), AuthError> {
        let mut to_server: VecDeque<Vec<u8>> = client.start().into_iter().collect();
        let mut to_client: VecDeque<Vec<u8>> = server.start().into_iter().collect();
        while !(to_server.is_empty() && to_client.is_empty()) {
            if let Some(message) = to_server.pop_front() {
                to_client.extend(server.receive(&message)?);
            }
            if let Some(message) = to_client.pop_front() {
                to_server.extend(client.receive(&message)?);
            }
        }
        Ok(())
    }

    fn ovis(word: &str) -> AuthMethod {
        AuthMethod::Ovis(Secret::parse(format!("secretword={word}").as_bytes()).unwrap())
    }

    #[test]
    fn both_sides_are_content_when_they_share_the_secret() {
        let naive = AuthMethod::Naive(Credentials { uid: 1000, gid: 100 });
        for method in [AuthMethod::None, naive, ovis("correct-horse")] {
            let mut client = method.handshake(Role::Client, 1);
            let mut server = method.handshake(Role::Server, u64::MAX);
            converse(&mut client, &mut server).unwrap();
            assert!(client.is_content() && server.is_content(), "{}", method.plugin());
        }
    }

    #[test]
    fn a_peer_with_another_secret_is_found_out() {
        let mut client = ovis("correct-horse").handshake(Role::Client, 1);
        let mut server = ovis("battery-staple").handshake(Role::Server, 2);
        assert_eq!(converse(&mut client, &mut server), Err(AuthError::WrongSecret));
        assert!(!client.is_content() && !server.is_content());
    }

    #[test]
    fn a_naive_peer_is_who_it_says() {
        let client = AuthMethod::Naive(Credentials { uid: 1000, gid: 100 });
        let server = AuthMethod::Naive(Credentials { uid: 0, gid: 0 });
        let (mut client, mut server) = (client.handshake(Role::Client, 1), server.handshake(Role::Server, 2));
        converse(&mut client, &mut server).unwrap();
        assert_eq!(server.peer(), Credentials { uid: 1000, gid: 100 });
        assert_eq!(client.peer(), Credentials { uid: 0, gid: 0 });
    }

    #[test]
    fn naive_takes_its_ids_from_the_options() {
        let options = |uid: &str| BTreeMap::from([("uid".to_owned(), uid.to_owned())]);
        let method = AuthMethod::from_options("naive", &options("0")).unwrap();
        assert!(matches!(method, AuthMethod::Naive(Credentials { uid: 0, gid: Credentials::NOBODY })));
        let error = AuthMethod::from_options("naive", &options("root")).unwrap_err();
        assert_eq!(error.to_string(), "option uid of the authentication plugin naive is `root`, not a number");
    }

    #[test]
    fn a_plugin_that_is_not_spoken_is_named() {
        let error = AuthMethod::from_options("kerberos", &BTreeMap::new()).unwrap_err();
        assert!(error.to_string().contains("`kerberos`"), "{error}");
    }

    proptest! {
        #[test]
        fn random_messages_never_satisfy_ovis(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..70), 0..4),
        ) {
            let mut handshake = ovis("correct-horse").handshake(Role::Server, 3);
            for message in messages {
                let _ = handshake.receive(&message);
            }
            prop_assert!(!handshake.is_content());
        }
    }
}

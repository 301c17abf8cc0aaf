//! Calls to the authentication service of this host, which may block, off the tasks that must not.

use tokio::net::TcpStream;
use tokio::task::spawn_blocking;

use crate::ldmsd::auth::{AuthError, AuthMethod, Credential, Credentials, MungeError};

/// The credential for a new connection, where the method needs one.
pub(super) async fn credential(method: &AuthMethod, stream: &TcpStream) -> Result<Option<Credential>, AuthError> {
    if !method.needs_service() {
        return Ok(None);
    }
    let local = stream.local_addr().map_err(|error| MungeError::Service(error.to_string()))?;
    let method = method.clone();
    spawn_blocking(move || method.credential(local)).await.unwrap_or_else(|_| Err(cut_short()))
}

/// Whose credential it is.
pub(super) async fn check(method: AuthMethod, credential: Credential) -> Result<Credentials, AuthError> {
    spawn_blocking(move || method.check(&credential)).await.unwrap_or_else(|_| Err(cut_short()))
}

/// The program is ending.
fn cut_short() -> AuthError {
    AuthError::Munge(MungeError::Service("the call was cut short".to_owned()))
}

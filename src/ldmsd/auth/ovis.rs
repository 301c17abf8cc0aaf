//! The plugin `ovis`: each side challenges the other to prove that it knows the secret (the wire
//! specification, section 4.3).

use sha2::{Digest, Sha224};

use super::secret::Secret;
use super::{AuthError, Role};

const CHALLENGE: u32 = 1;
const REPLY: u32 = 2;

#[derive(Debug)]
pub(super) struct Ovis {
    role: Role,
    secret: Secret,
    challenge: u64,
    /// The peer has answered our challenge.
    peer_proved: bool,
    /// We have answered the peer's challenge.
    answered: bool,
}

impl Ovis {
    pub(super) fn new(role: Role, secret: Secret, challenge: u64) -> Ovis {
        Ovis { role, secret, challenge, peer_proved: false, answered: false }
    }

    pub(super) fn challenge(&self) -> Vec<u8> {
        // The type is in native order; on the usual platforms that is little-endian.
        let mut message = CHALLENGE.to_le_bytes().to_vec();
        message.extend(self.challenge.to_be_bytes());
        message
    }

    /// Challenge and answer of the peer may arrive in either order.
    pub(super) fn receive(&mut self, message: &[u8]) -> Result<Option<Vec<u8>>, AuthError> {
        const MALFORMED: AuthError = AuthError::Malformed { plugin: "ovis" };
        let (message_type, content) = message.split_first_chunk().ok_or(MALFORMED)?;
        let is = |wanted: u32| *message_type == wanted.to_le_bytes() || *message_type == wanted.to_be_bytes();
        if is(CHALLENGE) {
            let challenge = u64::from_be_bytes(content.try_into().map_err(|_| MALFORMED)?);
            if challenge == self.challenge {
                // Answering our own challenge would hand the peer the proof that we want from it.
                return Err(AuthError::WrongSecret);
            }
            self.answered = true;
            Ok(Some(reply(challenge, &self.secret)))
        } else if is(REPLY) {
            let (nul, proof) = content.split_last().ok_or(MALFORMED)?;
            if *nul != 0 || !are_equal(proof, proof_of(self.challenge, &self.secret).as_bytes()) {
                return Err(AuthError::WrongSecret);
            }
            self.peer_proved = true;
            Ok(None)
        } else {
            Err(MALFORMED)
        }
    }

    pub(super) fn is_content(&self) -> bool {
        self.peer_proved && (self.answered || self.role == Role::Server)
    }
}

fn reply(challenge: u64, secret: &Secret) -> Vec<u8> {
    let mut message = REPLY.to_le_bytes().to_vec();
    message.extend(proof_of(challenge, secret).into_bytes());
    message.push(0);
    message
}

/// SHA-224 over the challenge in decimal and the secret, in lower-case hexadecimal.
fn proof_of(challenge: u64, secret: &Secret) -> String {
    let mut hash = Sha224::new();
    hash.update(challenge.to_string());
    hash.update(secret.expose());
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares in a time that does not tell how much is right: whoever measures it learns nothing.
fn are_equal(proof: &[u8], expected: &[u8]) -> bool {
    let differences = proof.iter().zip(expected).fold(0, |differences, (a, b)| differences | (a ^ b));
    proof.len() == expected.len() && std::hint::black_box(differences) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(word: &str) -> Secret {
        Secret::parse(format!("secretword={word}\n").as_bytes()).unwrap()
    }

    #[test]
    fn proofs_are_those_of_ldms() {
        let proofs = [
            (1, "secretword", "b041c93f97221888680d6ed43ee8813d7c9c558bf7196882eaccac62"),
            (
                1_234_567_890_123_456_789,
                "correct-horse-battery",
                "c4d2ecb8bf5ddd96b11a94c214e242ae04e1d6b4ce6dde38b1ec32ba",
            ),
            (u64::MAX, "correct-horse-battery", "cbd1fee6ed3b8e971075190ff772e96a97af0f838d58bd0044a55f53"),
        ];
        for (challenge, word, proof) in proofs {
            assert_eq!(proof_of(challenge, &secret(word)), proof);
        }
    }

    #[test]
    fn types_are_understood_in_either_byte_order() {
        let mut ovis = Ovis::new(Role::Client, secret("secretword"), 7);
        let little = [&[1, 0, 0, 0], &1_u64.to_be_bytes()[..]].concat();
        let big = [&[0, 0, 0, 1], &1_u64.to_be_bytes()[..]].concat();
        assert_eq!(ovis.receive(&little), ovis.receive(&big));
        assert!(ovis.receive(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]).is_err());
    }

    #[test]
    fn a_client_is_content_only_when_it_has_answered_too() {
        let right = reply(5, &secret("secretword"));
        let challenge = Ovis::new(Role::Server, secret("secretword"), 6).challenge();

        let mut client = Ovis::new(Role::Client, secret("secretword"), 5);
        client.receive(&right).unwrap();
        assert!(!client.is_content());
        client.receive(&challenge).unwrap();
        assert!(client.is_content());

        let mut server = Ovis::new(Role::Server, secret("secretword"), 5);
        server.receive(&right).unwrap();
        assert!(server.is_content());
    }

    #[test]
    fn a_peer_that_throws_our_challenge_back_gets_no_answer() {
        let mut client = Ovis::new(Role::Client, secret("secretword"), 5);
        let reflected = client.challenge();
        assert_eq!(client.receive(&reflected), Err(AuthError::WrongSecret));
    }

    #[test]
    fn a_reply_must_be_exact() {
        let right = reply(5, &secret("secretword"));
        let mut wrong = right.clone();
        wrong[10] ^= 1;
        for message in [&right[..right.len() - 1], &[&right[..], &[0]].concat(), &wrong] {
            let mut ovis = Ovis::new(Role::Server, secret("secretword"), 5);
            assert_eq!(ovis.receive(message), Err(AuthError::WrongSecret));
            assert!(!ovis.is_content());
        }
    }
}

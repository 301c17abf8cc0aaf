//! What can go wrong with the store, in words for an operator.

use std::path::PathBuf;

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The options name no member of the etcd cluster.
    #[error("no etcd member is given: name at least one host and port")]
    NoMember,

    /// A certificate or key for TLS cannot be read or used.
    #[error("cannot use {}: {reason}", path.display())]
    TlsFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// None of the members gave an answer in time.
    #[error("etcd at {members} does not answer: {reason}")]
    Unreachable {
        /// All members, separated by commas.
        members: String,
        /// What happened; for each member where it was not the same for all.
        reason: String,
    },

    /// etcd wants another user, password or permission.
    #[error("etcd at {member} refuses access: {reason}")]
    Denied {
        /// The member that said so.
        member: String,
        /// In etcd's words.
        reason: String,
    },

    /// etcd cannot do what it was asked, and the other members could not either.
    #[error("etcd at {member} reports an error: {reason}")]
    Failed {
        /// The member that said so.
        member: String,
        /// In etcd's words.
        reason: String,
    },

    /// The cluster's name cannot be used in a key.
    #[error("{prefix:?} cannot be the name of a cluster in etcd: {reason}")]
    InvalidPrefix {
        /// The name.
        prefix: String,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// An entry of a tree cannot be stored.
    #[error("{key:?} cannot be a key of a configuration")]
    InvalidKey {
        /// The key in etcd.
        key: String,
    },

    /// etcd holds something under the cluster's prefix that is not text.
    #[error("the key {key} in etcd or its value is not UTF-8 text")]
    NotText {
        /// The key, with what is not text replaced.
        key: String,
    },

    /// What etcd holds is the remains of a save that did not come to its end.
    #[error("the configuration of {prefix} in etcd is only half saved: save it again with maestro_ctrl")]
    HalfSaved {
        /// The cluster's name.
        prefix: String,
    },

    /// Another program holds the save lock.
    #[error("another maestro_ctrl is saving {prefix} ({owner}): wait until it has finished, then save again")]
    AnotherSave {
        /// The cluster's name.
        prefix: String,
        /// Who it is, as it described itself.
        owner: String,
    },

    /// The save lock expired before the save was complete.
    #[error("etcd was too slow: the lock on {prefix} expired before the save was complete; save again")]
    LockLost {
        /// The cluster's name.
        prefix: String,
    },

    /// The caller stopped the save.
    #[error("interrupted: for its readers, nothing has changed in {prefix}; load again to go on")]
    Interrupted {
        /// The cluster's name.
        prefix: String,
    },

    /// A program that does not know of the save lock completed a save in the middle of this one.
    #[error(
        "{prefix} was saved by another program at the same time; nothing is complete: make sure that only one of them \
         runs, then save again"
    )]
    Overtaken {
        /// The cluster's name.
        prefix: String,
    },

    /// A guarded write was refused: what its writer stood on is no longer so.
    #[error("nothing was written to etcd for {prefix}: another maestro has taken over")]
    Superseded {
        /// The cluster's name.
        prefix: String,
    },
}

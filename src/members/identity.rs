//! Which of the configured members we are.

use crate::notation::Name;
use crate::spec::etcd_file::Member;

/// Why we do not know which member we are, and what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// `--member` names somebody else.
    #[error("--member {named} is none of the `maestro_members` of etcd.yaml ({members}): name one of them")]
    Unknown {
        /// What was named.
        named: String,
        /// All members.
        members: String,
    },
    /// `--member` was given for a maestro that works alone.
    #[error("--member {named}: etcd.yaml lists no `maestro_members`: list them all there, or leave --member away")]
    NoMembers {
        /// What was named.
        named: String,
    },
    /// None of the members is on this machine.
    #[error(
        "this machine, {machine}, is none of the `maestro_members` of etcd.yaml ({members}): list it there, or say \
         which of them this is with --member HOST:PORT"
    )]
    NotListed {
        /// This machine's name and addresses.
        machine: String,
        /// All members.
        members: String,
    },
    /// Several of the members are on this machine.
    #[error(
        "several of the `maestro_members` of etcd.yaml are on this machine ({here}): say which with --member {first}"
    )]
    Several {
        /// Those.
        here: String,
        /// The first of them.
        first: String,
    },
}

/// Which of `members` we are, as its name `HOST:PORT`: the one that was named, or the only one that is on this machine.
///
/// `is_here` tells whether a host as written in etcd.yaml is this machine, `machine` is what to call it in an error.
///
/// # Errors
/// [`IdentityError`], which says what to write.
pub fn find_self(
    members: &[Member],
    named: Option<&str>,
    machine: &str,
    is_here: impl Fn(&str) -> bool,
) -> Result<Name, IdentityError> {
    let listed = |members: &[&Member]| members.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let all: Vec<&Member> = members.iter().collect();
    if let Some(named) = named {
        return match all.iter().find(|member| member.to_string() == named) {
            Some(_) => Ok(Name::from(named)),
            None if members.is_empty() => Err(IdentityError::NoMembers { named: named.to_owned() }),
            None => Err(IdentityError::Unknown { named: named.to_owned(), members: listed(&all) }),
        };
    }
    let here: Vec<&Member> = members.iter().filter(|member| is_here(&member.host)).collect();
    match here.as_slice() {
        [only] => Ok(Name::from(only.to_string())),
        [] => Err(IdentityError::NotListed { machine: machine.to_owned(), members: listed(&all) }),
        [first, ..] => Err(IdentityError::Several { here: listed(&here), first: first.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(host: &str, port: u16) -> Member {
        Member { host: host.into(), port }
    }

    fn found(members: &[Member], named: Option<&str>) -> Result<Name, IdentityError> {
        find_self(members, named, "node-7 (10.0.0.7)", |host| ["node-7", "10.0.0.7", "127.0.0.1"].contains(&host))
    }

    #[test]
    fn the_only_member_on_this_machine_is_ours() {
        let members = [member("node-6", 4411), member("node-7", 4411), member("node-8", 4411)];
        assert_eq!(found(&members, None), Ok("node-7:4411".into()));
    }

    #[test]
    fn of_several_on_this_machine_one_is_named() {
        let members = [member("127.0.0.1", 4411), member("127.0.0.1", 4412), member("::1", 4413)];
        let error = found(&members, None).unwrap_err().to_string();
        assert!(error.contains("(127.0.0.1:4411, 127.0.0.1:4412): say which with --member 127.0.0.1:4411"), "{error}");
        assert_eq!(found(&members, Some("127.0.0.1:4412")), Ok("127.0.0.1:4412".into()));
        assert_eq!(found(&members, Some("[::1]:4413")), Ok("[::1]:4413".into()));
    }

    #[test]
    fn who_is_not_listed_is_told_what_to_write() {
        let members = [member("node-1", 4411), member("node-2", 4412)];
        let error = found(&members, None).unwrap_err().to_string();
        assert!(error.starts_with("this machine, node-7 (10.0.0.7), is none of the"), "{error}");
        assert!(error.contains("(node-1:4411, node-2:4412): list it there, or say which"), "{error}");
        let error = found(&members, Some("node-1")).unwrap_err().to_string();
        assert!(error.contains("--member node-1 is none of"), "{error}");
        let error = found(&[], Some("node-1:4411")).unwrap_err().to_string();
        assert!(error.contains("lists no `maestro_members`"), "{error}");
    }
}

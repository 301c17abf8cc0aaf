//! Which of several instances of maestro this is.

use crate::local::{ThisHost, hosts_here};
use crate::members::find_self;
use crate::notation::Name;
use crate::spec::etcd_file::Member;

/// Which of the `maestro_members` of etcd.yaml this instance is; none where there are none, so that it is alone.
///
/// # Errors
/// It is none of them, or may be several, or `named` is none; the text says what to write.
pub async fn own_member(members: &[Member], named: Option<&str>) -> anyhow::Result<Option<Name>> {
    if members.is_empty() && named.is_none() {
        return Ok(None);
    }
    // Who is named needs no look-up.
    let hosts = members.iter().filter(|_| named.is_none()).map(|member| member.host.as_str()).collect();
    let machine = ThisHost::ask()?;
    let here = hosts_here(hosts, &machine).await;
    Ok(Some(find_self(members, named, &machine.to_string(), |host| here.contains(host))?))
}

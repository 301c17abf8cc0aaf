//! What a daemon does not show: environment, stream and message services, authentication domains,
//! listeners. They are sent once to each run of a daemon, before any producer connects (operations of
//! a live ldmsd, sections 0, 11 and 13), and again when the wanted value changes.

use super::change::{Change, Step, Subject};
use super::config::DaemonConfig;
use super::ledger::{Ledger, LedgerEntry};
use crate::ldmsd::{Attribute, Command, Numbering, Verb};

/// The object exists already, which is what was wanted.
const EXISTS: &[i32] = &[17];
/// The object does not exist any more.
const GONE: &[i32] = &[2];

pub(super) fn changes(config: &DaemonConfig, ledger: &Ledger, numbering: Numbering, changes: &mut Vec<Change>) {
    // `undo` comes before the command where something else has been sent for the subject.
    let mut blind = |subject: Subject, undo: Option<Step>, step: Step| {
        let entry = LedgerEntry::new(subject.to_string(), &step.command.to_string());
        if !ledger.holds(&entry) {
            let undo = undo.filter(|_| ledger.contradicts(&entry));
            changes.push(Change { subject, steps: undo.into_iter().chain([step]).collect(), remember: Some(entry) });
        }
    };

    // First: what follows may refer to it.
    for (variable, value) in &config.environment {
        let set = Command::new(Verb::Env).with(Attribute::String, format!("{variable}={value}"));
        blind(Subject::Environment(variable.clone()), None, set.into());
    }
    // 4.4 has no message service and always runs its stream service.
    if config.messages && numbering == Numbering::V45 {
        blind(Subject::Messages, None, Command::new(Verb::MsgEnable).into());
    }
    if config.streams && numbering == Numbering::V45 {
        blind(Subject::Streams, None, Command::new(Verb::StreamEnable).into());
    }
    for domain in config.auth_domains.values() {
        let options = domain.options.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ");
        let add = Command::new(Verb::AuthAdd)
            .with(Attribute::Name, &domain.name)
            .with(Attribute::Plugin, &domain.plugin)
            .with_some(Attribute::String, (!options.is_empty()).then_some(options));
        // It cannot be changed, and who uses it keeps what it took (section 12): it is for who comes from now on.
        let delete = Command::new(Verb::AuthDel).with(Attribute::Name, &domain.name);
        let subject = Subject::AuthDomain(domain.name.clone());
        blind(subject, Some(Step::accepting(delete, GONE)), Step::accepting(add, EXISTS));
    }
    for listen in &config.listens {
        let command = Command::new(Verb::Listen)
            .with(Attribute::Xprt, &listen.xprt)
            .with(Attribute::Port, listen.port)
            .with(Attribute::Auth, &listen.auth)
            .with_some(Attribute::Host, listen.host.as_ref());
        let subject = Subject::Listener(format!("{}:{}", listen.xprt, listen.port));
        let has_failed = ledger.knows(&subject) && !ledger.contradicts(&failed_to_listen(&subject));
        blind(subject, None, Step::accepting(command, if has_failed { &[] } else { EXISTS }));
    }
}

/// That a daemon could not listen. It keeps the address all the same, and refuses the next try because it exists, though
/// nothing listens there until the daemon restarts (operations of a live ldmsd, section 12).
#[must_use]
pub fn failed_to_listen(listener: &Subject) -> LedgerEntry {
    LedgerEntry::new(listener.to_string(), "failed")
}

/// Whether what was sent under a key goes on having an effect once it has left the configuration. A domain or a service
/// that nobody uses has none.
pub(super) fn lingers(key: &str) -> bool {
    ["environment variable ", "listener "].iter().any(|kind| key.starts_with(kind))
}

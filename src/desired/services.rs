//! What a daemon does not show: environment, stream and message services, authentication domains,
//! listeners. They are sent once to each run of a daemon, before any producer connects (operations of
//! a live ldmsd, sections 0, 11 and 13), and again when the wanted value changes.

use super::change::{Change, Step, Subject};
use super::config::DaemonConfig;
use super::ledger::{Ledger, LedgerEntry};
use crate::ldmsd::{Attribute, Command, Numbering, Verb};

/// The object exists already, which is what was wanted.
const EXISTS: &[i32] = &[17];

pub(super) fn changes(config: &DaemonConfig, ledger: &Ledger, numbering: Numbering, changes: &mut Vec<Change>) {
    let mut blind = |subject: Subject, steps: Vec<Step>| {
        let commands = steps.iter().map(|step| step.command.to_string()).collect::<Vec<_>>();
        let entry = LedgerEntry::new(subject.to_string(), &commands.join("; "));
        if !ledger.holds(&entry) {
            changes.push(Change { subject, steps, remember: Some(entry) });
        }
    };

    // First: what follows may refer to it.
    if !config.environment.is_empty() {
        let words = config.environment.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>();
        blind(Subject::Environment, vec![Command::new(Verb::Env).with(Attribute::String, words.join(" ")).into()]);
    }
    // 4.4 has no message service and always runs its stream service.
    if config.messages && numbering == Numbering::V45 {
        blind(Subject::Messages, vec![Command::new(Verb::MsgEnable).into()]);
    }
    if config.streams && numbering == Numbering::V45 {
        blind(Subject::Streams, vec![Command::new(Verb::StreamEnable).into()]);
    }
    for domain in config.auth_domains.values() {
        let options = domain.options.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ");
        let command = Command::new(Verb::AuthAdd)
            .with(Attribute::Name, &domain.name)
            .with(Attribute::Plugin, &domain.plugin)
            .with_some(Attribute::String, (!options.is_empty()).then_some(options));
        blind(Subject::AuthDomain(domain.name.clone()), vec![Step::accepting(command, EXISTS)]);
    }
    for listen in &config.listens {
        let command = Command::new(Verb::Listen)
            .with(Attribute::Xprt, &listen.xprt)
            .with(Attribute::Port, listen.port)
            .with(Attribute::Auth, &listen.auth)
            .with_some(Attribute::Host, listen.host.as_ref());
        let subject = Subject::Listener(format!("{}:{}", listen.xprt, listen.port));
        blind(subject, vec![Step::accepting(command, EXISTS)]);
    }
}

//! Which line of development of ldmsd a simulated daemon imitates.

use maestro::ldmsd::Numbering;

/// The line of development that a daemon imitates: numbering, shapes of replies and peculiarities follow from it
/// (the wire specification, section 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Imitation {
    /// The development head.
    Main,
    /// LDMS 4.5.
    #[value(name = "4.5")]
    V45,
    /// LDMS 4.4.
    #[value(name = "4.4")]
    V44,
}

impl Imitation {
    /// The family of command and attribute numbers.
    pub(crate) fn numbering(self) -> Numbering {
        match self {
            Imitation::Main | Imitation::V45 => Numbering::V45,
            Imitation::V44 => Numbering::V44,
        }
    }

    /// What `version` answers. Maestro must not depend on it, so it says plainly that this is no ldmsd.
    pub(crate) fn version_text(self) -> &'static str {
        match self {
            Imitation::Main => {
                r#"{ "LDMSD Version":"4.5.1-simulated",  "LDMS Protocol Version": "4.2.0.0",  "LDMSD Plugin Interface Version": "3.2.2.0",  "git-SHA": "" }"#
            }
            Imitation::V45 => {
                r#"{ "LDMSD Version":"4.5.3-simulated",  "LDMS Protocol Version": "4.2.0.0",  "LDMSD Plugin Interface Version": "3.2.2.0",  "git-SHA": "" }"#
            }
            Imitation::V44 => "LDMS Version: 4.2.0.0\nLDMSD Version: 3.2.2.0",
        }
    }
}

//! The small notations of the field: names, hostlists, intervals, permissions, regular expressions.
//!
//! Nothing here knows of LDMS daemons or of YAML; each module parses one notation and prints it back.

pub mod hostlist;
pub mod interval;
pub mod name;
pub mod name_set;
pub mod permission;
pub mod regex;

pub use interval::Interval;
pub use name::Name;
pub use name_set::NameSet;
pub use permission::Permission;

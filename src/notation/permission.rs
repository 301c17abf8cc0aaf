//! Permissions of LDMS objects: octal (`0777`, `0o640`) or as `ls` shows them (`rw-r-----`).

use std::fmt;

/// Permission bits, printed as ldmsd reads them: octal with a leading zero (it takes `600` as decimal).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Permission(pub u32);

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0{:o}", self.0)
    }
}

//! What `maestro_ctrl` does, one file for each action; the program itself only reads its arguments.

mod check;
mod diff;
mod generate;
mod load;
mod local;
mod progress;
mod source;

pub use check::check;
pub use diff::{Detail, diff};
pub use generate::{generate, print};
pub use load::load;
pub use local::local;
pub use source::Source;

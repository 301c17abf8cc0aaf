//! What `maestro_ctrl` does, one file for each action; the program itself only reads its arguments.

mod check;
mod generate;
mod load;
mod source;

pub use check::check;
pub use generate::{generate, print};
pub use load::load;
pub use source::Source;

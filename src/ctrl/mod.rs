//! What `maestro_ctrl` does, one file for each action; the program itself only reads its arguments.

mod check;
mod load;

pub use check::check;
pub use load::load;

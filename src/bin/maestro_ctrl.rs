//! The `maestro_ctrl` program.

fn main() {}

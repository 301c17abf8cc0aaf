//! The `maestro` program.

fn main() {}

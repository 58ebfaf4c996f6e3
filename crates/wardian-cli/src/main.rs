//! The `wardian` command line.
#![forbid(unsafe_code)]

fn main() {}

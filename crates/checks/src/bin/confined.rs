//! Runs a program as checks do: in a session of its own, with limits, without
//! capabilities. `confined PROGRAM ARGUMENT...`

use std::{env, io};

fn main() -> io::Result<()> {
    let mut words = env::args_os().skip(1);
    let program = words
        .next()
        .ok_or_else(|| io::Error::other("confined PROGRAM ARGUMENT..."))?;
    Err(checks::run_confined(&program, words))
}

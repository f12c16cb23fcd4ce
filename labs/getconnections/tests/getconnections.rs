//! getconnections keeps its promises.

checks::getconnections!(env!("CARGO_BIN_EXE_getconnections"));

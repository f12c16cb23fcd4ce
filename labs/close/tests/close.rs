//! close keeps its promises.

checks::close!(env!("CARGO_BIN_EXE_close"));

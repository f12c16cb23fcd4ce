//! tcp-client keeps its promises.

checks::tcp_client!(env!("CARGO_BIN_EXE_tcp-client"));

//! tcp-server keeps its promises.

checks::tcp_server!(env!("CARGO_BIN_EXE_tcp-server"));

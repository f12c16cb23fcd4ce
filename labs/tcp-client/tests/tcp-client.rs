//! tcp-client keeps its promises, and is clear about its own flags.

use std::net::TcpListener;

use assert_cmd::cargo::cargo_bin_cmd;
use predicates::prelude::*;
use predicates::str::{contains, starts_with};

checks::tcp_client!(env!("CARGO_BIN_EXE_tcp-client"));

#[test]
fn a_time_has_a_unit() {
    for flag in ["--end-after", "--connect-timeout"] {
        cargo_bin_cmd!("tcp-client")
            .args([flag, "5"])
            .assert()
            .code(2)
            .stdout("")
            .stderr(starts_with("error: ").and(contains(flag)));
    }
}

#[test]
fn every_attempt_is_told() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap().to_string();
    drop(closed);
    let expected = format!(
        "trying {address}\n\
         {address}: connection refused (ECONNREFUSED)\n\
         error: cannot connect to {address}: connection refused (ECONNREFUSED)\n\
         help: nobody listens there; start the server first, and compare the \
         ports\n"
    );
    cargo_bin_cmd!("tcp-client")
        .args(["--connect", &address])
        .assert()
        .code(1)
        .stdout("")
        .stderr(expected);
}

//! tcp-client keeps its promises, and is clear about its own flags.

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
    // Port 1 is tcpmux (RFC 1078), which nobody has run for decades.
    cargo_bin_cmd!("tcp-client")
        .args(["--connect", "127.0.0.1:1"])
        .assert()
        .code(1)
        .stdout("")
        .stderr(
            "trying 127.0.0.1:1\n\
             127.0.0.1:1: connection refused (ECONNREFUSED)\n\
             error: cannot connect to 127.0.0.1:1: connection refused \
             (ECONNREFUSED)\n\
             help: nobody listens there; start the server first, and compare \
             the ports (chapter \"Debugging sockets\")\n",
        );
}

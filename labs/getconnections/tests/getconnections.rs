//! getconnections keeps its promises, and is clear about its own flags.

use assert_cmd::cargo::cargo_bin_cmd;
use predicates::prelude::*;
use predicates::str::{contains, starts_with};

checks::getconnections!(env!("CARGO_BIN_EXE_getconnections"));

/// In Node, `maxConnections = 0` means no limit at all. Here it is misuse.
#[test]
fn at_least_one_client_may_come() {
    for max in ["0", "-1", "two"] {
        cargo_bin_cmd!("getconnections")
            .args([&format!("--max={max}"), "--listen=127.0.0.1:0"])
            .assert()
            .code(2)
            .stdout("")
            .stderr(starts_with("error: ").and(contains("--max")));
    }
}

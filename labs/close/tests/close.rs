//! close keeps its promises, and is clear about its own flags.

use assert_cmd::cargo::cargo_bin_cmd;
use predicates::prelude::*;
use predicates::str::{contains, starts_with};

checks::close!(env!("CARGO_BIN_EXE_close"));

#[test]
fn it_closes_after_one_client_at_the_earliest() {
    for after in ["0", "-1", "two"] {
        cargo_bin_cmd!("close")
            .args([&format!("--after={after}"), "--listen=127.0.0.1:0"])
            .assert()
            .code(2)
            .stdout("")
            .stderr(starts_with("error: ").and(contains("--after")));
    }
}

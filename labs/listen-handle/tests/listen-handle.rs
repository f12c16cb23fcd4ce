//! listen-handle keeps its promises, and is clear about its own flags.

use assert_cmd::cargo::cargo_bin_cmd;
use predicates::prelude::*;
use predicates::str::contains;

checks::listen_handle!(env!("CARGO_BIN_EXE_listen-handle"));

#[test]
fn the_help_tells_the_variable_the_descriptor_and_the_signal() {
    cargo_bin_cmd!("listen-handle")
        .arg("--help")
        .assert()
        .success()
        .stdout(
            contains("LISTEN_FDS")
                .and(contains("descriptor 3"))
                .and(contains("SIGHUP"))
                .and(contains("[default: 127.0.0.1:8080]")),
        );
}

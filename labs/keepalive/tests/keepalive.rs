//! keepalive keeps its promises, and is clear about its own flags.

use assert_cmd::cargo::cargo_bin_cmd;
use predicates::prelude::*;
use predicates::str::{contains, starts_with};

checks::keepalive!(env!("CARGO_BIN_EXE_keepalive"));

#[test]
fn a_time_has_a_unit_and_probes_are_as_many_as_the_kernel_counts() {
    for flag in [
        "--initial-delay=5",
        "--initial-delay=32768s",
        "--interval=10h",
        "--probes=0",
        "--probes=128",
        "--user-timeout=0s",
        "--user-timeout=25days",
    ] {
        let (name, _) = flag.split_once('=').unwrap();
        cargo_bin_cmd!("keepalive")
            .args([flag, "--listen=127.0.0.1:0"])
            .assert()
            .code(2)
            .stdout("")
            .stderr(starts_with("error: ").and(contains(name)));
    }
}

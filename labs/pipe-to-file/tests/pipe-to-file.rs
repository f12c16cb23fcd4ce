//! pipe-to-file keeps its promises, and is clear about its own flags.

use assert_cmd::cargo::cargo_bin_cmd;
use predicates::prelude::*;
use predicates::str::{contains, starts_with};

checks::pipe_to_file!(env!("CARGO_BIN_EXE_pipe-to-file"));

#[test]
fn a_time_has_a_unit_and_flags_have_their_values() {
    for flag in ["--unpipe-after=5", "--file", "--end-text", "--append=yes"] {
        let (name, _) = flag.split_once('=').unwrap_or((flag, ""));
        cargo_bin_cmd!("pipe-to-file")
            .args(["--listen=127.0.0.1:0", flag])
            .assert()
            .code(2)
            .stdout("")
            .stderr(starts_with("error: ").and(contains(name)));
    }
}

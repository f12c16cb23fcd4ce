//! The programs of `tests/node` are the labs in Node: same flags, same story.
//! Each is held to all promises of its lab. So the promises say what a program
//! does, and not what Rust does, and what the course says of Node is true.
//!
//! Where Node cannot do what a lab does, the promise stands in
//! `tests/node/differences.toml`, with the reason; then it must be broken.

#![allow(clippy::unwrap_used, reason = "a test that cannot look has failed")]

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use checks::wait::PATIENCE;
use checks::{LABS, Lab, Program, Verdict};
use tests::{Job, build_helpers, judge_all, root};

/// Makes a `#[test]` of each program, and `TESTED` of their names.
macro_rules! programs {
    ($( $test:ident = $lab:literal; )+) => {
        const TESTED: &[&str] = &[$( $lab ),+];

        $(
            #[test]
            fn $test() {
                hold_to_its_promises($lab);
            }
        )+
    };
}

programs! {
    tcp_server_in_node_keeps_the_promises_but_those_listed = "tcp-server";
    tcp_client_in_node_keeps_the_promises_but_those_listed = "tcp-client";
    getconnections_in_node_keeps_the_promises_but_those_listed =
        "getconnections";
    close_in_node_keeps_the_promises_but_those_listed = "close";
    unref_in_node_keeps_the_promises_but_those_listed = "unref";
    unix_socket_in_node_keeps_the_promises_but_those_listed = "unix-socket";
    is_ip_in_node_keeps_the_promises_but_those_listed = "is-ip";
    udp_unicast_in_node_keeps_the_promises_but_those_listed = "udp-unicast";
    udp_broadcast_in_node_keeps_the_promises_but_those_listed =
        "udp-broadcast";
    half_open_in_node_keeps_the_promises_but_those_listed = "half-open";
    pause_resume_in_node_keeps_the_promises_but_those_listed = "pause-resume";
    pipe_to_file_in_node_keeps_the_promises_but_those_listed = "pipe-to-file";
    timeout_in_node_keeps_the_promises_but_those_listed = "timeout";
    backpressure_in_node_keeps_the_promises_but_those_listed = "backpressure";
    keepalive_in_node_keeps_the_promises_but_those_listed = "keepalive";
    listen_handle_in_node_keeps_the_promises_but_those_listed =
        "listen-handle";
    multicast_in_node_keeps_the_promises_but_those_listed = "multicast";
    telnet_in_node_keeps_the_promises_but_those_listed = "telnet";
    chat_v1_in_node_keeps_the_promises_but_those_listed = "chat-v1";
    chat_v2_in_node_keeps_the_promises_but_those_listed = "chat-v2";
}

#[test]
fn every_lab_is_there_in_node_and_is_tested() {
    for lab in LABS {
        let path = program(lab.name);
        assert!(path.is_file(), "{} is missing", path.display());
        assert!(TESTED.contains(&lab.name), "{} has no #[test]", lab.name);
    }
}

#[test]
fn every_listed_difference_is_a_promise_and_has_a_reason() {
    for (promise, Difference { reason, .. }) in differences() {
        let is_one = LABS
            .iter()
            .flat_map(|l| l.promises)
            .any(|p| p.id == promise);
        assert!(is_one, "{promise} is listed, and is no promise");
        assert!(
            !reason.trim().is_empty(),
            "{promise} is listed with no reason"
        );
    }
}

/// So many programs, of all labs together: to start Node takes ten times what
/// it takes to start a lab, and who must wait long for a processor is late with
/// all that it does by the clock.
const AT_A_TIME: usize = 12;

fn hold_to_its_promises(lab: &str) {
    if !node_is_installed() {
        checks::skip("node", "the program node is not installed");
        return;
    }
    build_helpers();
    let lab: &Lab = LABS.iter().find(|l| l.name == lab).unwrap();
    let path = program(lab.name);
    let program = Program::command(["node", path.to_str().unwrap()]);
    let job = |promise| Job {
        lab,
        promise,
        program: &program,
        patience: PATIENCE,
    };
    let jobs: Vec<Job> = lab.promises.iter().map(job).collect();
    let verdicts = judge_all(&jobs, AT_A_TIME);

    let differences = differences();
    let mut wrong = Vec::new();
    let mut skipped = Vec::new();
    for (promise, verdict) in lab.promises.iter().zip(verdicts) {
        let id = promise.id;
        match (verdict, differences.get(id)) {
            (Verdict::Kept, None) | (Verdict::Broken(_), Some(_)) => {}
            (Verdict::Kept, Some(it)) if it.sometimes => {}
            (Verdict::Kept, Some(it)) => wrong.push(format!(
                "{id} is kept, but listed as a difference: {}",
                it.reason
            )),
            (Verdict::Broken(report), None) => {
                wrong.push(format!("broken promise {report}"));
            }
            (Verdict::Skipped(missing), _) => skipped.push((id, missing)),
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n\n"));
    for (id, missing) in skipped {
        checks::skip(id, &missing);
    }
}

fn program(lab: &str) -> PathBuf {
    // Absolute: a program under check runs in a directory of its own.
    let directory = root().join("tests/node").canonicalize().unwrap();
    directory.join(lab).with_extension("js")
}

fn node_is_installed() -> bool {
    let mut node = Command::new("node");
    node.arg("--version").stdout(Stdio::null()).status().is_ok()
}

/// A promise that Node does not keep.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Difference {
    promise: String,
    reason: String,
    /// Whether it is kept depends on the garbage collector, or on how reads fall.
    #[serde(default)]
    sometimes: bool,
}

/// The table: each promise, and why Node does not keep it.
fn differences() -> HashMap<String, Difference> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Table {
        #[serde(default)]
        difference: Vec<Difference>,
    }

    let path = root().join("tests/node/differences.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let table: Table =
        toml::from_str(&text).unwrap_or_else(|e| panic!("{path:?}: {e}"));
    let mut differences = HashMap::new();
    for difference in table.difference {
        let promise = difference.promise.clone();
        let twice = differences.insert(promise, difference);
        assert!(twice.is_none(), "a promise is listed twice");
    }
    differences
}

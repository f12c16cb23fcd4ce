//! Whatever a check has started, it ends.

use std::sync::mpsc;
use std::thread;

use checks::Program;
use checks::labs::tcp_server;
use checks::script::Script;
use checks::wait::PATIENCE;

#[test]
fn a_program_that_has_no_group_yet_is_ended() {
    // `confined` makes the group, a moment after it was started. `env` starts
    // programs, too, and makes none at all.
    checks::use_confined("env".into());
    let (is_over, over) = mpsc::channel();
    thread::spawn(move || {
        let program = Program::command(["sleep", "60"]);
        let script = Script::new(&tcp_server::LAB, &program).unwrap();
        let started = script.start(&[]).unwrap();
        drop((started, script));
        is_over.send(()).unwrap();
    });
    over.recv_timeout(PATIENCE)
        .expect("it is waited for, and not ended");
}

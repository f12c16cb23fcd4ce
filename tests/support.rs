//! What the tests of the whole repository share.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::Duration;

use checks::{Lab, Program, Promise, Verdict};

/// The top of the repository.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The directory of a lab.
pub fn lab_dir(lab: &str) -> PathBuf {
    root().join("labs").join(lab)
}

/// The cargo that runs these tests, at the top of the repository.
pub fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root());
    cargo
}

/// Lets cargo build, and returns the programs it made.
///
/// # Panics
///
/// When it does not build; what the compiler said stands on stderr.
pub fn build(arguments: &[&str]) -> Vec<PathBuf> {
    let output = cargo()
        .args(["build", "--quiet", "--message-format=json"])
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .unwrap_or_else(|error| panic!("cannot run cargo: {error}"));
    assert!(output.status.success(), "cargo build {arguments:?} failed");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter_map(|message| message.executable)
        .collect()
}

/// Builds the programs by which checks make private networks and start others.
/// Otherwise the first check that needs a network asks cargo for it, and waits
/// until no other cargo is at work.
///
/// # Panics
///
/// When they do not build.
pub fn build_helpers() {
    static BUILT: Once = Once::new();

    BUILT.call_once(|| {
        let built =
            build(&["--package", "lan", "--package", "checks", "--bins"]);
        let program = |name: &str| {
            let is_named =
                |file: &&PathBuf| file.file_stem() == Some(name.as_ref());
            let file = built.iter().find(is_named);
            file.unwrap_or_else(|| panic!("{name} was not built"))
                .clone()
        };
        checks::use_lan(program("lan"));
        checks::use_confined(program("confined"));
    });
}

/// What cargo says of each thing it has built.
#[derive(serde::Deserialize)]
struct Message {
    executable: Option<PathBuf>,
}

/// One program to be held to one promise.
pub struct Job<'a> {
    /// The lab that promises it.
    pub lab: &'a Lab,
    /// What must hold.
    pub promise: &'a Promise,
    /// The lab, a wrong version of it, or the same thing in Node.
    pub program: &'a Program,
    /// How long to wait for any one thing.
    pub patience: Duration,
}

impl Job<'_> {
    /// Tries it once.
    pub fn judge(&self) -> Verdict {
        self.promise.judge(self.lab, self.program, self.patience)
    }
}

/// Holds programs to promises, so many at a time: a check waits more than it
/// computes. What other tests of this process hold to promises counts, too.
/// The verdicts come in the order of the jobs.
pub fn judge_all(jobs: &[Job], at_a_time: usize) -> Vec<Verdict> {
    let next = AtomicUsize::new(0);
    let verdicts = Mutex::new(vec![Verdict::Kept; jobs.len()]);
    thread::scope(|scope| {
        for _ in 0..at_a_time.min(jobs.len()) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(index) else {
                        break;
                    };
                    let verdict = one_of(at_a_time, || job.judge());
                    locked(&verdicts)[index] = verdict;
                }
            });
        }
    });
    verdicts
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
}

/// Does something when fewer than `most` do such a thing in this process.
fn one_of<T>(most: usize, work: impl FnOnce() -> T) -> T {
    static AT_WORK: Mutex<usize> = Mutex::new(0);
    static DONE: Condvar = Condvar::new();

    let is_full = |at_work: &mut usize| *at_work >= most;
    let at_work = DONE.wait_while(locked(&AT_WORK), is_full);
    *at_work.unwrap_or_else(PoisonError::into_inner) += 1;
    let done = work();
    *locked(&AT_WORK) -= 1;
    DONE.notify_one();
    done
}

/// Takes the lock, also after somebody has panicked with it: that test has
/// failed, and the others go on.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! A check that no wrong program fails is no check. Each lab has deliberately
//! wrong versions of itself, its mutants (`labs/<lab>/mutants.toml`): small
//! edits that a learner might make. Here they are all built, and held to all
//! promises of the lab: those that the mutant names must be broken, and no
//! others.

use std::collections::BTreeSet;
use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use book::mutants::{self, Mutant};
use checks::wait::PATIENCE;
use checks::{LABS, Lab, Program, Promise, Verdict};
use tests::{Job, build, build_helpers, judge_all, lab_dir, locked, root};
use toml::{Table, Value};

/// The mutants of one lab are built while those of another are judged: the one
/// computes, the other mostly waits. But two cargos would wait for each other,
/// and checks of a hundred programs at once see nothing but a busy machine.
static BUILDING: Mutex<()> = Mutex::new(());
static JUDGING: Mutex<()> = Mutex::new(());

/// One lab is judged at a time, with so many programs.
const AT_A_TIME: usize = 20;

/// A promise that is expected to be broken need not be waited for as long as
/// one that is expected to be kept: most wrong programs show by what they do
/// not do, and to wait for nothing takes all the time there is.
const SHORT_PATIENCE: Duration = Duration::from_secs(2);

/// Promises that take so much work that they are tried only with the mutants
/// that name them, and not with all others of their lab: each would take ten
/// seconds of the processor or more, and all together half of what the others
/// take. With the variable `MUTANTS_ALL` set, they are tried with all.
const DEAR: &[&str] = &[
    "tcp-server/waits-for-a-slow-reader",
    "pipe-to-file/takes-a-gibibyte",
    "pipe-to-file/keeps-each-clients-order",
    "backpressure/tells-each-write",
    "backpressure/waits-when-told-to",
    "backpressure/drains-once-per-full-queue",
    "backpressure/a-stalled-reader-stalls-only-itself",
    "backpressure/serves-a-half-closed-client",
    "backpressure/reads-and-drops-what-comes",
    "is-ip/memory-stays-flat",
    "chat-v2/the-last-line-is-seen",
    "chat-v2/an-idle-client-costs-little",
];

#[test]
fn what_is_dear_is_a_promise() {
    let promises = LABS.iter().flat_map(|lab| lab.promises);
    let ids: BTreeSet<&str> = promises.map(|promise| promise.id).collect();
    for id in DEAR {
        assert!(ids.contains(id), "{id} is no promise");
    }
}

macro_rules! mutants_of {
    ($($lab:ident)+) => {
        $(
            #[test]
            fn $lab() {
                every_mutant_breaks_what_it_names_and_nothing_else(
                    &checks::labs::$lab::LAB,
                );
            }
        )+

        #[test]
        fn every_lab_is_here() {
            let here = [$(checks::labs::$lab::LAB.name),+];
            let labs: Vec<&str> = LABS.iter().map(|lab| lab.name).collect();
            assert_eq!(labs, here);
        }
    };
}

mutants_of! {
    tcp_server tcp_client pipe_to_file pause_resume backpressure getconnections
    close half_open timeout keepalive unref unix_socket listen_handle is_ip
    udp_unicast udp_broadcast multicast telnet chat_v1 chat_v2
}

fn every_mutant_breaks_what_it_names_and_nothing_else(lab: &Lab) {
    let mutants = mutants::load(&lab_dir(lab.name).join("mutants.toml"))
        .unwrap_or_else(|error| panic!("{error:#}"));
    names_are_right(lab, &mutants);

    let building = locked(&BUILDING);
    build_helpers();
    let programs = build_all(lab, &mutants);
    drop(building);
    let _judging = locked(&JUDGING);
    let is_thorough = env::var_os("MUTANTS_ALL").is_some();
    let mut jobs = Vec::new();
    // Of each job, which mutant it tries, and whether that names the promise.
    let mut trials = Vec::new();
    for (mutant, program) in mutants.iter().zip(&programs) {
        for promise in lab.promises {
            let named = mutant.fails.iter().any(|it| it == promise.name());
            if !named && !is_thorough && DEAR.contains(&promise.id) {
                continue;
            }
            trials.push((mutant, named));
            jobs.push(Job {
                lab,
                promise,
                program,
                patience: if named { SHORT_PATIENCE } else { PATIENCE },
            });
        }
    }
    let verdicts = judge_all(&jobs, AT_A_TIME);

    let mut wrong = String::new();
    for ((job, verdict), (mutant, named)) in
        jobs.iter().zip(&verdicts).zip(trials)
    {
        let (name, promise) = (&mutant.name, job.promise);
        let told = match verdict {
            Verdict::Kept if named && later(job, is_broken) => Ok(()),
            Verdict::Broken(_) if !named && later(job, is_kept) => Ok(()),
            Verdict::Kept if named => writeln!(
                wrong,
                "{name} should break {}, which it keeps",
                promise.name()
            ),
            Verdict::Broken(report) if !named => {
                writeln!(wrong, "{name} should keep what it breaks: {report}")
            }
            Verdict::Skipped(missing) => {
                checks::skip(promise.id, missing);
                Ok(())
            }
            _ => Ok(()),
        };
        assert_eq!(told, Ok(()));
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Some wrong programs race. Now and then they come out right, or break what
/// they mostly keep, when what they do falls differently. So it counts what
/// comes out in the second or third try, too. The lab itself has one try.
fn later(job: &Job, is_as_declared: fn(&Verdict) -> bool) -> bool {
    (0..2).any(|_| is_as_declared(&job.judge()))
}

fn is_broken(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Broken(_))
}

fn is_kept(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Kept)
}

/// Every promise is named by a mutant, and every name is that of a promise.
fn names_are_right(lab: &Lab, mutants: &[Mutant]) {
    let named: BTreeSet<&str> = mutants
        .iter()
        .flat_map(|m| &m.fails)
        .map(String::as_str)
        .collect();
    let promised: BTreeSet<&str> =
        lab.promises.iter().map(Promise::name).collect();
    let unproved: Vec<_> = promised.difference(&named).collect();
    assert!(unproved.is_empty(), "no mutant breaks {unproved:?}");
    let unknown: Vec<_> = named.difference(&promised).collect();
    assert!(unknown.is_empty(), "there is no promise {unknown:?}");
}

/// Builds all mutants of a lab in one go: one package with a program for each,
/// in the shared target directory, with the versions of the lab itself.
fn build_all(lab: &Lab, mutants: &[Mutant]) -> Vec<Program> {
    let target = root().join("target");
    let package = target.join("mutants").join(lab.name);
    let file_name = |mutant: &Mutant| format!("{}--{}", lab.name, mutant.name);
    let programs = mutants.iter().map(|mutant| {
        let main = write_sources(lab, mutant, &package);
        Table::from_iter([
            ("name".to_owned(), file_name(mutant).into()),
            (
                "path".to_owned(),
                main.to_string_lossy().into_owned().into(),
            ),
        ])
    });
    let manifest = manifest(lab, programs.collect());
    write(&package.join("Cargo.toml"), &manifest);
    write(
        &package.join("Cargo.lock"),
        &read(&root().join("Cargo.lock")),
    );

    let manifest = package.join("Cargo.toml").to_string_lossy().into_owned();
    let target = target.to_string_lossy().into_owned();
    let built = build(&[
        "--keep-going",
        "--manifest-path",
        &manifest,
        "--target-dir",
        &target,
    ]);
    let program = |mutant| {
        let name = file_name(mutant);
        let file = built.iter().find(|file| file.ends_with(&name));
        let file = file.unwrap_or_else(|| panic!("{name} was not built"));
        Program::file(file.to_string_lossy())
    };
    mutants.iter().map(program).collect()
}

/// Copies the lab's sources with the mutant's edit; returns its `main.rs`.
fn write_sources(lab: &Lab, mutant: &Mutant, package: &Path) -> PathBuf {
    let copy = package.join(&mutant.name);
    let sources = lab_dir(lab.name).join("src");
    let entries = fs::read_dir(&sources).unwrap_or_else(|e| panic!("{e}"));
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default();
        let mut text = read(&path);
        if Path::new(&mutant.file) == Path::new("src").join(name) {
            text = mutant
                .apply(&text)
                .unwrap_or_else(|e| panic!("{}: {e}", mutant.name));
        }
        write(&copy.join(name), &text);
    }
    copy.join("main.rs")
}

/// The lab's manifest and what it inherits from the workspace, with these
/// programs. Lints are left out: a mutant is wrong on purpose.
fn manifest(lab: &Lab, programs: Vec<Table>) -> String {
    let mut package = table(&lab_dir(lab.name).join("Cargo.toml"));
    let mut workspace = table(&root().join("Cargo.toml"));
    let mut profile = workspace.remove("profile");
    if let Some(dev) = profile.as_mut().and_then(|it| it.get_mut("dev"))
        && let Some(dev) = dev.as_table_mut()
    {
        // Nobody debugs a mutant, and each is built once: that is two fifths of
        // the work.
        dev.insert("debug".into(), false.into());
        dev.insert("incremental".into(), false.into());
    }
    let mut workspace = workspace.remove("workspace");
    if let Some(Value::Table(workspace)) = &mut workspace {
        workspace.remove("members");
        workspace.remove("lints");
        let dependencies = workspace.get_mut("dependencies");
        for (_, dependency) in dependencies
            .and_then(Value::as_table_mut)
            .into_iter()
            .flatten()
        {
            // Our own crates, where they are.
            if let Some(path) = dependency.get_mut("path")
                && let Some(relative) = path.as_str()
            {
                let absolute = root().join(relative);
                *path = absolute.to_string_lossy().into_owned().into();
            }
        }
    }
    package.remove("lints");
    package.remove("dev-dependencies");
    if let Some(Value::Table(package)) = package.get_mut("package") {
        package.insert("name".into(), format!("{}-mutants", lab.name).into());
    }
    package.extend(workspace.map(|value| ("workspace".to_owned(), value)));
    package.extend(profile.map(|value| ("profile".to_owned(), value)));
    package.insert("bin".into(), programs.into());
    package.to_string()
}

fn table(path: &Path) -> Table {
    read(path)
        .parse()
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path)
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Writes only what differs: cargo builds again what is newer.
fn write(path: &Path, text: &str) {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return;
    }
    let directory = path.parent().unwrap_or(path);
    fs::create_dir_all(directory)
        .and_then(|()| fs::write(path, text))
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

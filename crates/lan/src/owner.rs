//! The owner's side of a keeper.

use std::fs;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags,
    SendFlags, SocketFlags, SocketType,
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::error::Error;
use crate::plan::Plan;
use crate::refusal;

/// Where the program `lan` is, once that is known.
static HELPER: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Says where the program `lan` is. Otherwise cargo is asked to build it.
pub fn use_helper(program: impl Into<PathBuf>) {
    *lock(&HELPER) = Some(program.into());
}

/// A keeper at work. It ends when its stdin does.
#[derive(Debug)]
pub(crate) struct Keeper {
    process: Child,
    /// `None` once it is to end.
    control: Mutex<Option<OwnedFd>>,
    helper: PathBuf,
}

impl Keeper {
    /// Has a keeper make a network. Returns the descriptors under which it has
    /// the hosts' namespaces open.
    pub(crate) fn start(plan: &Plan) -> Result<(Self, Vec<i32>), Error> {
        // Nobody else builds the helper meanwhile.
        let mut known = lock(&HELPER);
        let (control, stdin) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(|error| refusal::no_keeper(&error.into()))?;
        let mut command = match known.as_ref() {
            Some(helper) => Command::new(helper),
            None => build_and_run(),
        };
        let process = command
            .args(["keep", &plan.to_string()])
            .stdin(Stdio::from(stdin))
            .stdout(Stdio::null())
            // Ctrl-C is for the owner. The keeper ends after it.
            .process_group(0)
            .spawn()
            .map_err(|error| refusal::no_keeper(&error))?;
        // It holds the keeper's end of the socket.
        drop(command);
        let mut keeper = Keeper {
            process,
            control: Mutex::new(Some(control)),
            helper: PathBuf::new(),
        };
        let (answer, _) = keeper
            .receive()
            .map_err(|error| refusal::no_keeper(&error))?;
        let Some(words) = answer.strip_prefix("ready ") else {
            return Err(failure(&answer));
        };
        // `cargo run` has become the program that it ran.
        keeper.helper = match known.as_ref() {
            Some(helper) => helper.clone(),
            None => fs::read_link(format!("/proc/{}/exe", keeper.pid()))
                .map_err(|error| refusal::no_keeper(&error))?,
        };
        *known = Some(keeper.helper.clone());
        let descriptors = words.split(' ').filter_map(|it| it.parse().ok());
        Ok((keeper, descriptors.collect()))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn ask(&self, request: &str) -> Result<(), Error> {
        match self.exchange(request) {
            Ok((answer, _)) if answer == "ok" => Ok(()),
            Ok((answer, _)) => Err(failure(&answer)),
            Err(error) => Err(Error::misuse(format_args!(
                "the keeper of the network is gone: {error}"
            ))),
        }
    }

    pub(crate) fn socket(
        &self,
        host: &str,
        domain: Domain,
        kind: Type,
        protocol: Option<Protocol>,
    ) -> io::Result<Socket> {
        let (domain, kind) = (i32::from(domain), i32::from(kind));
        let protocol = i32::from(protocol.unwrap_or(Protocol::from(0)));
        let request = format!("socket {host} {domain} {kind} {protocol}");
        match self.exchange(&request)? {
            (_, Some(descriptor)) => Ok(Socket::from(descriptor)),
            (answer, None) => match errno(&answer) {
                0 => Err(io::Error::other(answer)),
                errno => Err(io::Error::from_raw_os_error(errno)),
            },
        }
    }

    /// The command that goes to a host; the program is to follow.
    pub(crate) fn enter(&self, descriptor: i32) -> Command {
        let mut command = Command::new(&self.helper);
        let words = ["enter".into(), self.pid().to_string()];
        command.args(words).arg(descriptor.to_string());
        command
    }

    fn exchange(&self, request: &str) -> io::Result<(String, Option<OwnedFd>)> {
        // Requests and answers take turns: the lock is held for both.
        let control = lock(&self.control);
        let control = control.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let bytes = request.as_bytes();
        rustix::net::send(control, bytes, SendFlags::NOSIGNAL)?;
        receive(control)
    }

    fn receive(&self) -> io::Result<(String, Option<OwnedFd>)> {
        let control = lock(&self.control);
        receive(control.as_ref().ok_or(io::ErrorKind::NotConnected)?)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        *lock(&self.control) = None;
        // It ends what runs on the hosts, and then itself.
        let _ = self.process.wait();
    }
}

/// Runs the program `lan` of this workspace. Cargo builds it first if it is not
/// of the present source, as a test of another package has not built it.
fn build_and_run() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let mut command = Command::new(cargo);
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    command.args(["run", "--quiet", "--manifest-path", manifest, "--"]);
    command
}

fn receive(control: &OwnedFd) -> io::Result<(String, Option<OwnedFd>)> {
    let mut answer = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let buffer = &mut [IoSliceMut::new(&mut answer)];
    let received = rustix::net::recvmsg(control, buffer, &mut rights, flags)?;
    let mut descriptor = None;
    for message in rights.drain() {
        if let RecvAncillaryMessage::ScmRights(mut descriptors) = message {
            descriptor = descriptors.next();
        }
    }
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let answer = String::from_utf8_lossy(&answer[..received.bytes]);
    Ok((answer.into_owned(), descriptor))
}

/// `error ERRNO WHAT`, as the keeper says it.
fn failure(answer: &str) -> Error {
    let what = answer.splitn(3, ' ').nth(2).unwrap_or(answer);
    refusal::explain(what, errno(answer))
}

fn errno(answer: &str) -> i32 {
    let word = answer.split(' ').nth(1);
    word.and_then(|it| it.parse().ok()).unwrap_or_default()
}

/// What is locked is whole at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

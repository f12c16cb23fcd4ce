//! Where processes and terminals differ between systems. The only place in the
//! repository with `unsafe` code.

pub use imp::Descriptor;
pub(crate) use imp::*;

use std::fmt;

/// The signals that checks send, signal(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT, what Ctrl-C sends.
    Interrupt,
    /// SIGTERM, how a system asks a program to end.
    Terminate,
    /// SIGHUP, by custom a wish to start anew.
    Hangup,
    /// SIGSTOP: the program stands still, its sockets do not.
    Stop,
    /// SIGCONT.
    Continue,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Signal::Interrupt => "SIGINT (Ctrl-C)",
            Signal::Terminate => "SIGTERM",
            Signal::Hangup => "SIGHUP",
            Signal::Stop => "SIGSTOP (it stands still)",
            Signal::Continue => "SIGCONT (it goes on)",
        })
    }
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "status {code}"),
            Exit::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

#[cfg(target_os = "linux")]
mod imp {
    use std::ffi::{CString, OsStr};
    use std::fs::{self, File, OpenOptions};
    use std::io;
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::process::CommandExt;
    use std::path::{Path, PathBuf};
    use std::process::{Child, Command};
    use std::sync::Arc;

    use rustix::fs::{Mode, OFlags};
    use rustix::mount::MountFlags;
    use rustix::process::{
        Pid, PidfdFlags, PidfdGetfdFlags, Resource, Rlimit, WaitId,
        WaitIdOptions,
    };
    use rustix::pty::OpenptFlags;
    use rustix::termios::Winsize;
    use rustix::thread::{CapabilitySet, UnshareFlags};
    use socket2::Socket;

    use super::{Exit, Signal};
    use crate::outcome::Result;
    use crate::subject::{SMALL_DISK, Setup};

    /// Something open that a program can inherit.
    pub type Descriptor = Arc<OwnedFd>;

    pub(crate) fn descriptor(open: impl Into<OwnedFd>) -> Result<Descriptor> {
        Ok(Arc::new(open.into()))
    }

    /// Most file descriptors a program may have, as on most systems.
    const DESCRIPTORS: u64 = 1024;

    /// Has a program run as [`confine_self`] says, with what else its setup asks
    /// of the system.
    #[allow(
        unsafe_code,
        reason = "only the child itself can do this to itself, before it runs"
    )]
    pub(crate) fn confine(
        command: &mut Command,
        setup: &Setup,
        home: &Path,
    ) -> Result {
        let hosts = match &setup.hosts {
            Some(text) => {
                let path = home.join("hosts");
                fs::write(&path, text)?;
                let path = CString::new(path.as_os_str().as_bytes())
                    .map_err(io::Error::from)?;
                Some(path)
            }
            None => None,
        };
        let small_disk = match setup.small_disk {
            Some(n_bytes) => Some(SmallDisk::new(n_bytes, home)?),
            None => None,
        };
        let inherited = setup.inherited.clone();

        let in_the_child = move || -> io::Result<()> {
            if let Some(inherited) = &inherited {
                leave_open_at(3, inherited.as_raw_fd())?;
            }
            if hosts.is_some() || small_disk.is_some() {
                let flags = UnshareFlags::NEWUSER | UnshareFlags::NEWNS;
                // SAFETY: the child has one thread and is about to become
                // another program; nothing here relies on what it unshares.
                unsafe { rustix::thread::unshare_unsafe(flags)? };
            }
            if let Some(hosts) = &hosts {
                rustix::mount::mount_bind(hosts.as_c_str(), c"/etc/hosts")?;
            }
            if let Some(small_disk) = &small_disk {
                small_disk.mount()?;
            }
            confine_self()
        };
        // SAFETY: between fork and exec only async-signal-safe calls are
        // allowed. `in_the_child` makes system calls and nothing else: it
        // takes no lock and allocates no memory, its strings were made before.
        unsafe { command.pre_exec(in_the_child) };
        Ok(())
    }

    /// What a program under check has: a session of its own, in which its
    /// terminal obeys it, the usual signals, limits, and no capabilities.
    #[allow(
        unsafe_code,
        reason = "the standard library cannot set the action of a signal"
    )]
    pub(crate) fn confine_self() -> io::Result<()> {
        rustix::process::setsid()?;
        // A shell that starts us in the background has SIGINT ignored, and
        // that would be inherited: Ctrl-C would not end `nc`.
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGQUIT] {
            // SAFETY: the default action runs no code of ours.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        let stdin = rustix::stdio::stdin();
        if rustix::termios::isatty(stdin) {
            rustix::process::ioctl_tiocsctty(stdin)?;
        }
        limit(Resource::Nofile, DESCRIPTORS)?;
        limit(Resource::Core, 0)?;
        // A learner is not root: no privileged ports, no foreign files.
        for capability in CapabilitySet::all() {
            // Who is not root has none to lose.
            let _ =
                rustix::thread::remove_capability_from_bounding_set(capability);
        }
        // Whatever happens to us, the program does not outlive us.
        let kill = Some(rustix::process::Signal::KILL);
        Ok(rustix::process::set_parent_process_death_signal(kill)?)
    }

    /// Becomes a program that is confined. Returns only why it could not.
    pub(crate) fn run_confined(mut command: Command) -> io::Error {
        match confine_self() {
            Ok(()) => command.exec(),
            Err(error) => error,
        }
    }

    /// Makes `open` survive exec under this number, dup2(2).
    #[allow(
        unsafe_code,
        reason = "the number is all that the program will know of it"
    )]
    fn leave_open_at(number: i32, open: i32) -> io::Result<()> {
        let result = if number == open {
            // A descriptor duplicated to itself would stay marked.
            // SAFETY: it changes the mark of a descriptor that we own.
            unsafe { libc::fcntl(number, libc::F_SETFD, 0) }
        } else {
            // SAFETY: what has this number in the child, before it becomes
            // another program, would be closed by that anyway.
            unsafe { libc::dup2(open, number) }
        };
        match result {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    /// A file system in memory, and what its user namespace must know before a
    /// file can be made there: who we are. All strings are made before the
    /// fork.
    struct SmallDisk {
        place: CString,
        options: CString,
        user: String,
        group: String,
    }

    impl SmallDisk {
        fn new(n_bytes: u64, home: &Path) -> Result<Self> {
            let place = home.join(SMALL_DISK);
            fs::create_dir_all(&place)?;
            let user = rustix::process::geteuid().as_raw();
            let group = rustix::process::getegid().as_raw();
            Ok(SmallDisk {
                place: CString::new(place.as_os_str().as_bytes())
                    .map_err(io::Error::from)?,
                options: CString::new(format!("size={n_bytes}"))
                    .map_err(io::Error::from)?,
                user: format!("{user} {user} 1"),
                group: format!("{group} {group} 1"),
            })
        }

        /// In the child, in namespaces of its own, user_namespaces(7).
        fn mount(&self) -> io::Result<()> {
            for (path, text) in [
                (c"/proc/self/setgroups", "deny"),
                (c"/proc/self/uid_map", &self.user),
                (c"/proc/self/gid_map", &self.group),
            ] {
                let flags = OFlags::WRONLY | OFlags::CLOEXEC;
                let file = rustix::fs::open(path, flags, Mode::empty())?;
                rustix::io::write(&file, text.as_bytes())?;
            }
            Ok(rustix::mount::mount(
                c"socket-labs",
                self.place.as_c_str(),
                c"tmpfs",
                MountFlags::NODEV | MountFlags::NOSUID,
                self.options.as_c_str(),
            )?)
        }
    }

    fn limit(resource: Resource, most: u64) -> io::Result<()> {
        Ok(rustix::process::setrlimit(resource, at_most(most))?)
    }

    fn at_most(most: u64) -> Rlimit {
        Rlimit {
            current: Some(most),
            maximum: Some(most),
        }
    }

    pub(crate) fn limit_descriptors(pid: u32, most: u64) -> io::Result<()> {
        let limit = at_most(most);
        rustix::process::prlimit(process(pid), Resource::Nofile, limit)?;
        Ok(())
    }

    /// The terminal of a learner who has not touched it.
    const SIZE: Winsize = Winsize {
        ws_row: 24,
        ws_col: 80,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };

    /// Opens a terminal, gives its inner end to the command as stdin and
    /// stdout, and returns the outer end: the keyboard and the screen.
    pub(crate) fn attach_terminal(command: &mut Command) -> Result<File> {
        let (outer, inner, _) = open_terminal()?;
        command.stdin(inner.try_clone()?).stdout(inner);
        Ok(outer)
    }

    /// Opens a terminal: its outer end, its inner end, and the path at which a
    /// program may open the inner end.
    pub(crate) fn open_terminal() -> Result<(File, File, PathBuf)> {
        use rustix::pty;

        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let outer = pty::openpt(flags | OpenptFlags::CLOEXEC)
            .map_err(io::Error::from)?;
        pty::grantpt(&outer).map_err(io::Error::from)?;
        pty::unlockpt(&outer).map_err(io::Error::from)?;
        rustix::termios::tcsetwinsize(&outer, SIZE).map_err(io::Error::from)?;
        let inner = pty::ptsname(&outer, vec![]).map_err(io::Error::from)?;
        let path = PathBuf::from(OsStr::from_bytes(inner.as_bytes()));
        let mut options = OpenOptions::new();
        let inner = options.read(true).write(true).open(&path)?;
        Ok((outer.into(), inner, path))
    }

    /// A pipe with a name, fifo(7).
    pub(crate) fn make_fifo(path: &Path) -> Result {
        use rustix::fs::{CWD, FileType, mknodat};
        let mode = Mode::RUSR | Mode::WUSR;
        mknodat(CWD, path, FileType::Fifo, mode, 0).map_err(io::Error::from)?;
        Ok(())
    }

    /// The same socket as the process has at this descriptor: what is set on
    /// it, and sent from it, is set and sent by the process.
    pub(crate) fn share_socket(pid: u32, number: i32) -> io::Result<Socket> {
        let Some(pid) = process(pid) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        let flags = PidfdGetfdFlags::empty();
        let socket = rustix::process::pidfd_getfd(pidfd, number, flags)?;
        Ok(Socket::from(socket))
    }

    pub(crate) fn into_file(pipe: impl Into<OwnedFd>) -> File {
        File::from(pipe.into())
    }

    pub(crate) fn send(pid: u32, signal: Signal) -> io::Result<()> {
        use rustix::process::Signal as Number;
        let number = match signal {
            Signal::Interrupt => Number::INT,
            Signal::Terminate => Number::TERM,
            Signal::Hangup => Number::HUP,
            Signal::Stop => Number::STOP,
            Signal::Continue => Number::CONT,
        };
        match process(pid) {
            Some(pid) => Ok(rustix::process::kill_process(pid, number)?),
            None => Ok(()),
        }
    }

    /// Kills a program and all that it started and left in its group.
    pub(crate) fn end_group(child: &mut Child) {
        end_group_of(child.id());
    }

    pub(crate) fn end_group_of(pid: u32) {
        if let Some(pid) = process(pid) {
            let kill = rustix::process::Signal::KILL;
            // ESRCH, here and below: there is nobody left. As long as `confined`
            // has not made the group, the program is not in it.
            let _ = rustix::process::kill_process(pid, kill);
            let _ = rustix::process::kill_process_group(pid, kill);
        }
    }

    /// How it ended, without taking it out of the process table.
    pub(crate) fn exit(child: &mut Child) -> Option<Exit> {
        let look = WaitIdOptions::EXITED
            | WaitIdOptions::NOHANG
            | WaitIdOptions::NOWAIT;
        let pid = WaitId::Pid(process(child.id())?);
        let status = rustix::process::waitid(pid, look).ok()??;
        let signal = status.terminating_signal().map(Exit::Signal);
        status.exit_status().map(Exit::Code).or(signal)
    }

    /// Whether it stands still after SIGSTOP, with all its threads.
    pub(crate) fn is_stopped(child: &Child) -> bool {
        let look = WaitIdOptions::STOPPED
            | WaitIdOptions::NOHANG
            | WaitIdOptions::NOWAIT;
        let Some(pid) = process(child.id()) else {
            return false;
        };
        let status = rustix::process::waitid(WaitId::Pid(pid), look);
        status.is_ok_and(|status| status.is_some())
    }

    fn process(pid: u32) -> Option<Pid> {
        Pid::from_raw(pid.try_into().ok()?)
    }
}

/// Elsewhere a program is started and ended, and the rest is skipped.
#[cfg(not(target_os = "linux"))]
mod imp {
    use std::fs::File;
    use std::io;
    use std::path::{Path, PathBuf};
    use std::process::{Child, Command};

    use socket2::Socket;

    use super::{Exit, Signal};
    use crate::outcome::{Result, Stop};
    use crate::subject::Setup;

    /// Nothing that a program could inherit.
    #[derive(Debug, Clone)]
    pub struct Descriptor;

    pub(crate) fn descriptor<T>(_: T) -> Result<Descriptor> {
        Err(Stop::skipped(
            "only on Linux a program inherits from a check",
        ))
    }

    pub(crate) fn confine(_: &mut Command, setup: &Setup, _: &Path) -> Result {
        if setup.hosts.is_some() {
            return Err(Stop::skipped("only Linux can give it /etc/hosts"));
        }
        match setup.small_disk {
            None => Ok(()),
            Some(_) => Err(Stop::skipped("only Linux can give it a disk")),
        }
    }

    pub(crate) fn run_confined(_: Command) -> io::Error {
        io::ErrorKind::Unsupported.into()
    }

    pub(crate) fn attach_terminal(_: &mut Command) -> Result<File> {
        Err(Stop::skipped("terminals are tried on Linux only"))
    }

    pub(crate) fn open_terminal() -> Result<(File, File, PathBuf)> {
        Err(Stop::skipped("terminals are tried on Linux only"))
    }

    pub(crate) fn make_fifo(_: &Path) -> Result {
        Err(Stop::skipped("a FIFO is tried on Linux only"))
    }

    #[cfg(unix)]
    pub(crate) fn into_file(pipe: impl Into<std::os::fd::OwnedFd>) -> File {
        File::from(pipe.into())
    }

    #[cfg(windows)]
    pub(crate) fn into_file(
        pipe: impl Into<std::os::windows::io::OwnedHandle>,
    ) -> File {
        File::from(pipe.into())
    }

    pub(crate) fn share_socket(_: u32, _: i32) -> io::Result<Socket> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn send(_: u32, _: Signal) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn limit_descriptors(_: u32, _: u64) -> Result {
        Err(Stop::skipped("only Linux can limit a program like this"))
    }

    pub(crate) fn end_group(child: &mut Child) {
        // It may have ended by itself.
        let _ = child.kill();
    }

    pub(crate) fn end_group_of(_: u32) {}

    pub(crate) fn is_stopped(_: &Child) -> bool {
        false
    }

    pub(crate) fn exit(child: &mut Child) -> Option<Exit> {
        let status = child.try_wait().ok()??;
        Some(status.code().map_or(Exit::Signal(0), Exit::Code))
    }
}

//! Going into namespaces, namespaces(7). Only a program with a single thread
//! can go into a user namespace, so whoever does it is a small program of its
//! own: the keeper, or the one that becomes the program to be run on a host.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{getgid, getuid};
use rustix::thread::{CapabilitySet, LinkNameSpaceType, UnshareFlags};

/// Makes a user namespace and a network namespace in it, and goes into both.
///
/// In the user namespace we are who we were, and have every capability, over
/// what belongs to it alone: not over a file, not over the machine's network,
/// but over our own.
// ANCHOR: enter_new
pub(crate) fn enter_new() -> io::Result<()> {
    let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
    unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNET)?;
    // Groups could be a reason to forbid, and who may map ids could drop them.
    // So the kernel wants this first, user_namespaces(7).
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))
}
// ANCHOR_END: enter_new

/// Makes another network namespace, and goes into it.
pub(crate) fn new_network() -> io::Result<File> {
    unshare(UnshareFlags::NEWNET)?;
    own_network()
}

#[allow(
    deprecated,
    reason = "its successor is unsafe for the sake of one flag, FILES, which \
              takes descriptors away from other threads; it is not used here"
)]
fn unshare(what: UnshareFlags) -> io::Result<()> {
    Ok(rustix::thread::unshare(what)?)
}

/// The network namespace we are in. It lives as long as the file is open.
pub(crate) fn own_network() -> io::Result<File> {
    File::open("/proc/thread-self/ns/net")
}

pub(crate) fn go_into(network: BorrowedFd<'_>) -> io::Result<()> {
    let kind = Some(LinkNameSpaceType::Network);
    Ok(rustix::thread::move_into_link_name_space(network, kind)?)
}

/// Becomes the program, on the host whose network namespace the keeper has
/// open as `descriptor`. Returns only if that fails.
pub fn enter(keeper: u32, descriptor: i32, command: &mut Command) -> io::Error {
    let enter = || -> io::Result<()> {
        let user = File::open(format!("/proc/{keeper}/ns/user"))?;
        let door = format!("/proc/{keeper}/fd/{descriptor}");
        let network = File::open(&door)?;
        // Death with the parent must not be forgotten on the way.
        let death = rustix::process::parent_process_death_signal()?;
        let kind = Some(LinkNameSpaceType::User);
        rustix::thread::move_into_link_name_space(user.as_fd(), kind)?;
        go_into(network.as_fd())?;
        // The keeper shuts the doors before it ends who is inside. So if this
        // one is still open, it will see us.
        if fs::read_link(door)? != fs::read_link("/proc/thread-self/ns/net")? {
            return Err(io::ErrorKind::NotFound.into());
        }
        give_up_power()?;
        Ok(rustix::process::set_parent_process_death_signal(death)?)
    };
    match enter() {
        Ok(()) => command.exec(),
        Err(error) => error,
    }
}

/// Whoever enters a user namespace has every capability there until it becomes
/// another program; root has them even then. A program on a host must have none,
/// so that it may do what it may do in life: not, say, listen on port 80.
fn give_up_power() -> io::Result<()> {
    for capability in CapabilitySet::all() {
        // The kernel may know fewer than we do.
        let _ = rustix::thread::remove_capability_from_bounding_set(capability);
    }
    // A file that would give some (`ping`) runs without, instead of not at all.
    Ok(rustix::thread::set_no_new_privs(true)?)
}

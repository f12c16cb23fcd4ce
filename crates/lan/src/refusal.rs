//! Why a system forbids a private network, and the one command that helps.

use std::fs;
use std::io;
use std::path::Path;

use crate::Error;

/// Finds the reason for a keeper's failure.
pub(crate) fn explain(what: &str, errno: i32) -> Error {
    let limit = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/user/{name}"));
        text.ok().and_then(|it| it.trim().parse::<u32>().ok())
    };
    let help = match errno {
        libc::ENOSPC => {
            let names = ["max_user_namespaces", "max_net_namespaces"];
            let zero = names.iter().find(|name| limit(name) == Some(0));
            match zero {
                Some(name) => format!("sudo sysctl -w user.{name}=1000"),
                None => "too many namespaces: end other networks, or \
                         sudo sysctl -w user.max_net_namespaces=10000"
                    .into(),
            }
        }
        libc::EPERM | libc::EACCES | libc::EROFS => who_forbids(),
        libc::EOPNOTSUPP | libc::ENODEV => {
            "sudo modprobe -a bridge veth".into()
        }
        libc::ENOSYS | libc::EINVAL => "this kernel was built without \
             namespaces: run the course on a common one, or in a virtual \
             machine"
            .into(),
        _ => return Error::misuse(what),
    };
    Error::forbidden(what, help)
}

fn who_forbids() -> String {
    let is = |path: &str, value: &str| {
        let text = fs::read_to_string(format!("/proc/sys/kernel/{path}"));
        text.is_ok_and(|it| it.trim() == value)
    };
    let is_container = ["/.dockerenv", "/run/.containerenv"]
        .iter()
        .any(|path| Path::new(path).exists());
    if is_container {
        "containers forbid it: start this one with --privileged, or run the \
         course outside of it"
    } else if is("apparmor_restrict_unprivileged_userns", "1") {
        "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
    } else if is("unprivileged_userns_clone", "0") {
        "sudo sysctl -w kernel.unprivileged_userns_clone=1"
    } else {
        "something forbids user namespaces, a container or a sandbox, perhaps: \
         run the course outside of it"
    }
    .into()
}

/// When not even the keeper could be started.
pub(crate) fn no_keeper(error: &io::Error) -> Error {
    let what = format!("cannot start the keeper of the network: {error}");
    Error::misuse(what)
}

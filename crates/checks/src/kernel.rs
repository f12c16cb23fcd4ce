//! What the kernel knows about a program and its sockets.
//!
//! Sockets come from the kernel's `sock_diag` interface (sock_diag(7)), the one
//! that `ss` uses: unlike `/proc/net/tcp` it tells a listener's backlog, and
//! unlike `/proc/net/unix` what is in a queue. Which process owns a socket
//! stands in `/proc/PID/fd`, and what a process uses in `/proc/PID/status` and
//! `/proc/PID/schedstat`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::outcome::Result;

pub use sys::{
    can_see, cpu_wanted, descriptors, file, free_descriptors, free_space,
    groups, memory, outlives_exec, process_tree, tcp_connection_on,
    tcp_listeners_of_on, tcp_listeners_on, tcp_sockets_of_on, tcp_sockets_on,
    udp_sockets_of_on, udp_sockets_on, unix_sockets, unix_sockets_of,
    unprivileged_port_start,
};
pub(crate) use sys::{descriptor_of, inode_of};

/// Every TCP socket of this machine's network, save those in TIME-WAIT.
pub fn tcp_sockets() -> Result<Vec<TcpSocket>> {
    tcp_sockets_on(&[])
}

/// The TCP sockets that these processes hold in this machine's network.
pub fn tcp_sockets_of(pids: &[u32]) -> Result<Vec<TcpSocket>> {
    tcp_sockets_of_on(pids, &[])
}

/// The UDP sockets that these processes hold in this machine's network.
pub fn udp_sockets_of(pids: &[u32]) -> Result<Vec<UdpSocket>> {
    udp_sockets_of_on(pids, &[])
}

/// One TCP socket as the kernel sees it.
#[derive(Debug, Clone)]
pub struct TcpSocket {
    /// Its own end; IPv4-mapped addresses stand as IPv4.
    pub local: SocketAddr,
    /// The other end; port 0 for a listener.
    pub remote: SocketAddr,
    /// Where it is in the life of a connection (RFC 9293, section 3.3.2).
    pub state: TcpState,
    /// Bytes that arrived and were not read. For a listener: connections that
    /// wait to be accepted.
    pub receive_queue: u32,
    /// Bytes written and not acknowledged. For a listener: its backlog.
    pub send_queue: u32,
    /// What the kernel waits for, and how long still.
    pub timer: Option<(Timer, Duration)>,
    /// How often this timer has run out in a row, and nothing was heard: for
    /// [`Timer::KeepAlive`], the probes that have had no answer yet.
    pub unanswered: u8,
    /// How many segments have come, with data or without.
    pub segments_in: u32,
    /// The number by which `/proc/PID/fd` names it; 0 once nobody owns it.
    pub inode: u32,
    /// An IPv6 socket, even where it serves an IPv4 peer.
    pub is_ipv6: bool,
}

impl fmt::Display for TcpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            local,
            remote,
            state,
            receive_queue,
            send_queue,
            timer,
            ..
        } = self;
        if *state == TcpState::Listen {
            return write!(
                f,
                "LISTEN {local}, {receive_queue} of {send_queue} waiting"
            );
        }
        write!(
            f,
            "{state:?} {local} <- {remote}, \
             {receive_queue} bytes unread, {send_queue} bytes unsent"
        )?;
        match timer {
            Some((timer, left)) => write!(f, ", {timer:?} in {left:?}"),
            None => Ok(()),
        }
    }
}

/// One UDP socket as the kernel sees it.
#[derive(Debug, Clone)]
pub struct UdpSocket {
    /// Its own address; IPv4-mapped addresses stand as IPv4.
    pub local: SocketAddr,
    /// Memory of what arrived and was not read, in bytes.
    pub receive_queue: u32,
    /// The number by which `/proc/PID/fd` names it.
    pub inode: u32,
}

/// A multicast group that a host has joined on one of its interfaces. The
/// kernel itself joins some, such as 224.0.0.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The name of the interface.
    pub interface: String,
    /// The group's address.
    pub address: IpAddr,
    /// How many sockets of the host have joined it there, and the kernel.
    pub users: u32,
}

/// One Unix stream socket as the kernel sees it.
#[derive(Debug, Clone)]
pub struct UnixSocket {
    /// Whether it waits for clients.
    pub listens: bool,
    /// The inode of the file to which it was bound, if it was.
    pub file: Option<u32>,
    /// The number by which `/proc/PID/fd` names it.
    pub inode: u32,
    /// The inode of the socket at the other end.
    pub peer: Option<u32>,
    /// Bytes that arrived and were not read. For a listener: connections that
    /// wait to be accepted.
    pub receive_queue: u32,
    /// Memory of what was written and not read at the other end, in bytes. For
    /// a listener: its backlog.
    pub send_queue: u32,
}

/// What stands at a path: the file itself, where it is a symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File {
    /// Which file system it is in.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// Who may do what with it, the lowest nine bits of its mode.
    pub permissions: u32,
    /// The user to whom it belongs.
    pub owner: u32,
}

/// The timers of a connection, as `ss -o` shows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    /// Data was not acknowledged in time, and will be sent again (`on`).
    Retransmit = 1,
    /// Nothing was heard for long, and the other side will be probed.
    KeepAlive,
    /// The pair of addresses stays taken (`timewait`).
    TimeWait,
    /// The other side's window is closed, and will be probed (`persist`).
    ZeroWindowProbe,
}

/// The states of RFC 9293, numbered as in Linux.
#[allow(missing_docs, reason = "the names are the RFC's")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpState {
    Established = 1,
    SynSent,
    SynReceived,
    FinWait1,
    FinWait2,
    TimeWait,
    Closed,
    CloseWait,
    LastAck,
    Listen,
    Closing,
}

#[cfg(target_os = "linux")]
mod sys {
    use std::collections::HashSet;
    use std::fs;
    use std::io::{self, Read};
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;
    use std::time::Duration;

    use lan::Host;
    use procfs::process::{FDTarget, LimitValue, Process};
    use socket2::{Domain, Protocol, Socket, Type};

    use super::{
        File, Group, TcpSocket, TcpState, Timer, UdpSocket, UnixSocket,
    };
    use crate::outcome::{Result, Stop};

    /// Whether this system shows what the checks need to see.
    pub fn can_see() -> Result {
        tcp_listeners_on(&[]).map(drop)
    }

    /// Every TCP socket of these hosts, or of this machine's network if there
    /// are none, save those in TIME-WAIT.
    pub fn tcp_sockets_on(hosts: &[Host]) -> Result<Vec<TcpSocket>> {
        tcp_sockets_in(ALL_STATES_BUT_TIME_WAIT, hosts)
    }

    /// Those that listen. The kernel keeps them in a small table of their own,
    /// so this is much cheaper than to look through all the others.
    pub fn tcp_listeners_on(hosts: &[Host]) -> Result<Vec<TcpSocket>> {
        tcp_sockets_in(1 << TCP_LISTEN, hosts)
    }

    /// One end of a connection on these hosts, or in this machine's network.
    /// The kernel has a way to ask for it without going through all others.
    pub fn tcp_connection_on(
        local: SocketAddr,
        remote: SocketAddr,
        hosts: &[Host],
    ) -> Result<Option<TcpSocket>> {
        let family = if local.is_ipv4() { AF_INET } else { AF_INET6 };
        let extensions = 1 << (INET_DIAG_INFO - 1);
        // inet_diag_req_v2: family, protocol, extensions, states, then both
        // ports, both addresses, any interface, any cookie.
        let mut wanted = vec![family, IPPROTO_TCP, extensions, 0];
        wanted.extend(ALL_STATES_BUT_TIME_WAIT.to_ne_bytes());
        wanted.extend(local.port().to_be_bytes());
        wanted.extend(remote.port().to_be_bytes());
        for end in [local, remote] {
            let mut address = match end.ip() {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            address.resize(16, 0);
            wanted.extend(address);
        }
        wanted.extend([0; 4]);
        wanted.extend([0xff; 8]);
        let mut found = None;
        // Where there is no such connection, a listener at the same port is
        // found, or one in TIME-WAIT.
        let is_it = |it: &TcpSocket| {
            (it.local, it.remote) == (local, remote)
                && it.state != TcpState::TimeWait
        };
        ask_hosts(hosts, NLM_F_REQUEST, &wanted, |message| {
            found = found.take().or(socket(message).filter(is_it));
        })?;
        Ok(found)
    }

    fn tcp_sockets_in(states: u32, hosts: &[Host]) -> Result<Vec<TcpSocket>> {
        let mut sockets = Vec::new();
        let extensions = 1 << (INET_DIAG_INFO - 1);
        for family in [AF_INET, AF_INET6] {
            // inet_diag_req_v2: family, protocol, extensions, states, no
            // address.
            let mut wanted = vec![family, IPPROTO_TCP, extensions, 0];
            wanted.extend(states.to_ne_bytes());
            wanted.extend([0; 48]);
            dump(hosts, &wanted, |message| sockets.extend(socket(message)))?;
        }
        Ok(sockets)
    }

    fn unseen(error: &io::Error) -> Stop {
        Stop::skipped(format_args!(
            "the kernel does not show its sockets (sock_diag): {error}"
        ))
    }

    /// The TCP sockets that these processes hold on these hosts, or in this
    /// machine's network.
    pub fn tcp_sockets_of_on(
        pids: &[u32],
        hosts: &[Host],
    ) -> Result<Vec<TcpSocket>> {
        let inodes = inodes_of(pids);
        let mut sockets = tcp_sockets_on(hosts)?;
        sockets.retain(|socket| inodes.contains(&socket.inode.into()));
        Ok(sockets)
    }

    /// Those of them that listen.
    pub fn tcp_listeners_of_on(
        pids: &[u32],
        hosts: &[Host],
    ) -> Result<Vec<TcpSocket>> {
        let inodes = inodes_of(pids);
        let mut sockets = tcp_listeners_on(hosts)?;
        sockets.retain(|socket| inodes.contains(&socket.inode.into()));
        Ok(sockets)
    }

    /// Every UDP socket of these hosts, or of this machine's network if there
    /// are none.
    pub fn udp_sockets_on(hosts: &[Host]) -> Result<Vec<UdpSocket>> {
        let mut sockets = Vec::new();
        for family in [AF_INET, AF_INET6] {
            let mut wanted = vec![family, IPPROTO_UDP, 0, 0];
            wanted.extend(u32::MAX.to_ne_bytes());
            wanted.extend([0; 48]);
            dump(hosts, &wanted, |message| {
                sockets.extend(socket(message).map(|it| UdpSocket {
                    local: it.local,
                    receive_queue: it.receive_queue,
                    inode: it.inode,
                }));
            })?;
        }
        Ok(sockets)
    }

    /// The UDP sockets that these processes hold on these hosts, or in this
    /// machine's network.
    pub fn udp_sockets_of_on(
        pids: &[u32],
        hosts: &[Host],
    ) -> Result<Vec<UdpSocket>> {
        let inodes = inodes_of(pids);
        let mut sockets = udp_sockets_on(hosts)?;
        sockets.retain(|socket| inodes.contains(&socket.inode.into()));
        Ok(sockets)
    }

    /// The multicast groups that the host has joined on which this process
    /// runs, whichever of its sockets did it (`/proc/PID/net/igmp`, `igmp6`).
    pub fn groups(pid: u32) -> Result<Vec<Group>> {
        let read = |name| fs::read_to_string(format!("/proc/{pid}/net/{name}"));
        let mut groups = groups_v4(&read("igmp")?);
        // A system without IPv6 has no such file.
        groups.extend(groups_v6(&read("igmp6").unwrap_or_default()));
        Ok(groups)
    }

    /// A line for each interface, with its number and its name in front, and
    /// under it one for each group, the address as the kernel has it in memory.
    fn groups_v4(text: &str) -> Vec<Group> {
        let mut interface = "";
        let mut groups = Vec::new();
        for line in text.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if !line.starts_with(char::is_whitespace) {
                interface = words.get(1).copied().unwrap_or_default();
                continue;
            }
            let address = words
                .first()
                .and_then(|it| u32::from_str_radix(it, 16).ok());
            let users = words.get(1).and_then(|it| it.parse().ok());
            groups.extend(address.zip(users).map(|(address, users)| Group {
                interface: interface.to_owned(),
                address: Ipv4Addr::from(address.to_ne_bytes()).into(),
                users,
            }));
        }
        groups
    }

    /// Number and name of the interface, group, users, and more.
    fn groups_v6(text: &str) -> Vec<Group> {
        let group = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let address = u128::from_str_radix(words.get(2)?, 16).ok()?;
            Some(Group {
                interface: (*words.get(1)?).to_owned(),
                address: Ipv6Addr::from_bits(address).into(),
                users: words.get(3)?.parse().ok()?,
            })
        };
        text.lines().filter_map(group).collect()
    }

    /// The descriptor by which the process has the socket with this inode.
    pub(crate) fn descriptor_of(pid: u32, inode: u32) -> Option<i32> {
        let mut open = process(pid)?.fd().ok()?.flatten();
        let is_it = FDTarget::Socket(inode.into());
        open.find_map(|fd| (fd.target == is_it).then_some(fd.fd))
    }

    /// Every Unix stream socket of this network namespace.
    pub fn unix_sockets() -> Result<Vec<UnixSocket>> {
        // unix_diag_req: family, protocol, padding, states, inode, what to
        // show, cookie.
        let mut wanted = vec![AF_UNIX, 0, 0, 0];
        wanted.extend(u32::MAX.to_ne_bytes());
        wanted.extend([0; 4]);
        wanted.extend(UDIAG_SHOW_VFS_PEER_RQLEN.to_ne_bytes());
        wanted.extend([0; 8]);
        let mut sockets = Vec::new();
        dump(&[], &wanted, |message| sockets.extend(unix_socket(message)))?;
        Ok(sockets)
    }

    /// The Unix stream sockets that these processes hold.
    pub fn unix_sockets_of(pids: &[u32]) -> Result<Vec<UnixSocket>> {
        let inodes = inodes_of(pids);
        let mut sockets = unix_sockets()?;
        sockets.retain(|socket| inodes.contains(&socket.inode.into()));
        Ok(sockets)
    }

    /// The number by which the kernel's tables name a socket of our own.
    pub(crate) fn inode_of(socket: &Socket) -> Option<u32> {
        let path = format!("/proc/self/fd/{}", socket.as_raw_fd());
        fs::metadata(path).ok()?.ino().try_into().ok()
    }

    /// The inodes of the sockets that these processes hold.
    fn inodes_of(pids: &[u32]) -> HashSet<u64> {
        let mut inodes = HashSet::new();
        for process in pids.iter().filter_map(|pid| process(*pid)) {
            let Ok(descriptors) = process.fd() else {
                continue;
            };
            inodes.extend(descriptors.flatten().filter_map(
                |fd| match fd.target {
                    FDTarget::Socket(inode) => Some(inode),
                    _ => None,
                },
            ));
        }
        inodes
    }

    /// What stands at a path, if anything does.
    pub fn file(path: &Path) -> Option<File> {
        let metadata = fs::symlink_metadata(path).ok()?;
        Some(File {
            device: metadata.dev(),
            inode: metadata.ino(),
            permissions: metadata.mode() & 0o777,
            owner: metadata.uid(),
        })
    }

    /// A process and all that it started, as long as they live.
    pub fn process_tree(root: u32) -> Vec<u32> {
        let mut pids = vec![root];
        let mut next = 0;
        while let Some(pid) = pids.get(next) {
            let tasks = process(*pid).and_then(|p| p.tasks().ok());
            let children = tasks.into_iter().flatten().flatten();
            pids.extend(children.filter_map(|t| t.children().ok()).flatten());
            next += 1;
        }
        pids
    }

    /// The numbers of the file descriptors that the process has open.
    pub fn descriptors(pid: u32) -> Option<HashSet<u64>> {
        let open = process(pid)?.fd().ok()?.flatten();
        Some(open.filter_map(|fd| fd.fd.try_into().ok()).collect())
    }

    /// Whether a program that the process starts has this descriptor as well,
    /// because it is not marked close-on-exec (`flags` in proc_pid_fdinfo(5)).
    pub fn outlives_exec(pid: u32, descriptor: u64) -> Option<bool> {
        let path = format!("/proc/{pid}/fdinfo/{descriptor}");
        let text = fs::read_to_string(path).ok()?;
        let flags = text.lines().find_map(|it| it.strip_prefix("flags:"))?;
        let flags = i32::from_str_radix(flags.trim(), 8).ok()?;
        Some(flags & libc::O_CLOEXEC == 0)
    }

    /// How many more descriptors the process may open (RLIMIT_NOFILE).
    pub fn free_descriptors(pid: u32) -> Option<usize> {
        let limit = process(pid)?.limits().ok()?.max_open_files.soft_limit;
        let LimitValue::Value(most) = limit else {
            return None;
        };
        let open = descriptors(pid)?;
        Some((0..most).filter(|number| !open.contains(number)).count())
    }

    /// Memory of its own, in bytes: what it has allocated and touched, without
    /// the pages of its program file (`RssAnon` in proc_pid_status(5)).
    pub fn memory(pid: u32) -> Option<u64> {
        Some(process(pid)?.status().ok()?.rssanon? * 1024)
    }

    /// Nanoseconds for which the process ran or wanted to run. Unlike the time
    /// it got, this does not fall when other programs keep the cores busy.
    pub fn cpu_wanted(pid: u32) -> Option<u64> {
        let stat = process(pid)?.schedstat().ok()?;
        Some(stat.sum_exec_runtime + stat.run_delay)
    }

    /// How many bytes the disk with this directory has room for.
    pub fn free_space(directory: &Path) -> Option<u64> {
        let disk = rustix::fs::statvfs(directory).ok()?;
        Some(disk.f_bavail * disk.f_frsize)
    }

    /// The first port that does not need a privilege, ip(7).
    pub fn unprivileged_port_start() -> u16 {
        let path = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
        let text = fs::read_to_string(path).unwrap_or_default();
        text.trim().parse().unwrap_or(1024)
    }

    fn process(pid: u32) -> Option<Process> {
        Process::new(pid.try_into().ok()?).ok()
    }

    // The numbers of <linux/netlink.h>, <linux/inet_diag.h> and
    // <linux/unix_diag.h>.
    const AF_UNIX: u8 = 1;
    const AF_INET: u8 = 2;
    const AF_INET6: u8 = 10;
    const AF_NETLINK: i32 = 16;
    const NETLINK_SOCK_DIAG: i32 = 4;
    const IPPROTO_TCP: u8 = 6;
    const IPPROTO_UDP: u8 = 17;
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    const NLM_F_REQUEST: u16 = 1;
    const NLM_F_MULTI: u16 = 2;
    const NLM_F_DUMP: u16 = 0x300;
    const ENOENT: i32 = 2;
    const NLMSG_ERROR: u16 = 2;
    const NLMSG_DONE: u16 = 3;
    const ALL_STATES_BUT_TIME_WAIT: u32 = 0xfff & !(1 << 6);
    const INET_DIAG_INFO: u8 = 2;

    const SOCK_STREAM: u8 = 1;
    const TCP_LISTEN: u8 = 10;
    const UDIAG_SHOW_VFS_PEER_RQLEN: u32 = 0x2 | 0x4 | 0x10;
    const UNIX_DIAG_VFS: u16 = 1;
    const UNIX_DIAG_PEER: u16 = 2;
    const UNIX_DIAG_RQLEN: u16 = 4;

    /// Asks for all sockets of these hosts, or of this machine's network if
    /// there are none.
    fn dump(hosts: &[Host], wanted: &[u8], each: impl FnMut(&[u8])) -> Result {
        ask_hosts(hosts, NLM_F_REQUEST | NLM_F_DUMP, wanted, each)
    }

    fn ask_hosts(
        hosts: &[Host],
        flags: u16,
        wanted: &[u8],
        mut each: impl FnMut(&[u8]),
    ) -> Result {
        let domain = Domain::from(AF_NETLINK);
        let protocol = Some(Protocol::from(NETLINK_SOCK_DIAG));
        let mut all = || -> io::Result<()> {
            if hosts.is_empty() {
                let netlink = Socket::new(domain, Type::DGRAM, protocol)?;
                return ask(netlink, flags, wanted, &mut each);
            }
            for host in hosts {
                let netlink = host.socket(domain, Type::DGRAM, protocol)?;
                ask(netlink, flags, wanted, &mut each)?;
            }
            Ok(())
        };
        all().map_err(|error| unseen(&error))
    }

    /// Asks for the sockets wanted, and reads the answers to the last. They are
    /// those of the network to which the netlink socket belongs.
    fn ask(
        mut netlink: Socket,
        flags: u16,
        wanted: &[u8],
        mut each: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        // nlmsghdr: length, type, flags, sequence number, port.
        let length = 16 + wanted.len() as u32;
        let mut request = length.to_ne_bytes().to_vec();
        request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        request.extend(flags.to_ne_bytes());
        request.extend([0; 8]);
        request.extend(wanted);
        netlink.send(&request)?;

        let mut buffer = vec![0; 64 * 1024];
        loop {
            let n_bytes = netlink.read(&mut buffer)?;
            let mut rest = &buffer[..n_bytes];
            while rest.len() >= 16 {
                let length = u32_at(rest, 0) as usize;
                match u16_at(rest, 4) {
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => {
                        return match -i32::from_ne_bytes(bytes_at(rest, 16)) {
                            // The one that was asked for is not there.
                            ENOENT if flags & NLM_F_DUMP == 0 => Ok(()),
                            errno => Err(io::Error::from_raw_os_error(errno)),
                        };
                    }
                    _ => each(&rest[16..length]),
                }
                if u16_at(rest, 6) & NLM_F_MULTI == 0 {
                    return Ok(());
                }
                // Every message begins at a multiple of four.
                rest = &rest[length.next_multiple_of(4).min(rest.len())..];
            }
        }
    }

    /// Reads an inet_diag_msg: family, state, timer, retransmissions, then
    /// the two ends, then the queues, the user and the inode.
    fn socket(message: &[u8]) -> Option<TcpSocket> {
        let is_ipv6 = *message.first()? == AF_INET6;
        let end = |port: usize, address: usize| {
            let ip = if is_ipv6 {
                IpAddr::from(bytes_at::<16>(message, address))
            } else {
                IpAddr::V4(Ipv4Addr::from(bytes_at::<4>(message, address)))
            };
            let port = u16::from_be_bytes(bytes_at(message, port));
            SocketAddr::new(ip.to_canonical(), port)
        };
        let (local, mut remote) = (end(4, 8), end(6, 24));
        let state = state(*message.get(1)?)?;
        if state == TcpState::Listen && is_ipv6 {
            remote.set_ip(Ipv6Addr::UNSPECIFIED.into());
        }
        Some(TcpSocket {
            local,
            remote,
            state,
            receive_queue: u32_at(message, 56),
            send_queue: u32_at(message, 60),
            timer: timer(*message.get(2)?, u32_at(message, 52)),
            unanswered: *message.get(3)?,
            segments_in: segments_in(message),
            inode: u32_at(message, 68),
            is_ipv6,
        })
    }

    /// Reads a unix_diag_msg: family, type, state, padding, inode, cookie, then
    /// attributes, each with its length and its type in front.
    fn unix_socket(message: &[u8]) -> Option<UnixSocket> {
        if *message.get(1)? != SOCK_STREAM {
            return None;
        }
        let mut socket = UnixSocket {
            listens: *message.get(2)? == TCP_LISTEN,
            file: None,
            inode: u32_at(message, 4),
            peer: None,
            receive_queue: 0,
            send_queue: 0,
        };
        let mut rest = message.get(16..)?;
        while rest.len() >= 4 {
            let length = usize::from(u16_at(rest, 0)).max(4);
            match u16_at(rest, 2) {
                UNIX_DIAG_VFS => socket.file = Some(u32_at(rest, 4)),
                UNIX_DIAG_PEER => socket.peer = Some(u32_at(rest, 4)),
                UNIX_DIAG_RQLEN => {
                    socket.receive_queue = u32_at(rest, 4);
                    socket.send_queue = u32_at(rest, 8);
                }
                _ => {}
            }
            rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        }
        Some(socket)
    }

    /// Looks for the attribute with a tcp_info, and in it for `tcpi_segs_in`.
    fn segments_in(message: &[u8]) -> u32 {
        let mut rest = message.get(72..).unwrap_or_default();
        while rest.len() >= 4 {
            // rtattr: length with these four bytes, type.
            let length = usize::from(u16_at(rest, 0)).max(4);
            if u16_at(rest, 2) == INET_DIAG_INFO.into() {
                return u32_at(rest, 4 + 140);
            }
            rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        }
        0
    }

    fn timer(number: u8, milliseconds: u32) -> Option<(Timer, Duration)> {
        let timers = [
            Timer::Retransmit,
            Timer::KeepAlive,
            Timer::TimeWait,
            Timer::ZeroWindowProbe,
        ];
        let timer = timers.into_iter().find(|it| *it as u8 == number)?;
        Some((timer, Duration::from_millis(milliseconds.into())))
    }

    fn state(number: u8) -> Option<TcpState> {
        use TcpState::{
            CloseWait, Closed, Closing, Established, FinWait1, FinWait2,
            LastAck, Listen, SynReceived, SynSent, TimeWait,
        };
        let states = [
            Established,
            SynSent,
            SynReceived,
            FinWait1,
            FinWait2,
            TimeWait,
            Closed,
            CloseWait,
            LastAck,
            Listen,
            Closing,
        ];
        // 12 is NEW_SYN_RECV, a handshake that has no socket of its own yet.
        let state = states.into_iter().find(|state| *state as u8 == number);
        state.or((number == 12).then_some(SynReceived))
    }

    fn bytes_at<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
        let slice = bytes.get(offset..offset + N);
        slice.and_then(|s| s.try_into().ok()).unwrap_or([0; N])
    }

    fn u16_at(bytes: &[u8], offset: usize) -> u16 {
        u16::from_ne_bytes(bytes_at(bytes, offset))
    }

    fn u32_at(bytes: &[u8], offset: usize) -> u32 {
        u32::from_ne_bytes(bytes_at(bytes, offset))
    }
}

/// Elsewhere the checks compile, and what they cannot see is skipped by name.
#[cfg(not(target_os = "linux"))]
#[allow(missing_docs, reason = "documented above, for Linux")]
mod sys {
    use std::collections::HashSet;
    use std::path::Path;

    use lan::Host;

    use super::{File, Group, TcpSocket, UdpSocket, UnixSocket};
    use crate::outcome::{Result, Stop};

    pub fn can_see() -> Result {
        Err(Stop::skipped("only Linux shows whose socket it is"))
    }

    pub fn tcp_sockets_on(_hosts: &[Host]) -> Result<Vec<TcpSocket>> {
        Err(Stop::skipped("only Linux shows whose socket it is"))
    }

    pub fn tcp_sockets_of_on(
        _pids: &[u32],
        hosts: &[Host],
    ) -> Result<Vec<TcpSocket>> {
        tcp_sockets_on(hosts)
    }

    pub fn tcp_listeners_on(hosts: &[Host]) -> Result<Vec<TcpSocket>> {
        tcp_sockets_on(hosts)
    }

    pub fn tcp_connection_on(
        _local: SocketAddr,
        _remote: SocketAddr,
        hosts: &[Host],
    ) -> Result<Option<TcpSocket>> {
        tcp_sockets_on(hosts).map(|_| None)
    }

    pub fn tcp_listeners_of_on(
        _pids: &[u32],
        hosts: &[Host],
    ) -> Result<Vec<TcpSocket>> {
        tcp_sockets_on(hosts)
    }

    pub fn udp_sockets_on(_hosts: &[Host]) -> Result<Vec<UdpSocket>> {
        Err(Stop::skipped("only Linux shows whose socket it is"))
    }

    pub fn udp_sockets_of_on(
        _pids: &[u32],
        hosts: &[Host],
    ) -> Result<Vec<UdpSocket>> {
        udp_sockets_on(hosts)
    }

    pub fn groups(_pid: u32) -> Result<Vec<Group>> {
        Err(Stop::skipped("only Linux shows which groups were joined"))
    }

    pub(crate) fn descriptor_of(_pid: u32, _inode: u32) -> Option<i32> {
        None
    }

    pub fn unix_sockets() -> Result<Vec<UnixSocket>> {
        Err(Stop::skipped("only Linux shows whose socket it is"))
    }

    pub fn unix_sockets_of(_pids: &[u32]) -> Result<Vec<UnixSocket>> {
        unix_sockets()
    }

    pub fn file(_path: &Path) -> Option<File> {
        None
    }

    pub(crate) fn inode_of(_socket: &socket2::Socket) -> Option<u32> {
        None
    }

    pub fn process_tree(root: u32) -> Vec<u32> {
        vec![root]
    }

    pub fn descriptors(_pid: u32) -> Option<HashSet<u64>> {
        None
    }

    pub fn free_descriptors(_pid: u32) -> Option<usize> {
        None
    }

    pub fn outlives_exec(_pid: u32, _descriptor: u64) -> Option<bool> {
        None
    }

    pub fn memory(_pid: u32) -> Option<u64> {
        None
    }

    pub fn cpu_wanted(_pid: u32) -> Option<u64> {
        None
    }

    pub fn free_space(_directory: &Path) -> Option<u64> {
        None
    }

    pub fn unprivileged_port_start() -> u16 {
        1024
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_listener_shows_its_owner_and_its_backlog() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ours = tcp_sockets_of(&[std::process::id()]).unwrap();
        let found = ours.iter().find(|s| s.local == address).unwrap();
        assert_eq!(found.state, TcpState::Listen);
        assert!(found.send_queue > 0, "{found}");
    }

    #[test]
    fn unread_bytes_show_in_the_receive_queue() {
        use std::io::Write;
        let listener = TcpListener::bind("[::1]:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"hello").unwrap();
        let (_server, peer) = listener.accept().unwrap();
        let unread = crate::wait::wait_for(|| {
            let sockets = tcp_sockets().unwrap();
            let ends = (address, peer);
            let socket =
                sockets.into_iter().find(|s| (s.local, s.remote) == ends)?;
            (socket.receive_queue == 5).then_some(socket)
        });
        assert!(unread.unwrap().is_ipv6);
    }

    #[test]
    fn a_udp_socket_shows_its_owner_and_what_is_unread() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        socket.send_to(b"hello", address).unwrap();
        let ours = udp_sockets_of(&[std::process::id()]).unwrap();
        let found = ours.iter().find(|s| s.local == address).unwrap();
        assert!(found.receive_queue > 0, "{found:?}");
        let descriptor = descriptor_of(std::process::id(), found.inode);
        use std::os::fd::AsRawFd;
        assert_eq!(descriptor, Some(socket.as_raw_fd()));
    }

    #[test]
    fn a_group_shows_its_interface_as_long_as_somebody_is_in_it() {
        use std::net::{Ipv4Addr, Ipv6Addr};

        // Another test of this machine may look at the same time.
        let [.., high, low] = std::process::id().to_be_bytes();
        let v4 = Ipv4Addr::new(239, 255, high, low);
        let v6 = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, high.into(), low.into());
        let ours = || -> Vec<Group> {
            let groups = groups(std::process::id()).unwrap();
            let is_ours =
                |it: &Group| [v4.into(), v6.into()].contains(&it.address);
            groups.into_iter().filter(is_ours).collect()
        };
        assert_eq!(ours(), []);
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.join_multicast_v4(&v4, &Ipv4Addr::LOCALHOST).unwrap();
        let group = |address| Group {
            interface: "lo".into(),
            address,
            users: 1,
        };
        assert_eq!(ours(), [group(v4.into())]);
        let socket6 = std::net::UdpSocket::bind("[::1]:0").unwrap();
        // Interface 1 is `lo`.
        socket6.join_multicast_v6(&v6, 1).unwrap();
        assert_eq!(ours(), [group(v4.into()), group(v6.into())]);
        drop((socket, socket6));
        assert_eq!(ours(), []);
    }

    #[test]
    fn a_unix_socket_shows_its_file_its_peer_and_its_queue() {
        use std::io::Write;
        use std::os::unix::fs::MetadataExt;
        use std::os::unix::net::{UnixListener, UnixStream};

        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let mut client = UnixStream::connect(&path).unwrap();
        client.write_all(b"hello").unwrap();
        let _server = listener.accept().unwrap();
        let file = path.metadata().unwrap().ino();
        let ours = unix_sockets_of(&[std::process::id()]).unwrap();
        let bound = ours.iter().filter(|s| s.file.map(u64::from) == Some(file));
        // What a listener accepts is bound to the same file.
        let (listening, accepted): (Vec<_>, Vec<_>) =
            bound.partition(|s| s.listens);
        assert_eq!((listening.len(), accepted.len()), (1, 1), "{ours:#?}");
        assert_eq!(accepted[0].receive_queue, 5);
        let client = ours.iter().find(|s| Some(s.inode) == accepted[0].peer);
        assert_eq!(client.unwrap().peer, Some(accepted[0].inode));
    }

    #[test]
    fn a_keepalive_timer_shows_its_delay() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let delay = Duration::from_secs(1000);
        let keepalive = socket2::TcpKeepalive::new().with_time(delay);
        socket2::SockRef::from(&client)
            .set_tcp_keepalive(&keepalive)
            .unwrap();
        let local = client.local_addr().unwrap();
        let sockets = tcp_sockets().unwrap();
        let ours = sockets.iter().find(|s| s.local == local).unwrap();
        let (timer, left) = ours.timer.unwrap();
        assert_eq!((timer, ours.unanswered), (Timer::KeepAlive, 0));
        assert!(left <= delay && left > delay / 2, "{left:?}");
        // The SYN-ACK, and nothing else yet.
        assert_eq!(ours.segments_in, 1);
    }
}

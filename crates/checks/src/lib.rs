//! What each lab promises, and the instruments that see whether a program
//! keeps it.
//!
//! A program is seen from outside only: its command line, its exit status, its
//! files, its sockets, and what the kernel tells about it. So the same checks
//! judge a lab, a learner's version of it, and the same thing in Node. The one
//! line of output they rely on is `listening on ADDRESS`, and even that only
//! where the line itself is the promise: whether a program is ready they learn
//! from the kernel.
//!
//! - [`subject`] starts programs and ends them,
//! - [`peer`] talks to them over TCP and Unix sockets, well or badly behaved,
//! - [`datagrams`] talks to them over UDP,
//! - [`wire`] sees the packets on a host of a private network,
//! - [`kernel`] shows what the system knows about them,
//! - [`script`] strings these together and remembers every step,
//! - [`promise`] gives each check its name and its reason,
//! - [`labs`] has the promises themselves, a module for each lab.
//!
//! Checks wait for things and never for time ([`wait`]), and what a machine
//! cannot show is skipped by name and reason, never passed.

pub mod bytes;
pub mod datagrams;
pub mod kernel;
pub mod labs;
pub mod outcome;
pub mod peer;
pub mod promise;
pub mod script;
pub mod subject;
mod sys;
pub mod wait;
pub mod wire;

pub use lan::use_helper as use_lan;
pub use promise::{Lab, Promise, Verdict, prove, skip};
pub use subject::{Program, run_confined, use_confined};

/// Every lab of the course, in the order of the book.
pub const LABS: &[&Lab] = &[
    &labs::tcp_server::LAB,
    &labs::tcp_client::LAB,
    &labs::pipe_to_file::LAB,
    &labs::pause_resume::LAB,
    &labs::backpressure::LAB,
    &labs::getconnections::LAB,
    &labs::close::LAB,
    &labs::half_open::LAB,
    &labs::timeout::LAB,
    &labs::keepalive::LAB,
    &labs::unref::LAB,
    &labs::unix_socket::LAB,
    &labs::listen_handle::LAB,
    &labs::is_ip::LAB,
    &labs::udp_unicast::LAB,
    &labs::udp_broadcast::LAB,
    &labs::multicast::LAB,
    &labs::telnet::LAB,
    &labs::chat_v1::LAB,
    &labs::chat_v2::LAB,
];

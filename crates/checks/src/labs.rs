//! The promises, a module for each lab.

#[macro_use]
mod every_program;

mod command_line;
mod every_chat;
mod every_datagram_server;
mod every_server;
mod output_file;

pub mod backpressure;
pub mod chat_v1;
pub mod chat_v2;
pub mod close;
pub mod getconnections;
pub mod half_open;
pub mod is_ip;
pub mod keepalive;
pub mod listen_handle;
pub mod multicast;
pub mod pause_resume;
pub mod pipe_to_file;
pub mod tcp_client;
pub mod tcp_server;
pub mod telnet;
pub mod timeout;
pub mod udp_broadcast;
pub mod udp_unicast;
pub mod unix_socket;
pub mod unref;

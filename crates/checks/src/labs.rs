//! The promises, a module for each lab.

mod every_server;

pub mod tcp_server;

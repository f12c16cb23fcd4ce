//! Only Linux can do it. Elsewhere this compiles, and says so.

use std::io;
use std::path::PathBuf;
use std::process::Command;

use socket2::{Domain, Protocol, Socket, Type};

use crate::error::Error;
use crate::plan::Plan;

/// Says where the program `lan` is. Otherwise cargo is asked to build it.
pub fn use_helper(_: impl Into<PathBuf>) {}

/// There is none, and so its methods are never called.
#[derive(Debug)]
pub(crate) enum Keeper {}

impl Keeper {
    pub(crate) fn start(_: &Plan) -> Result<(Self, Vec<i32>), Error> {
        Err(Error::forbidden(
            "a private network needs the namespaces of Linux",
            "run the course in WSL 2 (Windows), or in a virtual machine",
        ))
    }

    pub(crate) fn pid(&self) -> u32 {
        match *self {}
    }

    pub(crate) fn ask(&self, _: &str) -> Result<(), Error> {
        match *self {}
    }

    pub(crate) fn socket(
        &self,
        _: &str,
        _: Domain,
        _: Type,
        _: Option<Protocol>,
    ) -> io::Result<Socket> {
        match *self {}
    }

    pub(crate) fn enter(&self, _: i32) -> Command {
        match *self {}
    }
}

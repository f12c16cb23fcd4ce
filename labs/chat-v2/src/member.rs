//! One who is connected, as the room knows it.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::name::Name;
use crate::outbox::Outbox;
use crate::turn::{Share, Turn};

// ANCHOR: member
/// One who is connected.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) peer: SocketAddr,
    pub(crate) name: Name,
    /// What it is owed of this turn.
    pub(crate) share: Share,
    pub(crate) outbox: Arc<Outbox>,
}

impl Member {
    pub(crate) fn new(id: u64, peer: SocketAddr, outbox: Arc<Outbox>) -> Self {
        Member {
            peer,
            name: Name::anonymous(id),
            share: Share::default(),
            outbox,
        }
    }

    /// One write, if it is owed anything.
    pub(crate) fn write(&mut self, turn: &Turn) {
        turn.hand_out(&mut self.share, |lines| self.outbox.push(lines));
    }
}

/// Who is no member any more is sent nothing more. However a member is lost,
/// its client hears of it.
impl Drop for Member {
    fn drop(&mut self) {
        self.outbox.close("");
    }
}
// ANCHOR_END: member

//! The file, and its one owner at a time.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use anyhow::bail;
use tokio::sync::OwnedMutexGuard;
use tokio::task::spawn_blocking;

/// The most that one turn takes from a client. Each turn goes to another thread
/// and back, so a few large ones cost less than many small ones.
const CHUNK: usize = 1024 * 1024;

// ANCHOR: sink
/// The file, and the chunk on its way to it. There is one of both, behind a
/// lock. Who holds the lock is the owner: nobody writes into the middle of its
/// chunk, and more clients do not take more memory.
pub(crate) struct Sink {
    file: File,
    pub(crate) chunk: Vec<u8>,
}
// ANCHOR_END: sink

impl Sink {
    // ANCHOR: open
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        // Opening a FIFO waits until somebody reads from it, perhaps for ever.
        #[cfg(unix)]
        {
            use std::os::unix::fs::FileTypeExt;
            let metadata = path.metadata();
            if metadata.is_ok_and(|it| it.file_type().is_fifo()) {
                bail!("it is a FIFO, which keeps nothing; name another file");
            }
        }
        // With O_APPEND each write goes to where the file ends at that moment,
        // also when somebody has emptied it meanwhile.
        let file = File::options().append(true).create(true).open(path)?;
        let chunk = Vec::with_capacity(CHUNK);
        Ok(Sink { file, chunk })
    }

    /// Returns how long the file was, and empties it unless that is kept.
    pub(crate) fn begin(&self, keep: bool) -> io::Result<u64> {
        let metadata = self.file.metadata()?;
        // A device, such as /dev/full, has no length to set.
        if metadata.is_file() && !keep {
            self.file.set_len(0)?;
        }
        Ok(metadata.len())
    }

    /// Waits until the file is on the disk. An error that the kernel met after it
    /// had taken the bytes is told now or never.
    pub(crate) fn sync(&self) -> io::Result<()> {
        // A device keeps nothing, and says EINVAL.
        if self.file.metadata()?.is_file() {
            self.file.sync_all()?;
        }
        Ok(())
    }
    // ANCHOR_END: open

    /// Writes the chunk, and tells how much of it went before an error: a disk
    /// that is nearly full takes what fits, and only then says ENOSPC.
    fn write_chunk(&mut self) -> (usize, io::Result<()>) {
        let mut n_written = 0;
        while n_written < self.chunk.len() {
            match self.file.write(&self.chunk[n_written..]) {
                Ok(n_bytes) if n_bytes > 0 => n_written += n_bytes,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                ended => {
                    let error = ended.err();
                    let error = error.unwrap_or(ErrorKind::WriteZero.into());
                    return (n_written, Err(error));
                }
            }
        }
        (n_written, Ok(()))
    }
}

// ANCHOR: write
/// Writes the chunk on another thread, as Node does: for a disk there is no
/// "not ready", the call takes as long as it takes. The lock goes with it, and
/// is free when the chunk is written, even if nobody waits for that any more.
pub(crate) async fn write(
    mut sink: OwnedMutexGuard<Sink>,
    n_written: &mut u64,
) -> io::Result<()> {
    let write = move || {
        let written = sink.write_chunk();
        sink.chunk.clear();
        written
    };
    let (n_bytes, result) = spawn_blocking(write).await?;
    *n_written += n_bytes as u64;
    result
}
// ANCHOR_END: write

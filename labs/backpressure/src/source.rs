//! What is sent: the bytes of a file, or made-up ones.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use anyhow::{Context, ensure};
use tokio::task::spawn_blocking;

/// How much is read at once.
const AHEAD: usize = 256 * 1024;

/// The same for every client. Each reads it anew, from its beginning.
#[derive(Clone)]
pub(crate) struct Source {
    file: Option<PathBuf>,
    n_bytes: u64,
}

impl Source {
    pub(crate) fn made_up(n_bytes: u64) -> Self {
        Source {
            file: None,
            n_bytes,
        }
    }

    /// Finds now what would be wrong later: then it would be the first client
    /// who learns that there is no such file.
    pub(crate) fn file(path: PathBuf) -> anyhow::Result<Self> {
        let name = path.display();
        let cannot_read = || format!("cannot read {name}");
        let metadata = path.metadata().with_context(cannot_read)?;
        // A directory can be opened, and fails when it is read: EISDIR. What
        // else is no file may keep us waiting as soon as it is opened.
        ensure!(
            metadata.is_file() || metadata.is_dir(),
            "cannot send {name}: it is not an ordinary file"
        );
        File::open(&path)
            .and_then(|mut file| file.read(&mut [0]))
            .with_context(cannot_read)?;
        Ok(Source {
            n_bytes: metadata.len(),
            file: Some(path),
        })
    }

    pub(crate) fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    pub(crate) fn chunks(&self, size: usize) -> io::Result<Chunks> {
        let reader: Box<dyn Read + Send> = match &self.file {
            Some(path) => Box::new(File::open(path)?),
            None => Box::new(MadeUp { at: 0 }),
        };
        Ok(Chunks {
            reader: reader.take(self.n_bytes),
            size,
            ahead: VecDeque::new(),
        })
    }
}

// ANCHOR: chunks
/// Node's `fs.createReadStream(path, { highWaterMark: size })`.
pub(crate) struct Chunks {
    reader: io::Take<Box<dyn Read + Send>>,
    size: usize,
    /// Read, and not asked for yet: at most [`AHEAD`] bytes, or one chunk.
    ahead: VecDeque<Vec<u8>>,
}

impl Chunks {
    /// The next chunk and the rest, or `None` at the end. A file is always
    /// "ready", so the read itself must wait, and does so on another thread.
    /// The way there and back takes longer than a read: it is worth several.
    pub(crate) async fn next(mut self) -> io::Result<Option<(Vec<u8>, Self)>> {
        if self.ahead.is_empty() {
            self = spawn_blocking(|| self.read_ahead()).await??;
        }
        match self.ahead.pop_front() {
            Some(chunk) => Ok(Some((chunk, self))),
            None if self.reader.limit() == 0 => Ok(None),
            // The file is shorter than when we announced its size.
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn read_ahead(mut self) -> io::Result<Self> {
        for _ in 0..(AHEAD / self.size).clamp(1, 16) {
            let mut chunk = Vec::new();
            let mut piece = self.reader.by_ref().take(self.size as u64);
            if piece.read_to_end(&mut chunk)? == 0 {
                break;
            }
            self.ahead.push_back(chunk);
        }
        Ok(self)
    }
}
// ANCHOR_END: chunks

/// Lines of sixteen bytes, each with its number: what is lost or doubled shows.
struct MadeUp {
    at: u64,
}

impl Read for MadeUp {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let line = format!("{:>15}\n", self.at / 16 + 1);
        let rest = &line.as_bytes()[self.at as usize % 16..];
        let n_bytes = rest.len().min(buffer.len());
        buffer[..n_bytes].copy_from_slice(&rest[..n_bytes]);
        self.at += n_bytes as u64;
        Ok(n_bytes)
    }
}

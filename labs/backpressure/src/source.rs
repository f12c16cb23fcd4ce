//! What is sent: the bytes of a file, or made-up ones.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use anyhow::{Context, ensure};
use tokio::task::spawn_blocking;

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
            size: size as u64,
        })
    }
}

// ANCHOR: chunks
/// Node's `fs.createReadStream(path, { highWaterMark: size })`.
pub(crate) struct Chunks {
    reader: io::Take<Box<dyn Read + Send>>,
    size: u64,
}

impl Chunks {
    /// The next chunk and the rest, or `None` at the end. A file is always
    /// "ready", so the read itself must wait, and does so on another thread.
    pub(crate) async fn next(mut self) -> io::Result<Option<(Vec<u8>, Self)>> {
        let read = move || {
            let mut chunk = Vec::new();
            let mut piece = self.reader.by_ref().take(self.size);
            piece.read_to_end(&mut chunk)?;
            let left = self.reader.limit();
            match chunk.is_empty() {
                false => Ok(Some((chunk, self))),
                true if left == 0 => Ok(None),
                // The file is shorter than when we announced its size.
                true => Err(io::ErrorKind::UnexpectedEof.into()),
            }
        };
        spawn_blocking(read).await?
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

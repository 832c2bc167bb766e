//! The physical limit: a loop that only replaces a file durably.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use tokio::task;

use crate::latencies::Latencies;

/// Replaces a file in a folder repeatedly.
#[derive(Clone, Debug)]
pub(super) struct BareWriter {
    folder: PathBuf,
    content: Vec<u8>,
}

impl BareWriter {
    /// A writer that writes `bytes` bytes to `folder` each time.
    pub(super) fn new(folder: PathBuf, bytes: usize) -> Self {
        Self { folder, content: vec![b' '; bytes] }
    }

    /// Replaces the file `count` times, on a separate thread.
    pub(super) async fn run(self, count: usize) -> Result<Latencies> {
        let replacing = task::spawn_blocking(move || {
            let mut latencies = Latencies::default();
            for _ in 0..count {
                let started = Instant::now();
                self.replace()?;
                latencies.push(started.elapsed());
            }
            Ok(latencies)
        });
        replacing.await?
    }

    fn replace(&self) -> io::Result<()> {
        let temporary = self.folder.join("file.tmp");
        let mut file = File::create(&temporary)?;
        file.write_all(&self.content)?;
        file.sync_all()?;
        fs::rename(&temporary, self.folder.join("file"))?;
        File::open(&self.folder)?.sync_all()
    }
}

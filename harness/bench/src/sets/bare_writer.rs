//! The physical limit: a loop that replaces a file durably, and does nothing else.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use tokio::task;

use crate::latencies::Latencies;

/// Replaces one file in a folder again and again.
#[derive(Clone, Debug)]
pub(super) struct BareWriter {
    folder: PathBuf,
    content: Vec<u8>,
}

impl BareWriter {
    /// One that writes so many bytes into `folder` each time.
    pub(super) fn new(folder: PathBuf, bytes: usize) -> Self {
        Self { folder, content: vec![b' '; bytes] }
    }

    /// Replaces it `count` times, on a thread of its own.
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

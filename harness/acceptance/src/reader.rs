//! A client that reads the file that pods serve.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use replica_count_testbed::http;
use tokio::time;

use crate::load::{Caller, TIMEOUT};

/// Where pods serve their file.
pub(crate) const PORT: u16 = 8080;

/// The content of the file.
const CONTENT: &str = "ok\n";

/// Reads the file at an address, again and again.
#[derive(Debug)]
pub(crate) struct Reader {
    address: SocketAddr,
    /// How many requests had no answer.
    pub(crate) unanswered: usize,
}

impl Reader {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, unanswered: 0 }
    }

    async fn read(&self) -> Result<bool> {
        match time::timeout(TIMEOUT, http::get(self.address, "/index.html")).await {
            Ok(Ok((status, body))) => {
                ensure!(status == 200 && CONTENT.starts_with(&body), "it answers {status} {body}");
                // A pod killed between the head and the body of its answer has not answered.
                Ok(body == CONTENT)
            }
            Ok(Err(_)) | Err(_) => Ok(false),
        }
    }
}

impl Caller for Reader {
    async fn call(&mut self) -> Result<bool> {
        let is_answered = self.read().await?;
        self.unanswered += usize::from(!is_answered);
        Ok(is_answered)
    }
}

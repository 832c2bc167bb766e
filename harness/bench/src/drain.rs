//! The physical limit of everything that begins with a listing: a process that reads all Deployments as a stream, like
//! the server, and discards them.

use std::env;
use std::path::Path;
use std::pin::pin;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::{AsyncBufRead, AsyncBufReadExt as _};
use http::{Request, header};
use replica_count_testbed::{parent_death, workspace};
use tokio::{runtime, task};

use crate::{arguments, kubeconfig};

/// A streamed listing.
const PATH: &str = "/apis/apps/v1/deployments?watch=true&sendInitialEvents=true\
    &resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=290";

/// The annotation of the bookmark that ends the listing: the same text in both encodings.
const END: &[u8] = b"k8s.io/initial-events-end";

/// More than the length of the bookmark after the annotation.
const TAIL: usize = 512;

/// Runs the process with this `Accept` header; returns the time from its start to its end.
pub(crate) async fn measure(kubeconfig: &Path, accept: &str) -> Result<Duration> {
    let testbed = workspace::built_binary("testbed", "replica-count-testbed")?;
    let program = env::current_exe().context("the path of this program is unknown")?;
    let mut command = parent_death::command(&testbed, &program);
    command.args(["drain", "--accept", accept, "--kubeconfig"]).arg(kubeconfig).stdin(Stdio::null());
    let started = Instant::now();
    let mut child = parent_death::spawn(command).context("cannot start the drain")?;
    let status = task::spawn_blocking(move || child.wait()).await??;
    let took = started.elapsed();
    ensure!(status.success(), "the drain ended with {status}");
    Ok(took)
}

/// Runs as that process.
pub(crate) fn run(arguments: &arguments::Drain) -> Result<()> {
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let client = kubeconfig::client(&arguments.kubeconfig).await?;
        let request = Request::get(PATH).header(header::ACCEPT, &arguments.accept);
        drain(client.request_stream(request.body(Vec::new())?).await?).await
    })
}

/// Reads to the end of the listing.
async fn drain(stream: impl AsyncBufRead) -> Result<()> {
    let mut stream = pin!(stream);
    let mut tail = Vec::new();
    while !tail.windows(END.len()).any(|window| window == END) {
        let read = stream.fill_buf().await.context("the listing was aborted")?;
        ensure!(!read.is_empty(), "the listing ended early");
        tail.extend_from_slice(&read[read.len().saturating_sub(TAIL)..]);
        tail.drain(..tail.len().saturating_sub(TAIL));
        let length = read.len();
        stream.consume_unpin(length);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listing_ends_with_its_bookmark() {
        let cases = [
            ("ADDED ADDED k8s.io/initial-events-end true", true),
            (&("k8s.io/initial-events-".to_owned() + &" ".repeat(TAIL)), false),
            ("ADDED ADDED", false),
            ("", false),
        ];
        for (text, expected) in cases {
            assert_eq!(drain(text.as_bytes()).await.is_ok(), expected, "{text}");
        }
    }
}

//! The events of a watch, as they arrive.

use http_body_util::BodyExt as _;
use kube::client::Body;
use kube::core::WatchEvent;
use replica_count_wire::{Encoding, Frames};

use super::decode;
use super::error::WatchError;
use super::object::Object;

/// An open watch.
pub(super) struct Events {
    frames: Frames,
    body: Body,
}

impl Events {
    pub(super) fn new(encoding: Encoding, body: Body) -> Self {
        Self { frames: Frames::new(encoding), body }
    }

    /// The next event. `None`: the API server has ended the watch regularly. Cancel safe: no data is lost.
    pub(super) async fn next<K: Object>(&mut self) -> Result<Option<WatchEvent<K>>, WatchError> {
        loop {
            if let Some(frame) = self.frames.take()? {
                return decode::event(self.frames.encoding(), frame).map(Some);
            }
            match self.body.frame().await.transpose()? {
                Some(more) => self.frames.push(more.data_ref().map_or(&[], |data| data)),
                None if self.frames.is_empty() => return Ok(None),
                None => return Err(WatchError::EndedEarly),
            }
        }
    }
}

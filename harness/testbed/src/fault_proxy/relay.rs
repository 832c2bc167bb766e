//! Forwards a stream of events to the server, and injects its faults.

use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Bytes, Frame};
use kube::client::Body as KubeBody;
use replica_count_wire::{Encoding, Frames};
use tokio::time;

use super::exchange::{Body, Cut};
use super::status::{GONE, Status};
use super::{Event, Kind, Note, Shared, StreamFault};

/// One stream.
pub(super) struct Relay {
    shared: Arc<Shared>,
    ordinal: u64,
    path: String,
    kind: Kind,
    fault: Option<StreamFault>,
    /// Whether the fault has been injected.
    is_injected: bool,
    encoding: Encoding,
    frames: Frames,
    /// The number of events received.
    events: usize,
    /// The listing so far; `None` once complete, or if the stream is no listing.
    listing: Option<Vec<u8>>,
    /// The last count forwarded for each object on this stream. Events of earlier streams may not have arrived.
    counts: HashMap<String, i64>,
    /// Withheld events, by object.
    held: HashMap<String, Vec<(Event, Bytes)>>,
    /// The next steps.
    steps: VecDeque<Step>,
}

enum Step {
    Send(Bytes),
    Wait(Duration),
    Freeze,
    Cut,
    End,
}

impl Relay {
    pub(super) fn new(
        shared: Arc<Shared>,
        ordinal: u64,
        path: &str,
        kind: Kind,
        encoding: Encoding,
        fault: Option<StreamFault>,
    ) -> Self {
        let mut this = Self {
            shared,
            ordinal,
            path: path.to_owned(),
            kind,
            fault,
            is_injected: false,
            encoding,
            frames: Frames::new(encoding),
            events: 0,
            listing: (kind == Kind::ListAsStream).then(Vec::new),
            counts: HashMap::new(),
            held: HashMap::new(),
            steps: VecDeque::new(),
        };
        if kind == Kind::Watch {
            for frame in this.shared.memory.take_replay(path) {
                this.show(Event::read(encoding, &frame).as_ref(), &frame);
            }
        }
        if matches!(fault, Some(StreamFault::Freeze { at: 0 })) {
            this.inject([Step::Freeze]);
        }
        this
    }

    /// The stream that the server receives.
    pub(super) fn body(self, upstream: KubeBody) -> Body {
        let stream = stream::unfold((self, upstream), |(mut this, mut upstream)| async move {
            let next = this.next(&mut upstream).await?;
            Some((next, (this, upstream)))
        });
        StreamBody::new(stream).boxed_unsync()
    }

    async fn next(&mut self, upstream: &mut KubeBody) -> Option<Result<Frame<Bytes>, Cut>> {
        loop {
            match self.steps.pop_front() {
                Some(Step::Send(bytes)) => return Some(Ok(Frame::data(bytes))),
                Some(Step::Wait(_)) if self.shared.is_healed.load(Ordering::SeqCst) => {}
                Some(Step::Wait(duration)) => time::sleep(duration).await,
                Some(Step::Freeze) => pending().await,
                Some(Step::Cut) => return Some(Err(Cut)),
                Some(Step::End) => return None,
                None => self.read(upstream).await,
            }
        }
    }

    async fn read(&mut self, upstream: &mut KubeBody) {
        match upstream.frame().await {
            Some(Ok(frame)) => {
                self.frames.push(frame.data_ref().map_or(&[], |data| data));
                loop {
                    match self.frames.take() {
                        Ok(Some(frame)) => self.take(frame),
                        Ok(None) => break,
                        Err(_) => return self.steps.push_back(Step::Cut),
                    }
                }
            }
            Some(Err(_)) => self.steps.push_back(Step::Cut),
            None => {
                self.release_all();
                self.steps.push_back(Step::End);
            }
        }
    }

    /// Processes an event from the API server.
    fn take(&mut self, frame: Bytes) {
        let event = Event::read(self.encoding, &frame);
        if let Some(listing) = &mut self.listing {
            listing.extend_from_slice(&self.encoding.frame(&frame));
            if event.as_ref().is_some_and(Event::ends_listing) {
                let listing = std::mem::take(listing).into();
                self.shared.memory.keep_listing(self.kind, &self.path, self.encoding, listing);
                self.listing = None;
            }
        }
        let at_event = self.events;
        self.events += 1;
        match self.fault {
            Some(StreamFault::Cut { at }) if at == at_event => {
                let whole = self.encoding.frame(&frame);
                self.inject([Step::Send(whole.slice(..whole.len() / 2)), Step::Cut]);
            }
            Some(StreamFault::Freeze { at }) if at == at_event => self.inject([Step::Freeze]),
            Some(StreamFault::Gone { at }) if at == at_event => {
                self.shared.memory.note_gone(&self.path);
                let gone = Status::of(GONE).event(self.encoding);
                self.inject([Step::Send(self.encoding.frame(&gone)), Step::End]);
            }
            Some(StreamFault::End { at }) if at == at_event => self.inject([Step::End]),
            Some(StreamFault::Replay { at }) if at == at_event => {
                self.show(event.as_ref(), &frame);
                self.shared.memory.replay(&self.path);
                self.inject([Step::Cut]);
            }
            Some(StreamFault::Lag { ms }) => {
                self.inject([Step::Wait(Duration::from_millis(ms))]);
                self.show(event.as_ref(), &frame);
            }
            Some(StreamFault::Duplicate) => {
                self.show(event.as_ref(), &frame);
                self.inject([]);
                self.show(event.as_ref(), &frame);
            }
            Some(StreamFault::Swallow) => self.swallow(event, frame),
            Some(_) | None => self.show(event.as_ref(), &frame),
        }
    }

    /// Records that the fault is injected, and queues its steps.
    fn inject<const N: usize>(&mut self, steps: [Step; N]) {
        if !self.is_injected {
            self.shared.record(self.ordinal, Note::Injected);
        }
        self.is_injected = true;
        self.steps.extend(steps);
    }

    /// Withholds events of an object until its count is again the last one forwarded, then drops them all.
    fn swallow(&mut self, event: Option<Event>, frame: Bytes) {
        let modified = event.as_ref().and_then(Event::modified);
        let (Some(event), Some((object, count))) = (event, modified) else {
            // This event may advance the resource version beyond the withheld events.
            self.release_all();
            return self.show(Event::read(self.encoding, &frame).as_ref(), &frame);
        };
        let is_unchanged = match self.counts.get(&object) {
            Some(shown) => *shown == count,
            None => return self.show(Some(&event), &frame),
        };
        if !is_unchanged {
            return self.held.entry(object).or_default().push((event, frame));
        }
        match self.held.remove(&object) {
            Some(held) => {
                self.inject([]);
                for event in held.into_iter().map(|(event, _)| event).chain([event]) {
                    self.shared.record(self.ordinal, Note::Hidden { event: event.to_string() });
                }
            }
            None => self.show(Some(&event), &frame),
        }
    }

    fn release_all(&mut self) {
        for (event, frame) in self.held.drain().flat_map(|(_, held)| held).collect::<Vec<_>>() {
            self.show(Some(&event), &frame);
        }
    }

    fn show(&mut self, event: Option<&Event>, frame: &Bytes) {
        if let Some(event) = event {
            self.shared.record(self.ordinal, Note::Shown { event: event.to_string() });
            self.counts.extend(event.count());
        }
        if self.kind == Kind::Watch {
            self.shared.memory.note_shown(&self.path, frame);
        }
        self.steps.push_back(Step::Send(self.encoding.frame(frame)));
    }
}

//! Creates the parts of the store, of which nothing runs yet.

use std::sync::{Arc, Mutex};

use kube::Client;
use replica_count_core::stored::Stored;
use tokio::sync::{Semaphore, mpsc};

use super::entry::Rules;
use super::handle::Handle;
use super::kept::Kept;
use super::metrics::CrdMetrics;
use super::objects::Objects;
use super::queue::{Message, QUEUE_CHANGES};
use super::reading::Reading;
use super::sink::ReplicaCountSink;
use super::writer::Writer;
use crate::store::feed::Subscriber;
use crate::store::mirror::Mirror;

/// The parts of the store before it has a subscriber.
#[derive(Debug)]
pub struct Unstarted {
    mirror: Mirror,
    queue: mpsc::Receiver<Message>,
    metrics: CrdMetrics,
    reading: Reading,
    objects: Arc<Mutex<Objects>>,
}

/// Creates a store in which nothing has been read.
pub(in crate::store) fn open(rules: Rules) -> (Mirror, Handle, Unstarted) {
    // All changes that may wait, and the end.
    let (sender, queue) = mpsc::channel(QUEUE_CHANGES + 1);
    let (metrics, reading, mirror) = (CrdMetrics::new(), Reading::default(), Mirror::new(Stored::default()));
    let places = Arc::new(Semaphore::new(QUEUE_CHANGES));
    let objects = Arc::new(Mutex::new(Objects::new(rules)));
    let handle = Handle {
        objects: Arc::clone(&objects),
        queue: sender,
        places,
        metrics: metrics.clone(),
        reading: reading.clone(),
    };
    (mirror.clone(), handle, Unstarted { mirror, queue, metrics, reading, objects })
}

impl Unstarted {
    /// The objects, the receiver of their watch, and the writer of changes.
    pub fn start(
        self,
        client: Client,
        subscriber: Box<dyn Subscriber + Send + Sync>,
    ) -> (Arc<Kept>, ReplicaCountSink, Writer) {
        let Self { mirror, queue, metrics, reading, objects } = self;
        let kept = Arc::new(Kept::new(objects, mirror, reading, subscriber));
        let sink = ReplicaCountSink(Arc::clone(&kept));
        (Arc::clone(&kept), sink, Writer { kept, client, queue, metrics })
    }
}

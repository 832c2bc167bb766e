//! Settings from elsewhere, for commands: no server runs.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use replica_count_core::change::Changed;
use replica_count_core::setting::{Certainty, Setting};
use replica_count_core::stored::Stored;
use replica_count_core::target::Target;
use tokio::time::Instant;

use super::change::Changer;
use super::entry::Rules;
use super::failure;
use super::kept::Kept;
use super::metrics::CrdMetrics;
use super::open::open;
use crate::kubernetes::replica_count::ReplicaCount;
use crate::store::error::StoreError;
use crate::store::mirror::Mirror;

/// How long one setting may take.
const PATIENCE: Duration = Duration::from_secs(12);

/// Stores settings as they are, with who set them and when.
pub struct Importer {
    kept: Arc<Kept>,
    mirror: Mirror,
    client: Client,
    metrics: CrdMetrics,
}

impl Importer {
    /// Begins with all objects that exist.
    pub fn new(client: Client, objects: &[ReplicaCount]) -> Self {
        let (mirror, _handle, unstarted) = open(Rules::NONE);
        let ignore = |_: &Changed| {};
        let (kept, ..) = unstarted.start(client.clone(), Box::new(ignore));
        kept.begin_listing();
        for object in objects {
            kept.observe(object);
        }
        kept.end_listing(0);
        Self { kept, mirror, client, metrics: CrdMetrics::new() }
    }

    /// All that is stored. Who only claims to have set a count is left out: in the file, that would be as good as proven.
    pub fn stored(&self) -> Stored {
        let mut stored = self.mirror.read().clone();
        for setting in stored.settings.values_mut().filter(|setting| setting.certainty == Certainty::Claimed)
        {
            let unknown = Setting {
                set_by: None,
                set_at: None,
                certainty: Certainty::Proven,
                ..Setting::clone(setting)
            };
            *setting = Arc::new(unknown);
        }
        stored
    }

    /// Stores a setting. Its generation becomes that of the object.
    pub async fn put(&self, target: &Target, setting: &Setting) -> Result<(), StoreError> {
        let changer = Changer { kept: &self.kept, client: &self.client, metrics: &self.metrics };
        let found = self.kept.find(&target.clone().into());
        let before = found.as_ref().and_then(|found| found.said.setting().cloned());
        let decided = Changed {
            target: target.clone().into(),
            before,
            after: Some(Arc::new(setting.clone())),
            unsupported: None,
            by: setting.set_by.clone(),
            at: setting.set_at.unwrap_or_else(Timestamp::now),
        };
        let deadline = Instant::now() + PATIENCE;
        let stored = changer.store(&target.clone().into(), found.as_ref(), decided, deadline).await;
        stored.map(drop).map_err(|error| failure::of_request(error).0)
    }
}

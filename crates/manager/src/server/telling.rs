//! What tells others what happens. Where another server may use the same settings, that one does.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use super::args::ServeArgs;
use super::shared::Shared;
use super::tasks::Tasks;
use crate::notify::reload::NotifyReload;
use crate::store::Kept;

/// What ends after everything that may still happen.
#[derive(Debug, Default)]
pub(super) struct Telling {
    stop: CancellationToken,
    pub(super) tasks: Tasks,
}

impl Telling {
    /// Starts it, and among `work` what ends earlier. `sources` are the ReplicaCounts and the receivers of notifications,
    /// if there are any.
    pub(super) fn start(
        args: &ServeArgs,
        shared: &Shared,
        sources: (Option<Arc<Kept>>, Option<NotifyReload>),
        registry: &mut Registry,
        work: &mut Tasks,
        stop_work: &CancellationToken,
    ) -> Self {
        let (kept, notify) = sources;
        if args.tell.kubernetes_events && shared.marker.store.is_locked() {
            let recorder = shared.event_recorder(kept, args.lease.pod());
            recorder.metrics.register(registry);
            work.spawn("the recorder of Events", recorder.run(stop_work.clone()));
        }
        let mut this = Self::default();
        if let Some(reload) = notify {
            reload.metrics().register(registry);
            this.tasks.spawn("the notifier", shared.notifier(&reload).run(this.stop.clone()));
            work.spawn("the notify configuration", reload.run(stop_work.clone()));
        }
        this
    }

    /// Ends it. What was collected gets a little time.
    pub(super) async fn stop(&mut self) {
        self.stop.cancel();
        self.tasks.join_all().await;
    }
}

//! Starts what tells others what happens. Where another server may use the same settings, that one does.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use super::args::ServeArgs;
use super::shared::Shared;
use super::tasks::Tasks;
use crate::notify::reload::NotifyReload;
use crate::store::Kept;

/// Starts what tells others.
pub(super) struct Telling<'a> {
    pub(super) args: &'a ServeArgs,
    pub(super) shared: &'a Shared,
    pub(super) registry: &'a mut Registry,
    pub(super) work: &'a mut Tasks,
    pub(super) stop_work: &'a CancellationToken,
}

impl Telling<'_> {
    /// Starts it; returns what ends after everything that may still happen, and how to end it.
    pub(super) fn start(
        self,
        kept: Option<Arc<Kept>>,
        notify: Option<NotifyReload>,
    ) -> (Tasks, CancellationToken) {
        let Self { args, shared, registry, work, stop_work } = self;
        if args.tell.kubernetes_events && shared.marker.store.is_locked() {
            let recorder = shared.event_recorder(kept, args.lease.pod());
            recorder.metrics.register(registry);
            work.spawn("the recorder of Events", recorder.run(stop_work.clone()));
        }
        let (mut telling, stop) = (Tasks::default(), CancellationToken::new());
        if let Some(reload) = notify {
            reload.metrics().register(registry);
            telling.spawn("the notifier", shared.notifier(&reload).run(stop.clone()));
            work.spawn("the notify configuration", reload.run(stop_work.clone()));
        }
        (telling, stop)
    }
}

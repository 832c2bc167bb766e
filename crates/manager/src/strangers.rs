//! Tasks for peers of whom nothing is known yet. There is room for some, and the newest takes the place of the oldest:
//! who means it is done within milliseconds, so those who hold places for nothing are in nobody's way.

use std::collections::VecDeque;
use std::net::SocketAddr;

use tokio::task::{AbortHandle, JoinError, JoinSet};

/// The tasks, and their order. All are aborted on drop.
#[derive(Debug)]
pub(crate) struct Strangers<T> {
    room: usize,
    tasks: JoinSet<T>,
    oldest_first: VecDeque<Stranger>,
}

#[derive(Debug)]
struct Stranger {
    address: SocketAddr,
    task: AbortHandle,
}

impl<T: Send + 'static> Strangers<T> {
    pub(crate) fn new(room: usize) -> Self {
        Self { room, tasks: JoinSet::new(), oldest_first: VecDeque::with_capacity(room) }
    }

    /// Starts a task for the peer at `address`. Returns the address of the one that had to go for it.
    pub(crate) fn admit(
        &mut self,
        address: SocketAddr,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Option<SocketAddr> {
        let gone = if self.oldest_first.len() < self.room { None } else { self.oldest_first.pop_front() };
        if let Some(gone) = &gone {
            gone.task.abort();
        }
        self.oldest_first.push_back(Stranger { address, task: self.tasks.spawn(task) });
        gone.map(|gone| gone.address)
    }

    /// The next task that has ended, but for those that had to go; `None` when there is no task. May be dropped at any
    /// time without losing one.
    pub(crate) async fn next(&mut self) -> Option<Result<T, JoinError>> {
        loop {
            let ended = self.tasks.join_next_with_id().await?;
            let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
            self.oldest_first.retain(|stranger| stranger.task.id() != id);
            match ended {
                Ok((_, result)) => return Some(Ok(result)),
                Err(error) if error.is_cancelled() => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::sync::oneshot;

    use super::*;

    fn address(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[tokio::test]
    async fn the_oldest_goes_when_there_is_no_room() {
        let mut strangers = Strangers::new(2);
        let (first, second) = (oneshot::channel::<()>(), oneshot::channel::<()>());
        assert_eq!(strangers.admit(address(1), async { first.1.await.is_ok() }), None);
        assert_eq!(strangers.admit(address(2), async { second.1.await.is_ok() }), None);
        assert_eq!(strangers.admit(address(3), async { true }), Some(address(1)));
        let mut first = first.0;
        first.closed().await;
        assert!(strangers.next().await.expect("the third").expect("not aborted"));

        // The third has made room.
        assert_eq!(strangers.admit(address(4), pending()), None);
        second.0.send(()).expect("the second is there");
        assert!(strangers.next().await.expect("the second").expect("not aborted"));
    }

    #[tokio::test]
    async fn those_who_had_to_go_are_not_reported() {
        let mut strangers = Strangers::new(1);
        strangers.admit(address(1), pending::<u8>());
        strangers.admit(address(2), async { 2 });
        assert_eq!(strangers.next().await.expect("the second").expect("not aborted"), 2);
        assert!(strangers.next().await.is_none());
    }
}

//! Tasks for peers of whom nothing is known yet but their address. There is room for some. A new one takes the place of
//! the oldest, of those from the address that holds the most places: who means it is done within milliseconds, so those
//! who hold places for nothing, or come in crowds, are in nobody else's way.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use tokio::task::{AbortHandle, JoinError, JoinSet};

/// The tasks, and their order. All are aborted on drop.
#[derive(Debug)]
pub(crate) struct Pending<T> {
    room: usize,
    tasks: JoinSet<T>,
    oldest_first: VecDeque<Task>,
}

#[derive(Debug)]
struct Task {
    address: SocketAddr,
    task: AbortHandle,
}

impl<T: Send + 'static> Pending<T> {
    pub(crate) fn new(room: usize) -> Self {
        Self { room, tasks: JoinSet::new(), oldest_first: VecDeque::with_capacity(room) }
    }

    /// Starts a task for the peer at `address`. Returns the address of the one that had to go for it.
    pub(crate) fn admit(
        &mut self,
        address: SocketAddr,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Option<SocketAddr> {
        let gone = (self.oldest_first.len() >= self.room).then(|| self.make_room()).flatten();
        self.oldest_first.push_back(Task { address, task: self.tasks.spawn(task) });
        gone
    }

    fn make_room(&mut self) -> Option<SocketAddr> {
        let mut places: HashMap<IpAddr, usize> = HashMap::new();
        for stranger in &self.oldest_first {
            *places.entry(stranger.address.ip()).or_default() += 1;
        }
        let most = places.values().max()?;
        let gone = self.oldest_first.iter().position(|stranger| places[&stranger.address.ip()] == *most)?;
        let gone = self.oldest_first.remove(gone)?;
        gone.task.abort();
        Some(gone.address)
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

    fn address(host: u8, port: u16) -> SocketAddr {
        ([127, 0, 0, host], port).into()
    }

    #[tokio::test]
    async fn the_oldest_goes_when_there_is_no_room() {
        let mut strangers = Pending::new(2);
        let ((mut first, gone), (second, stays)) = (oneshot::channel::<()>(), oneshot::channel::<()>());
        assert_eq!(strangers.admit(address(1, 1), async { gone.await.is_ok() }), None);
        assert_eq!(strangers.admit(address(1, 2), async { stays.await.is_ok() }), None);
        assert_eq!(strangers.admit(address(1, 3), async { true }), Some(address(1, 1)));
        first.closed().await;
        assert!(strangers.next().await.expect("the third").expect("not aborted"));

        // The third has made room.
        assert_eq!(strangers.admit(address(1, 4), pending()), None);
        second.send(()).expect("the second is there");
        assert!(strangers.next().await.expect("the second").expect("not aborted"));
    }

    #[tokio::test]
    async fn a_crowd_from_one_address_is_in_its_own_way_only() {
        let mut strangers = Pending::new(3);
        let mut admit = |host, port| strangers.admit(address(host, port), pending::<()>());
        assert_eq!([admit(1, 1), admit(2, 2), admit(2, 3)], [None; 3]);
        assert_eq!(admit(2, 4), Some(address(2, 2)));
        assert_eq!(admit(3, 5), Some(address(2, 3)));
        // All hold as many now.
        assert_eq!(admit(2, 6), Some(address(1, 1)));
    }

    #[tokio::test]
    async fn those_who_had_to_go_are_not_reported() {
        let mut strangers = Pending::new(1);
        strangers.admit(address(1, 1), pending::<u8>());
        strangers.admit(address(1, 2), async { 2 });
        assert_eq!(strangers.next().await.expect("the second").expect("not aborted"), 2);
        assert!(strangers.next().await.is_none());
    }
}

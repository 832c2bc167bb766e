//! A limited number of tasks for peers of which only the address is known. When the limit is reached, a new task evicts
//! the oldest one of the network with the most tasks: an IPv4 address, or a /64 of IPv6, of which one host has all
//! addresses. Genuine clients finish within milliseconds, so idle or
//! numerous peers do not keep them out.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use tokio::task::{AbortHandle, JoinError, JoinSet};

/// The tasks and their order. All are aborted on drop.
#[derive(Debug)]
pub(crate) struct Pending<T> {
    limit: usize,
    tasks: JoinSet<T>,
    oldest_first: VecDeque<Task>,
}

#[derive(Debug)]
struct Task {
    address: SocketAddr,
    task: AbortHandle,
}

impl<T: Send + 'static> Pending<T> {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, tasks: JoinSet::new(), oldest_first: VecDeque::with_capacity(limit) }
    }

    /// Starts a task for the peer at `address`. Returns the address of the evicted task, if any.
    pub(crate) fn admit(
        &mut self,
        address: SocketAddr,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Option<SocketAddr> {
        let evicted = (self.oldest_first.len() >= self.limit).then(|| self.evict()).flatten();
        self.oldest_first.push_back(Task { address, task: self.tasks.spawn(task) });
        evicted
    }

    fn evict(&mut self) -> Option<SocketAddr> {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for task in &self.oldest_first {
            *counts.entry(network(task.address)).or_default() += 1;
        }
        let most = counts.values().max()?;
        let oldest = self.oldest_first.iter().position(|task| counts[&network(task.address)] == *most)?;
        let evicted = self.oldest_first.remove(oldest)?;
        evicted.task.abort();
        Some(evicted.address)
    }

    /// Waits for the next task to end, except evicted ones. `None`: there are no tasks. Cancel safe: no result is lost.
    pub(crate) async fn next(&mut self) -> Option<Result<T, JoinError>> {
        loop {
            let ended = self.tasks.join_next_with_id().await?;
            let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
            self.oldest_first.retain(|task| task.task.id() != id);
            match ended {
                Ok((_, result)) => return Some(Ok(result)),
                Err(error) if error.is_cancelled() => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// The addresses that one host may have.
fn network(address: SocketAddr) -> IpAddr {
    match address.ip() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
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
    async fn a_new_task_evicts_the_oldest_at_the_limit() {
        let mut pending_tasks = Pending::new(2);
        let ((mut first, first_done), (second, second_done)) =
            (oneshot::channel::<()>(), oneshot::channel::<()>());
        assert_eq!(pending_tasks.admit(address(1, 1), async { first_done.await.is_ok() }), None);
        assert_eq!(pending_tasks.admit(address(1, 2), async { second_done.await.is_ok() }), None);
        assert_eq!(pending_tasks.admit(address(1, 3), async { true }), Some(address(1, 1)));
        first.closed().await;
        assert!(pending_tasks.next().await.expect("the third").expect("not aborted"));

        // The third task has ended.
        assert_eq!(pending_tasks.admit(address(1, 4), pending()), None);
        second.send(()).expect("the second is still running");
        assert!(pending_tasks.next().await.expect("the second").expect("not aborted"));
    }

    #[tokio::test]
    async fn many_tasks_of_one_address_evict_each_other() {
        let mut pending_tasks = Pending::new(3);
        let mut admit = |host, port| pending_tasks.admit(address(host, port), pending::<()>());
        assert_eq!([admit(1, 1), admit(2, 2), admit(2, 3)], [None; 3]);
        assert_eq!(admit(2, 4), Some(address(2, 2)));
        assert_eq!(admit(3, 5), Some(address(2, 3)));
        // Now each address has one task.
        assert_eq!(admit(2, 6), Some(address(1, 1)));
    }

    #[tokio::test]
    async fn all_addresses_of_an_ipv6_host_count_together() {
        let mut pending_tasks = Pending::new(3);
        let mut admit = |address: &str| {
            pending_tasks.admit(address.parse().unwrap(), pending::<()>()).map(|evicted| evicted.to_string())
        };
        assert_eq!(
            ["[2001:db8::1]:1", "[2001:db8:0:1::1]:2", "[2001:db8:0:1::2]:3"].map(&mut admit),
            [const { None }; 3]
        );
        assert_eq!(admit("[2001:db8:0:1:8000::1]:4").as_deref(), Some("[2001:db8:0:1::1]:2"));
        assert_eq!(admit("192.0.2.1:5").as_deref(), Some("[2001:db8:0:1::2]:3"));
    }

    #[tokio::test]
    async fn evicted_tasks_are_not_returned() {
        let mut pending_tasks = Pending::new(1);
        pending_tasks.admit(address(1, 1), pending::<u8>());
        pending_tasks.admit(address(1, 2), async { 2 });
        assert_eq!(pending_tasks.next().await.expect("the second").expect("not aborted"), 2);
        assert!(pending_tasks.next().await.is_none());
    }
}

//! All connections: no more than so many. When there is no room, the one that has been idle longest makes some.
//! They take at most half of the descriptors that we may have: the rest is for runs.

use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::sync::Notify;

/// All connections, the oldest first.
#[derive(Clone)]
pub(crate) struct Crowd {
    state: Arc<Mutex<State>>,
    /// Whatever is configured.
    most: usize,
}

#[derive(Default)]
struct State {
    members: BTreeMap<u64, Arc<Member>>,
    next: u64,
}

/// One connection.
#[derive(Default)]
pub(crate) struct Member {
    /// Requests that are being served.
    busy: AtomicUsize,
    /// It has to make room.
    leave: Notify,
}

/// A connection's place; given up when it is dropped.
pub(crate) struct Place {
    crowd: Crowd,
    number: u64,
    pub(crate) member: Arc<Member>,
}

impl Crowd {
    /// For a process that may have so many descriptors.
    pub(crate) fn new(descriptors: usize) -> Crowd {
        Crowd { state: Arc::default(), most: descriptors / 2 }
    }

    /// How many there may be.
    pub(crate) fn most(&self, configured: usize) -> usize {
        configured.min(self.most)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().members.len()
    }

    /// A place among at most so many; none if all of them are being served.
    pub(crate) fn enter(&self, configured: usize) -> Option<Place> {
        let most = self.most(configured);
        let mut state = self.lock();
        if state.members.len() >= most {
            let idle = state.members.iter().find(|(_, member)| member.busy.load(Ordering::Relaxed) == 0);
            let oldest = *idle?.0;
            state.members.remove(&oldest)?.leave.notify_one();
        }
        let number = state.next;
        state.next += 1;
        let member = Arc::new(Member::default());
        state.members.insert(number, Arc::clone(&member));
        Some(Place { crowd: self.clone(), number, member })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.lock().members.remove(&self.number);
    }
}

impl Member {
    /// Returns when it has to make room.
    pub(crate) async fn told_to_leave(&self) {
        self.leave.notified().await;
    }
}

/// A request that is being served, until its answer is sent.
pub(crate) struct Busy(Arc<Member>);

impl Busy {
    pub(crate) fn new(member: &Arc<Member>) -> Busy {
        member.busy.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(member))
    }

    /// The answer's body.
    pub(crate) fn with(self, body: Body) -> Body {
        Body::new(Sending { body, _busy: self })
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Sending {
    body: Body,
    _busy: Busy,
}

impl http_body::Body for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_idle_one_makes_room_and_a_busy_one_never_does() {
        let crowd = Crowd::new(100);
        let (first, second) = (crowd.enter(2).unwrap(), crowd.enter(2).unwrap());
        let busy = Busy::new(&first.member);
        let third = crowd.enter(2).unwrap();
        assert_eq!(crowd.len(), 2);
        let busy_too = Busy::new(&third.member);
        assert!(crowd.enter(2).is_none());
        drop(second);
        assert_eq!(crowd.len(), 2);
        drop((busy, busy_too));
        assert!(crowd.enter(2).is_some());
        drop((first, third));
        assert_eq!(crowd.len(), 0);
    }
}

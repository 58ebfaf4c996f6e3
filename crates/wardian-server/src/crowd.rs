//! All connections: no more than so many. When there is no room, the one that has been idle longest makes some.
//! They take at most half of the descriptors that we may have: the rest is for runs.

use crate::gate::KeyId;
use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};
use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::sync::Notify;

/// All connections.
#[derive(Clone)]
pub(crate) struct Crowd {
    state: Arc<Mutex<State>>,
    /// Whatever is configured.
    most: usize,
}

#[derive(Default)]
struct State {
    /// The one that has been idle longest first, but for those that are being served.
    members: BTreeMap<u64, Member>,
    next: u64,
    /// How many serve each key.
    serving: HashMap<KeyId, usize>,
}

/// One connection.
struct Member {
    /// What is being served: a request, a WebSocket.
    busy: usize,
    /// For whom.
    key: Option<KeyId>,
    leave: Arc<Notify>,
}

/// A connection's place; given up when it is dropped.
pub(crate) struct Place {
    crowd: Crowd,
    /// Changes under the lock only.
    number: AtomicU64,
    /// It has to make room.
    leave: Arc<Notify>,
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
            let idle = *state.members.iter().find(|(_, member)| member.busy == 0)?.0;
            state.members.remove(&idle)?.leave.notify_one();
        }
        let leave = Arc::new(Notify::new());
        let number = state.add(Member { busy: 0, key: None, leave: Arc::clone(&leave) });
        Some(Place { crowd: self.clone(), number: number.into(), leave })
    }
}

impl State {
    fn add(&mut self, member: Member) -> u64 {
        let number = self.next;
        self.next += 1;
        self.members.insert(number, member);
        number
    }

    /// It serves this key no more.
    fn release(&mut self, key: Option<KeyId>) {
        let Some(key) = key else { return };
        if let Some(serving) = self.serving.get_mut(&key) {
            *serving -= 1;
            if *serving == 0 {
                self.serving.remove(&key);
            }
        }
    }
}

impl Place {
    fn number(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }

    /// Returns when it has to make room.
    pub(crate) async fn told_to_leave(&self) {
        self.leave.notified().await;
    }

    /// Whether what is being served can be for this key: each serves half of so many at most.
    pub(crate) fn serve(&self, key: &KeyId, configured: usize) -> bool {
        let most = self.crowd.most(configured).div_ceil(2);
        let mut state = self.crowd.lock();
        if state.serving.get(key).is_some_and(|serving| *serving >= most) {
            return false;
        }
        let Some(member) = state.members.get_mut(&self.number()) else { return true };
        let before = member.key.replace(Arc::clone(key));
        *state.serving.entry(Arc::clone(key)).or_default() += 1;
        state.release(before);
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.crowd.lock();
        if let Some(member) = state.members.remove(&self.number()) {
            state.release(member.key);
        }
    }
}

/// A request that is being served, until its answer is sent; or a WebSocket.
pub(crate) struct Busy(Arc<Place>);

impl Busy {
    pub(crate) fn new(place: &Arc<Place>) -> Busy {
        if let Some(member) = place.crowd.lock().members.get_mut(&place.number()) {
            member.busy += 1;
        }
        Busy(Arc::clone(place))
    }

    /// The answer's body.
    pub(crate) fn with(self, body: Body) -> Body {
        Body::new(Sending { body, _busy: self })
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.crowd.lock();
        let Some(mut member) = state.members.remove(&self.0.number()) else { return };
        member.busy -= 1;
        if member.busy == 0 {
            state.release(member.key.take());
            self.0.number.store(state.add(member), Ordering::Relaxed);
        } else {
            state.members.insert(self.0.number(), member);
        }
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
    fn the_longest_idle_one_makes_room_and_a_busy_one_never_does() {
        let crowd = Crowd::new(100);
        let enter = || crowd.enter(2).map(Arc::new);
        let is_there = |place: &Place| crowd.lock().members.contains_key(&place.number());
        let (first, second) = (enter().unwrap(), enter().unwrap());
        drop(Busy::new(&first));
        let third = enter().unwrap();
        assert!(is_there(&first) && !is_there(&second) && crowd.len() == 2);
        let (busy, busy_too) = (Busy::new(&first), Busy::new(&third));
        assert!(enter().is_none());
        drop(second);
        assert_eq!(crowd.len(), 2);
        drop((busy, busy_too));
        assert!(enter().is_some());
        drop((first, third));
        assert_eq!(crowd.len(), 0);
    }

    #[test]
    fn a_key_is_served_by_half_of_them() {
        let crowd = Crowd::new(100);
        let places: Vec<_> = (0..3).map(|_| Arc::new(crowd.enter(4).unwrap())).collect();
        let (one, other): (KeyId, KeyId) = ("one".into(), "other".into());
        let busy: Vec<_> = places.iter().map(Busy::new).collect();
        assert_eq!([0, 1, 2].map(|at: usize| places[at].serve(&one, 4)), [true, true, false]);
        assert!(places[2].serve(&other, 4));
        drop(busy);
        assert!(crowd.lock().serving.is_empty());
        assert!(places[2].serve(&one, 4) && places[2].serve(&one, 4));
        drop(places);
        assert!(crowd.lock().serving.is_empty());
    }
}

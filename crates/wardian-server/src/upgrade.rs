//! Connections that become WebSockets: they keep their place, and pay for the memory of what is sent to them.

use crate::auth::Caller;
use crate::crowd::{Busy, Place};
use crate::memory::{Lease, Memory};
use crate::problem::Problem;
use crate::request_id::Origin;
use crate::service::Service;
use axum::body::Body;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::http::Response;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a request may keep of the connection it came by.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) place: Arc<Place>,
    pub(crate) meter: Arc<Meter>,
}

/// A WebSocket's connection: it counts, and is being served, as long as this lives.
pub(crate) struct Held {
    link: Link,
    _busy: Busy,
}

impl Held {
    /// Why a message could not be read, if that was for want of memory.
    pub(crate) fn refused(&self) -> Option<Problem> {
        self.link.meter.lock().as_ref()?.refused.clone()
    }
}

/// Takes a WebSocket, whose messages are bounded.
pub(crate) fn accept(
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    service: &Service,
    caller: &Caller,
    link: Link,
) -> Result<(WebSocketUpgrade, Held), Problem> {
    let upgrade = upgrade.map_err(|rejection| Problem::no_upgrade(&rejection))?;
    let most = usize::try_from(service.setup().config.requests.message.0).unwrap_or(usize::MAX);
    link.meter.start(service.memory.of(caller), most)?;
    let upgrade = upgrade.max_message_size(most).max_frame_size(most).read_buffer_size(LITTLE);
    let busy = Busy::new(&link.place);
    Ok((upgrade, Held { link, _busy: busy }))
}

/// The answer that makes it one, and the conversation after it, which goes on under the request's name.
pub(crate) fn talk<F: Future<Output = ()> + Send + 'static>(
    upgrade: WebSocketUpgrade,
    talk: impl FnOnce(WebSocket) -> F + Send + 'static,
) -> Response<Body> {
    let origin = Origin::here();
    upgrade.on_upgrade(move |socket| origin.over(talk(socket)))
}

/// What a WebSocket is read into at first.
const LITTLE: usize = 8 << 10;
/// How often a message may be in memory: as it is read, as a whole, as what it says, and while others wait behind it.
const COPIES: usize = 4;

/// Counts what comes by a connection, once it is a WebSocket.
#[derive(Default)]
pub(crate) struct Meter(Mutex<Option<Count>>);

struct Count {
    memory: Memory,
    /// What there may be in memory of all that comes.
    most: usize,
    come: usize,
    /// Grows with what comes: those who say little leave the rest to others.
    lease: Lease,
    refused: Option<Problem>,
}

impl Meter {
    fn lock(&self) -> MutexGuard<'_, Option<Count>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, memory: Memory, most: usize) -> Result<(), Problem> {
        let most = most.saturating_mul(COPIES);
        let lease = memory.lease(most.min(2 * LITTLE))?;
        *self.lock() = Some(Count { memory, most, come: 0, lease, refused: None });
        Ok(())
    }

    pub(crate) fn count(&self, bytes: usize) -> io::Result<()> {
        let mut count = self.lock();
        let Some(count) = count.as_mut() else { return Ok(()) };
        count.come = count.come.saturating_add(bytes);
        let (held, needed) = (count.lease.bytes(), count.come.saturating_mul(COPIES).min(count.most));
        if needed <= held {
            return Ok(());
        }
        match count.memory.lease((needed - held).max(held).min(count.most - held)) {
            Ok(lease) => {
                count.lease.add(lease);
                Ok(())
            }
            Err(problem) => {
                count.refused = Some(problem);
                Err(io::ErrorKind::OutOfMemory.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_says_little_takes_little_and_whoever_says_more_takes_more_or_is_refused() {
        const FIRST: usize = 2 * LITTLE;
        let memory = Memory::new(1 << 20);
        let (quiet, loud, late) = (Meter::default(), Meter::default(), Meter::default());
        assert!(quiet.count(FIRST).is_ok(), "it is no WebSocket yet");
        for meter in [&quiet, &loud, &late] {
            meter.start(memory.clone(), 150 << 10).unwrap();
        }
        assert_eq!(memory.held(), 3 * FIRST);
        assert!(quiet.count(FIRST / COPIES).is_ok() && loud.count(FIRST / COPIES).is_ok());
        assert_eq!(memory.held(), 3 * FIRST);
        assert!(loud.count(1).is_ok());
        assert_eq!(memory.held(), 4 * FIRST);
        assert!(loud.count(1 << 30).is_ok() && loud.count(1 << 30).is_ok());
        assert_eq!(memory.held(), 2 * FIRST + (600 << 10));
        assert!(late.count(1 << 20).is_err());
        assert!(late.lock().as_ref().unwrap().refused.is_some());
        drop((quiet, loud, late));
        assert_eq!(memory.held(), 0);
    }
}

//! Memory that bodies and answers hold, bounded over all connections together.

use crate::auth::Caller;
use crate::gate::KeyId;
use crate::problem::Problem;
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is counted in.
const UNIT: usize = 1024;

/// So much memory, to be taken and given back; of which each key gets at most half, so that others find some.
#[derive(Clone)]
pub(crate) struct Memory {
    free: Arc<Semaphore>,
    units: usize,
    shares: Arc<Mutex<HashMap<KeyId, Arc<Semaphore>>>>,
    /// Through which it is taken here.
    share: Option<Arc<Semaphore>>,
}

/// Memory that is taken; given back when it is dropped.
#[derive(Default)]
pub(crate) struct Lease {
    bytes: usize,
    /// Of each that it is taken from.
    permits: Vec<OwnedSemaphorePermit>,
}

impl Lease {
    /// Bytes that it is for.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether reading such a body takes longer than others should wait.
    pub(crate) fn is_large(&self) -> bool {
        const SMALL: usize = 64 << 10;
        self.bytes > SMALL
    }

    pub(crate) fn add(&mut self, other: Lease) {
        self.bytes += other.bytes;
        self.permits.extend(other.permits);
    }
}

impl Memory {
    pub(crate) fn new(bytes: u64) -> Memory {
        let units = usize::try_from(bytes).unwrap_or(usize::MAX).div_ceil(UNIT).min(u32::MAX as usize);
        Memory { free: Arc::new(Semaphore::new(units)), units, shares: Arc::default(), share: None }
    }

    /// The same memory, as a caller may take it.
    pub(crate) fn of(&self, caller: &Caller) -> Memory {
        if !caller.has_key {
            return self.clone();
        }
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let share = shares.entry(Arc::clone(&caller.id));
        let share = share.or_insert_with(|| Arc::new(Semaphore::new(self.units.div_ceil(2))));
        Memory { share: Some(Arc::clone(share)), ..self.clone() }
    }

    /// Bytes that are taken.
    pub(crate) fn held(&self) -> usize {
        self.units.saturating_sub(self.free.available_permits()) * UNIT
    }

    /// What is taken from, and how many units of it for so many bytes.
    fn sources(&self, bytes: usize) -> impl Iterator<Item = (Arc<Semaphore>, u32)> {
        let part = move |from: &Arc<Semaphore>, most: usize| {
            let units = bytes.div_ceil(UNIT).min(most);
            (Arc::clone(from), u32::try_from(units).unwrap_or(u32::MAX))
        };
        let share = self.share.as_ref().map(|share| part(share, self.units.div_ceil(2)));
        share.into_iter().chain([part(&self.free, self.units)])
    }

    /// Takes memory that a connection may need.
    pub(crate) fn lease(&self, bytes: usize) -> Result<Lease, Problem> {
        let permits = self.sources(bytes).map(|(from, units)| from.try_acquire_many_owned(units));
        let permits = permits.collect::<Result<_, _>>().map_err(|_| exhausted())?;
        Ok(Lease { bytes, permits })
    }

    /// Reads a body to its end, within `most` bytes and `time`.
    pub(crate) async fn read(
        &self,
        body: Body,
        most: u64,
        time: Duration,
    ) -> Result<(Vec<u8>, Lease), Problem> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let announced = body.size_hint().upper().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        if announced.is_some_and(|bytes| bytes > most) {
            return Err(too_large(most));
        }
        let read = self.read_chunks(body, most);
        tokio::time::timeout(time, read).await.unwrap_or_else(|_| {
            let detail = format!("the body did not come within {} s", time.as_secs_f64());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "slow-body", detail))
        })
    }

    async fn read_chunks(&self, mut body: Body, most: usize) -> Result<(Vec<u8>, Lease), Problem> {
        let mut bytes = Vec::new();
        let mut lease = Lease::default();
        let mut leased = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                Problem::new(StatusCode::BAD_REQUEST, "broken-body", format!("cannot read the body: {error}"))
            })?;
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > most {
                return Err(too_large(most));
            }
            if bytes.len() + data.len() > leased {
                // A body that grows doubles its buffer.
                let step = (bytes.len() + data.len() - leased).max(leased).max(16 * UNIT).min(most);
                lease.add(self.lease(step)?);
                leased += step;
            }
            bytes.extend_from_slice(&data);
        }
        Ok((bytes, lease))
    }

    /// Takes memory for an answer that is there already, as soon as others give back enough.
    pub(crate) async fn hold(&self, bytes: usize) -> Result<Lease, Problem> {
        /// Answers that wait are in memory too, and not counted.
        const PATIENCE: Duration = Duration::from_secs(1);
        let taken = tokio::time::timeout(PATIENCE, async {
            let mut permits = Vec::new();
            for (from, units) in self.sources(bytes) {
                permits.push(from.acquire_many_owned(units).await.map_err(|_| exhausted())?);
            }
            Ok(Lease { bytes, permits })
        });
        taken.await.unwrap_or_else(|_| Err(exhausted()))
    }

    /// A body that counts until it is sent.
    pub(crate) async fn answer(&self, bytes: Vec<u8>) -> Result<Body, Problem> {
        let lease = self.hold(bytes.capacity()).await?;
        Ok(Body::new(Pieces { rest: bytes.into(), body: Body::empty(), _lease: lease }))
    }
}

/// The same body, of which a connection is handed no more than it is about to send.
pub(crate) fn in_pieces(body: Body) -> Body {
    Body::new(Pieces { rest: Bytes::new(), body, _lease: Lease::default() })
}

fn too_large(most: usize) -> Problem {
    let detail = format!("the body has more than the {most} bytes allowed");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail)
}

fn exhausted() -> Problem {
    let detail = "the memory for bodies and answers is in use";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "memory", detail).retry_after(1)
}

/// A body and the memory it holds. A connection takes a frame as a whole and keeps it until the client has taken it:
/// so it is handed copies of small pieces, and the whole goes, with its memory, when the last of them is out.
struct Pieces {
    /// What is left of a frame.
    rest: Bytes,
    /// The frames after it.
    body: Body,
    _lease: Lease,
}

impl Pieces {
    const MOST: usize = 64 << 10;

    fn piece(&mut self) -> Bytes {
        let piece = Bytes::copy_from_slice(self.rest.get(..Pieces::MOST).unwrap_or(&self.rest));
        self.rest = self.rest.split_off(piece.len());
        piece
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if self.rest.is_empty() {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                other => return other,
            }
        }
        Poll::Ready(Some(Ok(Frame::data(self.piece()))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, after) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(after.lower().saturating_add(rest));
        if let Some(upper) = after.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

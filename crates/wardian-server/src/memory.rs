//! Memory that bodies and answers hold, bounded over all connections together.

use crate::problem::Problem;
use axum::body::Body;
use axum::http::StatusCode;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is counted in.
const UNIT: usize = 1024;

/// So much memory, to be taken and given back.
#[derive(Clone)]
pub(crate) struct Memory {
    free: Arc<Semaphore>,
    units: usize,
}

/// Memory that is taken; given back when it is dropped.
#[derive(Default)]
pub(crate) struct Lease(Vec<OwnedSemaphorePermit>);

impl Lease {
    /// Whether reading such a body takes longer than others should wait.
    pub(crate) fn is_large(&self) -> bool {
        const SMALL: usize = 64 << 10;
        self.0.iter().map(|permit| permit.num_permits() * UNIT).sum::<usize>() > SMALL
    }

    fn add(&mut self, permit: OwnedSemaphorePermit) {
        match self.0.first_mut() {
            Some(first) => first.merge(permit),
            None => self.0.push(permit),
        }
    }
}

impl Memory {
    pub(crate) fn new(bytes: u64) -> Memory {
        let units = usize::try_from(bytes).unwrap_or(usize::MAX).div_ceil(UNIT).min(u32::MAX as usize);
        Memory { free: Arc::new(Semaphore::new(units)), units }
    }

    /// Bytes that are taken.
    pub(crate) fn held(&self) -> usize {
        self.units.saturating_sub(self.free.available_permits()) * UNIT
    }

    fn units(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT).min(self.units)).unwrap_or(u32::MAX)
    }

    fn try_take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).try_acquire_many_owned(self.units(bytes)).ok()
    }

    /// Takes memory that a connection may need.
    pub(crate) fn lease(&self, bytes: usize) -> Result<Lease, Problem> {
        self.try_take(bytes).map(|permit| Lease(vec![permit])).ok_or_else(exhausted)
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
                lease.add(self.try_take(step).ok_or_else(exhausted)?);
                leased += step;
            }
            bytes.extend_from_slice(&data);
        }
        Ok((bytes, lease))
    }

    /// A body that counts until it is sent.
    pub(crate) async fn answer(&self, bytes: Vec<u8>) -> Result<Body, Problem> {
        const PATIENCE: Duration = Duration::from_secs(10);
        let units = self.units(bytes.len());
        let taken = tokio::time::timeout(PATIENCE, Arc::clone(&self.free).acquire_many_owned(units)).await;
        match taken {
            Ok(Ok(permit)) => Ok(Body::new(Held { inner: Body::from(bytes), _lease: permit })),
            _ => Err(exhausted()),
        }
    }
}

fn too_large(most: usize) -> Problem {
    let detail = format!("the body has more than the {most} bytes allowed");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail)
}

fn exhausted() -> Problem {
    let detail = "the memory for bodies and answers is in use";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "memory", detail).retry_after(1)
}

/// A body and the memory it holds.
struct Held {
    inner: Body,
    _lease: OwnedSemaphorePermit,
}

impl http_body::Body for Held {
    type Data = axum::body::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

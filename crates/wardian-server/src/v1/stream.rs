//! `POST /v1/run/stream`: output as it comes, then the report, as server-sent events.

use super::run::{prepare, receive};
use crate::auth::Caller;
use crate::live::{self, Happening, LiveRun};
use crate::memory::{self, Lease, Memory};
use crate::problem::Problem;
use crate::request_id::Origin;
use crate::service::Service;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_core::Stream;
use serde::Serialize;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use wardian::report::Report;
use wardian::sandbox::Connections;

/// Events that wait for a client; then the program waits too.
const PENDING: usize = 4;

pub(crate) async fn stream(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Arc<Caller>>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    if request.headers().contains_key("idempotency-key") {
        let detail = "`Idempotency-Key` is for `/v1/run`: a stream cannot be had again";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "idempotency-key", detail));
    }
    let received = receive(&service, &caller, request).await?;
    let (prepared, lease) = prepare(&service, &caller, received, true).await?;
    let connect = || {
        let (connections, ends) = live::pipes(Some(prepared.stdin), prepared.collect)?;
        Ok((Connections { result: prepared.result, ..connections }, ends))
    };
    let (going, ends) = service.start("stream", &caller, prepared.job, connect).await?;
    drop(lease);
    let (events, receiver) = mpsc::channel(PENDING);
    let run = LiveRun { going, ends };
    tokio::spawn(Origin::here().over(pass_on(run, events, service.memory.of(&caller))));
    let events = Sse::new(Events { receiver, held: None }).keep_alive(KeepAlive::default());
    Ok(events.into_response().map(memory::in_pieces))
}

/// An event, and its memory.
type Held = (Event, Option<Lease>);

/// Ends, and the run with it, when the client is gone.
async fn pass_on(mut run: LiveRun, events: mpsc::Sender<Held>, memory: Memory) {
    loop {
        let happening = tokio::select! {
            happening = run.next() => happening,
            () = events.closed() => return,
        };
        let (held, last) = match happening {
            Happening::Output { stream, piece } => match event(stream, &piece.to_json(), &memory).await {
                Ok(held) => (held, false),
                Err(problem) => (told(&problem), true),
            },
            Happening::Ended(ended) => (ending(*ended, &memory).await, true),
        };
        if events.send(held).await.is_err() || last {
            return;
        }
    }
}

async fn ending(ended: Result<Report, Problem>, memory: &Memory) -> Held {
    let ending = match ended {
        Ok(report) => event("report", &report, memory).await,
        Err(problem) => Err(problem),
    };
    ending.unwrap_or_else(|problem| told(&problem))
}

/// An event that counts until its client has taken it.
async fn event(name: &str, data: &impl Serialize, memory: &Memory) -> Result<Held, Problem> {
    let text = serde_json::to_string(data).map_err(Problem::ours)?;
    let lease = memory.hold(text.capacity()).await?;
    Ok((Event::default().event(name).data(text), Some(lease)))
}

fn told(problem: &Problem) -> Held {
    (Event::default().event("problem").data(problem.to_json().to_string()), None)
}

struct Events {
    receiver: mpsc::Receiver<Held>,
    /// The memory of the event that is being sent.
    held: Option<Lease>,
}

impl Stream for Events {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = std::task::ready!(self.receiver.poll_recv(context));
        let (event, lease) = next.unzip();
        self.held = lease.flatten();
        Poll::Ready(event.map(Ok))
    }
}

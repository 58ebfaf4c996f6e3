//! `POST /v1/run/stream`: output as it comes, then the report, as server-sent events.

use super::run::{prepare, receive};
use crate::auth::Caller;
use crate::live::{self, Happening, LiveRun};
use crate::problem::Problem;
use crate::service::{Service, Streams};
use axum::Extension;
use axum::extract::{Request, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_core::Stream;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// Events that wait for a client; then the program waits too.
const PENDING: usize = 4;

pub(crate) async fn stream(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Arc<Caller>>,
    request: Request,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let received = receive(&service, request).await?;
    let (prepared, lease) = prepare(&service, &caller, received, true).await?;
    let (streams, ends) = live::pipes(Some(prepared.stdin), prepared.collect)?;
    let streams = Streams { result: prepared.result, ..streams };
    let going = service.start("stream", &caller, prepared.job, streams).await?;
    drop(lease);
    let (events, receiver) = mpsc::channel(PENDING);
    tokio::spawn(pass_on(LiveRun { going, ends }, events));
    Ok(Sse::new(Events(receiver)).keep_alive(KeepAlive::default()))
}

/// Ends, and the run with it, when the client is gone.
async fn pass_on(mut run: LiveRun, events: mpsc::Sender<Event>) {
    loop {
        let happening = tokio::select! {
            happening = run.next() => happening,
            () = events.closed() => return,
        };
        let (name, text, last) = match happening {
            Happening::Output { stream, piece } => (stream, serde_json::to_string(&piece.to_json()), false),
            Happening::Ended(ended) => match *ended {
                Ok(report) => ("report", serde_json::to_string(&report), true),
                Err(problem) => ("problem", serde_json::to_string(&problem.to_json()), true),
            },
        };
        let Ok(text) = text else { return };
        if events.send(Event::default().event(name).data(text)).await.is_err() || last {
            return;
        }
    }
}

struct Events(mpsc::Receiver<Event>);

impl Stream for Events {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|event| event.map(Ok))
    }
}

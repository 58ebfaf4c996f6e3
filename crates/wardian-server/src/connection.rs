//! One connection: HTTP/1.1, as long as its client keeps moving.

use crate::crowd::{Busy, Place};
use crate::guard::Peer;
use crate::problem::Problem;
use crate::service::Service;
use crate::upgrade::Link;
use crate::watched::Watched;
use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, watch};
use tower_service::Service as _;

/// What a connection is served with.
pub(crate) struct Serving {
    pub(crate) router: Router,
    pub(crate) service: Arc<Service>,
    /// Changes when connections are to end.
    pub(crate) end: watch::Receiver<()>,
}

/// As many as others take; each connection may have them in memory before anybody knows who it is.
const MOST_HEAD_BYTES: usize = 16 << 10;
static TOO_MANY: LazyLock<String> = LazyLock::new(|| {
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "connections", "too many connections");
    let body = problem.to_json().to_string();
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
         content-type: application/problem+json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
});

/// Of those who find no place, so many at once are told; they hold descriptors, too.
static TOLD: Semaphore = Semaphore::const_new(64);

impl Serving {
    /// Serves it on a task of its own.
    pub(crate) fn spawn<S>(self, stream: S, peer: Peer)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let most = self.service.setup().config.requests.connections;
        let Some(place) = self.service.crowd.enter(most).map(Arc::new) else {
            if let Ok(telling) = TOLD.try_acquire() {
                tokio::spawn(async move {
                    let _telling = telling;
                    refuse(stream).await;
                });
            }
            return;
        };
        tokio::spawn(async move {
            tokio::select! {
                () = self.serve(stream, peer, Arc::clone(&place)) => {}
                () = place.told_to_leave() => {}
            }
        });
    }

    async fn serve<S>(mut self, stream: S, peer: Peer, place: Arc<Place>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (head_time, write_time) = {
            let setup = self.service.setup();
            let requests = &setup.config.requests;
            (requests.head_time.as_std(), requests.write_time.as_std())
        };
        let link = Link { place, meter: Arc::default() };
        let io = TokioIo::new(Watched::new(stream, Arc::clone(&link.meter), write_time));
        let router = self.router;
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert(link.clone());
            let busy = Busy::new(&link.place);
            let answering = router.clone().call(request.map(Body::new));
            async move { answering.await.map(|answer| answer.map(|body| busy.with(body))) }
        });
        let mut builder = http1::Builder::new();
        // A client that closes its side has gone away: its run ends.
        builder.half_close(false).max_buf_size(MOST_HEAD_BYTES);
        builder.timer(TokioTimer::new()).header_read_timeout(head_time);
        let connection = builder.serve_connection(io, service).with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            _ = self.end.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "connection ended");
        }
    }
}

/// Says that there is no place. What has been sent meanwhile is read: closing over it would be a reset, which may take the
/// answer away from the client.
async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    const BRIEF: Duration = Duration::from_secs(1);
    let telling = async {
        stream.write_all(TOO_MANY.as_bytes()).await?;
        stream.shutdown().await?;
        let mut unread = [0; 4096];
        while stream.read(&mut unread).await? > 0 {}
        Ok::<_, std::io::Error>(())
    };
    let _ = tokio::time::timeout(BRIEF, telling).await;
}
